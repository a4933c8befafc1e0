"""Weights to orders: what must hold for any account, and the cases that cost money when they are
wrong.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from penstock.core.errors import ConfigError
from penstock.core.instruments import Instrument, spot_assets
from penstock.core.order_limits import OrderLimits
from penstock.core.orders import Phase, Side
from penstock.core.proposals import ProposedOrder
from penstock.portfolio.rebalancing import (
    Book,
    RebalancePolicy,
    Skipped,
    plan_buys,
    plan_sells,
)

BASES = ("AAA", "BBB", "CCC", "DDD")
ZERO = Decimal(0)


def market(
    base: str, step: str = "0.001", min_notional: str = "5", max_quantity: Decimal | None = None
) -> Instrument:
    lot = Decimal(step)
    return Instrument(
        f"{base}/USDT", base, "USDT", Decimal("0.01"), lot, lot, Decimal(min_notional), max_quantity
    )


INSTRUMENTS = {f"{base}/USDT": market(base) for base in BASES}
PRICES = {
    "AAA/USDT": Decimal(100),
    "BBB/USDT": Decimal(10),
    "CCC/USDT": Decimal(1),
    "DDD/USDT": Decimal(7),
}


@dataclass(frozen=True)
class Traded:
    """A rebalance as it trades: sells, their fills, then buys planned from what is there."""

    equity: Decimal
    """Equity before anything was traded."""
    orders: tuple[ProposedOrder, ...]
    skipped: tuple[Skipped, ...]
    balances: Mapping[str, Decimal]
    """Balances by asset after the fills."""


def trade(
    targets: Mapping[str, float | None],
    balances: Mapping[str, Decimal],
    policy: RebalancePolicy | None = None,
    prices: Mapping[str, Decimal] | None = None,
    instruments: Mapping[str, Instrument] | None = None,
) -> Traded:
    """Plan the sells, fill them, plan the buys again, fill those: as a slot does."""
    book = Book(
        targets,
        balances,
        prices or PRICES,
        instruments or INSTRUMENTS,
        policy or RebalancePolicy(),
    )
    fee = book.policy.fee_bps / 10_000
    sells, held_back = plan_sells(book)
    sold = {order.symbol: None for order in sells}
    after = filled(sells, balances, fee)
    buys, skipped = plan_buys(replace(book, targets={**targets, **sold}, balances=after))
    return Traded(book.equity, (*sells, *buys), (*held_back, *skipped), filled(buys, after, fee))


def filled(
    orders: Sequence[ProposedOrder], balances: Mapping[str, Decimal], fee: Decimal
) -> dict[str, Decimal]:
    """Return the balances after every order fills at its reference price, fee in the asset
    received.
    """
    after = {asset: Decimal(quantity) for asset, quantity in balances.items()}
    for order in orders:
        base, quote = spot_assets(order.symbol)
        received = base if order.side is Side.BUY else quote
        amount = order.quantity if order.side is Side.BUY else order.notional
        after[base] = after.get(base, ZERO) + order.side.sign * order.quantity
        after[quote] = after.get(quote, ZERO) - order.side.sign * order.notional
        after[received] -= amount * fee
        assert after[quote] >= 0, f"{order} spends cash that is not there"
        assert after[base] >= 0, f"{order} sells what is not held"
    return after


def filled_value(
    balances: Mapping[str, Decimal], symbol: str, prices: Mapping[str, Decimal]
) -> Decimal:
    return balances[spot_assets(symbol)[0]] * prices[symbol]


def lot_value(
    symbol: str, prices: Mapping[str, Decimal], instruments: Mapping[str, Instrument]
) -> Decimal:
    return instruments[symbol].lot_step * prices[symbol]


quantities = st.decimals(min_value=0, max_value=10_000, places=5)
some_prices = st.decimals(min_value=Decimal("0.01"), max_value=100_000, places=4)
steps = st.sampled_from(["1", "0.1", "0.01", "0.00001", "0.5", "25"])


#: Targets, positions, prices and instruments of an account.
Drawn = tuple[
    dict[str, float | None], dict[str, Decimal], dict[str, Decimal], dict[str, Instrument]
]


@st.composite
def accounts(
    draw: st.DrawFn,
) -> Drawn:
    raw = draw(st.lists(st.none() | st.floats(min_value=0, max_value=1), min_size=4, max_size=4))
    scale = max(1.0, sum(weight or 0 for weight in raw))
    targets = {
        f"{base}/USDT": None if w is None else w / scale for base, w in zip(BASES, raw, strict=True)
    }
    positions = {base: draw(quantities) for base in BASES} | {"USDT": draw(quantities)}
    prices = {f"{base}/USDT": draw(some_prices) for base in BASES}
    return targets, positions, prices, {f"{base}/USDT": market(base, draw(steps)) for base in BASES}


@settings(max_examples=400)
@given(accounts())
def test_orders_never_spend_more_than_there_is_and_are_legal_at_the_venue(account: Drawn) -> None:
    """The orders fill one by one at the reference price with fees. No balance goes under zero and
    the venue takes each order.
    """
    targets, positions, prices, instruments = account
    policy = RebalancePolicy()
    result = trade(targets, positions, policy, prices, instruments)
    for order in result.orders:
        instrument = instruments[order.symbol]
        assert instrument.refusal(order.quantity, order.price) is None
        assert order.quantity % instrument.lot_step == 0
    sides = [order.side for order in result.orders]
    assert sides == sorted(sides, key=[Side.SELL, Side.BUY].index)


@settings(max_examples=400)
@given(accounts())
def test_positions_after_the_trades_are_within_a_lot_of_the_target_or_explained(
    account: Drawn,
) -> None:
    """A symbol with an order that was not cut for cash ends within one lot of its target. Others
    have a reason.
    """
    targets, positions, prices, instruments = account
    policy = RebalancePolicy(no_trade_band=ZERO, fee_bps=ZERO, slippage_bps=ZERO)
    result = trade(targets, positions, policy, prices, instruments)
    after = result.balances
    traded = {order.symbol for order in result.orders}
    skipped = {skip.symbol for skip in result.skipped}
    cut_for_cash = (
        after["USDT"] < sum((i.lot_step * prices[s] for s, i in instruments.items()), ZERO) + 20
    )
    for symbol, weight in targets.items():
        if weight is None:
            assert symbol not in traded
            continue
        gap = Decimal(str(weight)) * result.equity - filled_value(after, symbol, prices)
        within_lot = abs(gap) <= instruments[symbol].lot_step * prices[symbol] * Decimal(
            "1.000001"
        ) + Decimal("1e-12")
        assert within_lot or symbol in skipped or (gap > 0 and cut_for_cash), symbol


@settings(max_examples=400)
@given(accounts())
def test_planning_again_after_the_fills_gives_nothing_outside_the_band(account: Drawn) -> None:
    """The plan is a fixed point. Once it is filled, a second plan orders nothing but the part that
    cash had cut short.
    """
    targets, positions, prices, instruments = account
    free = RebalancePolicy(fee_bps=ZERO, slippage_bps=ZERO)
    first = trade(targets, positions, free, prices, instruments)
    after = first.balances
    # else buys were cut for cash, and a later plan tries again with what lots left over
    assume(after["USDT"] > 0)
    ordered = {order.symbol for order in first.orders}
    assume(
        all(
            Decimal(str(w or 0)) * first.equity - filled_value(after, s, prices)
            < max(
                lot_value(s, prices, instruments),
                ZERO if s in ordered else instruments[s].min_notional,
                ZERO if s in ordered else free.no_trade_band * first.equity,
            )
            for s, w in targets.items()
        )
    )
    second = trade(targets, after, free, prices, instruments)
    assert not second.orders


def test_half_and_half_from_cash_buys_both() -> None:
    """From cash alone, the targets are bought to the lot."""
    result = trade({"AAA/USDT": 0.5, "BBB/USDT": 0.4}, {"USDT": Decimal(1000)})
    assert [(o.symbol, o.side, o.quantity, o.phase) for o in result.orders] == [
        ("AAA/USDT", Side.BUY, Decimal(5), Phase.BUYS),
        ("BBB/USDT", Side.BUY, Decimal(40), Phase.BUYS),
    ]


def test_full_investment_is_scaled_to_leave_costs() -> None:
    """Weights that sum to one leave the fee buffer in cash: every buy gives its share."""
    policy = RebalancePolicy(fee_bps=Decimal(10), slippage_bps=Decimal(10))
    result = trade({"AAA/USDT": 0.5, "BBB/USDT": 0.5}, {"USDT": Decimal(1000)}, policy)
    spent = sum(order.notional for order in result.orders)
    assert Decimal(997) < spent <= Decimal(1000) / Decimal("1.002")


def test_sell_comes_before_buy_and_its_proceeds_are_used() -> None:
    """A switch sells first; the buy is sized to what the sale yields after costs."""
    result = trade({"AAA/USDT": 0.0, "BBB/USDT": 1.0}, {"AAA": Decimal(10)})
    sell, buy = result.orders
    assert (sell.side, sell.quantity, sell.phase) == (Side.SELL, Decimal(10), Phase.SELLS)
    assert Decimal(995) < buy.notional <= Decimal(999) / Decimal("1.002")


def test_undecided_symbol_is_held() -> None:
    """None is no decision: nothing is sold or bought of it, and it says so."""
    result = trade({"AAA/USDT": None, "BBB/USDT": 0.5}, {"AAA": Decimal(5), "USDT": Decimal(500)})
    assert {order.symbol for order in result.orders} == {"BBB/USDT"}
    assert "no decision" in next(
        skip.reason for skip in result.skipped if skip.symbol == "AAA/USDT"
    )


@pytest.mark.parametrize(("budget", "bought"), [(1.0, 6), (0.75, "3.5"), (0.4, 0)])
def test_held_without_a_decision_reduces_what_others_may_have(
    budget: float, bought: int | str
) -> None:
    """AAA is held at 40% of the account without a decision. BBB may have what is left of what the
    strategies may use, though it is asked for whole.
    """
    book = Book(
        {"AAA/USDT": None, "BBB/USDT": 0.9},
        {"AAA": Decimal(4), "USDT": Decimal(600)},
        PRICES,
        INSTRUMENTS,
        RebalancePolicy(fee_bps=ZERO, slippage_bps=ZERO),
        budget=budget,
    )
    buys, _ = plan_buys(book)
    assert sum(order.notional for order in buys) == Decimal(bought) * 100


def test_what_undecided_holdings_leave_is_shared_by_weight() -> None:
    """AAA holds half without a decision; BBB and CCC are asked for at 0.6 and 0.2."""
    targets = {"AAA/USDT": None, "BBB/USDT": 0.6, "CCC/USDT": 0.2}
    balances = {"AAA": Decimal(5), "BBB": Decimal(45), "USDT": Decimal(50)}
    result = trade(targets, balances, RebalancePolicy(fee_bps=ZERO, slippage_bps=ZERO))
    assert [(o.symbol, o.side, o.quantity) for o in result.orders] == [
        ("BBB/USDT", Side.SELL, Decimal("7.5")),
        ("CCC/USDT", Side.BUY, Decimal(125)),
    ]


def test_symbol_outside_the_universe_takes_nothing_of_the_budget() -> None:
    """It is no strategy's: only the cash limits what they buy."""
    book = Book(
        {"BBB/USDT": 0.5},
        {"AAA": Decimal(4), "USDT": Decimal(600)},
        PRICES,
        INSTRUMENTS,
        RebalancePolicy(fee_bps=ZERO, slippage_bps=ZERO),
        budget=0.5,
    )
    (order,) = plan_buys(book)[0]
    assert order.notional == 500


