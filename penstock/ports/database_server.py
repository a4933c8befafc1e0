"""What Penstock needs of the database server that it runs itself where none is configured."""

from typing import Protocol


class DatabaseServer(Protocol):
    """A database server of this machine, shared by all processes that work with one home folder.

    Raises StoreError where it cannot be started, reached or stopped.
    """

    @property
    def exists(self) -> bool:
        """Whether the server was ever made, and has its data."""
        ...

    @property
    def running(self) -> bool:
        """Whether the server runs now, whoever started it."""
        ...

    def start(self) -> str:
        """Start the server where it does not run, and return its URL. It keeps its data."""
        ...

    def database_url(self, name: str) -> str:
        """Return the URL of the database `name` on the running server. A missing one is created."""
        ...

    def stop(self) -> None:
        """Stop the server, if it runs."""
        ...

    def stop_if_unused(self) -> None:
        """Stop the server unless another process is connected to it."""
        ...

    def destroy(self) -> None:
        """Stop the server and delete all its data."""
        ...
