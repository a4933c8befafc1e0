"""Research: honest backtests, parameter searches, and the statistics that say how far to believe
them.
"""
