"""The HTTP server itself: Binance's headers and error codes, unmodified ccxt, faults by number and
chance, control calls.
"""

import hashlib
import hmac
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlencode

import ccxt
import pytest
import requests

from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.core.errors import ConfigError, DataError, PenstockError, VenueUnavailableError
from penstock.core.orders import OrderRequest, OrderType, Side
from penstock.core.timeframes import Timeframe
from penstock.practice.candles import GivenCandles, ParquetCandles
from penstock.practice.clock import real_clock, sped_up_clock, stepped_clock
from penstock.practice.control import PracticeControl
from penstock.practice.faults import Fault, FaultKind, Faults
from penstock.practice.server import AccountSpec, PracticeServer
from penstock.practice.synthetic import SyntheticCandles
from penstock.simulation.journal import Journal
from tests.unit.practice.conftest import Frames, Sessions

H = Timeframe.H1
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def server() -> Iterator[PracticeServer]:
    """A stepped server on synthetic candles with one account."""
    candles = SyntheticCandles(("BTC/USDT", "ETH/USDT"))
    account = AccountSpec("key", "secret", {"USDT": "100000"})
    with PracticeServer(
        candles, clock=stepped_clock(candles.start + 40 * DAY), accounts=(account,)
    ) as running:
        yield running


def signed(
    url: str,
    method: str,
    path: str,
    secret: str = "secret",
    key: str = "key",
    **parameters: str | int,
) -> requests.Response:
    """Send a signed request as Binance documents it."""
    query = urlencode({"timestamp": time.time_ns() // 1_000_000, **parameters})
    signature = hmac.new(secret.encode(), query.encode(), hashlib.sha256).hexdigest()
    return requests.request(
        method,
        f"{url}{path}?{query}&signature={signature}",
        headers={"X-MBX-APIKEY": key},
        timeout=5,
    )


def test_unmodified_ccxt_reads_and_trades(server: PracticeServer) -> None:
    """ccxt's own client, pointed here by its URLs only: markets, candles, tickers, orders, trades,
    balances.
    """
    base = server.url + "/api/v3"
    client = ccxt.binance(
        {
            "apiKey": "key",
            "secret": "secret",
            "enableRateLimit": False,
            "urls": {"api": {"public": base, "private": base}},
            "options": {
                "fetchMarkets": {"types": ["spot"]},
                "fetchCurrencies": False,
                "fetchMargins": False,
            },
        }
    )
    assert set(client.load_markets()) == {"BTC/USDT", "ETH/USDT"}
    price = client.fetch_last_prices(["BTC/USDT"])["BTC/USDT"]["price"]
    for timeframe in ("1m", "5m", "1h", "4h", "1d"):
        candles = client.fetch_ohlcv("BTC/USDT", timeframe, limit=30)
        assert len(candles) == 30
        assert candles[-1][1:] == [price, price, price, price, 0.0]
    assert client.fetch_ticker("BTC/USDT")["last"] == price
    assert set(client.fetch_tickers()) == {"BTC/USDT", "ETH/USDT"}
    assert client.fetch_bids_asks(["ETH/USDT"])["ETH/USDT"]["ask"] > 0
    ask = client.fetch_bids_asks(["BTC/USDT"])["BTC/USDT"]["ask"]
    order = client.create_order("BTC/USDT", "market", "buy", 0.01)
    assert (order["status"], order["average"], order["fee"]["currency"]) == ("closed", ask, "BTC")
    assert client.fetch_order(order["id"], "BTC/USDT")["filled"] == 0.01
    assert [found["id"] for found in client.fetch_orders("BTC/USDT")] == [order["id"]]
    assert client.fetch_my_trades("BTC/USDT")[0]["order"] == order["id"]
    assert client.fetch_balance()["BTC"]["total"] == pytest.approx(0.00999)
    with pytest.raises(ccxt.InsufficientFunds):
        client.create_order("BTC/USDT", "market", "buy", 100)
    with pytest.raises(ccxt.OrderNotFound):
        client.cancel_order(order["id"], "BTC/USDT")


def test_answers_tell_the_used_weight_and_order_counts(server: PracticeServer) -> None:
    """The headers that Binance's clients steer by are there and grow."""
    first = requests.get(f"{server.url}/api/v3/klines?symbol=BTCUSDT&interval=1d", timeout=5)
    second = requests.get(f"{server.url}/api/v3/ping", timeout=5)
    used = [int(answer.headers["X-MBX-USED-WEIGHT-1M"]) for answer in (first, second)]
    assert used[1] in (used[0] + 1, 1)  # 1 where a new minute began in between
    placed = signed(
        server.url,
        "POST",
        "/api/v3/order",
        symbol="ETHUSDT",
        side="BUY",
        type="MARKET",
        quantity="0.1",
    )
    assert int(placed.headers["X-MBX-ORDER-COUNT-10S"]) >= 1
    assert int(placed.headers["X-MBX-ORDER-COUNT-1D"]) >= 1


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/api/v3/klines?symbol=NOPE&interval=1d", -1121),
        ("/api/v3/klines?symbol=BTCUSDT&interval=7d", -1120),
        ("/api/v3/klines?interval=1d", -1102),
        ("/api/v3/klines?symbol=BTCUSDT&interval=1d&limit=x", -1100),
        ("/api/v3/klines?symbol=BTCUSDT&interval=1d&limit=0", -1130),
        ("/api/v3/account", -2014),
        ("/api/v3/nothing", -1020),
    ],
)
def test_bad_public_request_has_binances_code(server: PracticeServer, path: str, code: int) -> None:
    """A wrong symbol, interval, number, or a missing key."""
    answer = requests.get(server.url + path, timeout=5)
    assert answer.status_code in (400, 401, 404)
    assert answer.json()["code"] == code


