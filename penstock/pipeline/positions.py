"""What an account holds, at the newest prices that are known: closes of stored bars, and fills."""

from collections.abc import Collection, Iterator
from contextlib import suppress
from datetime import datetime
from decimal import Decimal

from penstock.core.actors import Actor
from penstock.core.errors import ConfigError, VenueError
from penstock.core.instruments import holdings_by_symbol
from penstock.core.timeframes import Timeframe
from penstock.monitoring.positions import Holdings, LastPrice, holdings_of, newest
from penstock.pipeline.use_case import use_case
from penstock.wiring import Platform

#: A watermark may be of a bar that was refused: the newest stored one is a few before it.
_BARS_BACK = 5


@use_case
def list_positions(platform: Platform, actor: Actor, portfolio: str) -> Holdings:
    """Return what the portfolio's account holds by its ledger, at the newest prices that are known.

    No venue is asked for a price. The practice exchange is asked for its time, if it answers: the
    prices have no age else.
    """
    account = platform.environment.account_of(portfolio).name
    quote = platform.settings.universe.quote
    balances = platform.ledger.balances(account)
    held = holdings_by_symbol(balances, quote)
    return holdings_of(
        account,
        quote,
        balances,
        platform.ledger.cost_bases(account) if held else {},
        newest([*_fills(platform, account, held), *_closes(platform, held)]),
        _now(platform) if held else None,
        platform.settings.portfolio(portfolio).rebalancing.uncounted_assets,
        platform.control_store.planned_instruments(account),
    )


def _closes(platform: Platform, symbols: Collection[str]) -> Iterator[tuple[str, LastPrice]]:
    """Yield the newest stored close of each symbol in each timeframe, at its bar's end."""
    exchange = platform.exchange_name
    for timeframe in platform.settings.universe.timeframes if symbols else ():
        marks = platform.bars.watermarks(exchange, timeframe)
        by_mark: dict[datetime, list[str]] = {}
        for symbol in sorted(symbols):
            if symbol in marks:
                by_mark.setdefault(marks[symbol], []).append(symbol)
        for mark, names in by_mark.items():
            yield from _closes_since(platform, timeframe, names, mark)


def _closes_since(
    platform: Platform, timeframe: Timeframe, symbols: list[str], mark: datetime
) -> Iterator[tuple[str, LastPrice]]:
    start = mark - _BARS_BACK * timeframe.duration
    bars = platform.bars.read_bars(platform.exchange_name, timeframe, symbols, start)
    last = bars.group_by("symbol", maintain_order=True).last()
    for symbol, opened, close in last.select("symbol", "ts", "close").iter_rows():
        if close > 0:
            closed = opened + timeframe.duration
            yield symbol, LastPrice(Decimal(str(close)), closed, f"{timeframe} bar")


def _fills(
    platform: Platform, account: str, symbols: Collection[str]
) -> Iterator[tuple[str, LastPrice]]:
    """Yield the price of the account's newest fill of each symbol."""
    marks = {mark.symbol: mark.since for mark in platform.control_store.trade_marks(account)}
    for symbol in sorted({*symbols} & {*marks}):
        for fill in platform.ledger.fills(account, symbol, marks[symbol])[-1:]:
            yield symbol, LastPrice(fill.price, fill.at, "fill")


def _now(platform: Platform) -> datetime | None:
    """Return the venue's time; None where the practice exchange does not answer."""
    with suppress(VenueError, ConfigError):
        return platform.clock.now()
    return None
