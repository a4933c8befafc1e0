"""What is seen of a running pipeline: metrics for Prometheus, live equity against the backtest, and
HTML reports.
"""
