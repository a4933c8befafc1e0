"""Where records are kept: a PostgreSQL of our own (embedded) and the stores that work on any
PostgreSQL (timescale).
"""
