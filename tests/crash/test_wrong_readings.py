"""The fuzz sees what it is to see: with one reading of the adapter broken on purpose it finds a
fault, and with the true one none.
"""

from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from functools import cache
from typing import Any

import pytest

from penstock.adapters.exchanges import ccxt_errors, trade_pages
from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.core.errors import OrderNotFoundError, VenueError, VenueRejectedError
from penstock.core.orders import OrderReport, OrderState
from tests.crash.answer_mutations import Strike
from tests.crash.fuzzed_slots import Family, Scene, Trial
from tests.crash.true_venue import Working
from tests.crash.venue_wires import Call

pytestmark = pytest.mark.slow
#: Every answer of the call, from the first on.
ALWAYS = 10_000


@cache
def binance() -> Family:
    return Family("binance")


def faults(scene: Scene, *strikes: Strike) -> dict[str, str]:
    trial = Trial(binance(), scene, list(strikes))
    trial.run()
    assert all(strike.struck for strike in strikes), strikes
    return trial.faults()


def unknown_codes_refuse(patch: pytest.MonkeyPatch) -> None:
    own = ccxt_errors.refusal

    def refused(code: str, meaning: Any, message: str, *more: Any) -> VenueError:
        if meaning is None:
            return VenueRejectedError(message, code)
        return own(code, meaning, message, *more)

    patch.setattr(ccxt_errors, "refusal", refused)


def every_cancellation_succeeds(patch: pytest.MonkeyPatch) -> None:
    def cancelled(self: CcxtExchange, name: str, symbol: str, venue_id: str = "") -> OrderReport:
        with suppress(Exception):
            self._lookup.cancel(self.client, name, symbol)
        return OrderReport(name, venue_id, symbol, OrderState.CANCELED, Decimal(0))

    patch.setattr(CcxtExchange, "cancel", cancelled)


def nonsense_is_no_such_order(patch: pytest.MonkeyPatch) -> None:
    own = CcxtExchange.find_order

    def found(self: CcxtExchange, name: str, symbol: str) -> OrderReport:
        try:
            return own(self, name, symbol)
        except VenueError as error:
            raise OrderNotFoundError(str(error)) from error

    patch.setattr(CcxtExchange, "find_order", found)


def unreadable_list_is_empty(patch: pytest.MonkeyPatch) -> None:
    own = CcxtExchange.open_orders

    def listed(self: CcxtExchange) -> Any:
        try:
            return own(self)
        except VenueError:
            return []

    patch.setattr(CcxtExchange, "open_orders", listed)


def trades_are_not_checked(patch: pytest.MonkeyPatch) -> None:
    def parsed(client: Any, _key: str, row: Any, market: Any) -> Any:
        return client.parse_trade(dict(row), market)

    patch.setattr(trade_pages, "parsed_trade", parsed)


def strike(call: Call, seed: float = 0.0, times: int = ALWAYS, **more: Any) -> Strike:
    return Strike(call, 0, times, bool(more.get("code")), seed, **more)


CASES: dict[
    str, tuple[Callable[[pytest.MonkeyPatch], None], Scene, Callable[[float], list[Strike]]]
] = {
    "place": (
        unknown_codes_refuse,
        Scene(Working.FILLS, worked=False, hides=True),
        lambda _: [strike(Call.PLACE, times=1, code="-9876 Something new")],
    ),
    "cancel": (
        every_cancellation_succeeds,
        Scene(Working.HALF, worked=True, hides=False),
        lambda _: [strike(Call.CANCEL, code="-2015 Invalid API-key", is_undone=True)],
    ),
    "find": (
        nonsense_is_no_such_order,
        Scene(Working.FILLS, worked=False, hides=False),
        lambda seed: [strike(Call.PLACE, code="-1007 Timeout"), strike(Call.FIND, seed)],
    ),
    "open orders": (
        unreadable_list_is_empty,
        Scene(Working.FILLS, worked=False, hides=False),
        lambda seed: [strike(Call.OPEN, seed)],
    ),
    "trades": (
        trades_are_not_checked,
        Scene(Working.FILLS, worked=False, hides=False),
        lambda seed: [strike(Call.TRADES, seed)],
    ),
}


@pytest.mark.parametrize("reading", CASES)
def test_reading_that_is_broken_on_purpose_is_seen(
    reading: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of twelve seeds at least one shows the fault; with the true reading none does."""
    broken, scene, strikes = CASES[reading]
    seeds = [seed / 12 for seed in range(12)]
    assert [faults(scene, *strikes(seed)) for seed in seeds[:3]] == [{}] * 3
    broken(monkeypatch)
    assert any(faults(scene, *strikes(seed)) for seed in seeds)
