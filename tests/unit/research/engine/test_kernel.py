"""The kernel's promises, on hand-made markets and on random ones."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.research.engine.costs import Costs
from penstock.research.engine.kernel import Run, simulate
from penstock.research.engine.market import BarMatrices, Matrix, market_of_prices

FREE = Costs(fee_bps=0, slippage_bps=0)
NAN = np.nan


def market(
    opens: list[list[float]],
    closes: list[list[float]] | None = None,
    volume: Matrix | None = None,
) -> BarMatrices:
    """Return a daily market of hand-made prices, one row per bar."""
    from penstock.core.timeframes import Timeframe

    open_ = np.array(opens, dtype=np.float64)
    close = open_.copy() if closes is None else np.array(closes, dtype=np.float64)
    return market_of_prices(open_, close, Timeframe.D1, volume)


def go(
    m: BarMatrices, weights: list[list[float]], costs: Costs = FREE, cash: float = 1000.0
) -> Run:
    return simulate(m, np.array(weights, dtype=np.float64), costs, cash, record_fills=True)


def cash_path(m: BarMatrices, run: Run, costs: Costs, cash: float) -> Matrix:
    """Return the cash after each bar, from the fills alone."""
    price = np.nan_to_num(m.open) * (1 + np.sign(run.fills) * costs.slippage)
    spent = run.fills * price + np.abs(run.fills) * price * costs.fee
    return cash - np.cumsum(spent.sum(axis=1))


def test_weight_decided_at_a_close_fills_at_the_next_open() -> None:
    """A decision at bar 0 buys at bar 1's open, not at any price of bar 0."""
    run = go(market([[10.0], [20.0], [40.0]], [[11.0], [30.0], [40.0]]), [[1.0], [NAN], [NAN]])
    assert run.fills[:, 0].tolist() == [0.0, 50.0, 0.0]
    assert run.equity.tolist() == [1000.0, 1500.0, 2000.0]


def test_last_decision_is_never_filled() -> None:
    """There is no next open after the last bar."""
    assert not go(market([[10.0], [10.0]]), [[NAN], [1.0]]).fills.any()


def test_nan_weight_holds_what_is_held() -> None:
    """No decision means no order, however far the weight has drifted."""
    run = go(
        market([[10.0, 10.0], [10.0, 10.0], [20.0, 5.0], [40.0, 1.0]]),
        [[0.5, 0.5], [NAN, NAN], [NAN, NAN], [NAN, NAN]],
    )
    assert run.moments.orders == 2
    assert run.equity[-1] == pytest.approx(50 * 40 + 50 * 1)


def test_symbol_without_a_bar_trades_at_its_next_open() -> None:
    """A sale that falls on a missing bar waits for the next one instead of being lost."""
    run = go(market([[10.0], [10.0], [NAN], [30.0]]), [[1.0], [0.0], [NAN], [NAN]])
    assert run.fills[:, 0].tolist() == [0.0, 100.0, 0.0, -100.0]


def test_newer_decision_replaces_one_that_waits() -> None:
    """The newest decision waits, not the first."""
    run = go(
        market([[10.0, 1.0], [10.0, 1.0], [NAN, 1.0], [10.0, 1.0]]),
        [[1.0, NAN], [0.0, NAN], [0.5, NAN], [NAN, NAN]],
    )
    assert run.fills[:, 0].tolist() == [0.0, 100.0, 0.0, -50.0]


def test_missing_bar_is_valued_at_the_last_price_never_at_a_later_one() -> None:
    """Equity at a missing bar uses the last close; the jump comes with the next bar."""
    run = go(
        market([[10.0], [10.0], [NAN], [90.0]], [[10.0], [12.0], [NAN], [90.0]]),
        [[1.0], [NAN], [NAN], [NAN]],
    )
    assert run.equity.tolist() == [1000.0, 1200.0, 1200.0, 9000.0]


def test_order_in_a_bar_without_volume_waits_as_in_a_missing_one() -> None:
    """Venues that leave such bars out and venues that show them give the same account."""
    m = market([[10.0], [10.0], [20.0], [30.0]])
    still = market_of_prices(m.open, m.close, m.timeframe, np.array([[1e9], [1e9], [0.0], [1e9]]))
    run = go(still, [[1.0], [0.0], [NAN], [NAN]])
    assert run.fills[:, 0].tolist() == [0.0, 100.0, 0.0, -100.0]


def test_fill_beyond_the_share_of_the_volume_is_not_made() -> None:
    """Ten units of a bar of a hundred; the rest is neither made later nor paid for."""
    m = market([[10.0], [10.0], [10.0]], volume=np.full((3, 1), 100.0))
    run = go(m, [[1.0], [NAN], [NAN]], FREE.model_copy(update={"max_volume_share": 0.1}))
    assert run.fills[:, 0].tolist() == [0.0, 10.0, 0.0]
    assert run.moments.unfilled == pytest.approx(900.0)
    assert run.equity.tolist() == [1000.0] * 3


