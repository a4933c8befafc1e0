"""From approved orders to booked fills: placement, following, recovery, reconciliation, and the
rebalance that joins them.
"""
