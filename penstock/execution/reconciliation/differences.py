"""What explains a difference between the ledger's balances and the venue's: a break and its kind.

Nothing is booked here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from penstock.core.accounting import summed
from penstock.core.amounts import to_step
from penstock.core.breaks import Break, BreakAcceptance, BreakKind, subject_assets
from penstock.core.earn_balances import EarnBalance
from penstock.core.instruments import Instrument, holdings_by_symbol, spot_symbol
from penstock.core.relistings import RELISTING_RATIO
from penstock.execution.session import AccountSession

_ZERO = Decimal(0)
#: Balances that came through a float are exact to about fifteen digits.
_FLOAT_DIGITS = Decimal("1e-14")
#: Venues show balances to eight decimals, and notionals may have more.
_SHOWN = Decimal("1e-8")


def _noise(balance: Decimal, venues: int) -> Decimal:
    """Return the rounding error that a venue's balance may have."""
    return max(_SHOWN * venues, abs(balance) * _FLOAT_DIGITS)


def venues_of(session: AccountSession) -> int:
    """Return the number of venues over which the account's balances are summed."""
    return 1 if session.venues is None else len(session.venues.accounts)


def may_be_new_units(found: Break, quote: str, instruments: Mapping[str, Instrument]) -> bool:
    """Return whether nothing explains why the venue has so many times as much of an asset, or so
    much less, as a split or a redenomination changes it. Crumbs tell nothing.
    """
    ledger, venue = found.ledger_value, found.venue_value
    if found.kind is not BreakKind.BALANCE_MISMATCH or found.subject == quote:
        return False
    if not ledger or not venue:
        return False
    instrument = instruments.get(spot_symbol(found.subject, quote))
    if instrument is not None and min(ledger, venue) < instrument.min_quantity:
        return False
    return max(venue / ledger, ledger / venue) > Decimal(RELISTING_RATIO)


@dataclass(frozen=True)
class ExplainedDifference:
    """A break, and what would follow if an operator accepted it."""

    found: Break
    """The break."""
    changes: Mapping[str, Decimal] = field(default_factory=dict)
    """What the ledger would book, by asset."""
    orders: tuple[str, ...] = ()
    """Orders (client order ids) that would be cancelled in the ledger."""
    instrument: Instrument | None = None
    """The instrument that would be planned with from then on."""


@dataclass
class BalanceGaps:
    """Venue minus ledger by asset, less what findings have explained so far."""

    balances: Mapping[str, Decimal]
    """The venue's balances by asset."""
    ledger: Mapping[str, Decimal]
    """The ledger's balances by asset."""
    findings: list[ExplainedDifference] = field(default_factory=list)
    """What explains gaps."""
    venues: int = 1
    """The number of venues in `balances`. Each rounds what it shows."""

    @property
    def assets(self) -> list[str]:
        """All assets of both sides and of the findings, sorted."""
        touched = {asset for finding in self.findings for asset in finding.changes}
        return sorted({*self.balances, *self.ledger, *touched})

    def of(self, asset: str) -> Decimal:
        """Return the unexplained gap of an asset; zero where it may be rounding."""
        balance, ledger = self.balances.get(asset, _ZERO), self.ledger.get(asset, _ZERO)
        if balance == ledger and not self.findings:
            return _ZERO
        explained = sum((finding.changes.get(asset, _ZERO) for finding in self.findings), _ZERO)
        gap = balance - ledger - explained
        return _ZERO if abs(gap) < _noise(balance, self.venues) else gap

    def without(self, changes: Mapping[str, Decimal]) -> "BalanceGaps":
        """Return the gaps that would be left if the ledger had these changes too."""
        return replace(self, ledger=summed([self.ledger, changes]))

    def open(self) -> dict[str, Decimal]:
        """Return every unexplained gap."""
        return {asset: gap for asset in self.assets if (gap := self.of(asset))}


def merged(findings: Sequence[ExplainedDifference]) -> tuple[ExplainedDifference, ...]:
    """Return one finding per subject and kind, with all that the merged ones would change."""
    alike: dict[tuple[str, BreakKind], list[ExplainedDifference]] = {}
    for finding in findings:
        alike.setdefault((finding.found.subject, finding.found.kind), []).append(finding)
    return tuple(
        ExplainedDifference(
            replace(
                group[0].found,
                detail="; ".join(each.found.detail for each in group),
                changes=summed([each.changes for each in group]),
            ),
            summed([each.changes for each in group]),
            tuple(name for each in group for name in each.orders),
            group[-1].instrument,
        )
        for group in alike.values()
    )


def is_as_recorded(
    recorded: Break, now: Break, balances: Mapping[str, Decimal], venues: int
) -> bool:
    """Return whether a break is as it was recorded.

    Equal are two breaks that would book the same, up to rounding. Where nothing would be booked, or
    that is not recorded, their details must be equal.
    """
    if recorded.changes is None or not (recorded.changes or now.changes):
        return recorded.detail == now.detail
    before, after = recorded.changes, now.changes or {}
    return all(
        abs(after.get(asset, _ZERO) - before.get(asset, _ZERO))
        < _noise(balances.get(asset, _ZERO), venues)
        for asset in {*before, *after}
    )


