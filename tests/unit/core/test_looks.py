"""How looks are counted, whatever they are."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.looks import BarRange, exposure_of
from penstock.core.timeframes import Timeframe

START = datetime(2024, 1, 1, tzinfo=UTC)


@st.composite
def ranges(draw: st.DrawFn) -> BarRange:
    first = draw(st.integers(0, 40))
    last = first + draw(st.integers(0, 40))
    symbols = tuple(sorted(draw(st.sets(st.sampled_from("ABC"), min_size=1))))
    timeframe = draw(st.sampled_from([Timeframe.D1, Timeframe.D1, Timeframe.H4]))
    venue = draw(st.sampled_from(["v", "v", "w"]))
    day = timedelta(days=1)
    return BarRange(venue, timeframe, symbols, START + first * day, START + last * day)


looks = st.lists(st.tuples(ranges(), st.sets(st.sampled_from("klmn"))), max_size=8)


@given(ranges(), ranges())
def test_overlap_is_mutual_and_has_a_share(one: BarRange, other: BarRange) -> None:
    """Both see some of each other, or neither does; nobody sees more than all."""
    assert one.overlaps(other) == other.overlaps(one) == (one.share_seen(other) > 0)
    assert 0 <= one.share_seen(other) <= 1
    assert one.share_seen(one) == 1


@given(ranges(), looks, st.tuples(ranges(), st.sets(st.sampled_from("klmn"))))
def test_one_more_look_never_gives_anything_back(
    window: BarRange,
    before: list[tuple[BarRange, set[str]]],
    one: tuple[BarRange, set[str]],
) -> None:
    """What is spent only grows and what is fresh only shrinks; the same again changes nothing, and
    neither does the order.
    """
    without, with_it = exposure_of(window, before), exposure_of(window, [one, *before])
    assert with_it == exposure_of(window, [*before, one, *before])
    for candidate in ("k", "other"):
        assert with_it.spent(candidate) >= without.spent(candidate)
    assert with_it.fresh_share(window) <= without.fresh_share(window)
    tried = {each for bars, names in (*before, one) if bars.overlaps(window) for each in names}
    assert with_it.shares.keys() == tried
    assert with_it.spent("other") <= len(tried) + 1e-9


@given(looks)
def test_new_bars_restore_what_was_spent(before: list[tuple[BarRange, set[str]]]) -> None:
    """As a window moves on over bars that nobody has seen, it is fresh in the end."""
    spent = [
        exposure_of(
            BarRange("v", Timeframe.D1, ("A",), START + day, START + day + timedelta(days=99)),
            before,
        ).spent("")
        for day in (timedelta(days=each) for each in (41, 60, 81, 100))
    ]
    assert spent == sorted(spent, reverse=True)
    assert spent[-1] == 0


def test_window_of_one_bar_has_a_share() -> None:
    """Its length is the bar's, not nothing."""
    bar = BarRange("v", Timeframe.D1, ("A",), START, START)
    assert bar.share_seen(bar) == 1.0
    assert exposure_of(bar, [(bar, {"k"})]).spent("other") == pytest.approx(1)
