"""The local stack: practice exchange, MLflow server, Prefect server and worker under one
supervisor.

The supervisor starts the parts in order, and starts a part again when it dies. When it is ended it
ends them all. When it is killed they live on, and so does the database: the next supervisor of the
home ends what is left and starts all anew. On machines with Docker, deploy/compose.yaml does the
same.
"""

from penstock.stack.alerts import StackAlerts
from penstock.stack.children import answers
from penstock.stack.environments import with_login
from penstock.stack.follow import (
    Followed,
    StackNotRunningError,
    follow_stack,
    require_chosen_environment,
)
from penstock.stack.launch import Brought, Ended, bring_up, end_stack, wait_until_none_ends
from penstock.stack.leftovers import noted_stack
from penstock.stack.parts import StackPorts, require_servers, stack_addresses, stack_plan
from penstock.stack.processes import StackError
from penstock.stack.state import (
    DATABASE,
    Addresses,
    PartNote,
    Phase,
    StackNote,
    Step,
    UnreadableStackError,
    read_stack,
)
from penstock.stack.supervisor import StackPlan, Supervisor

__all__ = [
    "DATABASE",
    "Addresses",
    "Brought",
    "Ended",
    "Followed",
    "PartNote",
    "Phase",
    "StackAlerts",
    "StackError",
    "StackNotRunningError",
    "StackNote",
    "StackPlan",
    "StackPorts",
    "Step",
    "Supervisor",
    "UnreadableStackError",
    "answers",
    "bring_up",
    "end_stack",
    "follow_stack",
    "noted_stack",
    "read_stack",
    "require_chosen_environment",
    "require_servers",
    "stack_addresses",
    "stack_plan",
    "wait_until_none_ends",
    "with_login",
]
