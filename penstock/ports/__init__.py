"""What Penstock needs of the outside world, as Protocols whose docstrings promise behaviour.

The suites in tests/contracts test every adapter against these promises. Signatures use types of
penstock.core and of this package only.
"""

from penstock.ports.alerts import AlertOutbox
from penstock.ports.bars import BarBatch, BarStore, BatchResult
from penstock.ports.control_store import ControlStore
from penstock.ports.ledger import Ledger, ParentOrderStore
from penstock.ports.ledger_history import AccountState, Difference, LedgerHistory, Rebuild
from penstock.ports.market import Exchange, MarketData
from penstock.ports.notifier import Notifier
from penstock.ports.registry import LoadedModel, ModelVersion, Registry
from penstock.ports.task_runner import BackgroundTask, TaskRunner
from penstock.ports.venues import VenueAccount, VenueOffer, Venues

__all__ = [
    "AccountState",
    "AlertOutbox",
    "BackgroundTask",
    "BarBatch",
    "BarStore",
    "BatchResult",
    "ControlStore",
    "Difference",
    "Exchange",
    "Ledger",
    "LedgerHistory",
    "LoadedModel",
    "MarketData",
    "ModelVersion",
    "Notifier",
    "ParentOrderStore",
    "Rebuild",
    "Registry",
    "TaskRunner",
    "VenueAccount",
    "VenueOffer",
    "Venues",
]
