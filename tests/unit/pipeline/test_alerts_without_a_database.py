"""An alert that cannot be stored is still sent."""

from pathlib import Path

import pytest

from penstock.core.alerts import Alert
from penstock.core.errors import IllegalTransitionError, StoreError
from penstock.pipeline.alerts import add_alerts, alert_failure, alerting
from penstock.settings import Process, Settings
from penstock.wiring import Platform

ROOT = Path(__file__).resolve().parents[3]


class Kept:
    """A Notifier that keeps what it is given."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def notify(self, title: str, body: str) -> bool:
        self.said.append((title, body))
        return True


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    """A platform whose database does not answer."""
    process = Process(home=tmp_path, configs=ROOT / "configs", env="practice")
    platform = Platform(Settings(process), "postgresql://penstock@127.0.0.1:1/penstock")
    vars(platform).update(notifier=Kept())
    return platform


def said(platform: Platform) -> list[tuple[str, str]]:
    assert isinstance(platform.notifier, Kept)
    return platform.notifier.said


def test_alert_that_the_database_cannot_take_is_sent_at_once(platform: Platform) -> None:
    """A database that is down is itself worth an alert."""
    add_alerts(platform, "daily", Alert("missed slots are not accounted for yet", "it is down"))
    alert_failure(platform, "daily", "slot 2025-06-01 00:00", StoreError("it is down"))
    assert said(platform) == [
        ("practice-daily: missed slots are not accounted for yet", "it is down"),
        ("practice-daily: slot 2025-06-01 00:00 was not finished", "it is down"),
    ]


def test_work_goes_on_without_the_outbox(platform: Platform) -> None:
    """Neither the look before nor the one after raises; what the work raises is what is raised."""
    alert_failure(platform, "daily", "a slot", IllegalTransitionError("the ledger has told it"))
    with pytest.raises(StoreError, match="mine"), alerting(platform, "daily"):
        raise StoreError("mine")
    assert said(platform) == []
