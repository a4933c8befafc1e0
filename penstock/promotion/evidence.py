"""What is known of a candidate when it is judged: one frozen value that travels with its model version as JSON.

Holds figures only. Whether they are good enough is for penstock.promotion.criteria.
"""

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from penstock.core.timeframes import Timeframe
from penstock.research.costs import Costs
from penstock.research.results import BacktestMetrics, SearchResult


class Evidence(BaseModel):
    """The figures of one candidate, in sample and out of sample, with everything needed to measure them again.

    `trial_count` is the true number of trials of the search, all strategies together, and `deflated_sharpe` is
    corrected for it. `doubled_costs` are the out-of-sample figures with fees and slippage doubled. `leaks` lists what
    the lookahead check found. Both are None where nobody measured them, which is not the same as good.
    `out_of_sample_end` is the open time of the last bar that was used.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    strategy: str
    params: dict[str, float | int | str | bool]
    search_id: str
    dataset_hash: str
    timeframe: Timeframe
    symbols: tuple[str, ...]
    costs: Costs
    initial_cash: float
    trial_count: int
    deflated_sharpe: float
    in_sample: BacktestMetrics
    out_of_sample: BacktestMetrics
    benchmark_out_of_sample: BacktestMetrics
    in_sample_end: datetime
    out_of_sample_start: datetime
    out_of_sample_end: datetime
    doubled_costs: BacktestMetrics | None = None
    leaks: tuple[str, ...] | None = None

    @property
    def out_of_sample_days(self) -> float:
        """Days from the first out-of-sample bar's open to the last one's close."""
        span = self.out_of_sample_end - self.out_of_sample_start + self.timeframe.duration
        return span.total_seconds() / 86400


def evidence_of(
    search: SearchResult, doubled_costs: BacktestMetrics | None = None, leaks: tuple[str, ...] | None = None
) -> Evidence:
    """Return the evidence for a search's choice."""
    return Evidence(
        strategy=search.strategy,
        params=dict(search.best_params),
        search_id=search.id,
        dataset_hash=search.dataset_hash,
        timeframe=search.timeframe,
        symbols=search.symbols,
        costs=search.costs,
        initial_cash=search.settings.initial_cash,
        trial_count=search.trial_count,
        deflated_sharpe=search.deflated_sharpe,
        in_sample=search.in_sample.metrics,
        out_of_sample=search.out_of_sample.metrics,
        benchmark_out_of_sample=search.benchmark_out_of_sample.metrics,
        in_sample_end=search.in_sample_end,
        out_of_sample_start=search.out_of_sample.first_ts,
        out_of_sample_end=search.out_of_sample.last_ts,
        doubled_costs=doubled_costs,
        leaks=leaks,
    )