def test_difference_inside_the_band_is_left_alone_but_a_close_is_not() -> None:
    """A position 0.2% off is not touched; a target of zero sells even a position smaller than the
    band.
    """
    positions = {"AAA": Decimal("4.98"), "CCC": Decimal(6), "USDT": Decimal(496)}
    result = trade(
        {"AAA/USDT": 0.5, "CCC/USDT": 0.0},
        positions,
        RebalancePolicy(no_trade_band=Decimal("0.02")),
    )
    assert [(o.symbol, o.quantity) for o in result.orders] == [("CCC/USDT", Decimal(6))]
    assert "band" in next(skip.reason for skip in result.skipped if skip.symbol == "AAA/USDT")


def test_close_sells_every_whole_lot_and_dust_is_skipped_with_the_venues_reason() -> None:
    """A target of zero sells what lots allow; a rest under the venue's minimum is only reported."""
    closes = trade({"AAA/USDT": 0.0}, {"AAA": Decimal("1.23456")})
    assert closes.orders[0].quantity == Decimal("1.234")
    dust = trade({"AAA/USDT": 0.0}, {"AAA": Decimal("0.00056"), "USDT": Decimal(100)})
    assert not dust.orders
    assert "minimum" in dust.skipped[0].reason


@pytest.mark.parametrize(("rule", "sold"), [("close", True), ("hold", False)])
def test_asset_outside_the_universe_follows_the_policy(rule: str, sold: bool) -> None:
    """A held asset that no target names is closed or held, as the policy says; unlisted assets are
    left alone.
    """
    policy = RebalancePolicy.model_validate({"outside_universe": rule})
    result = trade(
        {"AAA/USDT": 0.1},
        {"BBB": Decimal(50), "DELISTED": Decimal(1), "USDT": Decimal(500)},
        policy,
    )
    assert ("BBB/USDT" in {order.symbol for order in result.orders}) is sold


