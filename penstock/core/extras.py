"""An error for a library that is not installed, with the command that installs it.

The core install has what trading, the command line and the store need. Every import of a library
that comes with an extra stands inside `extra(...)`. A test compares the imports to pyproject.toml.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from penstock.core.errors import MissingExtraError


@contextmanager
def extra(name: str, otherwise: str = "") -> Iterator[None]:
    """Turn a missing library inside the block into MissingExtraError, which names the command.

    A missing module of Penstock's own still raises ImportError: the install is broken.

    Parameters
    ----------
    name
        The extra of pyproject.toml that brings the libraries of this block.
    otherwise
        What can be done instead, for the end of the message.

    Examples
    --------
    >>> with extra("dask"):
    ...     import gone
    Traceback (most recent call last):
    penstock.core.errors.MissingExtraError: gone is not installed: run pip install 'penstock[dask]'
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        if missing in ("", "penstock", "strategies", "tasks", "flows"):
            raise
        way_out = f", or {otherwise}" if otherwise else ""
        raise MissingExtraError(
            f"{missing} is not installed: run pip install 'penstock[{name}]'{way_out}"
        ) from error
