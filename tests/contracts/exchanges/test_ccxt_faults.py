"""What the ccxt adapter makes of a venue's faults. It never takes unknown for refused, and it sends
an order once.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import ccxt
import pytest
import requests
from requests.adapters import HTTPAdapter

from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.core.errors import (
    ConfigError,
    OrderNotFoundError,
    PracticeExchangeDownError,
    RateLimitedError,
    VenueError,
    VenueRejectedError,
    VenueUnavailableError,
)
from penstock.core.orders import OrderRequest, OrderState, OrderType, Side
from penstock.core.timeframes import Timeframe
from penstock.execution.orders.cancel import cancel_working
from penstock.practice.control import PracticeControl
from penstock.practice.faults import Fault, FaultKind
from penstock.practice.limits import LimitSpec
from penstock.practice.server import AccountSpec, PracticeServer
from penstock.testing.world import make_world

DAY = timedelta(days=1)
ORDER_PATH = "/api/v3/order"


def buy(client_order_id: str, quantity: str = "1") -> OrderRequest:
    return OrderRequest(client_order_id, "AAA/USDT", Side.BUY, OrderType.MARKET, Decimal(quantity))


def submitted_into(
    connect: Callable[..., CcxtExchange], control: PracticeControl, kind: FaultKind, **details: Any
) -> tuple[CcxtExchange, str, VenueError]:
    """Submit one order into a fault; return the exchange, the order's id and the error."""
    exchange = connect(timeout_seconds=0.3 if "timeout" in kind else 5.0)
    exchange.instruments()
    control.arm_next(kind, "POST", ORDER_PATH, **details)
    order_id = f"into-{time.time_ns()}"
    with pytest.raises(VenueError) as failure:
        exchange.submit(buy(order_id))
    (counted,) = control.faults()
    assert (counted["calls"], counted["struck"]) == (1, 1), "an order must be sent exactly once"
    control.clear_faults()
    return exchange, order_id, failure.value


def test_error_names_the_server_that_was_asked() -> None:
    """A practice exchange is used under the venue's addresses. Where it is down, an operator must
    not look for the fault at the venue.
    """
    exchange = CcxtExchange("binance", "k", "s", base_url="http://127.0.0.1:9", read_attempts=1)
    with pytest.raises(PracticeExchangeDownError) as failure:
        exchange.instruments()
    assert "does not answer at http://127.0.0.1:9: the stack is not running" in str(failure.value)
    assert "binance.vision" not in str(failure.value)


@pytest.mark.parametrize(
    "kind", [FaultKind.TIMEOUT_BEFORE, FaultKind.ERROR_BEFORE, FaultKind.RATE_LIMIT, FaultKind.BAN]
)
def test_order_lost_before_the_venue_took_it_is_unknown_and_then_not_found(
    connect: Callable[..., CcxtExchange], control: PracticeControl, kind: FaultKind
) -> None:
    """Without a usable answer the error is VenueUnavailableError. A question by id then finds that
    there is no order. After a ban it waits for the ban's end.
    """
    details = {"seconds": 1} if kind is FaultKind.BAN else {}
    exchange, order_id, error = submitted_into(connect, control, kind, **details)
    assert isinstance(error, VenueUnavailableError)
    with pytest.raises(OrderNotFoundError):
        exchange.find_order(order_id, "AAA/USDT")


@pytest.mark.parametrize(
    "kind",
    [FaultKind.TIMEOUT_AFTER, FaultKind.ERROR_AFTER, FaultKind.RESET_AFTER, FaultKind.MALFORMED],
)
def test_order_taken_without_a_usable_answer_is_unknown_and_then_found(
    connect: Callable[..., CcxtExchange], control: PracticeControl, kind: FaultKind
) -> None:
    """The same error as when it was lost, but asking by id finds it filled."""
    exchange, order_id, error = submitted_into(connect, control, kind)
    assert type(error) is VenueUnavailableError
    report = exchange.find_order(order_id, "AAA/USDT")
    assert (report.state, report.filled_quantity) == (OrderState.FILLED, 1)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_no_5xx_is_ever_read_as_a_refusal(
    connect: Callable[..., CcxtExchange], control: PracticeControl, status: int
) -> None:
    """Binance's 5xx carry an error code too; it says nothing of what became of the order."""
    _, _, error = submitted_into(connect, control, FaultKind.ERROR_AFTER, status=status)
    assert type(error) is VenueUnavailableError


