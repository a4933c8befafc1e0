"""The time grid and the Decimal rounding that every order goes through."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.errors import ConfigError, DataError
from penstock.core.instruments import (
    Instrument,
    InstrumentKind,
    holdings_by_symbol,
    is_spot_symbol,
    spot_assets,
    spot_symbol,
)
from penstock.core.timeframes import Timeframe

moments = st.datetimes(
    min_value=datetime(2010, 1, 1),  # noqa: DTZ001 (Hypothesis wants naive bounds)
    max_value=datetime(2040, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
steps = st.sampled_from([Decimal(text) for text in ("1", "0.1", "0.00001", "0.5", "0.25", "100")])


def instrument(step: Decimal, maximum: Decimal | None = None) -> Instrument:
    return Instrument("A/Q", "A", "Q", Decimal("0.01"), step, step, Decimal(5), maximum)


@given(moments, st.sampled_from(list(Timeframe)))
def test_floor_is_the_open_of_the_bar_that_holds_the_instant(
    at: datetime, timeframe: Timeframe
) -> None:
    """The floor is on the grid, not after the instant, and less than one bar before it."""
    opened = timeframe.floor(at)
    assert opened <= at < opened + timeframe.duration
    assert opened.timestamp() % timeframe.seconds == 0


def test_bar_is_closed_at_its_close_instant() -> None:
    """At 01:00:00 the hour that opened at 00:00 is closed; a second earlier it is not."""
    assert Timeframe.H1.last_closed_open(datetime(2024, 1, 1, 1, tzinfo=UTC)) == datetime(
        2024, 1, 1, 0, tzinfo=UTC
    )
    assert Timeframe.H1.last_closed_open(datetime(2024, 1, 1, 0, 59, 59, tzinfo=UTC)) == datetime(
        2023, 12, 31, 23, tzinfo=UTC
    )


@given(moments, st.sampled_from(list(Timeframe)))
def test_instant_is_a_close_only_on_the_grid(at: datetime, timeframe: Timeframe) -> None:
    """The grid's own instants pass unchanged; any other is refused with the closes before and after
    it.
    """
    close = timeframe.floor(at)
    assert timeframe.checked_close(close) == close
    if at != close:
        after = close + timeframe.duration
        with pytest.raises(
            ConfigError, match=f"{close:%Y-%m-%dT%H:%M} and {after:%Y-%m-%dT%H:%M} "
        ):
            timeframe.checked_close(at)


def test_unknown_timeframe_names_the_allowed_ones() -> None:
    """A typo is answered with what may be written."""
    with pytest.raises(ConfigError, match="1m, 5m"):
        Timeframe.parse("90s")


@given(st.integers(min_value=0, max_value=10**9), steps)
def test_exact_multiple_of_the_lot_step_keeps_every_lot(lots: int, step: Decimal) -> None:
    """A quantity that is whole lots already is not a lot short after rounding."""
    assert instrument(step).round_lots(lots * step) == lots * step


@given(st.decimals(min_value=0, max_value=10**6, places=9), steps)
def test_rounding_goes_towards_zero_by_less_than_a_lot(quantity: Decimal, step: Decimal) -> None:
    """Never more than asked for, never a whole lot less."""
    rounded = instrument(step).round_lots(quantity)
    assert rounded <= quantity < rounded + step


@pytest.mark.parametrize(
    ("quantity", "price", "word"),
    [
        ("0", "1", "minimum"),
        ("0.5", "100", "minimum"),
        ("1", "4.99", "notional"),
        ("11", "10", None),
        ("1", "5", None),
    ],
)
def test_refusal_names_the_venues_rule(quantity: str, price: str, word: str | None) -> None:
    """Quantity and notional have their reason. A large order has none: it is sent in pieces."""
    refusal = instrument(Decimal(1), Decimal(10)).refusal(Decimal(quantity), Decimal(price))
    assert refusal is None if word is None else word in str(refusal)


assets = st.text("ABCDEFGHIJ0123456789", min_size=1, max_size=6)


@given(assets, assets)
def test_spot_symbol_is_read_back_as_it_was_written(base: str, quote: str) -> None:
    """Base and quote come out of the symbol that they made."""
    assert spot_assets(spot_symbol(base, quote)) == (base, quote)
    assert not is_spot_symbol(base)


@pytest.mark.parametrize("text", ["", "BTC", "/USDT", "BTC/", "A/B/C", "BTC/USDT:USDT"])
def test_text_that_is_no_spot_symbol_is_refused(text: str) -> None:
    """An asset or a perpetual's symbol is never taken for a spot market's."""
    with pytest.raises(DataError, match="write it as BASE/QUOTE"):
        spot_assets(text)


def test_holdings_are_those_with_a_listed_market_against_the_quote() -> None:
    """Assets without such a market, and the quote itself, have no symbol."""
    balances = {"BTC": Decimal(2), "XYZ": Decimal(3), "USDT": Decimal(100)}
    assert holdings_by_symbol(balances, "USDT", {"BTC/USDT", "ETH/USDT"}) == {
        "BTC/USDT": Decimal(2)
    }


def test_perpetual_notional_counts_contracts() -> None:
    """Three contracts of 0.1 at 50 are worth 15, in notional and against the venue's minimum."""
    spot = instrument(Decimal(1))
    perpetual = replace(
        spot,
        kind=InstrumentKind.LINEAR_PERPETUAL,
        contract_size=Decimal("0.1"),
        min_notional=Decimal(16),
    )
    assert spot.settle == "Q"
    assert perpetual.notional(Decimal(3), Decimal(50)) == 15
    assert perpetual.refusal(Decimal(3), Decimal(50)) is not None
    assert perpetual.refusal(Decimal(4), Decimal(50)) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"contract_size": Decimal("0.1")},
        {"settle": "X"},
        {"kind": InstrumentKind.LINEAR_PERPETUAL, "contract_size": Decimal(0)},
    ],
)
def test_instrument_that_cannot_be_is_not_made(changed: dict[str, object]) -> None:
    """A spot market has no contracts and settles in its quote; no contract is worth nothing."""
    with pytest.raises(DataError, match="A/Q"):
        replace(instrument(Decimal(1)), **changed)  # type: ignore[arg-type]  # fields by name
