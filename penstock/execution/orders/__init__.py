"""One order from its intent to its end: sending, tracking, recovery, cancelling."""
