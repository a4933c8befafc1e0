"""Acceptance of a break by an operator: the ledger takes over what the venue has, with a reason."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType

from penstock.core.breaks import Break, BreakAcceptance, BreakKind, Settlement
from penstock.core.errors import StoreError
from penstock.core.instruments import spot_symbol
from penstock.core.valuation import PRICE_TOLERANCE, PriceState
from penstock.execution.lease import LeaseKeeper
from penstock.execution.prices import read_prices
from penstock.execution.reconciliation.differences import (
    ExplainedDifference,
    is_as_recorded,
    may_be_new_units,
    venues_of,
)
from penstock.execution.reconciliation.reconcile import (
    Comparison,
    Reconciliation,
    compare,
    reconcile,
)
from penstock.execution.session import AccountSession

#: An order that works at the venue and is not ours must be cancelled there. What is in an earn
#: programme is the account's, and must not be written off.
_NOT_ACCEPTABLE = frozenset({BreakKind.UNKNOWN_ORDER, BreakKind.EARN_BALANCE})


def accept_break(
    session: AccountSession,
    keeper: LeaseKeeper,
    subject: str,
    reason: str,
    by: str = "operator",
    closes: Mapping[str, Decimal] = MappingProxyType({}),
) -> Reconciliation:
    """Accept the open breaks on `subject` (an asset or a symbol), then compare again.

    `closes` are the last closes that are known, by symbol. They value what has no market any more.

    In one transaction:

    - Differences of balances are booked as adjustments.
    - An order that is gone is cancelled in the ledger.
    - A changed instrument is kept for later plans.

    Raises StoreError where no break is open on the subject, or where it is an unknown order, which
    must be cancelled at the venue, or an earn balance, which must be redeemed there. It is raised
    too where the difference is not the recorded one any more: the operator has not seen it. The new
    difference is then recorded.
    """
    seen = compare(session, keeper)
    open_now = session.control_store.open_breaks(session.account)
    acceptable = {
        each.kind: each
        for each in open_now
        if each.subject == subject and each.kind not in _NOT_ACCEPTABLE
    }
    chosen = _chosen(seen, acceptable, subject)
    if not chosen:
        raise StoreError(_nothing_to_accept(session.account, subject, open_now))
    _refuse_changed(
        session, keeper, seen, [(acceptable[each.found.kind], each.found) for each in chosen]
    )
    at = session.clock.now()
    session.control_store.settle_breaks(
        keeper.lease, [_settlement(session, each, reason, by, at, closes) for each in chosen]
    )
    return reconcile(session, keeper)


def _nothing_to_accept(account: str, subject: str, open_now: Sequence[Break]) -> str:
    shown = ", ".join(sorted(f"{each.subject} ({each.kind})" for each in open_now)) or "none"
    kinds = {each.kind for each in open_now}
    way_out = ""
    if BreakKind.UNKNOWN_ORDER in kinds:
        way_out += "; an unknown order is to be cancelled at the venue"
    if BreakKind.EARN_BALANCE in kinds:
        way_out += "; what is in an earn programme is to be redeemed at the venue"
    return (
        f"no break on '{subject}' of account '{account}' can be accepted; open there are: "
        f"{shown}{way_out}"
    )


def _chosen(
    seen: Comparison, acceptable: Mapping[BreakKind, Break], subject: str
) -> list[ExplainedDifference]:
    """Return what was found again of the open breaks.

    An overfill counts as found, because ledger and venue agree on it.
    """
    found = {each.found.kind: each for each in seen.findings if each.found.subject == subject}
    seen_again = [found[kind] for kind in acceptable if kind in found]
    return seen_again + [
        ExplainedDifference(each)
        for kind, each in acceptable.items()
        if kind is BreakKind.OVERFILL and kind not in found
    ]


def _refuse_changed(
    session: AccountSession,
    keeper: LeaseKeeper,
    seen: Comparison,
    pairs: Sequence[tuple[Break, Break]],
) -> None:
    """Raise StoreError where a break is not as it was recorded.

    The recorded break is closed first, and opened again as it is now.
    """
    venues = venues_of(session)
    changed = [
        (then, now) for then, now in pairs if not is_as_recorded(then, now, seen.balances, venues)
    ]
    if not changed:
        return
    at = session.clock.now()
    for then, now in changed:
        session.control_store.close_break(
            keeper.lease, then.subject, then.kind, at, "the difference has changed: opened again"
        )
        session.control_store.open_break(keeper.lease, now, at)
    message = "; ".join(
        f"{then.kind} was: {then.message}; and is now: {now.message}" for then, now in changed
    )
    raise StoreError(
        f"the difference on '{changed[0][0].subject}' of account '{session.account}' has "
        "changed since it was recorded, and "
        f"nothing was booked: {message}. The break shows the new figures: look again, and "
        "accept it if they are right"
    )


def _settlement(
    session: AccountSession,
    finding: ExplainedDifference,
    reason: str,
    by: str,
    at: datetime,
    closes: Mapping[str, Decimal],
) -> Settlement:
    # New units change no equity: the price changes as much the other way.
    new_units = may_be_new_units(finding.found, session.quote, session.exchange.instruments())
    is_worth = finding.changes and not new_units
    value = _value(session, finding.changes, closes) if is_worth else Decimal(0)
    accepted = BreakAcceptance(
        session.account, finding.found.subject, finding.found.kind, reason, by, at, value
    )
    return Settlement(accepted, finding.changes, finding.orders, finding.instrument)


def _value(
    session: AccountSession, changes: Mapping[str, Decimal], closes: Mapping[str, Decimal]
) -> Decimal:
    """Return what changes of balances are worth (quote units).

    An asset of which no price was ever known counts nothing: it counted nothing in equity. Raises
    StoreError where a market's price is in doubt, because a wrong value would look like a loss
    later. What has no market counts at its last close, else at the price that is known: there will
    be no better one.
    """
    symbols = {asset: spot_symbol(asset, session.quote) for asset in changes}
    symbols.pop(session.quote, None)
    listed = session.exchange.instruments()
    gone = {symbol: close for symbol, close in closes.items() if symbol not in listed}
    prices = read_prices(session, symbols.values(), listed, gone, PRICE_TOLERANCE)
    doubts = {
        symbol: price
        for symbol, price in sorted(prices.items())
        if price.state is PriceState.IN_DOUBT and symbol in listed
    }
    if doubts:
        why = "; ".join(f"{symbol}: {price.reason}" for symbol, price in doubts.items())
        raise StoreError(
            f"nothing was booked, because what it is worth is in doubt ({why}): accept it again "
            "when the venue's prices agree"
        )
    return changes.get(session.quote, Decimal(0)) + sum(
        (
            changes[asset] * prices[symbol].value
            for asset, symbol in symbols.items()
            if symbol in prices
        ),
        Decimal(0),
    )
