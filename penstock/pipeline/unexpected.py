"""What a strategy, a library or a fault of ours raises, and how it becomes a PenstockError at the
edge of a slot.
"""

import traceback
from pathlib import PurePath

import structlog
from polars.exceptions import PanicException

from penstock.core.errors import UnexpectedError

#: Whatever may be raised on the way. A panic inside polars is no Exception. Time-outs of a task and
#: the end of the process are not among them: they must pass.
ANYTHING = (Exception, PanicException)
#: A longer text is cut: it becomes a slot's reason and an alert. The log has all of it.
_LONGEST_TEXT = 500
_log = structlog.get_logger(__name__)


def unexpected(error: BaseException) -> UnexpectedError:
    """Return the error as one of ours, and leave its traceback in the log."""
    _log.error("unexpected_error", exc_info=error)
    return UnexpectedError(described(error))


def described(error: BaseException) -> str:
    """Return the error's kind, its text and the line that raised it.

    >>> described(KeyError("BTC/USDT"))
    "KeyError: 'BTC/USDT'"
    """
    text = " ".join(str(error).split())
    if len(text) > _LONGEST_TEXT:
        text = f"{text[:_LONGEST_TEXT]} ..."
    raised_at = traceback.extract_tb(error.__traceback__)
    where = (
        f" ({PurePath(raised_at[-1].filename).name}, line {raised_at[-1].lineno}, in "
        f"{raised_at[-1].name})"
        if raised_at
        else ""
    )
    return f"{type(error).__name__}{f': {text}' if text else ''}{where}"