def test_signed_request_needs_signature_and_timestamp(server: PracticeServer) -> None:
    """A missing one is -1102, an empty one -1105, a changed parameter -1022, a window of over a
    minute -1131.
    """
    headers = {"X-MBX-APIKEY": "key"}
    assert (
        requests.get(f"{server.url}/api/v3/account", headers=headers, timeout=5).json()["code"]
        == -1102
    )
    assert signed(server.url, "GET", "/api/v3/account", timestamp="").json()["code"] == -1105
    assert signed(server.url, "GET", "/api/v3/account", secret="other").json()["code"] == -1022
    assert signed(server.url, "GET", "/api/v3/account", recvWindow=60_001).json()["code"] == -1131
    assert signed(server.url, "GET", "/api/v3/account").status_code == 200


def test_trades_page_by_id_and_refuse_more_than_a_day(server: PracticeServer) -> None:
    """fromId and limit page; startTime to endTime beyond 24 hours is -1127."""
    for _ in range(3):
        signed(
            server.url,
            "POST",
            "/api/v3/order",
            symbol="ETHUSDT",
            side="BUY",
            type="MARKET",
            quantity="0.1",
        )
    ids = [
        trade["id"]
        for trade in signed(server.url, "GET", "/api/v3/myTrades", symbol="ETHUSDT").json()
    ]
    page = signed(
        server.url, "GET", "/api/v3/myTrades", symbol="ETHUSDT", fromId=ids[1], limit=1
    ).json()
    assert [trade["id"] for trade in page] == [ids[1]]
    latest = signed(server.url, "GET", "/api/v3/myTrades", symbol="ETHUSDT", limit=1).json()
    assert [trade["id"] for trade in latest] == [ids[-1]]
    wide = signed(
        server.url, "GET", "/api/v3/myTrades", symbol="ETHUSDT", startTime=0, endTime=90_000_000
    )
    assert wide.json()["code"] == -1127


def test_control_moves_money_and_time_and_says_no_clearly(server: PracticeServer) -> None:
    """Deposits and withdrawals change balances and stand in the journal without secrets; time only
    moves forward.
    """
    control = PracticeControl(server.url)
    control.create_account("second", "very-secret", {"USDT": 5})
    control.deposit("second", "USDT", "2.5")
    control.withdraw("second", "USDT", 1)
    assert control.balances("second") == {"USDT": Decimal("6.5")}
    assert "very-secret" not in json.dumps(control.journal())
    reasons = [
        e["reason"]
        for e in control.journal()
        if e["account"] == "second" and e["kind"] == "balance"
    ]
    assert reasons == ["opening", "deposit", "withdrawal"]
    with pytest.raises(ConfigError, match=r"only 6\.5 is free"):
        control.withdraw("second", "USDT", 100)
    with pytest.raises(ConfigError, match="another secret"):
        control.create_account("second", "other", {})
    with pytest.raises(ConfigError, match="only moves forward"):
        control.step(to=control.now() - DAY)
    with pytest.raises(ConfigError, match="no practice account"):
        control.balances("nobody")
    assert control.step(seconds=timedelta(hours=1)) == control.now()
    assert control.stats()["requests"]["POST /practice/deposits"] == 1


