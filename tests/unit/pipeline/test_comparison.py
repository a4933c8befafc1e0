"""What live is compared with: the decisions of each slot's own versions, and what was held then."""

from datetime import datetime, timedelta
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from penstock.core.bars import BARS_SCHEMA
from penstock.core.doubts import DoubtedBar
from penstock.core.errors import DataError
from penstock.core.orders import Side
from penstock.core.rebalances import RebalanceStatus
from penstock.core.timeframes import Timeframe
from penstock.pipeline import comparison
from penstock.pipeline.comparison import (
    Period,
    decisions,
    live_balances,
    traded_period,
    versions_of,
)
from penstock.pipeline.rebalance import pinned_models
from penstock.testing.instruments import SLOT
from tests.unit.pipeline.conftest import MODEL, Place

DAY = timedelta(days=1)
SLOTS = (SLOT - 2 * DAY, SLOT - DAY)


@pytest.fixture(scope="module")
def bars() -> pl.DataFrame:
    """Daily bars of two coins up to the one that opens at the newest slot, seeded."""
    random = np.random.default_rng(7)
    rows = []
    for symbol, price, noise in (("BTC/USDT", 50_000.0, 0.01), ("ETH/USDT", 2_500.0, 0.03)):
        closes = price * np.exp(np.cumsum(random.normal(0, noise, 60)))
        for number, close in enumerate(closes.round(2)):
            at = SLOT - (60 - number) * DAY
            rows.append((symbol, at, *[float(close)] * 4, 1e9))
    return pl.DataFrame(rows, BARS_SCHEMA, orient="row")


