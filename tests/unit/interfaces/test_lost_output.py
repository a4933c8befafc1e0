"""Output that cannot be written: no act on an account stops for it, and the command says so."""

import io
import logging
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from prefect.logging.handlers import PrefectConsoleHandler

from penstock.core.actors import Actor, Channel
from penstock.core.halts import TradingState
from penstock.core.orders import OrderReport, OrderState
from penstock.interfaces import cli
from penstock.interfaces.cli import terminal
from penstock.interfaces.cli.terminal import out
from penstock.pipeline.halts import AccountEnding, StateChange, halt_trading
from penstock.settings import Process, Settings
from penstock.testing.world import World, make_world
from penstock.wiring import Platform
from tasks.platform import lose_what_prefect_cannot_write

ROOT = Path(__file__).resolve().parents[3]


class FullDisk(io.StringIO):
    """A stream that takes nothing."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


class GoneReader(io.StringIO):
    """A pipe whose reader is gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def platform_of(world: World, folder: Path) -> Platform:
    """A platform whose account is that of the world, in memory."""
    process = Process(home=folder, configs=ROOT / "configs", env="practice")
    platform = Platform(Settings(process), "postgresql://penstock@127.0.0.1:1/penstock")
    vars(platform).update(
        control_store=world.control_store, ledger=world.ledger, session=lambda _: world.session
    )
    return platform


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyError("a table")])
def test_halt_cancels_what_works_where_nothing_can_be_shown(
    error: Exception, tmp_path: Path
) -> None:
    """The kill switch is set, and the working order is cancelled, whatever showing it raises."""
    world = make_world()
    world.venue.placed["a"] = OrderReport("a", "7", "ADA/USDT", OrderState.OPEN, Decimal(0))

    def show(_: StateChange | AccountEnding) -> None:
        raise error

    done = halt_trading(
        platform_of(world, tmp_path),
        Actor("ada", Channel.CLI),
        "daily",
        "drill",
        cancel=True,
        on_change=show,
        on_ending=show,
    )
    assert done.change.state is TradingState.HALTED
    assert len(done.endings[0].cancelled) == 1
    assert world.venue.placed["a"].state is OrderState.CANCELED


@pytest.mark.parametrize(
    ("stream", "sentence"),
    [(FullDisk(), "could not be written: [Errno 28] No space left on device"), (GoneReader(), "")],
)
def test_command_whose_output_is_lost_does_its_work_and_ends_with_code_1(
    stream: io.StringIO,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing is raised where it prints. A reader that is gone needs no sentence."""
    done = []

    def command() -> None:
        out.print("an answer")
        done.append("the act after it")
        sys.exit(0)

    monkeypatch.setattr(cli, "app", command)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(terminal._out_stream, "error", None)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert (done, ended.value.code) == (["the act after it"], 1)
    said = capsys.readouterr().err
    assert sentence in said
    assert bool(sentence) == bool(said)


@pytest.mark.parametrize("stream", [FullDisk(), GoneReader()])
def test_line_of_prefect_that_cannot_be_written_ends_no_run(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run's output goes into a pipe of the worker, which may be gone before the run."""
    monkeypatch.setattr(sys, "stderr", stream)
    log, handler = logging.getLogger("prefect.test_lost_output"), PrefectConsoleHandler()
    monkeypatch.setattr(log, "handlers", [handler])
    monkeypatch.setattr(log, "propagate", False)
    lose_what_prefect_cannot_write()
    log.error("a line")