def test_control_calls_need_the_token_and_are_not_for_web_pages(frame: Frames) -> None:
    """Without the token, or with another, nothing is done, whatever the call. A request that a
    browser sends for a page is refused even with it, and where no token is set.
    """
    bars = GivenCandles({H: frame([(10.0, 10.0, 10.0, 10.0, 1.0)], H)})
    with PracticeServer(bars, control_token="the-token") as server:
        control = PracticeControl(server.url, token="the-token")
        control.create_account("key", "secret", {"USDT": 5})
        for stranger in (PracticeControl(server.url), PracticeControl(server.url, token="other")):
            for call in (
                stranger.now,
                stranger.stats,
                lambda stranger=stranger: stranger.deposit("key", "USDT", 1000),
            ):
                with pytest.raises(ConfigError, match="control calls need the token"):
                    call()
        page = requests.post(
            f"{server.url}/practice/deposits",
            json={"api_key": "key", "asset": "USDT", "quantity": "1000"},
            headers={"Authorization": "Bearer the-token", "Origin": "https://evil.example"},
            timeout=10,
        )
        assert (page.status_code, page.json()["error"][:10]) == (403, "a web page")
        assert control.balances("key") == {"USDT": Decimal(5)}
        assert requests.get(f"{server.url}/api/v3/ping", timeout=10).status_code == 200
        journal = json.dumps(control.journal())
        assert "the-token" not in journal + repr(server.config)
    with PracticeServer(bars) as server:
        origin = {"Origin": "http://127.0.0.1:9"}
        page = requests.delete(f"{server.url}/practice/faults", headers=origin, timeout=10)
        assert page.status_code == 403


def test_server_ends_with_its_owner_and_says_why_it_cannot_start(
    tmp_path: Path, server: PracticeServer
) -> None:
    """A stopped server has no address; bad candles or a taken port are one sentence, not a
    traceback.
    """
    with pytest.raises(VenueUnavailableError, match="does not run"):
        _ = PracticeServer(server.config.candles).url
    with pytest.raises(PenstockError, match="no candles for any symbol"):
        PracticeServer(ParquetCandles(tmp_path)).start()
    taken = int(server.url.rsplit(":", 1)[1])
    with pytest.raises(PenstockError, match=f"cannot listen on 127.0.0.1:{taken}"):
        PracticeServer(server.config.candles, port=taken).start()
    gone = PracticeServer(server.config.candles)
    url = gone.start().url
    gone.stop()
    gone.stop()
    with pytest.raises(VenueUnavailableError):
        PracticeControl(url, timeout_seconds=2).now()


