"""A ledger, a venue and a whole account in memory, for tests.

The contract suites test them as they test every other adapter.
"""
