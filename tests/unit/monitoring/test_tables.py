"""Tables of an account's values: what people read of orders, everywhere the same."""

from datetime import UTC, datetime
from decimal import Decimal

from penstock.core.account_totals import AccountTotals
from penstock.core.halts import TradingState
from penstock.core.order_records import OrderRecord
from penstock.core.orders import EndCause, OrderRequest, OrderState, OrderType, Phase, Side
from penstock.core.rebalances import RebalanceStatus
from penstock.monitoring.figures import AccountFigures
from penstock.monitoring.tables import ORDER_COLUMNS, figures_table, orders_table

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
        created_at=AT,
        state=state,
        filled_quantity=quantity,
        end_cause=end_cause,
        reason="said",
        updated_at=AT,
    )


def test_orders_are_shown_with_why_they_ended() -> None:
    """Newest first; quantities keep their digits, an order that works has ended for no cause."""
    orders = [
        order("old", OrderState.FILLED, EndCause.FILLED),
        order("new", OrderState.OPEN, None),
    ]
    new, old = orders_table(orders).rows()
    assert old == (
        *(AT, "BTC/USDT", "a", "buy", "0.015", "0.015", "filled", "filled", "trend/1", "said"),
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
