"""Figures show what the results hold."""

from collections.abc import Callable

import polars as pl
import pytest

from penstock.core.errors import SearchError
from penstock.research.engine.costs import Costs
from penstock.research.engine.results import SearchResult, SearchSettings
from penstock.research.plots import equity_figure, parameters_figure, trials_figure, weights_figure
from penstock.research.search.runner import search
from strategies import STRATEGIES


@pytest.fixture(scope="module")
def found(walk: Callable[..., pl.DataFrame]) -> SearchResult:
    """A small search of two strategies."""
    return search(
        walk(), [STRATEGIES["ma_cross"], STRATEGIES["momentum"]], Costs(), SearchSettings(trials=6)
    )


def test_equity_figure_has_both_curves_and_their_drawdowns(found: SearchResult) -> None:
    """The last point is the final equity, and no drawdown is above zero."""
    figure = equity_figure(found.in_sample, found.benchmark_in_sample)
    assert [trace.y[-1] for trace in figure.data[:1]] == [found.in_sample.metrics.final_equity]
    assert min(figure.data[1].y) == pytest.approx(-100 * found.in_sample.metrics.max_drawdown)
    assert len(figure.data) == 4


def test_trials_figure_has_every_trial(found: SearchResult) -> None:
    """One series per strategy, and the best so far ends at the best."""
    figure = trials_figure(found)
    assert sum(len(trace.x) for trace in figure.data if trace.mode == "markers") == 12
    assert figure.data[-1].y[-1] == found.best_value


def test_parameters_figure_shows_the_parameters_of_one_strategy(found: SearchResult) -> None:
    """Its own parameters and the objective; a strategy that was not searched is an error."""
    labels = [d.label for d in parameters_figure(found, "momentum").data[0].dimensions]
    assert labels == ["lookback_bars", "skip_bars", "top_fraction", "sharpe"]
    with pytest.raises(SearchError, match="no trial of 'carry'"):
        parameters_figure(found, "carry")


def test_weights_figure_stacks_every_symbol(found: SearchResult) -> None:
    """One area per symbol, never more than the whole account."""
    figure = weights_figure(found.in_sample)
    assert {trace.name for trace in figure.data} == set(found.symbols)
    assert max(map(sum, zip(*(trace.y for trace in figure.data), strict=True))) <= 1 + 1e-9
