"""Breaks between ledger and venue, on an account at a practice exchange with its ledger in PostgreSQL."""

from tests.integration.practice_account import account, contents, database, opened

__all__ = ["account", "contents", "database", "opened"]
