"""Thin Prefect tasks: retries, time-outs, names and artifacts around one use case each."""
