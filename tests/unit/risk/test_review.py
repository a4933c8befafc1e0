"""Every rule, the order before and after it, and the review that joins them."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from penstock.core.errors import RiskError
from penstock.core.halts import Halt, TradingState
from penstock.core.orders import Side
from penstock.core.proposals import SeenBar
from penstock.risk.limits import RiskLimits
from penstock.risk.review import ApprovedOrders, review
from penstock.testing import risk
from penstock.testing.risk import SLOT, context, order

WIDE = risk.limits()


def rules_against(approved: ApprovedOrders) -> list[str]:
    return [rejection.rule for rejection in approved.findings]


def test_order_inside_every_limit_passes_as_it_is() -> None:
    """The order is unchanged and there is no finding."""
    approved = review([order()], context(), WIDE)
    assert approved.orders == (order(),)
    assert not approved.findings


def test_buy_over_the_weight_limit_is_shrunk_to_it() -> None:
    """9 of 10 units wanted, 50% allowed, 2 held: 3 pass."""
    held = context(positions={"BTC/USDT": Decimal(2)})
    approved = review([order("8")], held, WIDE.model_copy(update={"max_weight": Decimal("0.5")}))
    assert [o.quantity for o in approved.orders] == [Decimal(3)]
    assert rules_against(approved) == ["max_weight"]


def test_buy_of_a_symbol_already_over_its_weight_is_denied_and_its_sell_passes() -> None:
    """Exposure limits never stop what reduces exposure."""
    held = context(positions={"BTC/USDT": Decimal(6)})
    limits = WIDE.model_copy(update={"max_weight": Decimal("0.5"), "max_gross": Decimal("0.5")})
    approved = review([order("1"), order("2", Side.SELL)], held, limits)
    assert [o.side for o in approved.orders] == [Side.SELL]
    assert [o.side for o in approved.denied] == [Side.BUY]


def test_buys_over_the_gross_limit_shrink_alike() -> None:
    """Two buys of 500 with 80% allowed and nothing held: each keeps four fifths."""
    limits = WIDE.model_copy(update={"max_gross": Decimal("0.8")})
    approved = review([order("5"), order("5", symbol="ETH/USDT")], context(), limits)
    assert [o.quantity for o in approved.orders] == [Decimal(4), Decimal(4)]


def test_order_over_the_notional_limit_is_shrunk() -> None:
    """A limit of 250 at price 100 lets 2.5 pass."""
    approved = review(
        [order("9")], context(), WIDE.model_copy(update={"max_order_notional": Decimal(250)})
    )
    assert [o.quantity for o in approved.orders] == [Decimal("2.5")]


def test_order_on_a_stale_bar_is_denied() -> None:
    """A bar that closed before the slot denies, buys and sells alike."""
    old = context(seen={"BTC/USDT": SeenBar(SLOT - timedelta(days=1), 100.0)})
    old = replace(old, positions={"BTC/USDT": Decimal(1)})
    approved = review([order(), order(side=Side.SELL)], old, WIDE)
    assert not approved.orders
    assert rules_against(approved) == ["stale_bars", "stale_bars"]
    allowed = WIDE.model_copy(update={"max_bar_lag_seconds": 86400.0})
    assert len(review([order()], old, allowed).orders) == 1


def test_buy_without_any_bar_is_denied_and_a_closing_sell_passes() -> None:
    """An asset that left the universe can be closed though no bar stands behind it."""
    account = context(seen={}, positions={"BTC/USDT": Decimal(1)})
    approved = review([order(), order(side=Side.SELL)], account, WIDE)
    assert [o.side for o in approved.orders] == [Side.SELL]


def test_price_outside_the_collar_is_denied() -> None:
    """A venue price 30% over the last close is not traded on."""
    limits = WIDE.model_copy(update={"price_collar": Decimal("0.2")})
    assert rules_against(review([order(price=130)], context(), limits)) == ["price_collar"]
    assert len(review([order(price=119)], context(), limits).orders) == 1


@pytest.mark.parametrize(
    ("state", "passed"), [(TradingState.HALTED, []), (TradingState.REDUCE_ONLY, [Side.SELL])]
)
def test_kill_switch_stops_all_or_buys_only(state: TradingState, passed: list[Side]) -> None:
    """HALTED passes nothing, REDUCE_ONLY passes sells."""
    halted = context(
        halt=Halt("main", state, "drill", "operator", SLOT), positions={"BTC/USDT": Decimal(1)}
    )
    approved = review([order(), order(side=Side.SELL)], halted, WIDE)
    assert [o.side for o in approved.orders] == passed
    assert "drill" in approved.findings[0].reason


@pytest.mark.parametrize("subject", ["BTC/USDT", "BTC"])
def test_break_locks_its_instrument_only(subject: str) -> None:
    """A lock on a symbol or its base asset denies that symbol; the other trades on."""
    locked = context(locks={subject: "deposit: 1 more"})
    approved = review([order(), order(symbol="ETH/USDT")], locked, WIDE)
    assert [o.symbol for o in approved.orders] == ["ETH/USDT"]


def test_all_reasons_are_kept_and_the_strictest_counts() -> None:
    """An order against three limits shrinks to the smallest and shows all three."""
    limits = RiskLimits(
        max_weight=Decimal("0.3"), max_gross=Decimal("0.4"), max_order_notional=Decimal(200)
    )
    approved = review([order("9")], context(), limits)
    assert [o.quantity for o in approved.orders] == [Decimal(2)]
    assert rules_against(approved) == ["max_order_notional", "max_weight", "max_gross"]


def test_what_the_limits_leave_under_the_venues_minimum_is_denied() -> None:
    """An order shrunk to less than the venue takes is denied, with the venue's reason."""
    approved = review(
        [order("9")], context(), WIDE.model_copy(update={"max_order_notional": Decimal(4)})
    )
    assert not approved.orders
    assert rules_against(approved) == ["max_order_notional", "venue_minimum"]


