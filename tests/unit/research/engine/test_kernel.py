"""The kernel's promises, on hand-made markets and on random ones."""

from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.errors import DataError, StrategyError
from penstock.research.engine.costs import Costs, InstrumentRules
from penstock.research.engine.kernel import Decisions, Run, simulate
from penstock.research.engine.layout import BLOCK
from penstock.research.engine.market import BarMatrices, Matrix, market_of_prices
from penstock.research.engine.metrics import moments_of

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


A, B = market([[1.0, 1.0]]).symbols


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


def test_quantity_is_whole_lots_of_at_least_the_smallest() -> None:
    """What is lacking is rounded towards zero; an order under either minimum is not made."""

    def first_fill(**own: float) -> float:
        costs = FREE.model_copy(update={"instruments": (InstrumentRules(symbol=A, **own),)})
        fills = go(market([[10.0]] * 2), [[0.123], [NAN]], costs).fills
        return float(fills[1, 0])

    assert first_fill() == pytest.approx(12.3)
    assert first_fill(lot_step=0.1) == pytest.approx(12.3)
    assert first_fill(lot_step=5) == 10
    assert first_fill(lot_step=5, min_quantity=11) == 0
    assert first_fill(lot_step=5, min_notional=100) == 10
    assert first_fill(lot_step=5, min_notional=100.1) == 0


def test_instrument_has_its_own_fee_and_slippage() -> None:
    """What was measured for B counts for B; A has what the costs say."""
    own = InstrumentRules(symbol=B, fee_bps=0, slippage_bps=200)
    costs = Costs(fee_bps=100, slippage_bps=0, instruments=(own,))
    run = go(market([[10.0, 10.0]] * 2), [[0.4, 0.4], [NAN, NAN]], costs)
    assert run.equity[1] == pytest.approx(1000 - 4 - 8)


def test_fill_is_on_the_price_step_and_never_better_than_the_open() -> None:
    """Half a step of slippage on a price that is on the step: the next one for a buy, this one for
    a sell.
    """
    own = InstrumentRules(symbol=A, price_tick=0.5)
    costs = Costs(fee_bps=0, slippage_bps=0, instruments=(own,))
    assert go(market([[10.0]] * 2), [[1.0], [NAN]], costs).fills[1, 0] == pytest.approx(1000 / 10.5)
    run = go(market([[10.0]] * 3), [[1.0], [0.0], [NAN]], costs)
    assert run.equity[2] == pytest.approx(1000 / 10.5 * 10)


def test_rounding_is_no_order() -> None:
    """Prices that do not move mean no order after the first. These numbers would give 1,992 more,
    of less than 1e-12 of the equity.
    """
    random = np.random.default_rng(13)
    prices, weights = 10.0 ** random.uniform(-7, -4, 5), random.dirichlet(np.ones(5)) * 0.9
    run = go(market([prices.tolist()] * 500), [weights.tolist()] * 500)
    assert run.moments.orders == 5


def test_cash_flow_is_paid_on_what_is_held_after_the_open() -> None:
    """A short of ten units that is paid a tenth per unit gains one at each bar that it is held."""
    m = replace(market([[10.0]] * 4), cash_flows=np.full((4, 1), -0.1))
    run = go(m, [[-0.1], [NAN], [0.0], [NAN]])
    assert run.fills[:, 0].tolist() == [0.0, -10.0, 0.0, 10.0]
    assert run.equity.tolist() == [1000.0, 1001.0, 1002.0, 1002.0]


def test_account_that_owes_more_than_it_has_is_unknown_from_then_on() -> None:
    """A short of a price that goes up elevenfold is worth less than nothing: no return is made of
    that, and no figure.
    """
    from datetime import timedelta

    from penstock.research.engine.metrics import metrics_of

    run = go(market([[10.0], [10.0], [110.0], [120.0]]), [[-1.0], [NAN], [NAN], [NAN]])
    assert run.equity.tolist() == [1000.0, 1000.0, -9000.0, -10_000.0]
    figures = metrics_of(run.moments, timedelta(days=3))
    assert np.isnan([figures.sharpe, figures.sortino, figures.annual_volatility]).all()
    assert np.isnan(figures.probabilistic_sharpe)


