"""The ledger for an operator: read models compared with its events, and an account at any time."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from penstock.core.actors import Actor
from penstock.core.instruments import Instrument
from penstock.core.order_records import OrderRecord
from penstock.core.profit import Profits, profits
from penstock.pipeline.use_case import use_case
from penstock.ports import Rebuild
from penstock.wiring import Platform


@dataclass(frozen=True)
class LedgerView:
    """An account as it was at one instant."""

    account: str
    """The account's name."""
    at: datetime
    """The instant."""
    orders: tuple[OrderRecord, ...]
    """The orders until then, oldest first."""
    balances: Mapping[str, Decimal]
    """What was held, by asset."""
    profits: Profits
    """What the account's strategies made."""
    last_prices: Mapping[str, Decimal]
    """Price of the newest fill until then, by symbol. Unrealised profit is measured at it."""
    quote: str
    """The asset that amounts are in."""
    instruments: Mapping[str, Instrument]
    """The instruments that orders are planned with now, by symbol: how amounts are written."""


@use_case
def rebuild_ledger(platform: Platform, actor: Actor, *, check: bool) -> Rebuild:
    """Compare the read models with what the events lead to; without `check` also replace them, in
    one transaction.
    """
    return platform.ledger_history.rebuild(replace=not check)


@use_case
def show_ledger(
    platform: Platform, actor: Actor, portfolio: str, at: datetime | None = None
) -> LedgerView:
    """Return the portfolio's account as it was at `at` (default: now, by the venue's clock)."""
    account = platform.environment.account_of(portfolio).name
    then = at or platform.clock.now()
    state = platform.ledger_history.state_at(account, then)
    fills = platform.ledger_history.fills(account, then)
    return LedgerView(
        account,
        then,
        tuple(state.orders),
        state.balances,
        profits(fills),
        {fill.symbol: fill.price for _, fill in sorted(fills, key=lambda pair: pair[1].at)},
        platform.settings.universe.quote,
        platform.control_store.planned_instruments(account),
    )
