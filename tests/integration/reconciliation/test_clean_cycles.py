"""Clean cycles lock nothing. Accounts that really trade, at awkward numbers, are reconciled many
times.

Three accounts trade random weights at prices and volumes with many decimals. One pays its fees in
what it receives, one in quote, one in BNB. Notionals have more decimals than a venue shows, and
thin bars fill orders in part. Limit orders rest half filled, and closed positions leave less than a
lot. PENSTOCK_CLEAN_SEED changes the numbers.
"""

import os
import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

import polars as pl
import pytest

from penstock.core.bars import BARS_SCHEMA
from penstock.core.orders import OrderState
from penstock.execution.reconciliation.reconcile import reconcile
from penstock.risk.limits import RiskLimits
from penstock.simulation.fill_model import FillModel
from penstock.testing.risk import switched_off
from tests.integration.practice_account import Account

SEED = int(os.environ.get("PENSTOCK_CLEAN_SEED", "20240301"))
#: First price and decimals of each symbol.
MARKETS = {
    "BTC/USDT": (51_234.56, 2),
    "ETH/USDT": (2_517.83, 2),
    "SOL/USDT": (121.3171, 4),
    "DOGE/USDT": (0.0812345, 7),
    "BNB/USDT": (402.617, 3),
}
TRADED = [symbol for symbol in MARKETS if symbol != "BNB/USDT"]
FEES: tuple[Literal["received", "quote", "BNB"], ...] = ("received", "quote", "BNB")
FIRST = datetime(2024, 3, 1, tzinfo=UTC)
SLOTS = 40
#: The market moves at random here: what would stop trading for it is off.
LIMITS = RiskLimits.model_validate(
    {"max_gross": 1, "max_weight": 1} | switched_off("max_orders_per_minute", "max_orders_per_day")
)


def thin_bars(chance: random.Random) -> pl.DataFrame:
    """Return random walks whose bars have a volume of some 2,000 to 60,000 USDT."""
    rows = []
    for symbol, (price, decimals) in MARKETS.items():
        value = price
        for day in range(-2, SLOTS + 3):
            value = round(value * (1 + chance.gauss(0, 0.03)), decimals)
            volume = round(chance.uniform(2_000, 60_000) / value, 8)
            rows.append((symbol, FIRST + timedelta(days=day), *(value,) * 4, volume))
    return pl.DataFrame(rows, schema=BARS_SCHEMA, orient="row")


def random_weights(chance: random.Random) -> dict[str, float]:
    """Return weights of which about a third are zero: positions are closed again and again."""
    raw = [chance.random() * (chance.random() > 0.35) for _ in TRADED]
    return {
        symbol: weight / max(sum(raw), 1.0) * 0.9
        for symbol, weight in zip(TRADED, raw, strict=True)
    }


def rest_half_filled(account: Account, chance: random.Random) -> None:
    """Leave an order of ours in the book that took what its bar had and waits for the rest."""
    symbol = chance.choice(TRADED)
    instrument = account.session.exchange.instruments()[symbol]
    above = account.session.exchange.last_prices([symbol])[symbol] * Decimal("1.002")
    price = (above / instrument.price_tick).to_integral_value() * instrument.price_tick
    cash = account.ledger.balances(account.session.account).get("USDT", Decimal(0))
    quantity = instrument.round_lots(cash * Decimal("0.6") / price)
    if quantity * price > 50:
        account.own_order(str(quantity), str(price), symbol, followed=False)


def cycle(account: Account, cycles: int, contents: Callable[[], Any], count: Counter[str]) -> None:
    """Reconcile so often; the first look may book and note what is new, every further one must
    leave no trace.
    """
    keeper, before = account.keeper(), None
    for n in range(cycles):
        found = reconcile(account.session, keeper)
        count["cycles"] += 1
        count["false locks"] += bool(found.breaks or found.opened)
        assert not found.breaks, f"seed {SEED}: a clean account was locked: {found.breaks}"
        if n == 1:
            before = contents()
    keeper.release()
    assert cycles < 3 or contents() == before, (
        f"seed {SEED}: a further look at a clean account wrote something"
    )


def run(
    opened: Callable[..., Any], contents: Callable[[], Any], cycles: int, slots: int
) -> Counter[str]:
    """Trade `slots` slots on each account and reconcile `cycles` times in all."""
    count: Counter[str] = Counter()
    rounds = slots * len(FEES)
    for number, fee_asset in enumerate(FEES):
        chance = random.Random(SEED + number)
        balances = {"USDT": Decimal("100000.12345678"), "BNB": Decimal("25.87654321")}
        seen = {symbol: price for symbol, (price, _) in MARKETS.items()}
        model = FillModel(fee_asset=fee_asset, slippage_bps=Decimal("3.7"))
        account = opened(thin_bars(chance), seen, balances, model)
        for n in range(slots):
            account.trade(random_weights(chance), LIMITS)
            if n % 3 == 2:
                rest_half_filled(account, chance)
            share = cycles // rounds + ((number * slots + n) < cycles % rounds)
            cycle(account, share, contents, count)
        note(account, count)
    return count


def note(account: Account, count: Counter[str]) -> None:
    """Count what made the numbers awkward."""
    name = account.session.account
    fills, orders = account.ledger.fills(name), account.ledger.orders(name)
    count["fills"] += len(fills)
    count["notionals in parts of a cent"] += sum(
        fill.notional != round(fill.notional, 2) for fill in fills
    )
    count["base fees"] += sum(fill.fee_asset == fill.symbol.split("/")[0] for fill in fills)
    count["BNB fees"] += sum(fill.fee_asset == "BNB" for fill in fills)
    ended = (OrderState.EXPIRED, OrderState.CANCELED, OrderState.PARTIALLY_FILLED)
    count["partly filled"] += sum(
        order.state in ended and order.filled_quantity > 0 for order in orders
    )
    instruments = account.session.exchange.instruments()
    held = account.ledger.balances(name)
    count["remains under a lot"] += sum(
        held.get(symbol.split("/")[0], Decimal(0)) % instruments[symbol].lot_step > 0
        for symbol in TRADED
    )


def line(count: Counter[str]) -> str:
    shown = ", ".join(
        f"{number} {what}"
        for what, number in count.items()
        if what not in ("cycles", "false locks")
    )
    return (
        f"clean cycles: {count['cycles']}, {count['false locks']} false locks (seed {SEED}; "
        f"{shown})"
    )


def require_awkward(count: Counter[str]) -> None:
    """The numbers were such as a real account has: a proof on round ones proves little."""
    for what in (
        "fills",
        "notionals in parts of a cent",
        "base fees",
        "BNB fees",
        "partly filled",
        "remains under a lot",
    ):
        assert count[what] > 0, f"seed {SEED}: the run had no {what}"


def test_clean_cycles_lock_nothing_and_write_nothing(
    opened: Callable[..., Any], contents: Callable[[], Any]
) -> None:
    """A hundred cycles of accounts that trade leave no lock."""
    count = run(opened, contents, 120, 8)
    print(f"\n{line(count)}")
    assert (count["cycles"], count["false locks"]) == (120, 0)
    require_awkward(count)


@pytest.mark.soak
def test_ten_thousand_clean_cycles_lock_nothing(
    opened: Callable[..., Any], contents: Callable[[], Any]
) -> None:
    """The long form of the same."""
    count = run(opened, contents, 10_000, SLOTS)
    print(f"\n{line(count)}")
    assert (count["cycles"], count["false locks"]) == (10_000, 0)
    require_awkward(count)
