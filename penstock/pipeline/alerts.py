"""How alerts reach an operator: from the account's outbox to the channels, one message at a time,
at least once.

An alert whose cause is on record was committed to the outbox with that cause. A run adds what else
it has to say. Alerts are sent on a thread of their own, so that a channel that fails or hangs
delays no order. A run waits for the thread at its end only, and not for long. The account's next
run, in any process, sends what was not sent.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

import structlog

from penstock.core.alerts import Alert, urgent
from penstock.core.errors import ConfigError, IllegalTransitionError, PenstockError, StoreError
from penstock.core.remedies import remedy
from penstock.ports import BackgroundTask
from penstock.wiring import Platform

_log = structlog.get_logger(__name__)

#: How long a run waits at its end for its message to be taken.
PATIENCE_SECONDS = 5.0
#: An alert that is older than this says from when it is.
_LATE = timedelta(minutes=5)


@contextmanager
def alerting(platform: Platform, portfolio: str) -> Iterator[None]:
    """Send what earlier runs of the account left, while the work is done. At its end, however it
    ends, send what came of it.
    """
    send_alerts(platform, portfolio, wait_seconds=0)
    try:
        yield
    finally:
        send_alerts(platform, portfolio)


def add_alerts(
    platform: Platform, portfolio: str, *alerts: Alert, wait_seconds: float = PATIENCE_SECONDS
) -> None:
    """Put alerts into the account's outbox and send it. Where the database cannot take them they
    are sent all the same.
    """
    account = account_name(platform, portfolio)
    try:
        platform.outbox.add(account, alerts)
    except StoreError as error:
        if not alerts:
            return
        title, body = message(account, alerts, platform.machine_clock.now())
        _log.warning("alerts_not_kept", account=account, title=title, reason=str(error))
        _beside(
            platform, account, lambda: bool(platform.notifier.notify(title, body)), wait_seconds
        )
    else:
        send_alerts(platform, portfolio, wait_seconds)


def alert_failure(platform: Platform, portfolio: str, what: str, error: PenstockError) -> None:
    """Alert that `what` was not finished. For a refused order event nothing is added: the ledger
    has put its alert in the outbox.
    """
    alerts = (
        []
        if isinstance(error, IllegalTransitionError)
        else [Alert(f"{what} was not finished", str(error))]
    )
    add_alerts(platform, portfolio, *alerts)


def send_alerts(platform: Platform, portfolio: str, wait_seconds: float = PATIENCE_SECONDS) -> None:
    """Send the account's unsent alerts as one message; wait at most so long for it to be taken.
    Nothing is raised.
    """
    account = account_name(platform, portfolio)

    def send(alerts: Sequence[Alert]) -> bool:
        return platform.notifier.notify(*message(account, alerts, platform.machine_clock.now()))

    try:
        outbox = platform.outbox
    except StoreError as error:
        _log.warning("alerts_not_sent", account=account, reason=str(error))
        return
    _beside(platform, account, lambda: outbox.deliver(account, send), wait_seconds)


def message(account: str, alerts: Sequence[Alert], now: datetime) -> tuple[str, str]:
    """Return title and body. A single alert has its own; several have a line each, urgent ones
    first. An open break has its remedy.
    """
    alerts = sorted(alerts, key=lambda alert: not alert.is_urgent)
    bodies = [_body(alert, now) for alert in alerts]
    if len(alerts) == 1:
        return f"{account}: {alerts[0].title}", bodies[0]
    lines = [
        f"{alert.title}: {body}".replace("\n", "\n  ")
        for alert, body in zip(alerts, bodies, strict=True)
    ]
    summary = Alert(f"{len(alerts)} things to look at", "\n".join(lines))
    title = urgent(summary).title if alerts[0].is_urgent else summary.title
    return f"{account}: {title}", summary.body


def _body(alert: Alert, now: datetime) -> str:
    late = alert.made_at is not None and now - alert.made_at > _LATE
    since = f" (since {alert.made_at:%Y-%m-%d %H:%M} UTC)" if late else ""
    if alert.found is None:
        return f"{alert.body}{since}"
    do = "it has closed since" if alert.is_over else f"do: {remedy(alert.found.kind)}"
    return f"{alert.body}{since}; {do}"


def account_name(platform: Platform, portfolio: str) -> str:
    """Return the name of the portfolio's account; the portfolio's where none is configured, for
    that may be the alert.
    """
    try:
        return platform.environment.account_of(portfolio).name
    except ConfigError:
        return portfolio


def _beside(
    platform: Platform, account: str, work: Callable[[], object], wait_seconds: float
) -> None:
    """Run `work` beside the run, one delivery per account at a time.

    No second delivery waits behind one that hangs. What a delivery has not marked by the end of the
    process is sent again by the next run.
    """
    name = f"alerts of {account}"
    before = platform.deliveries.get(account)
    if before is not None and not _has_ended(platform, *before, wait_seconds):
        if wait_seconds:
            _log.warning(
                "alerts_wait",
                thread=name,
                reason="a channel has not answered yet; they go with the next run",
            )
        return
    began = platform.machine_clock.elapsed_seconds()
    task = platform.runner.start(lambda: _deliver(name, work), name=name)
    platform.deliveries[account] = task, began
    if wait_seconds and not _has_ended(platform, task, began, wait_seconds):
        _log.warning(
            "alerts_wait",
            thread=name,
            reason="a channel has not answered yet; the run goes on without it",
        )


def _deliver(name: str, work: Callable[[], object]) -> None:
    try:
        work()
    except StoreError as error:
        _log.warning("alerts_not_sent", thread=name, reason=str(error))
    except Exception as error:  # noqa: BLE001 - its text may hold secrets; the alerts stay
        _log.error("alerts_not_sent", thread=name, reason=type(error).__name__)


def _has_ended(platform: Platform, task: BackgroundTask, began: float, seconds: float) -> bool:
    """Wait `seconds`, at most PATIENCE_SECONDS since it began; return whether it has ended."""
    left = began + PATIENCE_SECONDS - platform.machine_clock.elapsed_seconds()
    return task.wait(max(0.0, min(seconds, left)))
