"""What every RollbackRecord promises: the one in PostgreSQL, and the one in memory."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from penstock.adapters.stores.postgres import Database, PostgresRollbackRecord
from penstock.promotion.rollback import RollbackRecord
from penstock.testing.memory_rollbacks import MemoryRollbackRecord

AT = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture
def record(tier: str, request: pytest.FixtureRequest) -> RollbackRecord:
    if tier == "memory":
        return MemoryRollbackRecord()
    database: Database = request.getfixturevalue("database")
    return PostgresRollbackRecord(database)


def test_every_rollback_is_remembered_by_model(record: RollbackRecord, name: str) -> None:
    """The second does not replace the first, and another model's are not among them."""
    assert record.rolled_back(name) == {}
    record.remember(name, "2", "aa", AT, "ana")
    record.remember(name, "3", "bb", AT, "ben")
    record.remember(f"{name}-other", "9", "cc", AT, "ana")
    assert record.rolled_back(name) == {"aa": "2", "bb": "3"}


def test_one_holder_at_a_time_moves_the_aliases_of_a_model(
    record: RollbackRecord, name: str
) -> None:
    """A second holder waits for the first, whatever ends it. Another model's aliases are free."""
    inside, entered = threading.Event(), threading.Event()

    def second() -> bool:
        inside.wait(10)
        with record.alias_lock(name):
            entered.set()
        return True

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(second)
        with suppress(ZeroDivisionError), record.alias_lock(name):
            inside.set()
            with record.alias_lock(f"{name}-other"):
                assert not entered.wait(0.3)
            print(1 / 0)
        assert waiting.result(10)
