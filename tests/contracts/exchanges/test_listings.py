"""One listing that cannot be read harms itself only. Prices of significant digits are rounded as
ccxt rounds them.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import Any

import pytest
from structlog.testing import capture_logs

from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.adapters.exchanges.ccxt_market import CcxtMarketData
from penstock.core.errors import VenueUnavailableError
from penstock.practice.control import PracticeControl
from penstock.practice.faults import Fault, FaultKind
from tests.contracts.exchanges.constructed_venue import ConstructedVenue, Said


def okx_listing(base: str, **changes: object) -> dict[str, object]:
    """A spot row of OKX's list of instruments."""
    return {
        "instType": "SPOT",
        "instId": f"{base}-USDT",
        "baseCcy": base,
        "quoteCcy": "USDT",
        "tickSz": "0.1",
        "lotSz": "0.0001",
        "minSz": "0.001",
        "maxMktSz": "100",
        "maxLmtSz": "10000",
        "state": "live",
        "uly": "",
        **changes,
    }


def instruments_of_okx(*rows: Mapping[str, object]) -> tuple[dict[str, Any], list[Any]]:
    """Return what is listed of these rows, and the log lines."""

    def answer(method: str, path: str, fields: Mapping[str, Any]) -> Said:
        if path.endswith("time"):
            return 200, {"code": "0", "data": [{"ts": "1764300000000"}]}
        found = rows if fields.get("instType") == "SPOT" else ()
        return 200, {"code": "0", "data": list(found), "msg": ""}

    market = CcxtMarketData("okx", rate_limit_ms=0, read_attempts=1)
    market.session.mount("https://", ConstructedVenue(answer))
    with capture_logs() as logs:
        found = dict(market.instruments())
    return found, [line for line in logs if line["event"] == "listing_left_out"]


def test_listings_are_read_again_where_they_changed() -> None:
    """Unchanged rows give the very same instruments. A new step, a suspension and a symbol that
    is gone are seen at the next look.
    """
    rows = [okx_listing("AAA"), okx_listing("BBB"), okx_listing("CCC")]

    def answer(method: str, path: str, fields: Mapping[str, Any]) -> Said:
        if path.endswith("time"):
            return 200, {"code": "0", "data": [{"ts": "1764300000000"}]}
        found = rows if fields.get("instType") == "SPOT" else []
        return 200, {"code": "0", "data": list(found), "msg": ""}

    market = CcxtMarketData("okx", rate_limit_ms=0, read_attempts=1)
    market.session.mount("https://", ConstructedVenue(answer))
    first, second, third = (market.instruments() for _ in range(3))
    assert first == second
    assert third is second
    assert first.keys() == {"AAA/USDT", "BBB/USDT", "CCC/USDT"}
    rows[:] = [okx_listing("AAA", lotSz="0.01"), okx_listing("BBB", state="suspend")]
    changed = market.instruments()
    assert changed.keys() == {"AAA/USDT"}
    assert changed["AAA/USDT"].lot_step == Decimal("0.01")
    rows[:] = [okx_listing("AAA"), okx_listing("BBB"), okx_listing("CCC")]
    assert market.instruments() == first


@pytest.mark.parametrize(
    "changes",
    [
        {"tickSz": ""},
        {"tickSz": None},
        {"tickSz": "0"},
        {"tickSz": "-0.1"},
        {"tickSz": "NaN"},
        {"tickSz": "soon"},
        {"lotSz": ""},
        {"lotSz": "0"},
        {"lotSz": []},
    ],
)
def test_listing_without_a_step_is_left_out_alone(changes: Mapping[str, object]) -> None:
    """A new listing has an empty tick size: it is left out with a log line, and the others are
    listed.
    """
    good = okx_listing("BTC")
    found, logs = instruments_of_okx(good, okx_listing("NEW", **changes), okx_listing("ETH"))
    assert set(found) == {"BTC/USDT", "ETH/USDT"}
    assert found["BTC/USDT"].price_tick == Decimal("0.1")
    assert [line["symbol"] for line in logs] == ["NEW/USDT"]


@pytest.mark.parametrize("field", sorted(okx_listing("NEW")))
@pytest.mark.parametrize("value", [None, "", {}, "x"])
def test_no_field_of_one_listing_harms_the_others(field: str, value: object) -> None:
    """Whatever stands in one field of one listing, the others are listed with their rules."""
    changed = okx_listing("NEW", **{field: value})
    found, _ = instruments_of_okx(okx_listing("BTC"), changed, okx_listing("ETH"))
    assert {"BTC/USDT", "ETH/USDT"} <= set(found)
    assert found["ETH/USDT"].lot_step == Decimal("0.0001")


