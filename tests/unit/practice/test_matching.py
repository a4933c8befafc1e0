"""How orders become trades, locks and balances."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from penstock.core.timeframes import Timeframe
from penstock.practice.binance_errors import PracticeRefusal
from penstock.simulation.journal import Journal
from tests.unit.practice.conftest import Frames, Row, Sessions, SignedAccount

D = Timeframe.D1
DAY = timedelta(days=1)
NONE = Decimal(0)


def flat(price: float, volume: float = 1000.0, reach: float = 0.0) -> Row:
    return (price, price + reach, price - reach, price, volume)


@pytest.fixture
def calm(open_account: Sessions, frame: Frames) -> SignedAccount:
    """An account on five days at 10 that reach one up and down."""
    return open_account({D: frame([flat(10.0, reach=1.0)] * 5, D)})


def test_touching_the_limit_is_not_enough(calm: SignedAccount) -> None:
    """The low equals the limit of one buy and is under that of another. Only the second fills, as
    maker at its price.
    """
    touched, passed = calm.place("BUY", "1", "9"), calm.place("BUY", "1", "9.01")
    calm.step(DAY)
    assert calm.order(touched["orderId"])["status"] == "NEW"
    filled = calm.order(passed["orderId"])
    assert (filled["status"], filled["cummulativeQuoteQty"]) == ("FILLED", "9.01000000")
    (trade,) = calm.ask("GET /api/v3/myTrades", symbol="AAAUSDT")
    assert (trade["isMaker"], trade["price"]) == (True, "9.01000000")


def test_bar_that_is_still_open_fills_nothing(calm: SignedAccount) -> None:
    """The day's low is not known before the day is over."""
    order = calm.place("BUY", "1", "9.5")
    calm.step(DAY - timedelta(seconds=1))
    assert calm.order(order["orderId"])["status"] == "NEW"
    calm.step(timedelta(seconds=1))
    assert calm.order(order["orderId"])["status"] == "FILLED"


def test_order_placed_within_a_bar_waits_for_the_next(calm: SignedAccount) -> None:
    """Whether the day's low came before or after noon is unknown: a bar that opened earlier does
    not count.
    """
    calm.step(DAY / 2)
    order = calm.place("BUY", "1", "9.5")
    calm.step(DAY / 2)
    assert calm.order(order["orderId"])["status"] == "NEW"
    calm.step(DAY)
    assert calm.order(order["orderId"])["status"] == "FILLED"


def test_hours_decide_before_days(open_account: Sessions, frame: Frames) -> None:
    """With hourly bars at hand a resting order fills in the hour that passes it."""
    hours = [flat(10.0)] * 5 + [flat(10.0, reach=2.0)] + [flat(10.0)] * 18
    session = open_account(
        {Timeframe.H1: frame(hours, Timeframe.H1), D: frame([flat(10.0, reach=2.0)], D)}
    )
    order = session.place("BUY", "1", "9")
    session.step(timedelta(hours=5, minutes=59))
    assert session.order(order["orderId"])["status"] == "NEW"
    session.step(timedelta(minutes=1))
    assert session.order(order["orderId"])["status"] == "FILLED"


def test_volume_is_shared_between_orders(open_account: Sessions, frame: Frames) -> None:
    """A bar of ten units at half participation gives five in all, and the rest of a market order
    expires.
    """
    session = open_account(
        {D: frame([flat(10.0, volume=10.0)], D)}, participation=0.5, min_slippage_ticks=NONE
    )
    assert session.place("BUY", "3")["status"] == "FILLED"
    second = session.place("BUY", "3")
    assert (second["status"], second["executedQty"]) == ("EXPIRED", "2.00000000")
    third = session.place("BUY", "3")
    assert (third["status"], third["executedQty"], third["fills"]) == ("EXPIRED", "0.00000000", [])
    assert session.held("USDT") == (Decimal(950), 0)


