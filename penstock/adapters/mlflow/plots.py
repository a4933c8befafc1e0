"""Images that the MLflow UI shows: equity and drawdown of a search's choice, as PNG."""

from pathlib import Path
from typing import TYPE_CHECKING

from penstock.core.extras import extra
from penstock.research.engine.results import BacktestResult, SearchResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def save_plots(search: SearchResult, folder: Path) -> None:
    """Write equity.png and drawdown.png of the in-sample run into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = {
        "in sample": search.in_sample,
        "equal weights": search.benchmark_in_sample,
    }
    figure, axes = _canvas(f"{search.strategy}: equity, quote units")
    for label, result in parts.items():
        axes.plot(
            result.equity["ts"].to_list(),
            result.equity["equity"].to_list(),
            label=label,
            linewidth=1,
        )
    axes.set_yscale("log")
    _save(figure, axes, folder / "equity.png")
    figure, axes = _canvas(f"{search.strategy}: drawdown, fraction of the last peak")
    for label, result in parts.items():
        axes.plot(result.equity["ts"].to_list(), _drawdown(result), label=label, linewidth=1)
    _save(figure, axes, folder / "drawdown.png")


def _drawdown(result: BacktestResult) -> list[float]:
    equity = result.equity["equity"]
    fall: list[float] = (equity / equity.cum_max() - 1).to_list()
    return fall


def _canvas(title: str) -> tuple["Figure", "Axes"]:
    # The object interface: pyplot keeps every figure in memory and needs the main thread.
    with extra("research"):
        from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.5), dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title)
    axes.grid(alpha=0.3)
    return figure, axes


def _save(figure: "Figure", axes: "Axes", path: Path) -> None:
    axes.legend(frameon=False)
    figure.savefig(path)
