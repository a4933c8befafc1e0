"""Great Expectations as the formal gate, with Data Docs once per run.

The bounds table becomes a suite over the metrics frame. Polars has computed that frame, one row per
symbol. So a judgement costs tens of milliseconds for any number of bars. The import of Great
Expectations takes seconds. It happens when the first frame is judged, and the minute path does not
use this module.
"""

import logging
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from penstock.core.errors import DataError
from penstock.core.extras import extra
from penstock.core.timeframes import Timeframe
from penstock.data.bounds import Bound, CheckBounds, CheckVerdict, Severity, verdict_on

_SEVERITIES = {Severity.WARN: "warning", Severity.ERROR: "critical"}
_RESULT_FORMAT = {"result_format": "COMPLETE", "unexpected_index_column_names": ["row", "symbol"]}

#: Great Expectations keeps its context in a process-wide variable, so it can judge one at a time.
_ONE_AT_A_TIME = threading.RLock()


@dataclass
class _Session:
    """A context of Great Expectations, which publishes no types, and what was made in it."""

    context: Any
    definitions: dict[Timeframe, Any]


@dataclass(eq=False)
class _Question:
    """Metrics that a thread waits to have judged."""

    metrics: pl.DataFrame
    verdicts: list[CheckVerdict] | None = None
    """The answer; None where it was not judged yet."""
    alone: bool = False
    """Whether it was among frames that could not be judged together."""


class ExpectationsGate:
    """The gate of the flows (a CheckGate).

    It keeps the frames that it has judged until `build_docs` shows them. What several threads ask
    at the same time is judged together: a call of Great Expectations takes as long for one row as
    for many.
    """

    def __init__(self, bounds: CheckBounds | None = None) -> None:
        self._bounds = bounds if bounds is not None else CheckBounds()
        self._session: _Session | None = None
        self._judged: list[pl.DataFrame] = []
        self._questions: list[_Question] = []
        self._questions_lock = threading.Lock()

    def judge(self, metrics: pl.DataFrame) -> list[CheckVerdict]:
        """Return one verdict per symbol and bound, as CheckGate.judge does.

        Raises DataError where the suite could not be run.
        """
        own = _Question(metrics)
        with self._questions_lock:
            self._questions.append(own)
        try:
            with _ONE_AT_A_TIME:
                self._judged.append(metrics)
                return own.verdicts if own.verdicts is not None else self._answer(own)
        finally:
            with self._questions_lock:
                self._questions.remove(own)

    def _answer(self, own: _Question) -> list[CheckVerdict]:
        """Judge all that waits, and return what was asked by `own`. Where the call fails each is
        judged alone: an error belongs to one frame.
        """
        with self._questions_lock:
            open_ones = [each for each in self._questions if each.verdicts is None]
        together = [own] if own.alone else [each for each in open_ones if not each.alone]
        try:
            by_row = self._judge_rows(pl.concat([each.metrics for each in together]))
        except Exception:
            if len(together) == 1:
                raise
            for each in together:
                each.alone = True
            return self._answer(own)
        first = 0
        for each in together:
            rows = range(first, first + each.metrics.height)
            first = rows.stop
            each.verdicts = [verdict for row in rows for verdict in by_row[row]]
        return own.verdicts or []

    def _judge_rows(self, metrics: pl.DataFrame) -> dict[int, list[CheckVerdict]]:
        if self._session is None:
            self._session = _Session(_context(), {})
        parts = metrics.with_row_index("row").partition_by(
            "timeframe", as_dict=True, maintain_order=True
        )
        by_row = {}
        for (name,), part in parts.items():
            by_row.update(self._judge_timeframe(Timeframe(str(name)), part, self._session))
        return by_row

    def build_docs(self, folder: Path, timeframe: Timeframe) -> Path | None:
        """Write Data Docs of what was judged of a timeframe since the last call for it.

        Returns the index page, or None where nothing was judged. `folder` belongs to the site:
        pages of an earlier call are replaced.
        """
        with _ONE_AT_A_TIME:
            wanted = pl.col("timeframe") == timeframe.value
            judged = [metrics.filter(wanted) for metrics in self._judged]
            self._judged = [metrics.filter(~wanted) for metrics in self._judged]
            self._judged = [metrics for metrics in self._judged if metrics.height]
            shown = pl.concat(judged) if judged else pl.DataFrame()
            if shown.is_empty():
                return None
            _sweep(folder)
            session = _Session(_context(folder), {})
            _checkpoint(self._definition(timeframe, session), session).run(
                {"dataframe": _for_pandas(shown.with_row_index("row"))}
            )
            session.context.build_data_docs()
            _claim(self._session)
        return folder / "index.html"

    def _judge_timeframe(
        self, timeframe: Timeframe, part: pl.DataFrame, session: _Session
    ) -> dict[int, list[CheckVerdict]]:
        _claim(session)
        definition = self._definition(timeframe, session)
        batch = definition.data.get_batch({"dataframe": _for_pandas(part)})
        answer = batch.validate(definition.suite, result_format="BOOLEAN_ONLY")
        if not answer.success:  # the failed rows cost half as much again: asked for when needed
            answer = batch.validate(definition.suite, result_format=_RESULT_FORMAT)
        failed = {
            result.expectation_config.meta["check"]: _failed_rows(result)
            for result in answer.results
        }
        return {
            row["row"]: [
                verdict_on(
                    row["symbol"],
                    bound,
                    row[bound.metric],
                    success=row["row"] not in failed[bound.check],
                )
                for bound in self._bounds.table(timeframe)
            ]
            for row in part.iter_rows(named=True)
        }

    def _definition(self, timeframe: Timeframe, session: _Session) -> Any:
        if timeframe not in session.definitions:
            session.definitions[timeframe] = _define(
                timeframe, self._bounds.table(timeframe), session.context
            )
        return session.definitions[timeframe]


