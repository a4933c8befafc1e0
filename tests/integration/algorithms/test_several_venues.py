"""One account on two practice exchanges with other prices, fees and depths: split by cost, killed,
one of them down.
"""

import random
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from penstock.adapters.exchanges.several_venues import SeveralVenues
from penstock.core.errors import StoreError, VenueUnavailableError
from penstock.core.orders import OrderRequest, OrderState, OrderType, Side
from penstock.core.proposals import SeenBar
from penstock.core.rebalances import RebalanceStatus
from penstock.execution.orders.cancel import cancel_working
from penstock.execution.rebalance.run import RebalanceInputs, rebalance
from penstock.portfolio.allocation import PortfolioTargets
from penstock.portfolio.rebalancing import RebalancePolicy
from penstock.practice.control import PracticeControl
from penstock.practice.faults import Fault, FaultKind
from penstock.risk.limits import RiskLimits
from penstock.settings import Process, Settings
from penstock.wiring import Platform
from tests.integration.algorithms.conftest import Stage

pytestmark = pytest.mark.slow

#: Kills per style among the ordinary tests; `make soak` kills at every call.
A_FEW, EVERY_CALL = 2, 0
SEED = 20240302
CONFIGS = Path(__file__).resolve().parents[3] / "configs"
CLOSES = {"BTC/USDT": 50_000.0, "ETH/USDT": 2_500.0, "SOL/USDT": 120.0}
OPENING = {"cheap": {"USDT": "60000", "SOL": "60"}, "dear": {"USDT": "40000", "SOL": "40"}}
TARGETS = {"BTC/USDT": 0.4, "ETH/USDT": 0.3, "SOL/USDT": 0.0}
TWAP = {"algorithm": "twap", "duration_seconds": 180, "slices": 3, "finish": "market"}
ICEBERG = {
    "algorithm": "iceberg",
    "display_fraction": "0.5",
    "piece_seconds": 20,
    "duration_seconds": 60,
    "finish": "market",
}
STYLES: dict[str, dict[str, Any] | None] = {
    "at-once": None,
    "market": {"algorithm": "market"},
    "twap": TWAP,
}


def composite(stage: Stage, account: str) -> SeveralVenues:
    fees = {name: Decimal(fee) for name, fee in stage.fees.items()}
    return SeveralVenues({name: stage.exchange(account, name) for name in stage.venues}, fees)


def sent_to(stage: Stage, account: str) -> dict[str, list[str]]:
    """Return the client order ids that each venue itself has of the account."""
    found = {}
    for name in stage.venues:
        exchange = stage.exchange(account, name)
        exchange.instruments()
        found[name] = [
            order["clientOrderId"]
            for symbol in TARGETS
            for order in exchange.client.fetch_orders(symbol, None, 1000)
        ]
    return found


def require_whole(stage: Stage, account: str) -> None:
    """Ledger = sum of the venues to the last digit. Every order is at the venue that it names and
    at no other.
    """
    exchange, ledger = composite(stage, account), stage.ledger
    since = ledger.rebalances(account)[-1].slot - timedelta(minutes=5)
    traded = [fill for symbol in TARGETS for fill in exchange.fills(symbol, since)]
    booked = ledger.fills(account)
    assert Counter(traded) == Counter(booked)
    assert ledger.balances(account) == exchange.balances()
    orders = ledger.orders(account)
    assert all(order.state.is_final for order in orders)
    by_venue: dict[str, set[str]] = {name: set() for name in stage.venues}
    for order in orders:
        by_venue[order.request.venue].add(order.request.client_order_id)
    for name, ids in sent_to(stage, account).items():
        assert len(ids) == len(set(ids))
        assert set(ids) <= by_venue[name]
    assert not [
        fill
        for fill in booked
        if not fill.trade_id.startswith(tuple(f"{name}:" for name in stage.venues))
    ]


def traded_by_venue(stage: Stage, account: str, symbol: str) -> dict[str, Decimal]:
    """Return the filled quantity of a symbol at each venue."""
    found: Counter[str] = Counter()
    for order in stage.ledger.orders(account):
        if order.request.symbol == symbol:
            found[order.request.venue] += order.filled_quantity  # type: ignore[assignment]
    return {name: Decimal(quantity) for name, quantity in found.items()}


