"""Which symbols are offered for one that is not listed."""

import pytest

from penstock.data.ingestion import _near_symbols

LISTED = dict.fromkeys(["BTC/USDT", "BTC/EUR", "DOGE/USDT", "SOL/USDT", "XRP/USDT", "FIL/USDT"])


@pytest.mark.parametrize(
    ("symbol", "near"),
    [
        ("FOO/USDT", []),  # only its quote is theirs
        ("BTC/USD", ["BTC/USDT", "BTC/EUR"]),
        ("BCT/USDT", ["BTC/USDT"]),
        ("DOGEUSDT", ["DOGE/USDT"]),
        ("USDT", []),
    ],
)
def test_only_what_is_near_is_offered(symbol: str, near: list[str]) -> None:
    """The base is what people mistype."""
    assert _near_symbols(symbol, LISTED) == near
