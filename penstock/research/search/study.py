"""One study at work: its batches are proposed, claimed, evaluated on threads, kept and learnt.

Batches are proposed and learnt in their order, whoever evaluates them. So a study that was killed,
or that several processes share, has the trials of an undisturbed one. A process evaluates one batch
at a time, and the next batch is proposed meanwhile.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from penstock.core.clock import MachineClock
from penstock.core.errors import SearchError, StrategyError
from penstock.core.strategy import Strategy
from penstock.core.trials import ParamValues, Trial
from penstock.ports import BackgroundTask, OpenStudy, TaskRunner
from penstock.research.search.samplers import Batch, Sampler

#: How often one looks whether another process has finished its batch.
_POLL_SECONDS = 0.02

#: Objectives and further figures of a strategy, in sample.
Figures = tuple[tuple[float, ...], Mapping[str, float]]


class UnkeptStudy:
    """A study that nothing keeps: for a search without a TrialStore."""

    def batches(self, first: int = 0) -> Mapping[int, Sequence[Trial]]:  # noqa: ARG002 - keeps none
        return {}

    def claim(self, batch: int) -> bool:  # noqa: ARG002 - nobody else is there
        return True

    def append(self, batch: int, trials: Sequence[Trial]) -> None:
        pass


@dataclass
class _Evaluation:
    """A batch that is evaluated in the background."""

    batch: Batch
    work: Callable[[], list[Trial]]
    trials: list[Trial] = field(default_factory=list)
    error: BaseException | None = None
    task: BackgroundTask | None = None

    def run(self) -> None:
        try:
            self.trials = self.work()
        except BaseException as error:  # noqa: BLE001  # raised by whoever waits
            self.error = error

    def wait(self) -> None:
        while self.task is not None and not self.task.wait(60.0):
            pass


class StudyRun:
    """One process's run of one study."""

    def __init__(
        self,
        strategy: type[Strategy],
        sampler: Sampler,
        kept: OpenStudy,
        evaluate: Callable[[Strategy], Figures],
        *,
        runner: TaskRunner,
        threads: int,
        clock: MachineClock,
        on_batch: Callable[[Sequence[Trial]], None],
    ) -> None:
        """`on_batch` is called with each batch, in order, before its results are used."""
        self._strategy = strategy
        self._sampler = sampler
        self._kept = kept
        self._evaluate = evaluate
        self._runner = runner
        self._threads = threads
        self._clock = clock
        self._on_batch = on_batch
        self._proposed: dict[int, list[ParamValues]] = {}
        self._waiting: list[Batch] = []
        self._running: _Evaluation | None = None
        self._learnt = 0
        self._stopped = False
        self._done: dict[int, Sequence[Trial]] = {}
        self._known: dict[str, Figures] = {}

    def run(self) -> list[Trial]:
        """Return all trials of the study, in the order of their numbers."""
        batches = self._sampler.batches
        self._done = dict(self._kept.batches())
        complete = len(self._done) == len(batches)
        try:
            for batch in batches:
                if not complete:  # the sampler's state is not needed any more
                    self._learn_until(batch.needs)
                    self._propose(batch)
                    self._begin_next()
            self._learn_until(len(batches))
        except BaseException:
            self._stopped = True
            if self._running is not None:
                self._running.wait()
            raise
        return [trial for batch in batches for trial in self._done[batch.number]]

    def _propose(self, batch: Batch) -> None:
        proposed = self._sampler.propose(batch)
        self._proposed[batch.number] = proposed
        if batch.number not in self._done:
            self._waiting.append(batch)
            return
        kept = [dict(trial.params) for trial in self._done[batch.number]]
        if kept != [dict(each) for each in proposed]:
            raise SearchError(
                f"the trials of '{self._strategy.name}' that are kept were proposed otherwise, in "
                f"batch {batch.number}: another version of the sampler made them; use another seed"
            )

    def _learn_until(self, count: int) -> None:
        while self._learnt < count:
            batch = self._sampler.batches[self._learnt]
            trials = self._result_of(batch)
            self._on_batch(trials)
            if self._proposed:
                self._sampler.learn(batch, trials)
            for trial in trials:
                self._known.setdefault(_key(trial.params), (trial.values, trial.metrics))
            self._learnt += 1

    def _result_of(self, batch: Batch) -> Sequence[Trial]:
        """Return a batch's trials, once they are there."""
        while batch.number not in self._done:
            if self._running is not None:
                self._keep_finished(self._running)
            elif not self._begin_next():  # other processes have all that wait
                self._clock.sleep(_POLL_SECONDS)
                self._done.update(self._kept.batches(batch.number))
        return self._done[batch.number]

    def _begin_next(self) -> bool:
        """Begin to evaluate a batch that nobody has; return whether there was one."""
        if self._running is not None:
            return False
        self._waiting = [batch for batch in self._waiting if batch.number not in self._done]
        for batch in self._waiting:
            if self._kept.claim(batch.number):
                self._waiting.remove(batch)
                work = partial(self._trials_of, batch, dict(self._known))
                evaluation = _Evaluation(batch, work)
                evaluation.task = self._runner.start(evaluation.run, name="search")
                self._running = evaluation
                return True
        return False

    def _keep_finished(self, evaluation: _Evaluation) -> None:
        evaluation.wait()
        if evaluation.error is not None:
            raise evaluation.error
        self._kept.append(evaluation.batch.number, evaluation.trials)
        self._done[evaluation.batch.number] = evaluation.trials
        self._running = None
        self._begin_next()

    def _trials_of(self, batch: Batch, known: dict[str, Figures]) -> list[Trial]:
        """Evaluate a batch. What is known, or twice in it, is not simulated again."""
        proposed = self._proposed[batch.number]
        keys = [_key(params) for params in proposed]
        new = {key: params for key, params in zip(keys, proposed, strict=True) if key not in known}
        found = self._runner.map(
            self._trial, list(new.values()), at_once=self._threads, name="trial"
        )
        took = {key: ms for key, (_, ms) in zip(new, found, strict=True)}
        known |= {key: figures for key, (figures, _) in zip(new, found, strict=True)}
        trials = []
        for number, (key, params) in enumerate(zip(keys, proposed, strict=True), batch.first):
            values, metrics = known[key]
            ms = took.pop(key, 0.0)
            trials.append(
                Trial(number, self._strategy.name, params, bool(values), values, metrics, ms)
            )
        return trials

    def _trial(self, params: ParamValues) -> tuple[Figures, float]:
        """Return the figures of parameters, none where they are not allowed, and milliseconds."""
        if self._stopped:
            raise SearchError("the search was stopped")
        started = self._clock.elapsed_seconds()
        try:
            chosen = self._strategy.from_params(dict(params))
        except StrategyError:
            return ((), {}), 0.0
        figures = self._evaluate(chosen)
        return figures, (self._clock.elapsed_seconds() - started) * 1e3


def _key(params: ParamValues) -> str:
    return json.dumps(dict(params), sort_keys=True)
