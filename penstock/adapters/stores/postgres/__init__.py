"""The stores on PostgreSQL: with TimescaleDB, with its Apache edition, or without it."""

from penstock.adapters.stores.postgres.alert_outbox import PostgresAlertOutbox
from penstock.adapters.stores.postgres.bar_store import PostgresBarStore
from penstock.adapters.stores.postgres.connection import (
    Database,
    address_of,
    connect,
    create_database,
)
from penstock.adapters.stores.postgres.control_store import PostgresControlStore
from penstock.adapters.stores.postgres.ledger import PostgresLedger
from penstock.adapters.stores.postgres.ledger_history import PostgresLedgerHistory
from penstock.adapters.stores.postgres.migrations import migrate
from penstock.adapters.stores.postgres.parent_orders import PostgresParentOrderStore
from penstock.adapters.stores.postgres.promotion import PostgresPromotionStore
from penstock.adapters.stores.postgres.research_journal import PostgresResearchJournal
from penstock.adapters.stores.postgres.rollbacks import PostgresRollbackRecord
from penstock.adapters.stores.postgres.tier import Tier
from penstock.adapters.stores.postgres.trial_store import PostgresTrialStore

__all__ = [
    "Database",
    "PostgresAlertOutbox",
    "PostgresBarStore",
    "PostgresControlStore",
    "PostgresLedger",
    "PostgresLedgerHistory",
    "PostgresParentOrderStore",
    "PostgresPromotionStore",
    "PostgresResearchJournal",
    "PostgresRollbackRecord",
    "PostgresTrialStore",
    "Tier",
    "address_of",
    "connect",
    "create_database",
    "migrate",
]