def test_short_target_sells_to_zero_and_says_so() -> None:
    """Spot cannot go short: a negative weight closes the position."""
    result = trade({"AAA/USDT": -0.5}, {"AAA": Decimal(2), "USDT": Decimal(100)})
    assert [(o.side, o.quantity) for o in result.orders] == [(Side.SELL, Decimal(2))]
    assert "short" in result.skipped[0].reason


def test_order_over_the_venues_maximum_is_planned_whole() -> None:
    """It is sent in pieces, all of them in the same slot."""
    capped = {"AAA/USDT": market("AAA", max_quantity=Decimal(3))}
    result = trade({"AAA/USDT": 0.9}, {"USDT": Decimal(1000)}, instruments=capped)
    assert (result.orders[0].quantity, result.skipped) == (Decimal(9), ())


@pytest.mark.parametrize(("held", "bought"), [(0, 5), (3, 2), (5, 0), (6, 0)])
def test_buy_stops_at_what_the_venue_lets_an_account_hold(held: int, bought: int) -> None:
    """Of nine that are wanted the venue lets five be held: what it does not is said."""
    limits = OrderLimits(position=Decimal(5))
    capped = {"AAA/USDT": replace(market("AAA"), limits=limits)}
    balances = {"AAA": Decimal(held), "USDT": Decimal(1000 - 100 * held)}
    result = trade({"AAA/USDT": 0.9}, balances, instruments=capped)
    assert sum(order.quantity for order in result.orders) == bought
    assert [skip.reason for skip in result.skipped] == [
        f"buy of {9 - held - bought} of {9 - held}: the venue lets an account hold 5 AAA at most"
    ]


