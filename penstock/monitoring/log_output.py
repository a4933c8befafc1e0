"""Where log lines go and how they look: lines of our own and those of other libraries alike.

A terminal gets readable lines, everything else JSON, one object per line. Both go to standard
error: standard output is for what a command answers. A line that cannot be written is lost: a full
disk or a reader that is gone stops no order.
"""

import logging
import sys
from contextlib import suppress
from typing import TextIO, cast

import structlog
from structlog.typing import Processor

#: What every line has: the ids that are bound (penstock.core.log_ids), its level and its time.
_PARTS: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


class LossyStream:
    """Writes to a stream, or to what is standard error at that time. No error of writing comes out
    of it.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # ValueError: the stream is closed
            self._target().write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._target().flush()

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        with suppress(OSError, ValueError):
            return self._target().isatty()
        return False

    def _target(self) -> TextIO:
        return sys.stderr if self._stream is None else self._stream


def send_logs(level_name: str, stream: TextIO | None = None, *, libraries: bool = True) -> None:
    """Write lines of at least a level ("info") to `stream` (default: standard error) from now on.

    Without `libraries` the lines of other libraries go where they went before.
    """
    level = logging.getLevelNamesMapping()[level_name.upper()]
    target = LossyStream(stream)
    # A traceback never shows the values of variables: a key may be among them.
    endings: list[Processor] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if target.isatty()
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    own_lines: list[Processor] = [*_PARTS, *endings]
    structlog.configure(
        processors=own_lines,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", target)),
    )
    if not libraries:
        return
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *endings],
            foreign_pre_chain=[*_PARTS, structlog.stdlib.add_logger_name],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
