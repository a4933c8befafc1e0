"""Why live equity differs from the backtest on the same bars.

Three curves are compared. The caller makes them.

- *backtest* trades the target weights with fractional quantities, and the configured costs.
- *replay* sends the same decisions through the real planning (lots, minimum notionals, no-trade
  band) and the paper venue's fees.
- *live* is the account.

replay - backtest is the effect of rounding and fees. live - replay is unexplained.
"""

from dataclasses import dataclass

import polars as pl

from penstock.core.bars import TS, not_a_frame
from penstock.core.errors import DataError

#: An equity curve: the equity in quote units after the bar (or slot) `ts`.
EQUITY_SCHEMA = pl.Schema({"ts": TS, "equity": pl.Float64()})


@dataclass(frozen=True)
class DriftReport:
    """Live, replay and backtest equity on their common instants. Amounts are in quote units."""

    curves: pl.DataFrame
    """The columns ts, live, replay and backtest, sorted by ts."""

    def _last(self, name: str) -> float:
        return float(self.curves[name][-1])

    @property
    def difference(self) -> float:
        """live - backtest at the last common instant."""
        return self._last("live") - self._last("backtest")

    @property
    def rounding_and_fees(self) -> float:
        """replay - backtest: lots, minimum notionals, the no-trade band and fees."""
        return self._last("replay") - self._last("backtest")

    @property
    def unexplained(self) -> float:
        """live - replay: prices, delays or orders that the replay does not have."""
        return self._last("live") - self._last("replay")

    def sentence(self) -> str:
        """Return the comparison as one sentence with amounts."""
        return (
            f"Live equity {self._last('live'):,.2f} against {self._last('backtest'):,.2f} "
            f"in the backtest over {self.curves.height} instants: {self.difference:+,.2f}, "
            "of which lot rounding, no-trade band and fees explain "
            f"{self.rounding_and_fees:+,.2f} and {self.unexplained:+,.2f} is unexplained."
        )

    def table(self) -> pl.DataFrame:
        """Return the parts: part, amount (quote units, to the cent), and bps.

        The last column is in basis points of the backtest's last equity.
        """
        base = self._last("backtest")
        parts = [
            ("backtest equity", base),
            ("lot rounding, no-trade band and fees (replay - backtest)", self.rounding_and_fees),
            ("unexplained (live - replay)", self.unexplained),
            ("live equity", self._last("live")),
        ]
        return pl.DataFrame(
            {
                "part": [name for name, _ in parts],
                "amount": [round(amount, 2) for _, amount in parts],
                "bps": [round(amount / base * 1e4, 2) for _, amount in parts],
            }
        )


def explain_difference(
    live: pl.DataFrame, replay: pl.DataFrame, backtest: pl.DataFrame
) -> DriftReport:
    """Return the comparison of three equity curves (EQUITY_SCHEMA) on their common instants.

    Raises DataError where a curve lacks a column or has an instant twice, or where no instant is
    common to all.
    """
    curves = {"live": live, "replay": replay, "backtest": backtest}
    tables = {name: _curve(frame, name) for name, frame in curves.items()}
    joined = (
        tables["live"].join(tables["replay"], on="ts").join(tables["backtest"], on="ts").sort("ts")
    )
    if joined.is_empty():
        spans = "; ".join(f"{name} {_span(frame)}" for name, frame in tables.items())
        raise DataError(
            f"drift: the equity curves share no instant ({spans}); compare curves of the same bars"
        )
    return DriftReport(joined)


def _curve(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    wrong = not_a_frame(frame)
    if wrong is not None:
        raise DataError(f"drift: the {name} curve: {wrong}")
    missing = [column for column in EQUITY_SCHEMA if column not in frame.columns]
    if missing:
        raise DataError(
            f"drift: the {name} curve has no column {missing}; it must have {list(EQUITY_SCHEMA)}"
        )
    table = frame.select(pl.col("ts").cast(TS), pl.col("equity").cast(pl.Float64).alias(name))
    if table["ts"].is_duplicated().any():
        raise DataError(
            f"drift: the {name} curve has an instant twice; it must have one row per instant"
        )
    return table


def _span(frame: pl.DataFrame) -> str:
    return "has no rows" if frame.is_empty() else f"{frame['ts'].min()!s} to {frame['ts'].max()!s}"
