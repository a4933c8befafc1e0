"""What an operator is told at once: a slot that was not finished, a slot left undone, an order event that cannot be."""

from collections.abc import Iterator
from contextlib import contextmanager

from penstock.core.errors import IllegalTransitionError, PenstockError
from penstock.ports import Notifier


@contextmanager
def alert_on_illegal_events(notifier: Notifier, account: str) -> Iterator[None]:
    """Alert where the order machine refuses an event, and raise on. The ledger raises once for each event that it refuses."""
    try:
        yield
    except IllegalTransitionError as error:
        alert_failure(notifier, account, "a comparison or order", error)
        raise


def alert_failure(notifier: Notifier, account: str, what: str, error: PenstockError) -> None:
    """Alert that `what` was not finished; an event that is not legal is named as such, for it says that a record is wrong."""
    if isinstance(error, IllegalTransitionError):
        body = (
            f"{error}. It is on record as refused and changed nothing; {what} stopped. Compare the order with the venue's page."
        )
        notifier.notify(f"{account}: an illegal order event was refused", body)
    else:
        notifier.notify(f"{account}: {what} was not finished", str(error))
