"""What a user types, and what a failing command answers."""

import logging
from collections.abc import Iterator
from decimal import Decimal

import pytest
import structlog

from penstock.adapters.notifications import LogNotifier
from penstock.core.errors import ConfigError, SchemaError
from penstock.interfaces import cli
from penstock.interfaces.cli.terminal import parse_amount


@pytest.mark.parametrize("text", ["", "many", "nan", "sNaN", "inf", "-Infinity"])
def test_what_is_no_finite_number_is_no_amount(text: str) -> None:
    """The error shows what was typed and the form."""
    with pytest.raises(ConfigError, match=f"'{text}' is no amount: write it like 1000 or 0.25"):
        parse_amount(text)


def test_amount_is_exact() -> None:
    """No digit is lost."""
    assert parse_amount("0.1000000000000000055") == Decimal("0.1000000000000000055")


@pytest.fixture
def logs_restored() -> Iterator[None]:
    """Leave structlog and the root logger as they were."""
    root, own = logging.getLogger(), structlog.get_config()
    before, level = list(root.handlers), root.level
    yield
    structlog.configure(**own)
    root.handlers, root.level = before, level


@pytest.mark.usefixtures("logs_restored")
def test_error_that_an_alert_has_said_is_not_said_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both are for people where nobody sits at a terminal either. The error adds the remedy."""
    error = SchemaError("the schema is of version 9")

    def command() -> None:
        LogNotifier().notify("main: the slot was not finished", str(error))
        raise error

    monkeypatch.setattr(cli, "app", command)
    monkeypatch.setattr(cli, "_alerted", [])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    title, body, last = capsys.readouterr().err.splitlines()
    assert title.startswith("alert at ")
    assert body == f"    {error}"
    assert last == "error: the alert above says what; `penstock db migrate` migrates it"
