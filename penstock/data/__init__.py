"""The data path: bars are ingested, checked and kept as hashed snapshots.

Venues, databases and Great Expectations are reached through ports.
"""