def test_bar_that_others_took_fills_nothing_after_a_restart(
    open_account: Sessions, frame: Frames, tmp_path: Path
) -> None:
    """A market order takes all of the first day, whose low is under a resting buy. A second
    exchange on the journal of the first does not offer that day again.
    """
    bars = {D: frame([flat(10.0, volume=10.0, reach=1.0), flat(10.0), flat(10.0)], D)}
    first = open_account(bars, Journal(tmp_path / "journal"))
    order = first.place("BUY", "1", "9.5")["orderId"]
    assert first.place("BUY", "10")["status"] == "FILLED"
    first.step(DAY)
    assert first.order(order)["status"] == "NEW"
    first.venue.journal.commit()
    again = open_account(bars, Journal(tmp_path / "journal"))
    again.step(DAY)
    assert again.order(order)["status"] == "NEW"


def test_without_participation_volume_does_not_bind(open_account: Sessions, frame: Frames) -> None:
    """`participation=None` fills any size."""
    session = open_account({D: frame([flat(10.0, volume=1.0)], D)}, participation=None)
    assert session.place("BUY", "50")["status"] == "FILLED"


def test_what_a_crossing_limit_order_does_not_get_rests_with_its_lock(
    open_account: Sessions, frame: Frames
) -> None:
    """Of eight at 11 five fill at 10 and three rest, locking 33; cancelling frees them."""
    session = open_account({D: frame([flat(10.0, volume=5.0)] * 2, D)}, min_slippage_ticks=NONE)
    answer = session.place("BUY", "8", "11")
    assert (answer["status"], answer["executedQty"]) == ("PARTIALLY_FILLED", "5.00000000")
    assert session.held("USDT") == (Decimal(1000 - 50 - 33), Decimal(33))
    session.ask("DELETE /api/v3/order", symbol="AAAUSDT", orderId=str(answer["orderId"]))
    assert session.held("USDT") == (Decimal(950), 0)


@pytest.mark.parametrize(
    ("time_in_force", "status", "executed"),
    [("IOC", "EXPIRED", "5.00000000"), ("FOK", "EXPIRED", "0.00000000")],
)
def test_ioc_and_fok_never_rest(
    open_account: Sessions, frame: Frames, time_in_force: str, status: str, executed: str
) -> None:
    """Five of eight are at hand: IOC takes them, FOK takes none; nothing stays locked."""
    session = open_account({D: frame([flat(10.0, volume=5.0)], D)})
    answer = session.place("BUY", "8", "11", timeInForce=time_in_force)
    assert (answer["status"], answer["executedQty"]) == (status, executed)
    assert session.held("USDT")[1] == 0


def test_post_only_order_that_would_take_is_refused(calm: SignedAccount) -> None:
    """LIMIT_MAKER at or beyond the market is Binance's -2010."""
    parameters = {"symbol": "AAAUSDT", "side": "SELL", "type": "LIMIT_MAKER", "quantity": "1"}
    with pytest.raises(PracticeRefusal, match="immediately match") as refusal:
        calm.ask("POST /api/v3/order", **parameters, price="10")
    assert refusal.value.code == -2010
    calm.ask("POST /api/v3/order", **parameters, price="10.5")
    assert calm.order(1)["status"] == "NEW"


def test_slippage_worsens_the_takers_price(open_account: Sessions, frame: Frames) -> None:
    """50 bps on 10 are 10.05 for a buyer and 9.95 for a seller."""
    session = open_account({D: frame([flat(10.0)], D)}, slippage_bps=Decimal(50))
    assert session.place("BUY", "1")["fills"][0]["price"] == "10.05000000"
    assert session.place("SELL", "1")["fills"][0]["price"] == "9.95000000"


def test_fee_can_be_taken_in_quote_on_both_sides(open_account: Sessions, frame: Frames) -> None:
    """A buy then pays notional and fee in quote and receives whole units. Without money for the fee
    it is refused.
    """
    session = open_account(
        {D: frame([flat(10.0)], D)},
        fee_asset="quote",
        taker_fee_bps=Decimal(10),
        min_slippage_ticks=NONE,
    )
    session.place("BUY", "50")
    assert (session.held("AAA")[0], session.held("USDT")[0]) == (Decimal(150), Decimal("499.5"))
    with pytest.raises(PracticeRefusal, match="insufficient balance"):
        session.place("BUY", "49.95")


