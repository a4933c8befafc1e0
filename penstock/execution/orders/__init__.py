"""One order's way: the intent, its one request, tracking it to its end, recovery, cancelling."""