@pytest.mark.parametrize("name", STYLES)
def test_rebalance_is_split_by_cost_and_done_once(two_venues: Stage, name: str) -> None:
    """Sells go to the venue that holds the asset, buys to the cheaper venue up to its depth. A
    second run sends nothing.
    """
    account = f"routed-{name}"
    slot = two_venues.open(account, OPENING)
    report = two_venues.run(account, slot, STYLES[name], TARGETS)
    assert report.get("status") == "done", report
    assert report["breaks"] == 0
    require_whole(two_venues, account)
    assert two_venues.weights(account) == pytest.approx(TARGETS, abs=0.01)
    assert traded_by_venue(two_venues, account, "SOL/USDT") == {"cheap": 60, "dear": 40}
    bought = traded_by_venue(two_venues, account, "BTC/USDT")
    if name == "twap":  # its slices are smaller than the cheaper venue's depth
        assert bought["cheap"] > Decimal("0.85")
    else:
        assert bought["cheap"] == Decimal("0.6")  # all that its book shows: 30,000 at about 50,000
        assert bought["dear"] == pytest.approx(Decimal("0.29"), abs=Decimal("0.02"))
    again = two_venues.run(account, slot, STYLES[name], TARGETS)
    assert (again["already_done"], again["sent"]) == (True, 0)


@pytest.mark.parametrize("kills", [A_FEW, pytest.param(EVERY_CALL, marks=pytest.mark.soak)])
@pytest.mark.parametrize("name", STYLES)
def test_killed_rebalance_sends_no_part_twice(two_venues: Stage, name: str, kills: int) -> None:
    """A run is killed around a write or a request to either venue. One more run completes it, and a
    third one sends nothing.
    """
    probe = f"probe-routed-{kills}-{name}"
    calls = two_venues.run(probe, two_venues.open(probe, OPENING), STYLES[name], TARGETS)["calls"]
    points = list(range(1, calls + 1))
    chosen = sorted(random.Random(SEED).sample(points, min(kills, calls))) if kills else points
    for point in chosen:
        account = f"killed-routed-{kills}-{name}-{point}"
        slot = two_venues.open(account, OPENING)
        killed = two_venues.run(account, slot, STYLES[name], TARGETS, kill_at=point)
        assert killed["killed"], f"not killed at call {point} of {calls}: {killed}"
        two_venues.let_lease_run_out(account)
        # another bar: the practice exchange goes on showing what has been taken of this one
        two_venues.wait(60)
        mended = two_venues.run(account, slot, STYLES[name], TARGETS)
        assert mended.get("status") == "done", f"killed at call {point} of {calls}: {mended}"
        assert mended["breaks"] == 0
        require_whole(two_venues, account)
        assert two_venues.weights(account) == pytest.approx(TARGETS, abs=0.01), (
            f"killed at call {point} of {calls}"
        )
        again = two_venues.run(account, slot, STYLES[name], TARGETS)
        assert (again["already_done"], again["sent"]) == (True, 0)
    print(
        f"\n{name}: {len(chosen)} kills (seed {SEED}) over {calls} points: 0 parts twice, "
        "ledger = both venues, targets reached"
    )


@pytest.fixture
def dear(two_venues: Stage) -> Iterator[Any]:
    """The dearer venue's control calls, with no fault left behind."""
    control = two_venues.controls()["dear"]
    yield control
    control.clear_faults()


def states(stage: Stage, account: str, slot: datetime) -> dict[tuple[str, Side], OrderState]:
    """Return the state of each order of the slot by venue and side."""
    (rebalance,) = (each for each in stage.ledger.rebalances(account) if each.slot == slot)
    orders = stage.ledger.orders(account, rebalance_id=rebalance.id)
    return {(order.request.venue, order.request.side): order.state for order in orders}


