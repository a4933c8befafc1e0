"""The database books the balances of penstock.core.accounting, whatever the fills are."""

import random
import secrets
from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.adapters.stores.postgres import Database, PostgresLedger, PostgresLedgerHistory
from penstock.core.accounting import balances_of, changes_of
from penstock.core.leases import Lease
from penstock.core.order_records import OrderIntent
from penstock.core.orders import (
    Fill,
    OrderEvent,
    OrderEventKind,
    OrderRequest,
    OrderType,
    Phase,
    Side,
)

AT = datetime(2025, 6, 1, tzinfo=UTC)
SYMBOLS = ("BTC/USDT", "ETH/BTC")  # BTC is the base of one and the quote of the other
SMALLEST, LARGEST = Decimal("1e-24"), Decimal("1e18")

amounts = st.decimals(SMALLEST, LARGEST, places=24) | st.sampled_from([SMALLEST, LARGEST])
trades = st.tuples(
    st.sampled_from(SYMBOLS),
    st.sampled_from(Side),
    amounts,
    amounts,
    st.just(Decimal(0)) | amounts,
    st.sampled_from(["BTC", "USDT", "ETH", "BNB"]),
)


def account_with_orders(ledger: PostgresLedger) -> tuple[str, Lease, dict[tuple[str, Side], str]]:
    """Open an account with one sent order per symbol and side, larger than any fill."""
    account = f"booked-{secrets.token_hex(6)}"
    ledger.open_account(account, "venue", "USDT")
    lease = ledger.acquire_lease(account, "test", 600)
    assert lease is not None
    names = {(s, side): f"{account}-{s}-{side}" for s in SYMBOLS for side in Side}
    orders = [
        OrderIntent(
            OrderRequest(name, symbol, side, OrderType.MARKET, LARGEST * 100),
            Phase.SELLS if side is Side.SELL else Phase.BUYS,
            child=0,
            attempt=0,
            strategy_version="v",
            target_weight=0.5,
            reference_price=Decimal(1),
        )
        for (symbol, side), name in names.items()
    ]
    sent = [OrderEvent(name, OrderEventKind.SUBMIT, AT) for name in names.values()]
    slot = ledger.start_rebalance(lease, AT, "v").id
    ledger.write_ahead(lease, slot, orders, sent, AT)
    return account, lease, names


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    made=st.lists(trades, min_size=1, max_size=12),
    shuffler=st.randoms(use_true_random=False),
    sizes=st.lists(st.integers(1, 6), min_size=24, max_size=24),
)
def test_booked_positions_equal_the_accounting_rule(
    database: Database,
    made: list[tuple[str, Side, Decimal, Decimal, Decimal, str]],
    shuffler: random.Random,
    sizes: list[int],
) -> None:
    """Fills have fees in base, quote, a third asset or none, huge and tiny. They arrive twice, in
    any order and in batches of any size. Each is booked once, and the balances equal the rule's to
    the last digit. The balances that the history folds from the fills are equal too.
    """
    ledger = PostgresLedger(database)
    account, lease, names = account_with_orders(ledger)
    fills = [
        Fill(f"t{n}", names[symbol, side], symbol, side, quantity, price, fee, asset, AT)
        for n, (symbol, side, quantity, price, fee, asset) in enumerate(made)
    ]
    arriving = shuffler.sample(fills * 2, 2 * len(fills))
    booked: list[Fill] = []
    for size in sizes:
        batch, arriving = arriving[:size], arriving[size:]
        booked += ledger.book_fills(lease, batch)
    assert sorted(fill.trade_id for fill in booked) == sorted(fill.trade_id for fill in fills)
    expected = balances_of(changes_of(fill) for fill in fills)
    assert dict(ledger.balances(account)) == expected
    seen = PostgresLedgerHistory(database).state_at(account, AT)
    assert dict(seen.balances) == expected