def test_exit_beyond_the_share_of_the_volume_is_made_in_part() -> None:
    """A strategy that asks again at each bar leaves bar by bar."""
    m = market([[10.0]] * 4, volume=np.array([[1e9], [1e9], [300.0], [1e9]]))
    run = go(m, [[1.0], [0.0], [0.0], [NAN]], FREE.model_copy(update={"max_volume_share": 0.1}))
    assert run.fills[:, 0].tolist() == [0.0, 100.0, -30.0, -70.0]


def test_held_without_a_decision_reduces_what_others_may_have() -> None:
    """B is held at half and not decided on. A, asked for whole, gets what B leaves, and C and A
    share it by their weights where both are asked for.
    """
    flat = market([[10.0, 10.0, 10.0]] * 4)
    both = go(flat, [[0.2, 0.5, 0.0], [0.5, NAN, 0.5], [NAN] * 3, [NAN] * 3])
    assert both.fills.tolist() == [[0, 0, 0], [20, 50, 0], [5, 0, 25], [0, 0, 0]]
    assert both.reduced == 1
    fits = go(flat, [[0.2, 0.5, 0.0], [0.25, NAN, 0.25], [NAN] * 3, [NAN] * 3])
    assert fits.fills[2].tolist() == [5, 0, 25]
    assert fits.reduced == 0


def test_holding_that_ended_is_written_off_and_its_order_with_it() -> None:
    """What is left of it is cash; an exit that waited for a bar waits no longer."""
    m = replace(
        market([[10.0, 5.0], [10.0, 5.0], [NAN, 5.0], [NAN, 5.0], [NAN, 5.0]]),
        ends=np.array([3, 5]),
    )
    costs = FREE.model_copy(update={"value_at_end": 0.4})
    weights = [[0.5, 0.0], [0.0, 0.0], [NAN, 0.0], [NAN, 1.0], [NAN, NAN]]
    run = go(m, weights, costs)
    assert run.equity.tolist() == [1000.0, 1000.0, 1000.0, 700.0, 700.0]
    assert run.written_off is not None
    assert run.written_off.tolist() == [50.0, 0.0]
    assert run.fills[4].tolist() == [0.0, 140.0]


def test_unlisted_symbol_is_not_valued_before_its_first_bar() -> None:
    """Leading gaps are worth nothing and stop nobody else from trading."""
    run = go(market([[10.0, NAN], [10.0, NAN], [10.0, 50.0]]), [[0.5, NAN], [0.5, NAN], [NAN, NAN]])
    assert run.equity.tolist() == [1000.0] * 3


def test_sells_pay_for_buys_of_the_same_bar() -> None:
    """A full switch from one symbol to another leaves no cash behind."""
    run = go(market([[10.0, 10.0]] * 3), [[1.0, 0.0], [0.0, 1.0], [NAN, NAN]])
    assert run.fills.tolist() == [[0, 0], [100, 0], [-100, 100]]


def test_fee_and_slippage_are_taken_on_both_sides() -> None:
    """One round trip of everything costs what the formula says."""
    costs = Costs(fee_bps=100, slippage_bps=200)
    run = go(market([[10.0], [10.0], [10.0]]), [[1.0], [0.0], [NAN]], costs)
    assert run.equity[1] == pytest.approx(1000 / 1.01 / 1.02)
    assert run.equity[2] == pytest.approx(1000 / 1.01 / 1.02 * 0.98 * 0.99)


def test_largest_buy_bears_the_lack_of_cash() -> None:
    """Smaller buys are filled whole; the largest, which comes last, is cut to the cash."""
    run = go(
        market([[10.0, 10.0]] * 2), [[0.7, 0.3], [NAN, NAN]], Costs(fee_bps=100, slippage_bps=0)
    )
    assert run.fills[1].tolist() == pytest.approx([(1000 - 303) / 10.1, 30.0])


def test_equal_buys_are_filled_in_symbol_order() -> None:
    """The tie-break is the column, which is the symbol's place in the alphabet."""
    run = go(
        market([[10.0, 10.0]] * 2), [[0.5, 0.5], [NAN, NAN]], Costs(fee_bps=100, slippage_bps=0)
    )
    assert run.fills[1].tolist() == pytest.approx([50.0, (1000 - 505) / 10.1])


def test_difference_inside_the_band_is_left_alone_but_an_exit_is_not() -> None:
    """The band spares small corrections; a target of zero always closes."""
    costs = Costs(fee_bps=0, slippage_bps=0, no_trade_band=0.1)
    run = go(market([[10.0]] * 4), [[0.5], [0.55], [0.0], [NAN]], costs)
    assert run.fills[:, 0].tolist() == [0.0, 50.0, 0.0, -50.0]
    small = go(market([[10.0]] * 3), [[0.15], [0.0], [NAN]], costs)
    assert small.fills[:, 0].tolist() == [0.0, 15.0, -15.0]