@pytest.mark.parametrize("kind", [FaultKind.RATE_LIMIT, FaultKind.BAN])
def test_rate_limit_tells_how_long_to_wait(
    connect: Callable[..., CcxtExchange], control: PracticeControl, kind: FaultKind
) -> None:
    """429 and 418 become RateLimitedError with the venue's own Retry-After."""
    _, _, error = submitted_into(connect, control, kind, seconds=17)
    assert isinstance(error, RateLimitedError)
    assert error.retry_after_seconds == 17


class SaysInstead(HTTPAdapter):
    """Lets an order through to the venue, and answers it with something else than the venue did."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__()
        self.status, self.body, self.orders = status, body, 0

    def send(self, request, **options):  # type: ignore[no-untyped-def,override]  # HTTPAdapter's own signature is untyped
        answer = super().send(request, **options)
        if request.method == "POST":
            self.orders += 1
            answer = requests.Response()
            answer.status_code, answer._content, answer.url, answer.request = (
                self.status,
                self.body.encode(),
                request.url,
                request,
            )
            answer.headers["Content-Type"] = "application/json"
        return answer


TOO_MANY = '{"code":-1003,"msg":"Too much request weight used."}'
TOO_MANY_ORDERS = '{"code":-1015,"msg":"Too many new orders."}'


@pytest.mark.parametrize("body", [TOO_MANY, TOO_MANY_ORDERS])
@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_too_many_requests_in_a_5xx_is_no_refusal(
    connect: Callable[..., CcxtExchange], status: int, body: str
) -> None:
    """ccxt reads these bodies as a rate limit whatever the status. The venue took the order, so a
    second request would double it.
    """
    exchange = connect()
    exchange.instruments()
    exchange.session.mount("http://", SaysInstead(status, body))
    with pytest.raises(VenueError) as failure:
        exchange.submit(buy("doubtful"))
    assert type(failure.value) is VenueUnavailableError
    assert exchange.find_order("doubtful", "AAA/USDT").state is OrderState.FILLED


@pytest.mark.parametrize(
    ("status", "body"),
    [(400, TOO_MANY), (400, TOO_MANY_ORDERS), (429, "{}"), (418, TOO_MANY), (429, "busy")],
)
def test_too_many_requests_in_a_whole_answer_below_500_is_the_venues_word(
    connect: Callable[..., CcxtExchange], status: int, body: str
) -> None:
    """A documented body or the status alone: refused for its rate, so that it may be sent again."""
    exchange = connect()
    exchange.instruments()
    exchange.session.mount("http://", SaysInstead(status, body))
    with pytest.raises(RateLimitedError):
        exchange.submit(buy("refused"))


@pytest.mark.parametrize("code", [-1000, -1001, -1006, -1007, -1008])
def test_venue_that_says_it_does_not_know_is_believed(
    connect: Callable[..., CcxtExchange], code: int
) -> None:
    """Binance has codes for "execution status unknown"; under a 400 too they are no refusal."""
    exchange = connect()
    exchange.instruments()
    exchange.session.mount(
        "http://", SaysInstead(400, f'{{"code":{code},"msg":"Internal error; unable to process."}}')
    )
    with pytest.raises(VenueError) as failure:
        exchange.submit(buy("unsure"))
    assert type(failure.value) is VenueUnavailableError


def test_limit_of_ccxt_itself_is_known_to_have_sent_nothing(
    connect: Callable[..., CcxtExchange], control: PracticeControl
) -> None:
    """ccxt may refuse before anything leaves: the order may be sent again, and the message does not
    blame the venue.
    """
    exchange = connect()
    exchange.instruments()

    def full(cost: float | None = None) -> None:
        raise ccxt.RateLimitExceeded("throttle queue is over maxCapacity (1000)")

    orders, exchange.client.throttle = control.stats()["orders"], full
    with pytest.raises(RateLimitedError, match="nothing was sent"):
        exchange.submit(buy("queued"))
    assert control.stats()["orders"] == orders


def test_rate_limit_of_a_later_request_says_nothing_of_the_order(
    connect: Callable[..., CcxtExchange], control: PracticeControl
) -> None:
    """At some venues create_order sends a question after the order. A 429 to that question does not
    send the order again.
    """
    exchange = connect()
    exchange.instruments()
    order = exchange.client.create_order

    def order_then_ask(*details: object) -> object:
        order(*details)
        return exchange.client.fetch_balance()

    exchange.client.create_order = order_then_ask
    control.arm_next(FaultKind.RATE_LIMIT, "GET", "/api/v3/account")
    with pytest.raises(VenueError, match="later request") as failure:
        exchange.submit(buy("asked-after"))
    assert type(failure.value) is VenueUnavailableError
    assert exchange.find_order("asked-after", "AAA/USDT").state is OrderState.FILLED


@pytest.mark.parametrize(
    "kind",
    [
        FaultKind.ERROR_BEFORE,
        FaultKind.RESET_AFTER,
        FaultKind.MALFORMED,
        FaultKind.TIMEOUT_BEFORE,
        FaultKind.RATE_LIMIT,
    ],
)
@pytest.mark.parametrize(
    "path", ["/api/v3/klines", "/api/v3/account", "/api/v3/exchangeInfo", "/api/v3/myTrades"]
)
def test_reads_are_asked_again(
    connect: Callable[..., CcxtExchange], control: PracticeControl, kind: FaultKind, path: str
) -> None:
    """Two bad answers in a row do not fail a read."""
    exchange = connect(timeout_seconds=0.2)
    exchange.last_prices(["AAA/USDT"])
    control.arm(
        Fault(kind=kind, path=path, times=2, seconds=0 if kind is FaultKind.RATE_LIMIT else 30)
    )
    calls = {
        "/api/v3/klines": lambda: (
            exchange.fetch_bars("AAA/USDT", Timeframe.D1, exchange.now() - DAY, 5).height == 2
        ),
        "/api/v3/account": lambda: exchange.balances()["AAA"] == 50,
        "/api/v3/exchangeInfo": lambda: (
            set(exchange.instruments()) == {"AAA/USDT", "BBB/USDT", "GAP/USDT"}
        ),
        "/api/v3/myTrades": lambda: list(exchange.fills("AAA/USDT", exchange.now())) == [],
    }
    assert calls[path]()
    assert control.faults()[0]["struck"] == 2


def test_read_that_stays_unanswered_is_unavailable(
    connect: Callable[..., CcxtExchange], control: PracticeControl
) -> None:
    """After the attempts given, the read raises VenueUnavailableError."""
    exchange = connect(read_attempts=3)
    exchange.instruments()
    control.arm(Fault(kind=FaultKind.ERROR_BEFORE, path="/api/v3/klines"))
    with pytest.raises(VenueUnavailableError, match="HTTP 503"):
        exchange.fetch_bars("AAA/USDT", Timeframe.D1, exchange.now(), 1)
    assert control.faults()[0]["calls"] == 3


def test_long_ban_is_not_waited_out(
    connect: Callable[..., CcxtExchange], control: PracticeControl
) -> None:
    """A Retry-After of two minutes is handed to the caller at once."""
    exchange = connect()
    control.arm(Fault(kind=FaultKind.BAN, path="/api/v3/time", seconds=120))
    started = time.monotonic()
    with pytest.raises(RateLimitedError):
        exchange.now()
    assert time.monotonic() - started < 2


def test_cancel_without_an_answer_is_unknown_and_sent_once(
    connect: Callable[..., CcxtExchange], control: PracticeControl
) -> None:
    """The cancellation was carried out, but the caller must ask."""
    exchange = connect()
    order = OrderRequest(
        f"cancel-{time.time_ns()}", "AAA/USDT", Side.BUY, OrderType.LIMIT, Decimal(1), Decimal(50)
    )
    exchange.submit(order)
    control.arm_next(FaultKind.ERROR_AFTER, "DELETE", ORDER_PATH)
    with pytest.raises(VenueUnavailableError):
        exchange.cancel(order.client_order_id, "AAA/USDT")
    assert control.faults()[0]["calls"] == 1
    assert exchange.find_order(order.client_order_id, "AAA/USDT").state is OrderState.CANCELED


def test_stale_candles_lack_the_newest_bars(
    connect: Callable[..., CcxtExchange], control: PracticeControl
) -> None:
    """Two days late, the venue's newest bar is the one of two days ago."""
    exchange = connect()
    now = exchange.now()
    control.arm(Fault(kind=FaultKind.STALE_CANDLES, path="/api/v3/klines", seconds=2 * 86_400))
    assert (
        exchange.fetch_bars("AAA/USDT", Timeframe.D1, now - 4 * DAY, 10)["ts"].to_list()[-1]
        == now - 2 * DAY
    )


