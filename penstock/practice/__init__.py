"""The practice exchange: a server with Binance's spot REST API, which replays candles on a clock of
its own.
"""
