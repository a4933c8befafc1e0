"""What a running pipeline shows: live equity against the backtest, returns and HTML reports."""
