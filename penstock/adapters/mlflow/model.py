"""A registered strategy as an MLflow model from code: MLflow runs this file to load a version.

`predict` takes a pandas frame of bars (symbol, ts, open, high, low, close, volume). It returns the
target weights, one row per bar. Penstock itself uses registry.MlflowRegistry.load, which needs no
pandas.
"""

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import polars as pl
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from penstock.adapters.mlflow.content import read_version
from penstock.core.bars import require_bars


class RegisteredStrategy(PythonModel):
    """The strategy in the artifact `version`, built from its own code."""

    def load_context(self, context: PythonModelContext) -> None:
        folder = Path(context.artifacts["version"])
        self.strategy = read_version(folder, context.model_config["content_hash"]).strategy()

    def predict(  # MLflow's signature
        self,
        context: PythonModelContext,  # noqa: ARG002
        model_input: pd.DataFrame,
        params: Any = None,  # noqa: ARG002
    ) -> pd.DataFrame:
        """Return symbol, ts (naive UTC) and weight for each bar; NaN where there is no decision."""
        frame = pl.from_pandas(model_input)
        if frame.schema["ts"] == pl.String:
            frame = frame.with_columns(pl.col("ts").str.to_datetime("ms"))
        bars = require_bars(
            frame.with_columns(pl.col("ts").dt.replace_time_zone("UTC")), "model input"
        ).sort("symbol", "ts")
        return (
            self.strategy.decide(bars)
            .with_columns(pl.col("ts").dt.replace_time_zone(None))
            .to_pandas()
        )


mlflow.models.set_model(RegisteredStrategy())
