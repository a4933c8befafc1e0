"""MLflow: the record of searches (tracking) and of strategy versions (registry).

MLflow itself is imported on first use.
"""
