"""One backtest: the kernel, its oracle, costs, metrics and results."""