def test_candles_that_come_late_are_whole_and_do_not_delay_others(
    connect: Callable[..., CcxtExchange], control: PracticeControl
) -> None:
    """A day's candle is shown two days after its close. Another symbol has its open one."""
    exchange = connect()
    now = exchange.now()
    control.delay_candles("AAA/USDT", 2 * 86_400)
    try:
        late, other = (
            exchange.fetch_bars(symbol, Timeframe.D1, now - 5 * DAY, 10)
            for symbol in ("AAA/USDT", "BBB/USDT")
        )
    finally:
        control.end_delays()
    assert late["ts"].to_list() == [now - 5 * DAY, now - 4 * DAY, now - 3 * DAY]
    assert late["close"][-1] == late["open"][-1] + 1
    assert other["ts"][-1] == now


def test_slow_answer_is_an_answer(
    connect: Callable[..., CcxtExchange], control: PracticeControl
) -> None:
    """Half a second late is not lost."""
    exchange = connect()
    control.arm_next(FaultKind.SLOW, path="/api/v3/time", seconds=0.5)
    started = time.monotonic()
    exchange.now()
    assert time.monotonic() - started >= 0.5


def test_order_may_become_visible_later(
    connect: Callable[..., CcxtExchange], control: PracticeControl
) -> None:
    """An accepted order can be unknown to queries for a while; its trades and balances are real at
    once.
    """
    exchange = connect()
    exchange.instruments()
    control.arm_next(FaultKind.HIDDEN_ORDER, "POST", ORDER_PATH, seconds=0.5)
    order_id = f"hidden-{time.time_ns()}"
    assert exchange.submit(buy(order_id)).state is OrderState.FILLED
    with pytest.raises(OrderNotFoundError):
        exchange.find_order(order_id, "AAA/USDT")
    assert exchange.balances()["AAA"] > 50
    time.sleep(0.55)
    assert exchange.find_order(order_id, "AAA/USDT").state is OrderState.FILLED


