"""From approved orders to booked fills: an account's session, a slot's run, its orders, and
reconciliation with the venue.

The run of a slot is rebalance/run.py. penstock.portfolio plans, and penstock.risk has the rules.
"""
