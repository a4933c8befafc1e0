"""From approved orders to booked fills: one account's session, the run of a slot, its orders, and
reconciliation with the venue.

The run of a slot is rebalance/run.py. penstock.portfolio plans, and penstock.risk has the rules.
"""
