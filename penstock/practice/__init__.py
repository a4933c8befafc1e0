"""The practice exchange: an HTTP server that speaks Binance's spot REST wire and replays candles on
a clock of its own.
"""
