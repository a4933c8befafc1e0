"""The one place that chooses concrete adapters: from settings to a Platform whose parts are made on
first use.

`platform` chooses the adapter of each part, `venue_accounts` opens accounts at venues or on paper,
`databases` finds or starts the database.
"""

from penstock.wiring.databases import embedded_server, sibling_databases
from penstock.wiring.platform import Platform, account_switch, chosen_notifier, open_platform
from penstock.wiring.venue_accounts import (
    RecordedAccount,
    VenueAccounts,
    public_market,
    recorded_account,
)

__all__ = [
    "Platform",
    "RecordedAccount",
    "VenueAccounts",
    "account_switch",
    "chosen_notifier",
    "embedded_server",
    "open_platform",
    "public_market",
    "recorded_account",
    "sibling_databases",
]
