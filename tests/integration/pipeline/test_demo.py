"""The whole line on real candles: ingest, checks, search, gate, orders at the practice exchange,
reconciliation.
"""

import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from penstock.adapters.exchanges.ccxt_market import CcxtMarketData
from penstock.adapters.stores.embedded import EmbeddedPostgres
from penstock.core.actors import Actor, Channel
from penstock.core.errors import ConfigError, DataError
from penstock.demo import DemoRequest, run_demo
from penstock.demo.history import venue_history
from penstock.interfaces.cli.demo_view import DemoView, show_result
from penstock.practice.clock import stepped_clock
from penstock.practice.limits import UNLIMITED
from penstock.practice.server import PracticeServer
from penstock.practice.synthetic import SyntheticCandles
from penstock.settings import Process, Settings

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
DAYS = 5
#: As few as the demo takes, and hours of two of them.
DAILY = ("BTC", "ETH", "BNB", "SOL", "XRP", "ADA", "DOGE", "TRX", "BCH", "LTC")
HOURLY = DAILY[:2]
ACTOR = Actor("tester", Channel.DEMO)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home of its own for the demo; its database is destroyed at the end, wherever it is kept."""
    yield tmp_path
    for folder in tmp_path.glob("demo/*/postgres"):
        EmbeddedPostgres(folder).destroy()


@pytest.fixture
def ten_symbols(candles_dir: Path, tmp_path: Path) -> Path:
    """A folder with the real candles of ten symbols."""
    folder = tmp_path / "candles"
    folder.mkdir()
    for timeframe, names in (("1d", DAILY), ("1h", HOURLY)):
        for name in names:
            for path in candles_dir.glob(f"*__binance__{name}-USDT__{timeframe}.parquet"):
                (folder / path.name).symlink_to(path)
    return folder


def demo(home: Path, request: DemoRequest) -> str:
    """Run the demo in `home` and return what the terminal shows."""
    console = Console(record=True, width=200, file=io.StringIO())
    settings = Settings(Process(home=home, configs=ROOT / "configs"))
    with DemoView(console) as view:
        show_result(console, run_demo(settings, ACTOR, request, view))
    return console.export_text()


def figure(text: str, name: str) -> str:
    found = re.search(rf"│ {name}\s+│ (.*?)\s*│", text)
    assert found, f"no '{name}' in the summary:\n{text}"
    return found.group(1)


def test_demo_trades_real_candles_to_the_cent_and_does_nothing_the_second_time(
    home: Path, ten_symbols: Path
) -> None:
    """Live equity equals the replay to the cent. A second run ingests nothing, sends nothing, and
    ends where the first did.
    """
    first = demo(home, DemoRequest(candles=ten_symbols, days=DAYS, trials=52))
    assert figure(first, "slots") == f"{DAYS} of {DAYS} done"
    assert int(figure(first, "orders").split(",")[0]) > 0
    assert "agree" in figure(first, "reconciliation")
    assert re.search(r"│ unexplained \(live - replay\)\s+│ +-?0(\.0)? │", first), first
    assert float(figure(first, "search").split()[0]) >= 50

    second = demo(home, DemoRequest(candles=ten_symbols, days=DAYS, trials=52))
    assert (
        figure(second, "bars new") == "0 before trading, 0 while trading, 0 after it: 0 in this run"
    )
    before, trading, after, total = (
        int(n.replace(",", "")) for n in re.findall(r"[\d,]*\d", figure(first, "bars new"))
    )
    assert before + trading + after == total == int(figure(first, "bars stored").replace(",", ""))
    assert figure(second, "sent in this run") == "0 orders"
    assert figure(second, "slots") == f"{DAYS} of {DAYS} done ({DAYS} were done already)"
    for same in ("orders", "fills", "promoted", "dataset", "bars stored"):
        assert figure(second, same) == figure(first, same)
    assert list(home.glob("demo/*/reports/demo-*.html"))
    assert list(home.glob("demo/*/data-docs/1d/index.html"))


def test_folder_without_candles_is_one_clear_error(home: Path, tmp_path: Path) -> None:
    """An empty folder is named, with what a candle file has."""
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match=r"no candles for .* a file has the columns"):
        demo(home, DemoRequest(candles=empty))


def test_venue_with_a_short_history_gives_a_world(tmp_path: Path) -> None:
    """A venue that keeps under three years of bars is replayed from its first bar on; candles are
    fetched once.
    """
    symbols = SyntheticCandles().symbols
    began, now = datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC)
    source = SyntheticCandles(symbols, began, now, minutes=False)
    with PracticeServer(source, stepped_clock(now), limits=UNLIMITED) as venue:
        market = CcxtMarketData("binance", base_url=venue.url)
        history = venue_history("binance", market, (*symbols, "NO/USDT"), 20, tmp_path)
        again = venue_history("binance", market, (*symbols, "NO/USDT"), 20, tmp_path)
    assert again == history
    assert history.symbols == symbols
    assert history.start == began
    assert history.slots[-1] < now
    assert len(history.hourly) == 2


def test_candles_from_two_places_are_refused(home: Path, tmp_path: Path) -> None:
    """A demo replays one history."""
    with pytest.raises(ConfigError, match="exclude each other"):
        demo(home, DemoRequest(candles=tmp_path, exchange="kraken"))
