"""From approved orders to booked fills: one account's session, the run of a slot, orders on
their way, and reconciliation with the venue.

Where a slot begins and ends is rebalance/run.py. Who plans is penstock.portfolio, and who sets the
rules is penstock.risk.
"""
