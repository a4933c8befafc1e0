"""Values and pure rules: bars, instruments, orders, weights, strategies, the clock and the errors.

It imports nothing else of Penstock.
"""
