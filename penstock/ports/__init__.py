"""What Penstock needs of the outside world, as Protocols whose docstrings promise behaviour.

Adapters keep these promises and the suites in tests/contracts hold them to it. Signatures speak only the words of
penstock.core.
"""

from penstock.ports.alerts import AlertOutbox
from penstock.ports.bars import BarBatch, BarStore, BatchResult
from penstock.ports.ledger import Ledger, WorkStore
from penstock.ports.market import Exchange, MarketData
from penstock.ports.notifier import Notifier
from penstock.ports.registry import LoadedModel, ModelVersion, Registry
from penstock.ports.supervision import Supervision
from penstock.ports.venues import VenueAccount, VenueOffer, Venues

__all__ = [
    "AlertOutbox",
    "BarBatch",
    "BarStore",
    "BatchResult",
    "Exchange",
    "Ledger",
    "LoadedModel",
    "MarketData",
    "ModelVersion",
    "Notifier",
    "Registry",
    "Supervision",
    "VenueAccount",
    "VenueOffer",
    "Venues",
    "WorkStore",
]
