"""Research: backtests, parameter searches, and the statistics that tell how far to believe them."""
