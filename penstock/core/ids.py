"""Sources of unique names.

The real source is penstock.core.machine's. A simulation is given counted names, so that two runs of
it are the same.
"""

from dataclasses import dataclass, field
from typing import Protocol


class IdSource(Protocol):
    """Makes names that are used once."""

    def new_id(self) -> str:
        """Return 32 hexadecimal digits that no other call returns; the last eight differ too."""
        ...

    def process_name(self) -> str:
        """Return a name of this process that an operator understands: its host and number."""
        ...


@dataclass
class CountedIds:
    """Names counted from one: for tests and simulations, in which one source serves everybody.

    >>> CountedIds().new_id()
    '00000000000000000000000000000001'
    """

    process: str = "simulation:1"
    """What `process_name` returns."""
    _count: int = field(default=0, init=False)

    def new_id(self) -> str:
        self._count += 1
        return f"{self._count:032x}"

    def process_name(self) -> str:
        return self.process
