"""The ids in log lines: of the slot, of the order, and of the run that both belong to (the trace).

They are bound where work begins. Every line that is logged below has them, also on the threads of a
TaskRunner and from other libraries (penstock.monitoring.log_output).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from structlog.contextvars import bound_contextvars, get_contextvars

from penstock.core.ids import IdSource


@contextmanager
def slot_ids(account: str, slot: datetime, ids: IdSource) -> Iterator[None]:
    """Have log lines name the account, the slot and the run.

    `trace_id` has 32 hexadecimal digits, as traces of the W3C have. A run inside of a run keeps its
    trace.
    """
    trace_id = get_contextvars().get("trace_id") or ids.new_id()
    at = f"{slot.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    with bound_contextvars(account=account, slot=at, trace_id=trace_id):
        yield


@contextmanager
def order_id(client_order_id: str) -> Iterator[None]:
    """Have log lines name the order by its client order id."""
    with bound_contextvars(order=client_order_id):
        yield