def test_trades_are_read_to_the_end_where_pages_are_shorter_than_asked_for(
    connect: Callable[..., CcxtExchange], control: PracticeControl
) -> None:
    """A thousand are asked for and sixty come: the others follow, and none is lost."""
    exchange = connect()
    for number in range(130):
        exchange.submit(buy(f"short-{time.time_ns()}-{number}", "0.1"))
    control.arm(Fault(kind=FaultKind.SHORT_PAGES, path="/api/v3/myTrades", rows=60))
    found = exchange.fills("AAA/USDT", exchange.now() - DAY)
    assert (len(found), len({fill.trade_id for fill in found})) == (130, 130)
    assert control.faults()[0]["struck"] == 3


def test_wrong_credentials_are_refused_by_name(
    connect: Callable[..., CcxtExchange], control: PracticeControl
) -> None:
    """A wrong secret is -1022, an unknown key -2015, a malformed one -2014; the message tells what
    to check.
    """
    control.create_account("right-key", "right-secret", {})
    cases = (
        ("right-key", "wrong", "-1022", "secret"),
        ("unknown-key", "x", "-2015", "key"),
        ("bad key!", "x", "-2014", "key"),
    )
    for key, secret, code, remedy in cases:
        with pytest.raises(VenueRejectedError, match=remedy) as refusal:
            connect(key, secret).balances()
        assert refusal.value.code == code


def test_clock_skew_is_refused_by_name(
    connect: Callable[..., CcxtExchange], control: PracticeControl
) -> None:
    """A minute ahead or an hour behind is -1021, and the message says to set the clock."""
    exchange = connect()
    for skew_ms in (60_000, -3_600_000):
        exchange.client.nonce = lambda by=skew_ms: time.time_ns() // 1_000_000 + by
        with pytest.raises(VenueRejectedError, match="clock") as refusal:
            exchange.balances()
        assert refusal.value.code == "-1021"


