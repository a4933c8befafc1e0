"""The local stack: database, practice exchange, MLflow server, Prefect server and worker as
children of one supervisor.

Decides what runs, in which order and with which settings. The supervisor starts a child again when
it dies, and ends them all when it is ended. For machines with Docker, deploy/compose.yaml does the same.
"""

from penstock.stack.children import StackError
from penstock.stack.state import Addresses, Followed, follow_running_stack, running
from penstock.stack.supervisor import StackPorts, Supervisor, require_servers, start_in_background

__all__ = [
    "Addresses",
    "Followed",
    "StackError",
    "StackPorts",
    "Supervisor",
    "follow_running_stack",
    "require_servers",
    "running",
    "start_in_background",
]
