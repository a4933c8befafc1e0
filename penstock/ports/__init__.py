"""What Penstock needs of the outside world, as Protocols whose docstrings promise behaviour.

The suites in tests/contracts test every adapter against these promises. Signatures use types of
penstock.core and of this package only.

Times are UTC. Amounts are `Decimal`: quantities in base units, prices and notionals in quote units.
The docstring of a method, or of its Protocol, says what it raises. All errors are in
penstock.core.errors.

An implementation needs no base class. `penstock.testing` has some in memory:

>>> from datetime import UTC, datetime
>>> from decimal import Decimal
>>> from penstock.core.clock import SteppedClock
>>> from penstock.core.orders import OrderRequest, OrderType, Side
>>> from penstock.testing.memory_venue import MemoryVenue
>>> clock = SteppedClock(datetime(2026, 1, 1, tzinfo=UTC))
>>> venue: Exchange = MemoryVenue(clock)
>>> order = OrderRequest("penstock-1", "BTC/USDT", Side.BUY, OrderType.MARKET, Decimal("0.01"))
>>> venue.submit(order).state
<OrderState.FILLED: 'filled'>
>>> venue.balances()["USDT"] < 10_000
True

>>> from penstock.testing.memory_ledger import MemoryLedger
>>> ledger: Ledger = MemoryLedger(clock)
>>> ledger.open_account("paper-daily", "practice", "USDT")
>>> lease = ledger.acquire_lease("paper-daily", "this process", ttl_seconds=30)
>>> ledger.acquire_lease("paper-daily", "another process", ttl_seconds=30) is None
True
"""

from penstock.ports.alert_outbox import AlertOutbox
from penstock.ports.bar_store import BarBatch, BarInventory, BarStore, BatchResult
from penstock.ports.control_store import (
    BreakStore,
    ControlStore,
    HaltStore,
    ReconciliationStore,
    RiskStore,
)
from penstock.ports.database_server import DatabaseServer
from penstock.ports.ledger import (
    HoldingsReader,
    LeaseStore,
    Ledger,
    OrderReader,
    OrderWriter,
    ParentOrderStore,
    RebalanceStore,
)
from penstock.ports.ledger_history import AccountState, LedgerHistory, Rebuild, RowDifference
from penstock.ports.market import EndedMarketData, Exchange, MarketData, NewestBarsOnly
from penstock.ports.notifier import Notifier
from penstock.ports.recording import AnswerRecorder, RecordedAnswer
from penstock.ports.registry import LoadedModel, ModelVersion, Registry
from penstock.ports.research_journal import ResearchJournal
from penstock.ports.task_runner import BackgroundTask, TaskRunner
from penstock.ports.trial_store import OpenStudy, TrialStore
from penstock.ports.venues import VenueAccount, VenueOffer, Venues

__all__ = [
    "AccountState",
    "AlertOutbox",
    "AnswerRecorder",
    "BackgroundTask",
    "BarBatch",
    "BarInventory",
    "BarStore",
    "BatchResult",
    "BreakStore",
    "ControlStore",
    "DatabaseServer",
    "EndedMarketData",
    "Exchange",
    "HaltStore",
    "HoldingsReader",
    "LeaseStore",
    "Ledger",
    "LedgerHistory",
    "LoadedModel",
    "MarketData",
    "ModelVersion",
    "NewestBarsOnly",
    "Notifier",
    "OpenStudy",
    "OrderReader",
    "OrderWriter",
    "ParentOrderStore",
    "RebalanceStore",
    "Rebuild",
    "ReconciliationStore",
    "RecordedAnswer",
    "Registry",
    "ResearchJournal",
    "RiskStore",
    "RowDifference",
    "TaskRunner",
    "TrialStore",
    "VenueAccount",
    "VenueOffer",
    "Venues",
]
