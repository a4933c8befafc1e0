"""One order at the venue: sending, tracking, recovery, cancelling."""