def test_held_asset_without_price_leaves_exits_only() -> None:
    """Equity that cannot be known names the symbol and buys nothing. A part of a position depends
    on equity and is not sold; a whole one is.
    """
    prices = {"AAA/USDT": Decimal(100), "CCC/USDT": Decimal(10)}
    balances = {asset: Decimal(5) for asset in ("AAA", "BBB", "CCC", "USDT")}
    result = trade({"AAA/USDT": 0.1, "CCC/USDT": 0.0, "DDD/USDT": 0.5}, balances, prices=prices)
    assert [(order.symbol, order.side) for order in result.orders] == [("CCC/USDT", Side.SELL)]
    assert all("BBB/USDT" in skip.reason for skip in result.skipped if skip.symbol == "AAA/USDT")


def test_asset_that_the_policy_does_not_count_is_no_equity_and_no_doubt() -> None:
    """An operator says of an asset without a price that it is worth nothing here."""
    policy = RebalancePolicy(uncounted_assets=("BBB",))
    prices, balances = {"AAA/USDT": Decimal(100)}, {"BBB": Decimal(1), "USDT": Decimal(1000)}
    result = trade({"AAA/USDT": 0.5}, balances, policy, prices)
    assert (result.equity, len(result.orders)) == (1000, 1)


@pytest.mark.parametrize(
    ("target", "sold"), [(0.0, "2.5"), (0.02, "2.5"), (0.5, None), (None, None)]
)
def test_reserve_is_never_sold(target: float | None, sold: str | None) -> None:
    """Of 3 AAA, 0.5 are kept. They count in equity and in the target, and buys go on."""
    policy = RebalancePolicy(keep={"AAA": Decimal("0.5")}, no_trade_band=ZERO)
    balances = {"AAA": Decimal(3), "USDT": Decimal(700)}
    result = trade({"AAA/USDT": target}, balances, policy, {"AAA/USDT": Decimal(100)})
    assert result.equity == 1000
    sells = [order.quantity for order in result.orders if order.side is Side.SELL]
    assert sells == ([] if sold is None else [Decimal(sold)])
    assert result.balances["AAA"] >= Decimal("0.5")


