"""Breaks of an account at a practice exchange whose ledger is in PostgreSQL."""

from tests.integration.practice_account import account, contents, database, opened

__all__ = ["account", "contents", "database", "opened"]
