"""The local stack: database, practice exchange, MLflow server, Prefect server and worker as
children of one supervisor.

Decides what runs, in which order and with which settings. The supervisor starts a child again when
it dies, and ends them all when it is ended. For machines with Docker, compose.yaml does the same.
"""

from penstock.stack.children import StackError
from penstock.stack.state import Addresses, Followed, follow_running_stack, running
from penstock.stack.supervisor import StackPorts, Supervisor, start_in_background

__all__ = [
    "Addresses",
    "Followed",
    "StackError",
    "StackPorts",
    "Supervisor",
    "follow_running_stack",
    "running",
    "start_in_background",
]