def test_reserve_of_cash_or_of_nothing_is_refused() -> None:
    """Cash is left by a quota, and a reserve is above zero."""
    for keep in ({"USDT": Decimal(5)}, {"AAA": ZERO}):
        with pytest.raises(ValueError, match="keep"):
            RebalancePolicy(keep=keep)


def test_target_in_another_quote_is_refused() -> None:
    """An account trades against one quote asset; a target in another is a configuration error."""
    other = Instrument(
        "AAA/EUR", "AAA", "EUR", Decimal("0.01"), Decimal("0.001"), Decimal("0.001"), Decimal(5)
    )
    with pytest.raises(ConfigError, match="AAA/EUR"):
        trade({"AAA/EUR": 0.5}, {"USDT": Decimal(1)}, instruments={**INSTRUMENTS, "AAA/EUR": other})


def test_weight_on_an_exact_lot_boundary_is_not_a_lot_short() -> None:
    """0.3 of 1000 at 100 is exactly 3 lots of 1: binary floats would give 2."""
    whole = {"AAA/USDT": market("AAA", "1")}
    result = trade({"AAA/USDT": 0.3}, {"USDT": Decimal(1000)}, instruments=whole)
    assert result.orders[0].quantity == Decimal(3)


def test_buys_are_fractions_of_the_equity_after_the_sells() -> None:
    """The account is read again once the sells are over, so that their cost is gone.

    Of 1000, 500 are sold for 475: a tenth of 975 buys 9.75 at 10.
    """
    policy = RebalancePolicy(fee_bps=Decimal(500), slippage_bps=ZERO)
    result = trade({"AAA/USDT": 0.5, "BBB/USDT": 0.1}, {"AAA": Decimal(10)}, policy)
    assert next(order.quantity for order in result.orders if order.side is Side.BUY) == Decimal(
        "9.75"
    )


@pytest.mark.parametrize("key", ["order_type", "limit_offset_bps"])
def test_settings_that_are_gone_name_the_style_of_execution(key: str) -> None:
    """There is one way to say how orders are worked, and the error of the other one names it."""
    with pytest.raises(ValueError, match=rf"{key} .*execution: \{{algorithm: limit"):
        RebalancePolicy.model_validate({key: "limit"})


def test_what_cannot_be_traded_reduces_what_others_may_have() -> None:
    """The quotas come to 60%. BBB, 30%, is suspended, whatever was decided of it: AAA gets 30%."""
    listed = {symbol: each for symbol, each in INSTRUMENTS.items() if symbol != "BBB/USDT"}
    balances = {"USDT": Decimal(700), "BBB": Decimal(30)}
    targets = {"AAA/USDT": 0.6, "BBB/USDT": 0.0}
    book = Book(targets, balances, PRICES, listed, RebalancePolicy(), budget=0.6)
    (order,), _ = plan_buys(book)
    assert (order.symbol, order.notional) == ("AAA/USDT", Decimal(300))


def test_what_is_lent_counts_and_pays_nothing() -> None:
    """300 in cash and 700 in an earn programme: half of 1,000 is wanted and 300 can be spent."""
    policy = RebalancePolicy(fee_bps=ZERO, slippage_bps=ZERO)
    balances = {"USDT": Decimal(300)}
    book = Book({"AAA/USDT": 0.5}, balances, PRICES, INSTRUMENTS, policy, lent=Decimal(700))
    (order,), _ = plan_buys(book)
    assert (book.equity, order.notional) == (1_000, 300)


def test_crumbs_and_a_reserve_are_nothing_to_sell() -> None:
    """AAA is less than an order, BBB is what the policy keeps, CCC is a position."""
    policy = RebalancePolicy(keep={"BBB": Decimal(4)})
    balances = {"AAA": Decimal("0.01"), "BBB": Decimal(4), "CCC": Decimal(9)}
    book = Book({}, balances, PRICES, INSTRUMENTS, policy)
    assert book.crumbs == {"AAA/USDT", "BBB/USDT"}