def test_account_that_owes_more_than_it_has_only_closes() -> None:
    """A share of what is owed is no short: B, asked for half, is not traded, and A is closed as far
    as the cash goes.
    """
    m = market([[10.0, 5.0], [10.0, 5.0], [21.0, 5.0], [21.0, 5.0]])
    run = go(m, [[-1.0, NAN], [NAN, NAN], [0.1, 0.5], [NAN, NAN]])
    assert run.equity[2] == -100
    assert run.fills[3].tolist() == pytest.approx([2000 / 21, 0.0])


def test_account_that_lost_all_stays_at_nothing() -> None:
    """Its returns are known: everything once, and then nothing."""
    m = replace(market([[10.0], [10.0], [NAN], [NAN]]), ends=np.array([2]))
    run = go(m, [[1.0], [NAN], [NAN], [NAN]])
    assert run.equity.tolist() == [1000.0, 1000.0, 0.0, 0.0]
    assert (run.moments.total, run.moments.max_drawdown) == (-1.0, 1.0)


@pytest.mark.parametrize("gaps", [False, True])
def test_sums_of_blocks_are_those_of_the_whole_curve(gaps: bool) -> None:
    """More bars than a block has, on the form for complete panels and on that for gaps; sparse
    decisions and no record of the equity change nothing.
    """
    random = np.random.default_rng(3)
    prices = 100 * np.exp(np.cumsum(random.normal(0, 0.01, (2 * BLOCK + 77, 5)), axis=0))
    if gaps:
        prices[random.random(prices.shape) < 0.01] = NAN
    weights = np.full(prices.shape, NAN)
    rows = np.sort(random.choice(len(prices), 200, replace=False))
    weights[rows] = random.dirichlet(np.ones(5), 200)
    weights[random.random(weights.shape) < 0.3] = NAN
    m = market(prices.tolist())
    assert m.is_complete is not gaps
    dense = simulate(m, weights, Costs(), 1000.0)
    expected = moments_of(
        dense.equity, dense.moments.traded, dense.moments.orders, dense.moments.unfilled
    )
    assert asdict(dense.moments) == pytest.approx(asdict(expected), rel=1e-12, abs=1e-15)
    sparse = simulate(m, Decisions(rows, weights[rows]), Costs(), 1000.0, record_equity=False)
    assert sparse.moments == dense.moments
    assert not sparse.equity.size


@pytest.mark.parametrize("symbols", [1, 2, 9])
def test_complete_panel_gives_what_the_form_for_gaps_gives(symbols: int) -> None:
    """One more row without any bar takes the other form, and changes nothing before it."""
    random = np.random.default_rng(symbols)
    prices = 100 * np.exp(np.cumsum(random.normal(0, 0.02, (300, symbols)), axis=0))
    weights = random.dirichlet(np.ones(symbols), 300)
    weights[random.random(weights.shape) < 0.4] = NAN
    complete = simulate(market(prices.tolist()), weights, Costs(), 1000.0)
    nothing = np.full((1, symbols), NAN)
    gaps = market(np.vstack([prices, nothing]).tolist())
    run = simulate(gaps, np.vstack([weights, nothing]), Costs(), 1000.0)
    assert np.array_equal(run.equity[:300], complete.equity)
    assert run.moments.orders == complete.moments.orders


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (np.zeros((2, 1)), "shape"),
        (Decisions(np.array([0, 0]), np.zeros((2, 1))), "ascending"),
        (Decisions(np.array([3]), np.zeros((1, 1))), "ascending"),
        (Decisions(np.array([0]), np.zeros((1, 2))), "shape"),
    ],
)
def test_decisions_that_do_not_fit_the_market_are_refused(
    weights: Matrix | Decisions, said: str
) -> None:
    """Compiled code would read beyond the arrays: the shapes are looked at before."""
    with pytest.raises(StrategyError, match=said):
        simulate(market([[10.0]] * 3), weights, FREE, 1000.0)


def test_cash_and_flows_that_are_not_known_are_refused() -> None:
    """Neither no cash nor a flow that is not a number is taken for zero."""
    m = market([[10.0]] * 3)
    with pytest.raises(DataError, match="cash above zero"):
        simulate(m, np.zeros((3, 1)), FREE, 0.0)
    with pytest.raises(DataError, match="known amount"):
        simulate(replace(m, cash_flows=np.full((3, 1), NAN)), np.zeros((3, 1)), FREE, 1.0)


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
