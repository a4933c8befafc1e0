"""Signed requests from several threads at a venue that counts them: each number is above the last,
in the order in which the venue gets them.
"""

import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

from penstock.core.orders import OrderRequest, OrderType, Side
from tests.contracts.exchanges.constructed_venue import ConstructedVenue, Said, account_at

PLACED = {"error": [], "result": {"txid": ["O1"], "descr": {"order": "buy 1.0 AAAUSDT @ market"}}}
WHITEBIT = {
    "orderId": 1,
    "clientOrderId": "order-0",
    "market": "AAAUSDT",
    "side": "buy",
    "type": "market",
    "timestamp": 1595792396.165973,
    "dealMoney": "0",
    "dealStock": "0",
    "amount": "1",
    "left": "1",
    "dealFee": "0",
    "status": "NEW",
}


class Busy:
    """Answers as a venue does whose answers take a while. It counts what is under way at once."""

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.under_way = self.most = 0
        self.counting = threading.Lock()

    def __call__(self, _method: str, _path: str, fields: Mapping[str, Any]) -> Said:
        with self.counting:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        time.sleep(0.02)
        with self.counting:
            self.under_way -= 1
        name = fields.get("cl_ord_id") or fields.get("clientOrderId")
        if isinstance(self.answer, dict) and "clientOrderId" in self.answer:
            return 200, {**self.answer, "clientOrderId": name}
        return 200, self.answer


def sent_at_once(venue: str, answer: object) -> tuple[Busy, ConstructedVenue]:
    """Send twelve orders from six threads."""
    busy = Busy(answer)
    exchange, wire = account_at(venue, busy)
    orders = [
        OrderRequest(f"order-{n}", "AAA/USDT", Side.BUY, OrderType.MARKET, Decimal(1))
        for n in range(12)
    ]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(exchange.submit, orders))
    return busy, wire


def test_kraken_gets_one_signed_request_at_a_time_with_rising_numbers() -> None:
    """It refuses a number that is not above the last one it has seen."""
    busy, wire = sent_at_once("kraken", PLACED)
    numbers = [int(fields["nonce"]) for fields in wire.sent("/0/private/AddOrder")]
    assert busy.most == 1
    assert len(numbers) == 12
    assert numbers == sorted(set(numbers))


def test_other_venues_get_several_at_once() -> None:
    """WhiteBIT takes each number once in any order, so its orders do not wait for each other."""
    busy, wire = sent_at_once("whitebit", WHITEBIT)
    numbers = [int(fields["nonce"]) for fields in wire.sent("/api/v4/order/stock_market")]
    assert busy.most > 1
    assert len(set(numbers)) == 12
