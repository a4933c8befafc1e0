"""The vocabulary: bars, instruments, orders, weights, strategies, the clock and the errors. Depends
on nothing above it.
"""
