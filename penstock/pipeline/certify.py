"""Certify a venue: send a series of small orders there, and keep its answers as a file."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path

from penstock import __version__
from penstock.core.actors import Actor
from penstock.core.errors import ConfigError, RealNetworkError
from penstock.core.ids import IdSource
from penstock.core.instruments import spot_assets
from penstock.execution.certification.marked_orders import (
    MARK,
    HaltedError,
    MarkedOrders,
    require_allowed,
)
from penstock.execution.certification.recording import VenueRecording, write_recording
from penstock.execution.certification.script import CertifiedStep, LifeScript
from penstock.execution.kill_switch import KillSwitch
from penstock.pipeline.use_case import use_case
from penstock.settings import MarketSettings, Settings
from penstock.wiring import account_switch, recorded_account


@dataclass(frozen=True)
class CertifyRequest:
    """What is to be certified, and how."""

    portfolio: str
    """The portfolio whose account is used."""
    symbol: str
    """What is traded, such as "BTC/USDT"."""
    most: Decimal
    """What an order may cost at most (quote units)."""
    record: Path | None = None
    """The file that is written; without it one in this folder, named after venue and network."""
    venue: str = ""
    """Which venue of an account at several; "" where there is one."""
    real_network: bool = False
    """Whether it may be the venue itself, where orders cost real money."""
    patience_seconds: float = 30.0
    """How long the venue may take to show what became of an order."""
    poll_seconds: float = 1.0
    """The time between two questions about it."""


@dataclass(frozen=True)
class Certification:
    """What came of it."""

    venue: str
    """The venue's name in ccxt."""
    network: str
    """Practice, test or real."""
    steps: tuple[CertifiedStep, ...]
    """The steps that were made, in their order."""
    left: tuple[str, ...]
    """What is left at the venue; empty where all is ended and sold again."""
    record: Path
    """The file with the answers."""
    answers: int
    """How many answers it has."""
    is_as_expected: bool
    """Whether every step was made and none differed, and nothing is left."""
    is_interrupted: bool
    """Whether it was interrupted."""
    halt: str = ""
    """Why the kill switch stopped it; "" where it did not."""

    def summary(self) -> str:
        """Return what came of it in one sentence."""
        what = "answered as expected" if self.is_as_expected else "is not certified"
        why = "; it was interrupted" if self.is_interrupted else ""
        why += f"; {self.halt}" if self.halt else ""
        open_ = f"; left: {'; '.join(self.left)}" if self.left else "; nothing is left open"
        return (
            f"{self.venue} ({self.network} network) {what}: {len(self.steps)} steps, "
            f"{self.answers} answers in {self.record}{why}{open_}"
        )


@use_case
def certify_venue(
    settings: Settings,
    actor: Actor,
    request: CertifyRequest,
    tell: Callable[[CertifiedStep], None] = lambda _step: None,
) -> Certification:
    """Make every step of the script at the portfolio's venue, and write what was seen.

    `tell` hears of each step. An interruption ends the script like its end does: nothing is left
    open, and the file is written. So does the kill switch, which is read before each order; what it
    keeps from being sold is left. Raises ConfigError where the account is on paper,
    RealNetworkError where it is at a real network that was not asked for, and HaltedError where the
    account may not trade from the first.
    """
    market = _market_of(settings, request)
    if not request.most.is_finite() or request.most <= 0:
        raise ConfigError(f"an order may cost more than zero, not {request.most}")
    if market.is_real:
        if not request.real_network:
            raise RealNetworkError(
                f"environment '{settings.process.env}' is {market.ccxt_id} itself, not its test "
                "network: orders there cost real money"
            )
        settings.require_consent()
    with account_switch(settings, request.portfolio) as switch:
        require_allowed(switch, reduces=False)
        return _certification(settings, request, market, switch, tell)


def _certification(
    settings: Settings,
    request: CertifyRequest,
    market: MarketSettings,
    switch: KillSwitch,
    tell: Callable[[CertifiedStep], None],
) -> Certification:
    network = _network(market)
    record = request.record or Path(f"certified-{market.ccxt_id}-{network}.json")
    account = recorded_account(
        settings, request.portfolio, request.venue, spot_assets(request.symbol)
    )
    names: list[str] = []
    orders = MarkedOrders(
        account.exchange,
        request.symbol,
        _kept(names, account.ids),
        account.clock,
        request.patience_seconds,
        request.poll_seconds,
        switch,
    )
    script = LifeScript(orders, account.recorder, request.most, tell)
    begun, is_interrupted, halt = account.clock.now(), False, ""
    try:
        script.run()
    except KeyboardInterrupt:
        is_interrupted = True
    except HaltedError as error:
        halt = str(error)
    finally:
        answers = tuple(account.recorder.answers())
        write_recording(
            record,
            VenueRecording(
                market.ccxt_id,
                network,
                request.symbol,
                request.most,
                request.patience_seconds,
                request.poll_seconds,
                begun,
                version("ccxt"),
                __version__,
                tuple(script.steps),
                script.left,
                tuple(names),
                answers,
            ),
        )
    return Certification(
        market.ccxt_id,
        network,
        tuple(script.steps),
        script.left,
        record,
        len(answers),
        script.is_as_expected and not (is_interrupted or halt),
        is_interrupted,
        halt,
    )


def _market_of(settings: Settings, request: CertifyRequest) -> MarketSettings:
    """Return the venue at which the account is. Raises ConfigError where it is on paper."""
    environment, name = settings.environment, settings.process.env
    account = environment.account_of(request.portfolio)
    if environment.trading == "paper":
        raise ConfigError(
            f"environment '{name}' trades on paper: there is no venue to certify; set PENSTOCK_ENV "
            "to an environment with `trading: venue`"
        )
    if not account.venues and request.venue in {"", environment.market.ccxt_id}:
        return environment.market
    if request.venue not in account.venues:
        known = ", ".join(account.venues) or environment.market.ccxt_id
        wrong = f", not at '{request.venue}'" if request.venue else ": name one of them"
        raise ConfigError(f"account '{account.name}' is at {known}{wrong}")
    return account.venues[request.venue]


def _network(market: MarketSettings) -> str:
    if market.base_url is not None:
        return "practice"
    return "test" if market.sandbox else "real"


def _kept(names: list[str], ids: IdSource) -> Iterator[str]:
    """Yield client order ids, and keep them."""
    while True:
        names.append(f"{MARK}{ids.new_id()[len(MARK) :]}")
        yield names[-1]