@pytest.mark.parametrize("row", [None, "x", [], 7])
def test_row_that_is_no_listing_harms_no_other(row: Any) -> None:
    """ccxt raises for such a row, and none of the venue's symbols would be listed."""
    found, _ = instruments_of_okx(okx_listing("BTC"), row, okx_listing("ETH"))
    assert set(found) == {"BTC/USDT", "ETH/USDT"}


def test_list_of_which_nothing_can_be_read_is_an_error() -> None:
    """That is no bad listing, but an answer that is not understood."""
    with pytest.raises(VenueUnavailableError, match="none of 2 listings can be read"):
        instruments_of_okx(okx_listing("BTC", tickSz=""), okx_listing("ETH", tickSz=""))


def test_practice_listing_without_steps_is_left_out(
    connect: Callable[..., CcxtExchange], control: PracticeControl
) -> None:
    """The same over the wire: BBB lacks tick and step, and AAA is traded as before."""
    control.arm(Fault(kind=FaultKind.NO_STEPS, path="/api/v3/exchangeInfo", symbol="BBBUSDT"))
    exchange = connect()
    with capture_logs() as logs:
        assert set(exchange.instruments()) == {"AAA/USDT", "GAP/USDT"}
    assert [line["symbol"] for line in logs if line["event"] == "listing_left_out"] == ["BBB/USDT"]
    assert exchange.last_prices(["AAA/USDT"])


def test_list_of_markets_is_parsed_again_only_where_more_than_its_time_differs(
    connect: Callable[..., CcxtExchange], control: PracticeControl
) -> None:
    """Binance's list is some megabytes. A suspension is seen at the next look all the same."""
    exchange, parsed = connect(), list[str]()
    first, parse = exchange.instruments(), exchange.client.on_json_response

    def noted(text: str) -> Any:
        parsed.append(text)
        return parse(text)

    exchange.client.on_json_response = noted
    control.step(seconds=timedelta(days=1))
    assert exchange.instruments() == first
    assert not parsed
    control.suspend("BBB/USDT")
    try:
        assert exchange.instruments().keys() == first.keys() - {"BBB/USDT"}
    finally:
        control.end_suspensions()
    assert len(parsed) == 1


def market_of_digits(venue: str, digits: int, places: int) -> CcxtMarketData:
    """A venue that counts significant digits, with SHIB/USDT."""
    market = CcxtMarketData(venue, rate_limit_ms=0)
    kinds = ("margin", "swap", "future", "option", "contract")
    market.client.set_markets(
        [
            {
                "id": "SHIBUSDT",
                "symbol": "SHIB/USDT",
                "base": "SHIB",
                "quote": "USDT",
                "info": {},
                "type": "spot",
                "spot": True,
                "active": True,
                **dict.fromkeys(kinds, False),
                "precision": {"amount": places, "price": digits},
                "limits": {"amount": {}, "price": {}, "cost": {}},
            }
        ]
    )
    return market


@pytest.mark.parametrize(("venue", "digits", "places"), [("bitfinex", 5, 8), ("bithumb", 4, 4)])
@pytest.mark.parametrize(
    "price", ["0.0000061234", "0.00001", "0.000123456", "1.23456789", "123456.7", "99999.9", "7"]
)
def test_price_of_significant_digits_is_rounded_as_ccxt_rounds_it(
    venue: str, digits: int, places: int, price: str
) -> None:
    """The instrument's rounding and ccxt's own agree, and the lot step is the decimal places'."""
    market = market_of_digits(venue, digits, places)
    instrument = market._instrument(market.client.market("SHIB/USDT"))
    given = Decimal(price)
    ours = instrument.round_price(given, ROUND_HALF_EVEN)
    assert ours == Decimal(market.client.price_to_precision("SHIB/USDT", price))
    assert instrument.lot_step == Decimal(1).scaleb(-places)
    down, up = (instrument.round_price(given, way) for way in (ROUND_FLOOR, ROUND_CEILING))
    for rounded in (down, up):
        assert rounded == Decimal(market.client.price_to_precision("SHIB/USDT", f"{rounded:f}"))
    assert down <= given <= up


def test_shib_keeps_its_price_at_bitfinex() -> None:
    """0.0000061234 is 0.00000612 there, and not 0.00001."""
    market = market_of_digits("bitfinex", 5, 8)
    instrument = market._instrument(market.client.market("SHIB/USDT"))
    assert instrument.round_price(Decimal("0.0000061234"), ROUND_FLOOR) == Decimal("0.00000612")
