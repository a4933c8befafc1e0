"""Where log lines go and how they look: lines of our own and those of other libraries alike.

A terminal and whoever reads a command get readable lines, everything else JSON, one object per
line. Both go to standard error: standard output is for what a command answers. What cannot be
written is lost: a full disk or a reader that is gone stops no order.
"""

import io
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

#: The event of a line that is an alert, or a line of one. It has title and body.
ALERT = "alert"

#: What every line has: the ids that are bound (penstock.core.log_ids), its level and its time.
_PARTS: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


class LossyStream:
    """Writes to the stream that `target` names at that time. No error of writing comes out of it.

    >>> import io
    >>> closed = io.StringIO()
    >>> closed.close()
    >>> stream = LossyStream(lambda: closed)
    >>> stream.write("a line")
    >>> stream.error
    ValueError('I/O operation on closed file')
    """

    def __init__(self, target: Callable[[], TextIO | None]) -> None:
        self._target = target
        self.error: Exception | None = None
        """The first error of writing; None where everything was written."""

    def write(self, text: str) -> None:
        with self._errors_kept() as stream:
            stream.write(text)

    def flush(self) -> None:
        with self._errors_kept() as stream:
            stream.flush()

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        with suppress(OSError, ValueError):
            return self._opened().isatty()
        return False

    @property
    def encoding(self) -> str:
        """How the stream writes characters."""
        return getattr(self._target(), "encoding", None) or "utf-8"

    def _opened(self) -> TextIO:
        return self._target() or io.StringIO()  # None: the process was started without the stream

    @contextmanager
    def _errors_kept(self) -> Iterator[TextIO]:
        try:
            yield self._opened()
        except (OSError, ValueError) as error:  # ValueError: the stream is closed
            self.error = self.error or error


class ConsoleLines:
    """Renders lines for people. An alert is no line of a log there: its title and its time are one
    line, its body stands below. `on_alert` is called with each line of its body, and says whether
    it is written.
    """

    def __init__(self, colors: bool, on_alert: Callable[[str], bool]) -> None:
        self._on_alert = on_alert
        self._others = structlog.dev.ConsoleRenderer(
            colors=colors, exception_formatter=structlog.dev.plain_traceback
        )

    def __call__(self, logger: WrappedLogger, name: str, line: EventDict) -> str:
        if line.get("event") != ALERT:
            return self._others(logger, name, line)
        if not self._on_alert(str(line["body"])):
            raise structlog.DropEvent
        body = f"    {line['body']}"
        if line.get("line", 1) > 1:
            return body
        return f"alert at {line['timestamp'][:16]}: {line['title']}\n{body}"


def send_logs(
    level_name: str,
    stream: TextIO | None = None,
    *,
    libraries: bool = True,
    readable: bool = False,
    on_alert: Callable[[str], bool] = lambda _: True,
) -> None:
    """Write lines of at least a level ("info") to `stream` (default: standard error) from now on.

    They are JSON, but for a terminal; with `readable` they are for people everywhere. `on_alert` is
    called with each line of an alert that is for people, and says whether it is written. Without
    `libraries` the lines of other libraries go where they went before.
    """
    level = logging.getLevelNamesMapping()[level_name.upper()]
    target = LossyStream(lambda: stream or sys.stderr)
    # A traceback never shows the values of variables: a key may be among them.
    endings: list[Processor] = (
        [ConsoleLines(target.isatty(), on_alert)]
        if readable or target.isatty()
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