def test_server_ends_when_its_owner_is_killed() -> None:
    """An owner that dies by kill -9 leaves no server behind."""
    code = (
        "import time\n"
        "from penstock.practice.server import PracticeServer\n"
        "from penstock.practice.synthetic import SyntheticCandles\n"
        "print(PracticeServer(SyntheticCandles(('BTC/USDT',))).start().url, flush=True)\n"
        "time.sleep(60)\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    control = PracticeControl(owner.stdout.readline().strip(), timeout_seconds=2)
    control.now()
    owner.kill()
    owner.communicate()
    for _ in range(50):
        try:
            control.now()
        except VenueUnavailableError:
            return
        time.sleep(0.1)
    pytest.fail("the server outlived its owner by five seconds")


def test_real_and_sped_up_clocks_run(frame: Frames) -> None:
    """The real clock shows the machine's time and cannot be moved; a sped-up one runs a hundred
    times as fast.
    """
    bars = GivenCandles({H: frame([(10.0, 10.0, 10.0, 10.0, 1.0)], H)})
    with PracticeServer(bars, clock=real_clock()) as real:
        control = PracticeControl(real.url)
        assert abs(control.now().timestamp() - time.time()) < 2
        with pytest.raises(ConfigError, match="real clock"):
            control.step(seconds=1)
    start = bars.bars[H]["ts"][0]
    with PracticeServer(bars, clock=sped_up_clock(start, speed=100)) as fast:
        control = PracticeControl(fast.url)
        began = time.monotonic()
        before = control.now()
        time.sleep(0.2)
        passed = (control.now() - before).total_seconds()
        assert 18 <= passed <= 105 * (time.monotonic() - began)


def test_fault_strikes_the_nth_call_exactly() -> None:
    """Only matching calls count; the second and fourth are struck."""
    faults = Faults(
        (Fault(kind=FaultKind.ERROR_BEFORE, method="POST", path="/api/v3/order", nth=(2, 4)),)
    )
    calls = [("POST", "/api/v3/order"), ("GET", "/api/v3/order")] * 5
    struck = [faults.draw(method, path) is not None for method, path in calls]
    assert [index for index, hit in enumerate(struck) if hit] == [2, 6]


def test_fault_by_chance_is_the_same_for_the_same_seed() -> None:
    """A tenth of a thousand calls, and the same ones again; another seed strikes others."""

    def drawn(seed: int) -> list[bool]:
        faults = Faults((Fault(kind=FaultKind.SLOW, probability=0.1, seed=seed),))
        return [faults.draw("GET", "/api/v3/time") is not None for _ in range(1000)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert 70 < sum(drawn(1)) < 130


def test_journal_drops_a_torn_last_line_and_refuses_a_foreign_file(
    tmp_path: Path, open_account: Sessions, frame: Frames
) -> None:
    """A line cut off by a kill was never answered: it goes. A file that is no journal is a
    DataError with its name.
    """
    path = tmp_path / "venue.jsonl"
    bars = {H: frame([(10.0, 10.0, 10.0, 10.0, 100.0)], H)}
    first = open_account(bars, Journal(path))
    first.place("BUY", "1")
    first.venue.journal.commit()
    whole = path.read_bytes()
    path.write_bytes(whole + b'[{"seq": 99, "kind": "bal')
    again = open_account(bars, Journal(path))
    assert again.held("AAA") == (Decimal("100.999"), 0)
    assert path.read_bytes() == whole
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    path.write_text("hello\n")
    with pytest.raises(DataError, match=r"venue\.jsonl, line 1"):
        Journal(path)


def test_filters_come_from_a_given_exchange_info(tmp_path: Path, server: PracticeServer) -> None:
    """Symbols that the file has take its filters, the others keep derived ones."""
    filters = [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": "0.5",
            "maxPrice": "1000000",
            "tickSize": "0.50000000",
        },
        {
            "filterType": "LOT_SIZE",
            "minQty": "0.00200000",
            "maxQty": "9000",
            "stepSize": "0.00100000",
        },
        {"filterType": "MIN_NOTIONAL", "minNotional": "10.00000000"},
    ]
    path = tmp_path / "info.json"
    path.write_text(json.dumps({"symbols": [{"symbol": "BTCUSDT", "filters": filters}]}))
    candles = server.config.candles
    assert isinstance(candles, SyntheticCandles)
    clock = stepped_clock(candles.start + DAY)
    with PracticeServer(candles, clock=clock, exchange_info=path) as given:
        instruments = CcxtExchange("binance", "k", "s", base_url=given.url).instruments()
    btc, eth = instruments["BTC/USDT"], instruments["ETH/USDT"]
    assert (btc.price_tick, btc.lot_step, btc.min_quantity, btc.min_notional) == tuple(
        map(Decimal, ("0.5", "0.001", "0.002", "10"))
    )
    assert (eth.price_tick, eth.lot_step, eth.min_notional) == tuple(
        map(Decimal, ("0.01", "0.0001", "5"))
    )


def test_real_candles_are_served_and_traded_exactly(candles_dir: Path) -> None:
    """On real Binance candles a market order at midnight pays one tick above the daily open, to
    the last digit.
    """
    candles = ParquetCandles(candles_dir, symbols=("BTC/USDT", "ETH/USDT", "DOGE/USDT"))
    table = candles.load()
    series = table["BTC/USDT"][Timeframe.D1]
    day = series.window(1_725_000_000_000, 2**62)[30]
    at = datetime.fromtimestamp(day.ts / 1000, UTC)
    account = AccountSpec("k", "s", {"USDT": "1000000"})
    with PracticeServer(candles, clock=stepped_clock(at), accounts=(account,)) as real:
        exchange = CcxtExchange("binance", "k", "s", base_url=real.url)
        assert exchange.instruments()["BTC/USDT"].price_tick == Decimal("0.01")
        exchange.submit(
            OrderRequest("real", "BTC/USDT", Side.BUY, OrderType.MARKET, Decimal("0.5"))
        )
        (fill,) = exchange.fills("BTC/USDT", at)
        assert fill.price == Decimal(str(day.open)) + Decimal("0.01")
        bars = exchange.fetch_bars("BTC/USDT", Timeframe.D1, at - 5 * DAY, 10)
    expected = series.window(day.ts - 5 * 86_400_000, day.ts)
    assert bars.head(-1).drop("symbol", "ts").to_numpy().tolist() == expected.values.tolist()
