"""Exchanges: any ccxt venue, the paper exchange, and market data held in memory."""
