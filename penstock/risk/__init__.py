"""Which orders may be sent: limits, rules, and the review that approves orders.

Pure: no venue and no database.
"""