def test_errors_carry_no_signature(
    connect: Callable[..., CcxtExchange], control: PracticeControl
) -> None:
    """The error of a failing signed request does not contain its query string."""
    exchange = connect(read_attempts=1)
    control.arm(Fault(kind=FaultKind.ERROR_BEFORE, path="/api/v3/account"))
    with pytest.raises(VenueUnavailableError) as failure:
        exchange.balances()
    assert "signature" not in str(failure.value)


def test_all_pages_of_fills_are_fetched(
    connect: Callable[..., CcxtExchange], control: PracticeControl
) -> None:
    """More trades than a page holds (1,000) come back whole, in order, once each."""
    exchange = connect(balances={"USDT": Decimal(10_000_000)})
    since = exchange.now()
    ids = [f"page-{time.time_ns()}-{k}" for k in range(1010)]
    for order_id in ids:
        exchange.submit(buy(order_id, "0.1"))
    fills = exchange.fills("AAA/USDT", since)
    assert [fill.client_order_id for fill in fills] == ids


def test_market_order_beyond_the_bars_volume_expires_in_part(
    connect: Callable[..., CcxtExchange], control: PracticeControl
) -> None:
    """The day's bar holds 300 units: of 450 ordered, 300 fill and the rest expires; the next order
    finds none.
    """
    exchange = connect(balances={"USDT": Decimal(1_000_000)})
    report = exchange.submit(buy(f"big-{time.time_ns()}", "450"))
    assert (report.state, report.filled_quantity) == (OrderState.EXPIRED, 300)
    late = exchange.submit(buy(f"late-{time.time_ns()}", "1"))
    assert (late.state, late.filled_quantity) == (OrderState.EXPIRED, 0)
    assert sum(fill.quantity for fill in exchange.fills("AAA/USDT", exchange.now())) == 300


def test_resting_order_fills_in_parts_by_volume(
    connect: Callable[..., CcxtExchange], control: PracticeControl
) -> None:
    """A resting sell of 450 units takes 300 on the first day that passes it. It takes the rest on
    the next day.
    """
    exchange = connect(balances={"AAA": Decimal(450)})
    price = exchange.last_prices(["AAA/USDT"])["AAA/USDT"] + 1
    order = OrderRequest(
        f"parts-{time.time_ns()}", "AAA/USDT", Side.SELL, OrderType.LIMIT, Decimal(450), price
    )
    exchange.submit(order)
    control.step(seconds=DAY)
    part = exchange.find_order(order.client_order_id, "AAA/USDT")
    assert (part.state, part.filled_quantity) == (OrderState.PARTIALLY_FILLED, 300)
    control.step(seconds=DAY)
    assert exchange.find_order(order.client_order_id, "AAA/USDT").state is OrderState.FILLED
    assert exchange.balances() == {"USDT": 450 * price * Decimal("0.999")}


def test_venue_that_is_down_is_unavailable(server: PracticeServer) -> None:
    """Nothing listens: reads and orders raise VenueUnavailableError with the venue's name."""
    exchange = CcxtExchange(
        "binance", "k", "s", base_url="http://127.0.0.1:9", read_attempts=2, retry_wait_seconds=0.01
    )
    with pytest.raises(VenueUnavailableError, match="binance"):
        exchange.now()
    with pytest.raises(VenueUnavailableError):
        exchange.submit(buy("nowhere"))


def test_venues_own_network_is_the_test_network_unless_told_live() -> None:
    """Without `live` ccxt points at the test network; a venue that has none is refused with the
    remedy.
    """
    assert "testnet" in CcxtExchange("binance", "k", "s").client.urls["api"]["private"]
    assert (
        "testnet" not in CcxtExchange("binance", "k", "s", live=True).client.urls["api"]["private"]
    )
    with pytest.raises(ConfigError, match="no test network"):
        CcxtExchange("kraken", "k", "s")
    with pytest.raises(ConfigError, match="knows no exchange 'binanze'"):
        CcxtExchange("binanze", "k", "s")


def test_practice_address_wins_over_live(server: PracticeServer, control: PracticeControl) -> None:
    """With a base_url no request can leave for the real venue, whatever the other settings say."""
    exchange = CcxtExchange("binance", "k", "s", live=True, base_url=server.url)
    assert (
        exchange.session._led("https://api.binance.com/api/v3/order?a=1")
        == f"{server.url}/api/v3/order?a=1"
    )
    assert exchange.now() == control.now()


