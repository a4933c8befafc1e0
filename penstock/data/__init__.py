"""The data path: ingest bars, check them, keep hashed snapshots. Venues, databases and Great
Expectations stay behind ports.
"""