@pytest.mark.parametrize("kind", [FaultKind.ERROR_AFTER, FaultKind.ERROR_BEFORE])
def test_part_at_a_venue_that_falls_silent_is_resolved_and_never_sent_twice(
    two_venues: Stage, dear: PracticeControl, kind: FaultKind
) -> None:
    """One venue answers neither an order nor any question about it. That part alone is UNKNOWN, and
    nothing is sent for it.
    """
    account = f"silent-{kind}"
    slot = two_venues.open(account, OPENING)
    dear.arm(Fault(kind=kind, method="POST", path="/api/v3/order", times=1))
    dear.arm(Fault(kind=FaultKind.ERROR_BEFORE, method="GET", path="/api/v3/order"))
    first = two_venues.run(account, slot, None, TARGETS)
    assert first.get("status") == "failed" or "VenueUnavailableError" in first.get("error", ""), (
        first
    )
    found = states(two_venues, account, slot)
    assert found["dear", Side.SELL] is OrderState.UNKNOWN
    assert found["cheap", Side.SELL] is OrderState.FILLED
    before = len(two_venues.ledger.orders(account))
    # neither the same slot nor the next one sends while the venue is silent
    for at in (
        slot,
        slot + timedelta(seconds=60),
    ):
        two_venues.wait(60)
        still = two_venues.run(account, at, None, TARGETS)
        assert "VenueUnavailableError" in still.get("error", ""), still
    assert len(two_venues.ledger.orders(account)) == before
    dear.clear_faults()
    mended = two_venues.run(account, slot + timedelta(seconds=60), None, TARGETS)
    assert (mended.get("status"), mended.get("breaks")) == ("done", 0), mended
    require_whole(two_venues, account)
    assert two_venues.weights(account) == pytest.approx(TARGETS, abs=0.01)
    sold = [order for order in two_venues.ledger.orders(account) if order.request.side is Side.SELL]
    assert sum(order.filled_quantity for order in sold) == 100


def test_venue_without_quotes_gets_nothing_and_what_the_other_cannot_take_is_skipped(
    two_venues: Stage, dear: PracticeControl
) -> None:
    """The dearer venue quotes no price: its 40 SOL stay, its cash is not spent, and the report says
    why.
    """
    account = "no-quotes"
    slot = two_venues.open(account, OPENING)
    dear.arm(Fault(kind=FaultKind.ERROR_BEFORE, path="/api/v3/ticker/bookTicker"))
    report = two_venues.run(account, slot, None, TARGETS)
    assert (report.get("status"), report.get("breaks")) == ("done", 0), report
    require_whole(two_venues, account)
    assert traded_by_venue(two_venues, account, "SOL/USDT") == {"cheap": 60}
    why = report["skipped"]["SOL/USDT"]
    assert why.startswith(
        "sell of 40 of 100 fits no venue: cheap takes 60, it has 60 SOL free; "
        "dear does not answer ("
    )
    assert sent_to(two_venues, account)["dear"] == []
    again = two_venues.run(account, slot, None, TARGETS)
    assert (again["already_done"], again["sent"]) == (True, 0)


@pytest.mark.parametrize("style", [None, {"algorithm": "market"}, TWAP, ICEBERG])
def test_work_ends_where_no_venue_quotes(
    two_venues: Stage, dear: PracticeControl, style: dict[str, Any] | None
) -> None:
    """Without any quotes nothing is sent. The work ends when its time is over, and every order has
    a reason.
    """
    account = f"no-quotes-at-all-{(style or {}).get('algorithm')}"
    slot = two_venues.open(account, OPENING)
    try:
        for control in two_venues.controls().values():
            control.arm(Fault(kind=FaultKind.ERROR_BEFORE, path="/api/v3/ticker/bookTicker"))
        report = two_venues.run(account, slot, style, TARGETS)
    finally:
        two_venues.control.clear_faults()
    assert (report.get("status"), report.get("sent")) == ("done", 0), report
    assert report["skipped"].keys() >= TARGETS.keys()


def test_every_order_is_found_at_the_venue_that_the_ledger_names(two_venues: Stage) -> None:
    """The venue of every order is in the ledger, and a later process reads it there."""
    account = "audited"
    slot = two_venues.open(account, OPENING)
    assert two_venues.run(account, slot, None, TARGETS).get("status") == "done"
    for order in two_venues.ledger.orders(account):
        exchange = two_venues.exchange(account, order.request.venue)
        report = exchange.find_order(order.request.client_order_id, order.request.symbol)
        assert order.venue_order_id == f"{order.request.venue}:{report.venue_order_id}"
        assert report.filled_quantity == order.filled_quantity