def test_used_up_weight_is_429_and_going_on_is_a_ban(server: PracticeServer) -> None:
    """A server with a small weight limit answers Retry-After, and bans a client that goes on.

    The weight is counted per minute of the clock. One may begin in between: 40 requests are enough
    for a ban in the minute before or after.
    """
    limits = LimitSpec(weight_per_minute=200, ban_after=3, ban_seconds=60)
    account = AccountSpec("k", "s", {"USDT": "1000"})
    with PracticeServer(
        server.config.candles, clock=server.config.clock, limits=limits, accounts=(account,)
    ) as small:
        exchange = CcxtExchange("binance", "k", "s", base_url=small.url, read_attempts=1)
        seen = []
        for _ in range(40):
            try:
                exchange.balances()  # weight 20
            except RateLimitedError as error:
                seen.append((str(error).count(" 418 "), (error.retry_after_seconds or 0) > 0))
        assert (0, True) in seen
        assert seen[-1] == (1, True)


def test_too_many_orders_are_refused_and_counted_per_account(
    connect: Callable[..., CcxtExchange], server: PracticeServer
) -> None:
    """Binance's -1015: the 6th order within ten seconds is refused, nothing is bought by it."""
    limits = LimitSpec(orders_per_10s=5)
    account = AccountSpec("k", "s", {"USDT": "10000"})
    with PracticeServer(
        server.config.candles, clock=server.config.clock, limits=limits, accounts=(account,)
    ) as small:
        exchange = CcxtExchange("binance", "k", "s", base_url=small.url)
        refused = 0
        for k in range(12):
            try:
                exchange.submit(buy(f"o{k}", "0.1"))
            except RateLimitedError:
                refused += 1
        assert refused >= 2
        filled = sum(fill.quantity for fill in exchange.fills("AAA/USDT", exchange.now() - DAY))
        assert filled == Decimal("0.1") * (12 - refused)


def test_state_survives_kill_9_of_the_server(server: PracticeServer, tmp_path: Path) -> None:
    """With a journal file the venue restarts with its time, balances, open orders and trades. Its
    numbers continue from there.
    """
    options: dict[str, Any] = {"clock": server.config.clock, "journal": tmp_path / "venue.jsonl"}
    account = AccountSpec("k", "s", {"USDT": "10000"})
    first = PracticeServer(server.config.candles, accounts=(account,), **options).start()
    exchange = CcxtExchange("binance", "k", "s", base_url=first.url)
    exchange.submit(buy("one"))
    exchange.submit(
        OrderRequest("two", "AAA/USDT", Side.BUY, OrderType.LIMIT, Decimal(1), Decimal(50))
    )
    balances, fills, opened = (
        exchange.balances(),
        exchange.fills("AAA/USDT", exchange.now() - DAY),
        exchange.open_orders(),
    )
    stopped_at = PracticeControl(first.url).step(seconds=timedelta(hours=5))
    first.kill()
    with PracticeServer(server.config.candles, accounts=(account,), **options) as second:
        again = CcxtExchange("binance", "k", "s", base_url=second.url)
        assert again.now() == stopped_at
        assert (again.balances(), again.open_orders()) == (balances, opened)
        assert again.fills("AAA/USDT", again.now() - DAY) == fills
        assert again.cancel("two", "AAA/USDT").state is OrderState.CANCELED
        assert int(again.submit(buy("three")).venue_order_id) == 3


def test_first_call_of_a_process_lists_working_orders_by_symbol(
    connect: Callable[..., CcxtExchange],
) -> None:
    """`penstock halt` is a process of its own that has read no markets: it cancels what rests."""
    resting = OrderRequest(
        "resting", "AAA/USDT", Side.BUY, OrderType.LIMIT, Decimal(1), Decimal(50)
    )
    first = connect()
    first.submit(resting)
    key = first.client.apiKey
    assert [report.symbol for report in connect(key).open_orders()] == ["AAA/USDT"]
    done = cancel_working(replace(make_world().session, exchange=connect(key)))
    assert (done.cancelled, done.left) == (("resting",), ())
    assert not connect(key).open_orders()
