"""A paper account in a file that several processes trade: none loses what another did.

Each PaperExchange has the file open for itself, as each process has.
"""

import errno
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from penstock.core.clock import SteppedClock
from penstock.core.errors import DuplicateOrderError, OrderNotFoundError
from penstock.core.orders import OrderRequest, OrderState, OrderType, Side
from penstock.simulation.paper import PaperExchange
from penstock.testing.instruments import SLOT
from penstock.testing.memory_venue import MemoryVenue

CASH = {"USDT": Decimal(10_000)}
DAY = timedelta(days=1)


@pytest.fixture
def market() -> MemoryVenue:
    return MemoryVenue(SteppedClock(SLOT))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "paper" / "daily.json"


def process(market: MemoryVenue, file: Path) -> PaperExchange:
    return PaperExchange(market, balances=CASH, state_file=file)


def order(name: str, side: Side, quantity: str, symbol: str = "BTC/USDT") -> OrderRequest:
    return OrderRequest(name * 32, symbol, side, OrderType.MARKET, Decimal(quantity))


def test_fill_of_another_process_is_seen_and_kept(market: MemoryVenue, file: Path) -> None:
    """A command sells what the service bought. The service sees it, and its next order leaves the
    proceeds where they are. No two trades have one id.
    """
    service, command = process(market, file), process(market, file)
    service.submit(order("a", Side.BUY, "0.1"))
    command.submit(order("b", Side.SELL, "0.0999"))
    assert service.balances() == command.balances()
    assert service.find_order("b" * 32, "BTC/USDT").state is OrderState.FILLED
    service.submit(order("c", Side.BUY, "1", "ETH/USDT"))
    later = process(market, file)
    assert later.balances() == service.balances() == command.balances()
    trades = [
        fill for symbol in ("BTC/USDT", "ETH/USDT") for fill in later.fills(symbol, SLOT - DAY)
    ]
    assert len({fill.trade_id for fill in trades}) == len(trades) == 3
    with pytest.raises(DuplicateOrderError):
        command.submit(order("c", Side.BUY, "1", "ETH/USDT"))


def test_orders_of_two_processes_at_once_are_all_kept(market: MemoryVenue, file: Path) -> None:
    """Orders that are sent at the same time wait for one another."""
    both = [process(market, file), process(market, file)]

    def buy(number: int) -> None:
        name = f"{number:032d}"
        request = OrderRequest(name, "BTC/USDT", Side.BUY, OrderType.MARKET, Decimal("0.001"))
        both[number % 2].submit(request)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(buy, range(40)))
    fills = process(market, file).fills("BTC/USDT", SLOT - DAY)
    assert len({fill.client_order_id for fill in fills}) == 40
    assert len({fill.trade_id for fill in fills}) == 40
    bought = sum((fill.quantity - fill.fee for fill in fills), Decimal(0))
    assert both[0].balances()["BTC"] == both[1].balances()["BTC"] == bought


def test_order_that_cannot_be_written_never_was(
    market: MemoryVenue, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that takes half a line: the request fails, and nobody sees the order, not even the
    process that sent it. The next one is written whole.
    """
    service, command = process(market, file), process(market, file)
    disk = service._journal._file
    assert disk is not None

    class NearlyFull:
        def write(self, line: bytes) -> int:
            return disk.write(line[: len(line) // 2])

        def fileno(self) -> int:
            return disk.fileno()

    monkeypatch.setattr(service._journal, "_file", NearlyFull())
    with pytest.raises(OSError, match=f"{errno.ENOSPC}"):
        service.submit(order("a", Side.BUY, "0.1"))
    with pytest.raises(OrderNotFoundError):
        service.find_order("a" * 32, "BTC/USDT")
    assert service.balances() == command.balances() == CASH
    monkeypatch.setattr(service._journal, "_file", disk)
    service.submit(order("b", Side.BUY, "0.1"))
    assert command.balances() == service.balances() != CASH


def test_line_of_a_process_that_died_while_it_wrote_is_dropped(
    market: MemoryVenue, file: Path
) -> None:
    """Its request was never answered; the line after it is read."""
    service, command = process(market, file), process(market, file)
    with file.open("ab") as dying:
        dying.write(b'[{"kind": "balance", "balance": {"asset": "BTC"')
    service.submit(order("a", Side.BUY, "0.1"))
    assert command.balances() == service.balances() == process(market, file).balances()
