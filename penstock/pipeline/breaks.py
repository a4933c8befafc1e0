"""Breaks as an operator sees them: what is open, what was, and the acceptance that settles one."""

from dataclasses import dataclass
from decimal import Decimal

import polars as pl

from penstock.core.actors import Actor
from penstock.core.bars import empty_bars
from penstock.core.breaks import Break, PastBreak
from penstock.core.instruments import is_spot_symbol, spot_symbol
from penstock.execution.lease import held_lease
from penstock.execution.reconciliation.acceptance import accept_break as settle
from penstock.pipeline.alerts import alerting
from penstock.pipeline.reconcile import ReconcileOutcome
from penstock.pipeline.use_case import use_case
from penstock.portfolio.decision import seen_bars, under_former_names
from penstock.wiring import Platform


@dataclass(frozen=True)
class OpenBreaks:
    """The open breaks of an account."""

    portfolio: str
    """The portfolio that trades the account."""
    account: str
    """The account's name."""
    breaks: tuple[Break, ...]
    """The breaks that are open."""


@use_case
def list_breaks(platform: Platform, actor: Actor) -> tuple[OpenBreaks, ...]:
    """Return the open breaks of every account of the environment, in the order of its accounts."""
    return tuple(
        OpenBreaks(name, account.name, tuple(platform.control_store.open_breaks(account.name)))
        for name, account in platform.environment.accounts.items()
    )


@use_case
def break_history(platform: Platform, actor: Actor, portfolio: str) -> tuple[PastBreak, ...]:
    """Return the account's newest breaks, closed ones too, newest first."""
    account = platform.environment.account_of(portfolio).name
    return tuple(platform.control_store.break_history(account))


@use_case
def accept_break(
    platform: Platform, actor: Actor, portfolio: str, subject: str, reason: str
) -> ReconcileOutcome:
    """Let the ledger take over what the venue has of `subject`; return what is open afterwards. The
    reason and the actor's name are kept.

    Raises StoreError where no break on it can be accepted, or another process holds the account.
    """
    with alerting(platform, portfolio):
        closes = _last_closes(platform, portfolio, subject)
        session = platform.session(portfolio)
        with held_lease(session, "accept the break once its slot is over") as keeper:
            found = settle(session, keeper, subject, reason, actor.name, closes)
        return ReconcileOutcome(session.account, found)


def _last_closes(platform: Platform, portfolio: str, subject: str) -> dict[str, Decimal]:
    """Return the newest stored close of the symbol that a break is about, by symbol.

    A coin with a new name has that name's, in the units of the old one.
    """
    universe = platform.settings.universe
    timeframe = platform.settings.portfolio(portfolio).timeframe
    symbol = subject if is_spot_symbol(subject) else spot_symbol(subject, universe.quote)
    names = [name for name, each in universe.series.items() if each.formerly == symbol] or [symbol]
    newest = platform.bars.watermarks(platform.exchange_name, timeframe)
    known = {name: newest[name] for name in names if name in newest}
    bars = pl.concat(
        [
            empty_bars(),
            *(
                platform.bars.read_bars(platform.exchange_name, timeframe, [name], at)
                for name, at in known.items()
            ),
        ]
    ).sort("symbol", "ts")
    seen = under_former_names(seen_bars(bars, timeframe), universe.series)
    return {name: Decimal(str(bar.close)) for name, bar in seen.items()}
