"""One store for three tiers of PostgreSQL: TimescaleDB, TimescaleDB with the Apache licence, and PostgreSQL without it."""

from penstock.adapters.stores.timescale.alerts import TimescaleAlerts
from penstock.adapters.stores.timescale.bars import TimescaleBarStore
from penstock.adapters.stores.timescale.connection import Database, address_of, connect, create_database
from penstock.adapters.stores.timescale.ledger import TimescaleLedger
from penstock.adapters.stores.timescale.migrations import migrate, pending
from penstock.adapters.stores.timescale.promotion import PromotionRecord
from penstock.adapters.stores.timescale.supervision import TimescaleSupervision
from penstock.adapters.stores.timescale.tier import Tier
from penstock.adapters.stores.timescale.work import TimescaleWork

__all__ = [
    "Database",
    "PromotionRecord",
    "Tier",
    "TimescaleAlerts",
    "TimescaleBarStore",
    "TimescaleLedger",
    "TimescaleSupervision",
    "TimescaleWork",
    "address_of",
    "connect",
    "create_database",
    "migrate",
    "pending",
]
