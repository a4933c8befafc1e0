"""Which proxy the requests to a venue take: its own, else the environment's. A real proxy on this
machine sees them.
"""

import http.client
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
import requests

from penstock.adapters.exchanges.ccxt_market import CcxtMarketData
from penstock.adapters.exchanges.venue_session import VenueSession
from penstock.core.errors import VenueError
from penstock.practice.clock import real_clock
from penstock.practice.server import PracticeServer
from penstock.practice.synthetic import SyntheticCandles


@dataclass
class Proxy:
    """A proxy that forwards plain requests and refuses tunnels. It keeps what it was asked."""

    asked: list[str] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    kept = Proxy()

    class Handler(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            kept.asked.append(f"CONNECT {self.path}")
            self.send_error(502)

        def do_GET(self) -> None:
            kept.asked.append(f"GET {self.path}")
            parts = urlsplit(self.path)
            onward = http.client.HTTPConnection(parts.netloc, timeout=10)
            onward.request("GET", f"{parts.path}?{parts.query}")
            answer = onward.getresponse()
            body = answer.read()
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        kept.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield kept
        server.shutdown()


def test_requests_to_a_venue_take_its_own_proxy(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The configured one is taken, though the environment names another."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    candles = SyntheticCandles(("BTC/USDT",), minutes=False)
    with PracticeServer(candles, real_clock()) as venue:
        market = CcxtMarketData("binance", base_url=venue.url, proxy=proxy.url, read_attempts=1)
        assert list(market.instruments()) == ["BTC/USDT"]
        assert proxy.asked
        assert all(each.startswith(f"GET {venue.url}/api/v3/") for each in proxy.asked)


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy"])
def test_venue_without_a_proxy_of_its_own_takes_the_environments(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """The tunnel to the venue is asked of it, and of nobody else."""
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, proxy.url)
    with pytest.raises(VenueError):
        CcxtMarketData("binance", read_attempts=1, retry_wait_seconds=0).instruments()
    assert proxy.asked
    assert {each.rsplit(":", 1)[0] for each in proxy.asked} <= {
        "CONNECT api.binance.com",
        "CONNECT fapi.binance.com",
        "CONNECT dapi.binance.com",
        "CONNECT eapi.binance.com",
    }


def test_each_host_takes_its_own_way_each_time(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment is read once per host: one that it exempts does not decide for the others."""
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    session = VenueSession()
    for host in 2 * ("127.0.0.1:1", "venue.invalid"):
        with pytest.raises(requests.ConnectionError):
            session.request("GET", f"https://{host}/")
    assert proxy.asked == 2 * ["CONNECT venue.invalid:443"]