def test_order_under_the_minimum_notional_is_not_made() -> None:
    """A venue would refuse it, so the backtest does not count on it."""
    costs = Costs(fee_bps=0, slippage_bps=0, min_notional=100)
    run = go(market([[10.0]] * 3), [[0.09], [0.5], [NAN]], costs)
    assert run.fills[:, 0].tolist() == [0.0, 0.0, 50.0]


@st.composite
def _accounts(draw: st.DrawFn) -> tuple[BarMatrices, Matrix, Costs]:
    """Random prices with missing bars, weights that sum to one at most with holds among them, and
    any costs.
    """
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    bars, symbols = draw(st.integers(2, 40)), draw(st.integers(1, 6))
    close = 10 * np.exp(
        np.cumsum(
            random.normal(0, draw(st.sampled_from([0.0, 0.02, 0.5])), (bars, symbols)), axis=0
        )
    )
    open_ = close * np.exp(random.normal(0, 0.05, (bars, symbols)))
    missing = random.random((bars, symbols)) < draw(st.sampled_from([0.0, 0.2]))
    open_[missing], close[missing] = NAN, NAN
    weights = random.dirichlet(np.ones(symbols), bars) * draw(st.sampled_from([1.0, 0.5]))
    weights[random.random((bars, symbols)) < draw(st.sampled_from([0.0, 0.3]))] = NAN
    weights[random.random((bars, symbols)) < 0.1] = 0.0
    weights[missing] = NAN
    costs = Costs(
        fee_bps=draw(st.sampled_from([0, 10, 500])), slippage_bps=draw(st.sampled_from([0, 5, 500]))
    )
    return market(open_.tolist(), close.tolist()), weights, costs


@given(_accounts())
@settings(max_examples=150)
def test_cash_and_holdings_never_go_negative(account: tuple[BarMatrices, Matrix, Costs]) -> None:
    """Whatever the prices, weights and costs: no borrowing, no shorting, and equity is cash plus
    holdings.
    """
    m, weights, costs = account
    run = simulate(m, weights, costs, 1000.0, record_fills=True)
    cash, held = cash_path(m, run, costs, 1000.0), np.cumsum(run.fills, axis=0)
    assert cash.min() >= -1e-6
    assert held.min() >= -1e-6
    assert not run.fills[np.isnan(m.open)].any()
    marks = (
        pl.DataFrame(m.close).fill_nan(None).fill_null(strategy="forward").fill_null(0.0).to_numpy()
    )
    assert run.equity == pytest.approx(cash + (held * marks).sum(axis=1), rel=1e-6, abs=1e-6)


@given(_accounts())
@settings(max_examples=100)
def test_without_costs_a_decision_is_reached_exactly(
    account: tuple[BarMatrices, Matrix, Costs],
) -> None:
    """Valued at the open where it trades, every symbol that was decided on has its weight, and
    value is conserved.
    """
    m, weights, _ = account
    dense = market_of_prices(
        np.nan_to_num(m.open, nan=5.0), np.nan_to_num(m.close, nan=5.0), m.timeframe
    )
    weights = np.nan_to_num(weights)
    run = simulate(dense, weights, FREE, 1000.0, record_fills=True)
    held = np.cumsum(run.fills, axis=0)
    cash = cash_path(dense, run, FREE, 1000.0)
    worth_at_open = cash + (held * dense.open).sum(axis=1)
    reached = held[1:] * dense.open[1:] / worth_at_open[1:, None]
    assert reached == pytest.approx(weights[:-1], abs=1e-6)
    before = cash[:-1] + (held[:-1] * dense.open[1:]).sum(axis=1)
    assert worth_at_open[1:] == pytest.approx(before, rel=1e-9)


@given(_accounts(), st.integers(1, 39))
@settings(max_examples=60)
def test_future_prices_do_not_change_past_equity(
    account: tuple[BarMatrices, Matrix, Costs], cut: int
) -> None:
    """The account of a shorter market is the beginning of the account of the longer one."""
    m, weights, costs = account
    stop = min(cut, len(weights))
    short = m.slice(0, stop)
    whole = simulate(m, weights, costs, 1000.0).equity[:stop]
    assert np.array_equal(simulate(short, weights[:stop], costs, 1000.0).equity, whole)


def test_simulation_runs_without_the_interpreter_lock(walk: Callable[..., pl.DataFrame]) -> None:
    """Two threads give what one gives: the kernel keeps no state between calls."""
    from concurrent.futures import ThreadPoolExecutor

    from penstock.research.engine.market import market_of

    m = market_of(walk(symbols=3, bars=500))
    weights = np.full(m.close.shape, 0.3)
    alone = simulate(m, weights, Costs(), 1000.0).equity
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: simulate(m, weights, Costs(), 1000.0).equity, range(8)))
    assert all(np.array_equal(alone, other) for other in both)
