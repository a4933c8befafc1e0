"""Thin Prefect tasks: retries, time-outs, names and artifacts around one call of the library each."""
