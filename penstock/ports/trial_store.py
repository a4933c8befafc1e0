"""What a search needs to keep its trials, and to share them with other processes."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from penstock.core.trials import StudyTerms, Trial


class OpenStudy(Protocol):
    """A study that one process works on.

    Raises StoreError where it cannot be reached.
    """

    def batches(self, first: int = 0) -> Mapping[int, Sequence[Trial]]:
        """Return the trials that are kept, by batch, from batch `first` on. A batch is whole."""
        ...

    def claim(self, batch: int) -> bool:
        """Take the right to evaluate a batch.

        Return False where another process has it, and where the batch is kept already.

        The right ends with `append`, with the study, and with the process, however it ends.
        """
        ...

    def append(self, batch: int, trials: Sequence[Trial]) -> None:
        """Keep the trials of a claimed batch, all or nothing, and give the right back.

        A batch that is kept already stays as it is.
        """
        ...


class TrialStore(Protocol):
    """The trials of studies, for ever. Nothing else of a study is kept: no trial is "running".

    Raises StoreError where it cannot be reached.
    """

    def open_study(self, terms: StudyTerms) -> AbstractContextManager[OpenStudy]:
        """Begin a study, or go on with it."""
        ...