def unexplained(
    session: AccountSession, gaps: BalanceGaps, since: datetime, accepted: Sequence[BreakAcceptance]
) -> list[ExplainedDifference]:
    """Return a break per asset whose gap no trade explains: a transfer, dust, or a mismatch.

    A gap worth no more than `dust_notional` is dust. Where the venue shows its transfers, a gap
    that one or all of them explain is a deposit or withdrawal. What is lacking and is in an earn
    programme is named so, and books nothing. Any other gap is a mismatch. Where the venue does
    not show transfers, a surplus is called a deposit and a lack a withdrawal.
    """
    left = gaps.open()
    if not left:
        return []
    prices = prices_of(session, left)
    transfers = session.exchange.transfers(since)
    dust = Decimal(str(session.policy.dust_notional))
    found: list[ExplainedDifference] = []
    earning = _earning(session) if any(gap < 0 for gap in left.values()) else {}
    for asset, gap in left.items():
        price, settled = prices.get(asset), _settled(accepted, asset, since)
        moved = (
            None
            if transfers is None
            else [t.quantity for t in transfers if t.asset == asset and t.at > settled]
        )
        if price is not None and abs(gap) * price <= dust:
            kind = BreakKind.DUST
        elif moved and any(abs(each - gap) < _SHOWN for each in (sum(moved, _ZERO), *moved)):
            kind = BreakKind.DEPOSIT if gap > 0 else BreakKind.WITHDRAWAL
        else:
            kind = BreakKind.BALANCE_MISMATCH
            if moved is None:
                kind = BreakKind.DEPOSIT if gap > 0 else BreakKind.WITHDRAWAL
            if gap < 0 and asset in earning:
                found += _lent(session, gaps, asset, gap, earning[asset], moved)
                continue
        found.append(_finding(session, gaps, asset, kind, gap))
    return found


def _earning(session: AccountSession) -> dict[str, list[EarnBalance]]:
    """Return what is in the venue's earn programmes, by asset."""
    found: dict[str, list[EarnBalance]] = {}
    for each in session.exchange.earn_balances():
        found.setdefault(each.asset, []).append(each)
    return found


def _lent(
    session: AccountSession,
    gaps: BalanceGaps,
    asset: str,
    gap: Decimal,
    earning: Sequence[EarnBalance],
    moved: Sequence[Decimal] | None,
) -> list[ExplainedDifference]:
    """Return the breaks of a lack of which an earn programme has a part, or all of it.

    What was deposited and withdrawn meanwhile is a break of its own, where the rest is lent.
    """
    lent = sum((each.quantity for each in earning), _ZERO)
    kind = BreakKind.WITHDRAWAL if moved is None else BreakKind.BALANCE_MISMATCH
    rest = min(gap + lent, _ZERO)
    net = sum(moved or (), _ZERO)
    if abs(gap + lent) >= _SHOWN and net and -lent - _SHOWN < gap - net < 0:
        kind, rest = BreakKind.DEPOSIT if net > 0 else BreakKind.WITHDRAWAL, net
    found = [_in_earn_programmes(session, gaps, asset, rest - gap, earning)]
    if abs(rest) >= _SHOWN:
        found.append(_finding(session, gaps, asset, kind, rest))
    return found


def _in_earn_programmes(
    session: AccountSession,
    gaps: BalanceGaps,
    asset: str,
    lack: Decimal,
    earning: Sequence[EarnBalance],
) -> ExplainedDifference:
    """Return the break of coins that went to an earn programme. Nothing of it would be booked."""
    there = " and ".join(
        f"{to_step(each.quantity)} {asset} are in {each.programme} as {each.name}"
        for each in earning
    )
    detail = (
        f"the venue has {to_step(lack)} {asset} less to trade than the ledger, and {there}: they "
        "are the account's, and cannot be traded until they are redeemed"
    )
    ledger, venue = gaps.ledger.get(asset, _ZERO), gaps.balances.get(asset, _ZERO)
    kind = BreakKind.EARN_BALANCE
    return ExplainedDifference(Break(session.account, asset, kind, detail, ledger, venue))


def _finding(
    session: AccountSession, gaps: BalanceGaps, asset: str, kind: BreakKind, gap: Decimal
) -> ExplainedDifference:
    why = {
        BreakKind.DUST: "worth too little to matter",
        BreakKind.BALANCE_MISMATCH: "and neither a trade nor a transfer explains it",
    }.get(kind, "and no trade explains it")
    detail = (
        f"the venue has {to_step(abs(gap))} {asset} {'more' if gap > 0 else 'less'} than the "
        f"ledger, {why}"
    )
    ledger, venue = gaps.ledger.get(asset, _ZERO), gaps.balances.get(asset, _ZERO)
    return ExplainedDifference(
        Break(session.account, asset, kind, detail, ledger, venue), {asset: gap}
    )


def _settled(accepted: Sequence[BreakAcceptance], asset: str, since: datetime) -> datetime:
    """Return until when the ledger has an asset's transfers: the last acceptance or `since`."""
    return max(
        (each.at for each in accepted if asset in subject_assets(each.subject)), default=since
    )


def prices_of(session: AccountSession, assets: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Return the price of each asset in quote units, where the venue has a market for it."""
    listed = session.exchange.instruments()
    symbols = list(holdings_by_symbol(assets, session.quote, listed))
    prices = session.exchange.last_prices(symbols) if symbols else {}
    return {
        session.quote: Decimal(1),
        **{listed[symbol].base: price for symbol, price in prices.items()},
    }