def test_fee_can_be_taken_in_a_third_asset(open_account: Sessions, frame: Frames) -> None:
    """The fee leaves in BNB on both sides while there is enough of it. Otherwise it leaves as
    Binance takes it.
    """
    bars = pl.concat([frame([flat(10.0)], D), frame([flat(400.0)], D, symbol="BNB/USDT")])
    session = open_account(
        {D: bars}, fee_asset="BNB", taker_fee_bps=Decimal(10), min_slippage_ticks=NONE
    )
    assert session.place("BUY", "4")["fills"][0]["commissionAsset"] == "AAA"
    session.venue.change(session.account, "BNB", Decimal("0.0003"), "deposit")
    for side in ("BUY", "SELL"):
        (fill,) = session.place(side, "4")["fills"]
        assert (fill["commissionAsset"], fill["commission"]) == ("BNB", "0.00010000")
    assert session.held("BNB")[0] == Decimal("0.0001")
    assert session.place("SELL", "40")["fills"][0]["commissionAsset"] == "USDT"


def test_locks_follow_partial_fills_of_a_resting_sell(
    open_account: Sessions, frame: Frames
) -> None:
    """Sixty rest at 10.5 and ten a day fill: what stays locked is what is left."""
    session = open_account({D: frame([flat(10.0, volume=10.0, reach=1.0)] * 4, D)})
    session.place("SELL", "60", "10.5")
    assert session.held("AAA") == (40, 60)
    for left in (50, 40, 30):
        session.step(DAY)
        assert session.held("AAA") == (40, left)
    assert session.held("USDT")[0] == 1000 + 30 * Decimal("10.5") * Decimal("0.999")


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"side": "HOLD"}, -1117),
        ({"type": "STOP"}, -1116),
        ({"quantity": "x"}, -1100),
        ({"quantity": ""}, -1105),
        ({"quantity": "-1"}, -1100),
        ({"quantity": "0.123456789"}, -1111),
        ({"quantity": "0.001"}, -1013),
        ({"quantity": "0.1"}, -1013),
        ({"price": "9"}, -1106),
        ({"type": "LIMIT", "price": "9"}, -1102),
        ({"type": "LIMIT", "price": "9", "timeInForce": "DAY"}, -1115),
        ({"type": "LIMIT", "price": "9.001", "timeInForce": "GTC"}, -1013),
        ({"symbol": "NOPE"}, -1121),
        ({"newClientOrderId": "x" * 37}, -1100),
    ],
)
def test_bad_parameter_has_binances_code_and_changes_nothing(
    calm: SignedAccount, parameters: dict[str, str], code: int
) -> None:
    """Each wrong parameter is refused with Binance's own code before anything happens."""
    order = {"symbol": "AAAUSDT", "side": "BUY", "type": "MARKET", "quantity": "1"}
    with pytest.raises(PracticeRefusal) as refusal:
        calm.ask("POST /api/v3/order", **order | parameters)
    assert refusal.value.code == code
    assert (calm.held("USDT"), calm.account.orders) == ((Decimal(1000), 0), {})


def test_client_order_id_is_unique_among_open_orders_only(calm: SignedAccount) -> None:
    """Binance's rule: a name is refused while its order rests, and taken again once it has ended.
    Sending a filled order again buys twice.
    """
    calm.place("BUY", "1", "5", newClientOrderId="resting")
    with pytest.raises(PracticeRefusal, match="Duplicate order sent"):
        calm.place("BUY", "1", newClientOrderId="resting")
    calm.place("BUY", "1", newClientOrderId="filled")
    calm.place("BUY", "1", newClientOrderId="filled")
    assert len(calm.account.orders) == 3


def test_journal_explains_every_balance(open_account: Sessions, frame: Frames) -> None:
    """The changes in the venue's ledger add up to the balances, trade by trade."""
    session = open_account({D: frame([flat(10.0, reach=1.0)] * 4, D)})
    session.place("BUY", "3")
    session.place("SELL", "2", "10.5")
    session.step(DAY)
    session.place("SELL", "4")
    sums: dict[str, Decimal] = {}
    for entry in session.venue.journal.entries:
        if entry["kind"] == "balance":
            sums[entry["asset"]] = sums.get(entry["asset"], Decimal(0)) + Decimal(entry["change"])
    assert sums == {asset: held.total for asset, held in session.account.balances.assets.items()}