def test_approved_orders_cannot_be_made_without_review() -> None:
    """Placement takes ApprovedOrders; nobody else can make one."""
    with pytest.raises(RiskError, match="review"):
        ApprovedOrders((order(),), (), (), object())


def test_defaults_are_the_cautious_ones_and_unknown_limits_are_refused() -> None:
    """50% a symbol, 80% gross; a typo in the configuration fails."""
    assert (RiskLimits().max_weight, RiskLimits().max_gross) == (Decimal("0.50"), Decimal("0.80"))
    with pytest.raises(ValidationError):
        RiskLimits.model_validate({"max_wieght": 0.1})


amounts = st.decimals(min_value=Decimal("0.001"), max_value=50, places=3)


@given(
    st.lists(
        st.tuples(amounts, st.sampled_from(list(Side)), st.sampled_from(["BTC/USDT", "ETH/USDT"])),
        max_size=6,
    ),
    amounts,
)
def test_approved_orders_never_grow_and_gross_stays_inside(
    wanted: list[tuple[Decimal, Side, str]], held: Decimal
) -> None:
    """No order grows or changes side, and approved buys leave gross exposure inside its limit."""
    account = context(positions={"BTC/USDT": held}, equity=Decimal(1000) + held * 100)
    limits = WIDE.model_copy(update={"max_gross": Decimal("0.6")})
    orders = [order(str(quantity), side, symbol) for quantity, side, symbol in wanted]
    approved = review(orders, account, limits)
    remaining = list(orders)
    for passed in approved.orders:
        origin = next(
            o
            for o in remaining
            if replace(o, quantity=passed.quantity) == passed and o.quantity >= passed.quantity
        )
        remaining.remove(origin)
    bought = sum(o.notional for o in approved.orders if o.side is Side.BUY)
    assert bought == 0 or account.gross + bought <= limits.max_gross * account.equity


def test_exit_is_held_by_the_kill_switch_and_by_locks_alone() -> None:
    """A position that is being closed leaves past every limit; a halt and a lock still hold it. A
    buy, and a sell of more than is held, are no exit: each limit holds them.
    """
    held = context(positions={"BTC/USDT": Decimal(2)}, exits=frozenset({"BTC/USDT"}))
    tight = WIDE.model_copy(update={"max_order_notional": Decimal(50)})
    leaving = order("2", Side.SELL)
    assert review([leaving], held, tight).orders == (leaving,)
    halted = replace(held, halt=Halt("main", TradingState.HALTED, "drill", "me", SLOT))
    assert rules_against(review([leaving], halted, tight)) == ["kill_switch"]
    locked = replace(held, locks={"BTC": "balance_mismatch: 1 less"})
    assert rules_against(review([leaving], locked, tight)) == ["locked_instrument"]
    for other in (order("2"), order("3", Side.SELL)):
        assert rules_against(review([other], held, tight)) == ["max_order_notional"]
