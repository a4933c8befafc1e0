"""The local stack: practice exchange, MLflow server, Prefect server and worker under one
supervisor.

The supervisor starts the children in order, and starts a child again when it dies. When it is ended
it ends them all. On machines with Docker, deploy/compose.yaml does the same.
"""

from penstock.stack.children import StackError, answers
from penstock.stack.environments import with_login
from penstock.stack.state import Addresses, Followed, follow_running_stack, running
from penstock.stack.supervisor import StackPorts, Supervisor, require_servers, start_in_background

__all__ = [
    "Addresses",
    "Followed",
    "StackError",
    "StackPorts",
    "Supervisor",
    "answers",
    "follow_running_stack",
    "require_servers",
    "running",
    "start_in_background",
    "with_login",
]
