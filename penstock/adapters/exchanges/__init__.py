"""Exchanges: ccxt venues, several venues as one account, and market data held in memory."""
