"""Comparing the ledger with the venue, explaining differences, and accepting them."""