def settings_for(stage: Stage, account: str, folder: Path, venues: Sequence[str]) -> Settings:
    """Return the project's settings with the daily portfolio's account at these venues of the
    stage.
    """
    configs = Path(shutil.copytree(CONFIGS, folder / "-".join(venues)))
    path = configs / "environments.yaml"
    environments = yaml.safe_load(path.read_text())
    here = {"ccxt_id": "binance", "api_key_env": "ROUTED_KEY", "secret_env": "ROUTED_SECRET"}
    details = {
        name: {**here, "base_url": stage.venues[name], "taker_fee_bps": float(stage.fees[name])}
        for name in venues
    }
    one = {"name": account, "api_key_env": "ROUTED_KEY", "secret_env": "ROUTED_SECRET"}
    environments["practice"]["market"]["base_url"] = stage.venue
    environments["practice"]["accounts"] = {
        "daily": {"name": account, "venues": details} if len(venues) > 1 else one
    }
    path.write_text(yaml.safe_dump(environments))
    return Settings(
        Process(configs=configs, home=folder / "home", env="practice", practice_url=None),
        {"ROUTED_KEY": account, "ROUTED_SECRET": "secret"},
    )


def test_account_of_several_venues_is_chosen_by_configuration(
    two_venues: Stage, tmp_path: Path
) -> None:
    """A session from configs/environments.yaml trades both venues; others are refused later."""
    account = "configured"
    slot = two_venues.open(account, OPENING)
    platform = Platform(
        settings_for(two_venues, account, tmp_path, ["cheap", "dear"]), two_venues.database_url
    )
    session = platform.session("daily")
    assert session.venues is session.exchange

    def decide(version: str) -> PortfolioTargets:
        return PortfolioTargets(
            version, TARGETS, {}, {symbol: SeenBar(slot, price) for symbol, price in CLOSES.items()}
        )

    limits = RiskLimits.model_validate({"max_gross": 1, "max_weight": 1, "price_collar": None})
    report = rebalance(session, RebalanceInputs(slot, "trend/1", decide, RebalancePolicy(), limits))
    assert (report.status, report.sent) == (RebalanceStatus.DONE, 6), report
    require_whole(two_venues, account)
    assert traded_by_venue(two_venues, account, "BTC/USDT")["cheap"] == Decimal("0.6")
    platform.close()
    alone = Platform(
        settings_for(two_venues, account, tmp_path, ["cheap"]), two_venues.database_url
    )
    with pytest.raises(StoreError, match=r"belongs to \('cheap\+dear', 'USDT'\)"):
        rebalance(
            alone.session("daily"),
            RebalanceInputs(slot, "trend/1", decide, RebalancePolicy(), limits),
        )
    alone.close()


def test_kill_switch_cancels_at_the_venues_that_answer(
    two_venues: Stage, dear: PracticeControl, tmp_path: Path
) -> None:
    """An order works at each venue and one of them is unreachable. The other's is cancelled, and
    the result names the unreachable one.
    """
    account = "cancelled"
    two_venues.open(account, OPENING)
    platform = Platform(
        settings_for(two_venues, account, tmp_path, ["cheap", "dear"]), two_venues.database_url
    )
    session = platform.session("daily")
    for name in two_venues.venues:
        request = OrderRequest(
            f"rests-{name}",
            "BTC/USDT",
            Side.BUY,
            OrderType.LIMIT,
            Decimal("0.01"),
            Decimal(40_000),
            venue=name,
        )
        session.exchange.submit(request)
    dear.arm(Fault(kind=FaultKind.ERROR_BEFORE, path="/api/v3/openOrders"))
    with pytest.raises(VenueUnavailableError):
        cancel_working(session)
    dear.clear_faults()
    assert [report.client_order_id for report in session.exchange.open_orders()] == ["rests-dear"]
    assert cancel_working(session).cancelled == ("rests-dear",)
    platform.close()