def test_only_slots_that_were_traded_are_compared_each_by_its_version(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Skipped and failed slots were not traded, and a flatten is no decision of a version."""
    with pytest.raises(DataError, match="practice-daily has traded no slot yet"):
        traded_period(place.platform, "daily")
    statuses = (RebalanceStatus.SKIPPED, RebalanceStatus.FAILED, RebalanceStatus.RUNNING)
    for days, status in enumerate(statuses, start=3):
        place.ended(SLOT - days * DAY, status)
    place.ended(SLOTS[0], version="a/1*0.5")
    place.ended(SLOTS[1], version="a/2*0.75")
    place.ended(SLOT, version="flatten")
    expected = {SLOTS[0]: "a/1*0.5", SLOTS[1]: "a/2*0.75"}
    assert versions_of(place.platform, "daily") == expected
    monkeypatch.setattr(comparison, "MOST_SLOTS", 5)
    with pytest.raises(DataError, match="more than 5 slots"):
        versions_of(place.platform, "daily")


def test_each_slot_is_decided_by_its_own_version_and_quota(
    place: Place, bars: pl.DataFrame
) -> None:
    """The first slot's version has half the account; later bars change nothing of what it saw."""
    first, second = place.promoted(30), place.promoted(20)
    pinned = (f"{MODEL}/{first}*0.5", f"{MODEL}/{second}*0.8")
    models = {
        slot: pinned_models(place.platform, version)
        for slot, version in zip(SLOTS, pinned, strict=True)
    }
    decided = decisions(place.platform, "daily", bars, models)
    assert [decided[slot].version for slot in SLOTS] == list(pinned)
    for slot, lookback, quota in zip(SLOTS, (30, 20), (0.5, 0.8), strict=True):
        known = bars.filter(pl.col("ts") < slot)
        own = models[slot][0].model.strategy.decide(known).filter(pl.col("ts") == slot - DAY)
        weights = dict(zip(own["symbol"], own["weight"], strict=True))
        assert models[slot][0].model.strategy.warmup_bars == lookback
        for symbol in ("BTC/USDT", "ETH/USDT"):
            assert decided[slot].weights[symbol] == pytest.approx(quota * weights[symbol])
        assert decided[slot].weights["ADA/USDT"] is None, "no bar is no decision"


def test_bar_that_was_in_doubt_at_the_slot_is_not_known_to_its_decision(
    place: Place, bars: pl.DataFrame
) -> None:
    version = f"{MODEL}/{place.promoted(30)}*0.5"
    models = {slot: pinned_models(place.platform, version) for slot in SLOTS}
    doubt = DoubtedBar("ETH/USDT", SLOTS[0] - DAY, SLOTS[1] + timedelta(seconds=5))
    decided = decisions(place.platform, "daily", bars, models, [doubt])
    assert decided[SLOTS[0]].weights["ETH/USDT"] is None
    assert decided[SLOTS[1]].weights["ETH/USDT"] is not None


def trade(place: Place, at: datetime, side: Side, quantity: str, price: int) -> None:
    """Trade BTC at the venue, and keep it in the ledger as booked."""
    place.world.clock.at = at
    fill = place.world.venue.trade("BTC/USDT", side, Decimal(quantity), Decimal(price), "order")
    place.world.ledger.trades[fill.symbol, fill.trade_id] = fill
    place.world.ledger.held = dict(place.world.venue.balances())


def test_balances_after_each_slot_are_those_before_the_next_slots_fills(place: Place) -> None:
    """A fill at the instant of the next slot belongs to that one."""
    before = dict(place.world.venue.balances())
    trade(place, SLOTS[0] + timedelta(hours=23), Side.BUY, "0.1", 50_000)
    bought = dict(place.world.venue.balances())
    trade(place, SLOTS[1], Side.SELL, "0.05", 52_000)
    sold = dict(place.world.venue.balances())
    held = live_balances(place.platform, "daily", [SLOTS[0] - DAY, *SLOTS], Timeframe.D1)
    assert {asset: units for asset, units in held[SLOTS[0] - DAY].items() if units} == before
    assert held[SLOTS[0]] == bought
    assert held[SLOTS[1]] == sold
    assert bought["BTC"] < Decimal("0.1"), "the fee is in the asset received"


def test_equity_is_marked_at_the_close_of_the_bar_that_begins_at_the_slot(
    bars: pl.DataFrame,
) -> None:
    """Where the bar is missing the last known close counts; a slot without any bar has no mark."""
    gone = (pl.col("symbol") == "ETH/USDT") & (pl.col("ts") == SLOTS[1])
    closes = comparison._closes(bars.filter(~gone), [*SLOTS, SLOT + 5 * DAY])
    assert closes["ts"].to_list() == list(SLOTS)

    def close(symbol: str, at: datetime) -> float:
        found = bars.filter((pl.col("symbol") == symbol) & (pl.col("ts") == at))
        return float(found["close"].item())

    held = {"USDT": Decimal(100), "BTC": Decimal("0.5"), "ETH": Decimal(2)}
    marked = comparison._marked({SLOTS[0]: held, SLOTS[1]: held}, closes, "USDT")
    eth = close("ETH/USDT", SLOTS[0])
    assert marked["equity"].to_list() == pytest.approx(
        [100 + 0.5 * close("BTC/USDT", slot) + 2 * eth for slot in SLOTS]
    )
    assert comparison._marked({SLOTS[1]: held}, closes, "USDT")["ts"].to_list() == [SLOTS[1]]


def platform_costs(place: Place) -> float:
    """What a market order costs, as a fraction of its notional."""
    costs = place.platform.settings.costs
    return (costs.fee_bps + costs.slippage_bps) / 10_000


def test_replay_trades_each_slots_quota_with_lots_and_fees(
    place: Place, bars: pl.DataFrame
) -> None:
    """It holds no more than the quota of each slot's version, and pays the venue's fees."""
    place.platform._exchanges["daily"] = place.world.venue
    first, second = place.promoted(30), place.promoted(20)
    pinned = (f"{MODEL}/{first}*0.3", f"{MODEL}/{second}*0.6")
    models = {
        slot: pinned_models(place.platform, version)
        for slot, version in zip(SLOTS, pinned, strict=True)
    }
    decided = decisions(place.platform, "daily", bars, models)
    period = Period(SLOTS, Decimal(10_000))
    held = comparison._replayed(place.platform, "daily", bars, decided, period, ())
    assert set(held) == set(SLOTS)
    for slot in SLOTS:
        invested = 1 - float(held[slot]["USDT"]) / 10_000
        wanted = sum(weight for weight in decided[slot].weights.values() if weight)
        assert invested == pytest.approx(wanted, abs=0.03)
        assert held[slot]["BTC"] % Decimal("0.00000001") == 0
    assert held[SLOTS[0]]["USDT"] > held[SLOTS[1]]["USDT"]
    closes = comparison._closes(bars, SLOTS[:1])  # each bar's prices are all the same
    (worth,) = comparison._marked(held, closes, "USDT")["equity"].to_list()
    costs = platform_costs(place)
    assert 10_000 - worth == pytest.approx(
        (10_000 - float(held[SLOTS[0]]["USDT"])) * costs, rel=0.1
    )
