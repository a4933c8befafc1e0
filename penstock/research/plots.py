"""Plotly figures of results, for reports, runs and notebooks."""

import polars as pl

from penstock.core.errors import SearchError
from penstock.core.extras import extra
from penstock.research.engine.results import BacktestResult, SearchResult

with extra("research"):
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

_LAYOUT = {"template": "plotly_white", "margin": {"l": 60, "r": 20, "t": 50, "b": 40}}


def equity_figure(result: BacktestResult, benchmark: BacktestResult | None = None) -> go.Figure:
    """Return equity (log scale, quote units) over drawdown (per cent under the last peak).

    The benchmark is drawn as a thin line.
    """
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, row_heights=[0.7, 0.3], vertical_spacing=0.04
    )
    for shown, width in ((result, 2.0), (benchmark, 1.0)):
        if shown is None:
            continue
        name, ts, equity = (
            shown.strategy or "given weights",
            shown.equity["ts"],
            shown.equity["equity"],
        )
        drawdown = 100 * (equity / equity.cum_max() - 1)
        line = {"width": width}
        figure.add_scatter(x=ts, y=equity, name=name, line=line, row=1, col=1)
        figure.add_scatter(
            x=ts, y=drawdown, name=f"{name} drawdown", line=line, showlegend=False, row=2, col=1
        )
    figure.update_yaxes(type="log", title="equity", row=1, col=1)
    figure.update_yaxes(title="drawdown %", row=2, col=1)
    m = result.metrics
    title = (
        f"{result.strategy or 'given weights'}: {m.total_return:+.1%}, Sharpe {m.sharpe:.2f}, "
        f"worst drawdown {m.max_drawdown:.1%}, {m.orders} orders"
    )
    return figure.update_layout(title=title, **_LAYOUT)


def trials_figure(result: SearchResult) -> go.Figure:
    """Return each trial's in-sample objective by number, coloured by strategy.

    The best so far is drawn as a line.
    """
    done = result.trials.filter(pl.col("state") == "complete").sort("number")
    figure = go.Figure()
    for (name,), trials in done.group_by("strategy", maintain_order=True):
        figure.add_scatter(
            x=trials["number"],
            y=trials["value"],
            mode="markers",
            name=str(name),
            text=trials["params"],
        )
    figure.add_scatter(
        x=done["number"],
        y=done.select(result.best_so_far(pl.col("value")))["value"],
        mode="lines",
        name="best so far",
        line={"dash": "dot"},
    )
    title = (
        f"{result.trial_count} trials, best {result.best_value:.2f} in sample ({result.strategy})"
    )
    return figure.update_layout(
        title=title, xaxis_title="trial", yaxis_title=result.objective, **_LAYOUT
    )


def parameters_figure(result: SearchResult, strategy: str | None = None) -> go.Figure:
    """Return the trials of one strategy as parallel coordinates, coloured by objective.

    Without a name it is the chosen strategy. Raises SearchError where it has no trial.
    """
    name = strategy or result.strategy
    trials = result.trials.filter((pl.col("strategy") == name) & (pl.col("state") == "complete"))
    if trials.is_empty():
        raise SearchError(
            f"search {result.id} has no trial of '{name}': "
            f"it searched {sorted(set(result.trials['strategy']))}"
        )
    numbers = [
        c
        for c in trials.columns
        if c.startswith("param_") and trials[c].dtype.is_numeric() and trials[c].null_count() == 0
    ]
    objective = result.objective
    dimensions = [{"label": c.removeprefix("param_"), "values": trials[c]} for c in numbers]
    dimensions.append({"label": objective, "values": trials["value"]})
    line = {"color": trials["value"], "colorscale": "Viridis", "showscale": True}
    return go.Figure(go.Parcoords(line=line, dimensions=dimensions)).update_layout(
        title=f"{name}: parameters", **_LAYOUT
    )


def weights_figure(result: BacktestResult) -> go.Figure:
    """Return the target weights over time as stacked areas; the rest to 1 is cash.

    A bar without a decision keeps the last weight.
    """
    names = list(result.symbols)
    wide = result.weights.pivot(on="symbol", on_columns=names, index="ts", values="weight").sort(
        "ts"
    )
    wide = wide.with_columns(pl.col(names).forward_fill().fill_null(0.0))
    figure = go.Figure()
    for name in names:
        figure.add_scatter(
            x=wide["ts"], y=wide[name], name=name, stackgroup="weights", line={"width": 0}
        )
    title = f"{result.strategy or 'given weights'}: target weights"
    return figure.update_layout(
        title=title, yaxis={"title": "fraction of equity", "range": [0, 1]}, **_LAYOUT
    )
