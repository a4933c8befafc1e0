"""One backtest: the kernel, vectorbt as its check, costs, metrics and results."""