def suite(timeframe: Timeframe, table: tuple[Bound, ...]) -> Any:
    """Return a new expectation suite of a bounds table.

    An expectation cannot be in two suites, so each call makes its own.
    """
    gx = _great_expectations()
    return gx.ExpectationSuite(
        name=f"bars-{timeframe.value}",
        expectations=[
            gx.expectations.ExpectColumnValuesToBeBetween(
                column=bound.metric,
                max_value=bound.maximum,
                severity=_SEVERITIES[bound.severity],
                description=f"{bound.check}: {bound.meaning} is at most {bound.maximum:g}",
                meta={"check": bound.check},
            )
            for bound in table
        ],
    )


def _great_expectations() -> Any:
    """Import Great Expectations, with its log at warnings."""
    with extra("checks"):
        import great_expectations as gx
        import great_expectations.expectations  # makes the attribute gx.expectations

    # These loggers set themselves to INFO.
    for name in ("great_expectations", "great_expectations.data_context.types.base"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return gx


def _context(docs: Path | None = None) -> Any:
    """Return a context in memory. With `docs` its Data Docs are written there."""
    context = _great_expectations().get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    for name in list(context.get_site_names()):
        context.delete_data_docs_site(name)
    if docs is not None:
        backend = {
            "class_name": "TupleFilesystemStoreBackend",
            "base_directory": str(docs.resolve()),
        }
        site = {
            "class_name": "SiteBuilder",
            "store_backend": backend,
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        }
        context.add_data_docs_site(site_name="checks", site_config=site)
    return context


def _define(timeframe: Timeframe, table: tuple[Bound, ...], context: Any) -> Any:
    gx = _great_expectations()
    name = f"metrics-{timeframe.value}"
    asset = context.data_sources.add_pandas(name).add_dataframe_asset(name)
    batch = asset.add_batch_definition_whole_dataframe("all")
    kept = context.suites.add(suite(timeframe, table))
    return context.validation_definitions.add(
        gx.ValidationDefinition(name=f"bars-{timeframe.value}", data=batch, suite=kept)
    )


def _checkpoint(definition: Any, session: _Session) -> Any:
    gx = _great_expectations()
    made = gx.Checkpoint(
        name=definition.name, validation_definitions=[definition], result_format=_RESULT_FORMAT
    )
    return session.context.checkpoints.add(made)


def _sweep(folder: Path) -> None:
    """Remove the result pages of an earlier build, which the new index does not link."""
    if (folder / "index.html").is_file():
        shutil.rmtree(folder / "validations", ignore_errors=True)


def _claim(session: _Session | None) -> None:
    """Make the session's context the current one: another gate may have set its own since."""
    if session is not None:
        from great_expectations.data_context.data_context.context_factory import set_context

        set_context(session.context)


def _failed_rows(result: Any) -> set[int]:
    """Return the numbers of the rows that broke an expectation.

    Raises DataError where it could not be evaluated.
    """
    if result.success:
        return set()
    rows = {int(entry["row"]) for entry in result.result.get("unexpected_index_list") or []}
    if not rows:
        config = result.expectation_config
        raise DataError(
            f"check '{config.meta['check']}' could not be evaluated by Great Expectations: "
            f"{result.exception_info}"
        )
    return rows


def _for_pandas(metrics: pl.DataFrame) -> Any:
    """Return the frame as pandas, for Great Expectations: numbers are floats, a null is NaN."""
    return metrics.with_columns(pl.col(pl.Int64).cast(pl.Float64)).to_pandas()
