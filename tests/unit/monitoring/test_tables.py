"""Tables of an account's values: what people read of orders, everywhere the same."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from penstock.core.account_totals import AccountTotals
from penstock.core.breaks import Break, BreakKind
from penstock.core.cost_basis import CostBasis
from penstock.core.halts import TradingState
from penstock.core.order_records import OrderRecord
from penstock.core.orders import EndCause, OrderRequest, OrderState, OrderType, Phase, Side
from penstock.core.rebalances import RebalanceStatus
from penstock.interfaces.cli.tables import open_breaks_table, positions_record
from penstock.monitoring.figures import AccountFigures
from penstock.monitoring.positions import Holdings, LastPrice, holdings_of
from penstock.monitoring.reports import format_number
from penstock.monitoring.tables import (
    ORDER_COLUMNS,
    breaks_table,
    figures_table,
    orders_table,
    positions_sentence,
    positions_table,
)
from penstock.testing.instruments import instrument

AT = datetime(2025, 6, 1, tzinfo=UTC)


def order(name: str, state: OrderState, end_cause: EndCause | None) -> OrderRecord:
    quantity = Decimal("0.0150")
    return OrderRecord(
        account="main",
        rebalance_id=1,
        request=OrderRequest(name, "BTC/USDT", Side.BUY, OrderType.MARKET, quantity, venue="a"),
        phase=Phase.BUYS,
        child=0,
        attempt=0,
        strategy_version="trend/1",
        reference_price=Decimal(50_000),
        created_at=AT,
        state=state,
        filled_quantity=quantity,
        end_cause=end_cause,
        reason="said",
        updated_at=AT,
    )


def test_orders_are_shown_with_why_they_ended() -> None:
    """Newest first; quantities keep their digits, an order that works has ended for no cause. A
    cause that the state names already is not said twice.
    """
    assert orders_table([order("a", OrderState.CANCELED, EndCause.STOPPED)])["ended"].to_list() == [
        EndCause.STOPPED.value
    ]
    orders = [
        order("old", OrderState.FILLED, EndCause.FILLED),
        order("new", OrderState.OPEN, None),
    ]
    new, old = orders_table(orders).rows()
    assert old == (
        *(AT, "BTC/USDT", "a", "buy", "0.015", "0.015", "filled", "", "trend/1", "said"),
    )
    assert (new[6], new[7]) == ("open", "")
    assert orders_table(orders, newest_first=False).rows() == [old, new]
    assert orders_table([]).columns == list(ORDER_COLUMNS)


def test_figures_show_every_total_under_its_own_name() -> None:
    """Totals stand between the slots and what is open; amounts are in cents."""
    slots = {RebalanceStatus.SKIPPED: 1, RebalanceStatus.DONE: 2}
    totals = AccountTotals(slots, orders=4, fills=5, traded_notional=Decimal("12345.678"))
    assert figures_table(AccountFigures(TradingState.ACTIVE, totals, open_breaks=3)).rows() == [
        ("trading state", "active"),
        ("slots", "2 done, 1 skipped"),
        ("orders", "4"),
        ("fills", "5"),
        ("traded notional", "12,345.68"),
        ("open breaks", "3"),
    ]


def basis(quantity: str, price: str) -> CostBasis:
    return CostBasis(Decimal(quantity), Decimal(quantity) * Decimal(price))


def holdings(prices: dict[str, LastPrice], now: datetime | None = AT) -> Holdings:
    """Two coins and cash; BTC was bought, ADA was deposited."""
    return holdings_of(
        "main",
        "USDT",
        {"BTC": Decimal("0.019999999"), "ADA": Decimal(50), "USDT": Decimal("999.99999999507")},
        {"BTC/USDT": basis("0.019999999", "49999.987654321")},
        prices,
        now,
        instruments={"BTC/USDT": instrument("BTC/USDT")},
    )


def test_positions_have_price_value_weight_and_unrealised_profit() -> None:
    """Amounts are written by step, tick and places. A deposit has no cost, so its profit is
    unknown; so is the age of a price where the venue's time is. The total says how old its prices
    are.
    """
    prices = {
        "BTC/USDT": LastPrice(Decimal("55000.0"), AT - timedelta(hours=30), "1d bar"),
        "ADA/USDT": LastPrice(Decimal("2"), AT - timedelta(seconds=90), "fill"),
    }
    held = holdings(prices)
    assert positions_table(held).rows() == [
        ("ADA/USDT", "50", "unknown", "2", "100.00", "4.5%", "unknown", "90 s, fill"),
        ("BTC/USDT", "0.02", "49999.99", "55000", "1,100.00", "50.0%", "+100.00", "30 h, 1d bar"),
        ("cash, USDT", "", "", "", "1,000.00", "45.5%", "", ""),
    ]
    worth = "equity is 2,200.00 USDT at the last prices"
    assert positions_sentence(held) == f"{worth}, 90 s to 30 h old"
    aged = {symbol: replace(price, at=AT) for symbol, price in prices.items()}
    assert positions_sentence(holdings(aged)) == f"{worth}, 0 s old"
    undated = holdings(prices, now=None)
    assert positions_sentence(undated) == f"{worth}, the oldest of 2025-05-30 18:00 (1d bar)"
    ages = positions_table(undated)["price_age"].to_list()
    assert ages == ["of 2025-05-31 23:58, fill", "of 2025-05-30 18:00, 1d bar", ""]


@pytest.mark.parametrize(
    ("bought", "gain"), [("2", "10"), ("0.5", "2.5"), ("7", "10")], ids=["all", "part", "more"]
)
def test_only_what_was_bought_has_gained(bought: str, gain: str) -> None:
    """A deposit has no cost. Of what was withdrawn nothing is gained here."""
    price = {"BTC/USDT": LastPrice(Decimal(105), AT, "fill")}
    bases = {"BTC/USDT": basis(bought, "100")}
    (held,) = holdings_of("main", "USDT", {"BTC": Decimal(2)}, bases, price, AT).positions
    assert (held.entry_price, held.unrealised) == (100, Decimal(gain))


def test_position_without_a_price_makes_equity_and_all_weights_unknown() -> None:
    """It does not count as nothing."""
    held = holdings({"BTC/USDT": LastPrice(Decimal(55_000), AT, "fill")})
    ada, btc, cash = positions_table(held).rows()
    assert ada == ("ADA/USDT", "50", *["unknown"] * 6)
    assert (btc[4], btc[5], cash[4], cash[5]) == ("1,100.00", "unknown", "1,000.00", "unknown")
    assert positions_sentence(held) == "equity is unknown: no price of ADA/USDT is stored"
    record = positions_record(held)
    assert (record["equity"], record["cash"]) == (None, "1000")
    assert record["positions"][0] == {  # type: ignore[index]  # JSON
        "symbol": "ADA/USDT",
        "quantity": "50",
        **dict.fromkeys(("entry_price", "price", "price_at", "price_source", "price_age_seconds")),
        **dict.fromkeys(("value", "weight", "unrealised")),
        "counted": True,
    }


def test_asset_that_does_not_count_leaves_equity_known() -> None:
    """`uncounted_assets`: one without a market."""
    held = holdings_of("main", "USDT", {"AIR": Decimal(9), "USDT": Decimal(5)}, {}, {}, AT, ["AIR"])
    assert positions_sentence(held) == "equity is 5.00 USDT"
    assert positions_table(held)["weight"].to_list() == ["not counted", "100.0%"]


def test_amounts_of_breaks_and_balances_have_no_noise_of_a_float() -> None:
    """Neither exponents, nor minus zero, nor zeros at the end, nor digits past what is traded."""
    found = Break("main", "USDT", BreakKind.DEPOSIT, "", Decimal("999.9999999950700000"), None)
    gone = Break("main", "ADA", BreakKind.WITHDRAWAL, "", Decimal("1E+3"), Decimal("-0E-8"))
    for shown in (breaks_table([found, gone]), open_breaks_table([found, gone])):
        assert shown["ledger"].to_list() == ["1000", "1000"]
        assert shown["venue"].to_list() == ["", "0"]
    assert replace(found, changes={"USDT": Decimal("1E+3")}).message == (
        " (accepting books +1000 USDT)"
    )
    assert format_number(Decimal("999.9999999950700000")) == "1000"
    assert [format_number(each) for each in (-0.0, -0.001, 1e-7, 1234.5)] == [
        *("0", "-0.001", "0.0000001", "1,234.50"),
    ]
