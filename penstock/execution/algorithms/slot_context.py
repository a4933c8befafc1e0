"""The values that every step of a slot's run needs."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from penstock.core.breaks import Break, BreakKind
from penstock.core.instruments import Instrument, holdings_by_symbol, spot_assets, spot_symbol
from penstock.core.order_records import SlotOrders
from penstock.core.parent_orders import ParentOrder
from penstock.core.rebalances import Rebalance
from penstock.core.valuation import PRICE_TOLERANCE, PriceState
from penstock.execution.lease import LeaseKeeper
from penstock.execution.prices import read_prices
from penstock.execution.reconciliation.differences import may_be_new_units
from penstock.execution.session import AccountSession
from penstock.portfolio.allocation import PortfolioTargets
from penstock.portfolio.rebalancing import Book, RebalancePolicy


@dataclass(frozen=True)
class Quantities:
    """What an account holds, and what is not sure of it: see Book."""

    balances: Mapping[str, Decimal]
    """What counts, by asset."""
    missing: Mapping[str, Decimal]
    """What the ledger has of an asset and an open break says is gone."""
    lent: Decimal
    """How much of the quote asset is in an earn programme. It is in no balance."""
    in_doubt: Mapping[str, str]
    """Why a quantity is in doubt, by symbol."""


@dataclass(frozen=True, kw_only=True)
class SlotContext:
    """What is fixed while a slot is traded."""

    session: AccountSession
    """The account."""

    keeper: LeaseKeeper
    """The account's lease."""

    rebalance: Rebalance
    """The slot as the ledger has it."""

    instruments: Mapping[str, Instrument]
    """The venue's instruments by symbol, read at the start of the run."""

    targets: PortfolioTargets
    """What the strategies want."""

    policy: RebalancePolicy
    """How targets become orders."""

    begun: Sequence[ParentOrder] = ()
    """The parent orders that earlier runs of the slot committed."""

    price_tolerance: Decimal = PRICE_TOLERANCE
    """How far a last price may be from what confirms it (a fraction)."""

    def read_orders(self) -> SlotOrders:
        """Return all orders of the slot, by any run of it."""
        return SlotOrders(
            self.session.ledger.orders(self.session.account, rebalance_id=self.rebalance.id)
        )

    def read_book(
        self,
        locks: Mapping[str, str],
        symbols: Collection[str] = (),
        ledger: Mapping[str, Decimal] | None = None,
    ) -> Book:
        """Return the account as it is now, with the state of its prices.

        Prices are those of all targets, all holdings and `symbols`. `ledger` has the ledger's
        balances, which nobody but the lease's holder moves, or None where they are to be read.
        Where a break locks the quote asset, the cash is the smaller of the ledger's and the
        venue's. So are the coins under an open withdrawal break, unless their market is gone too.
        What is in an earn programme counts all the same.
        """
        held = self._quantities(locks, ledger)
        quote = self.session.quote
        holdings = holdings_by_symbol({**held.balances, **held.missing}, quote)
        counted = {s for s in holdings if spot_assets(s)[0] not in self.policy.uncounted_assets}
        known = {*self.targets.weights, *symbols} & self.instruments.keys()
        closes = {
            symbol: Decimal(str(bar.close))
            for symbol, bar in self.targets.seen.items()
            if bar.close > 0
        }
        prices = read_prices(
            self.session, {*known, *counted}, self.instruments, closes, self.price_tolerance
        )
        unsure = {
            s: price for s, price in prices.items() if price.state is not PriceState.CONFIRMED
        }
        return Book(
            self.targets.weights,
            held.balances,
            {symbol: price.value for symbol, price in prices.items()},
            self.instruments,
            self.policy,
            budget=self.targets.budget,
            unsure=unsure,
            missing=held.missing,
            lent=held.lent,
            in_doubt=held.in_doubt,
        )

    def _quantities(
        self, locks: Mapping[str, str], ledger: Mapping[str, Decimal] | None
    ) -> Quantities:
        """Return what is held, with what the venue does not show of it."""
        session, quote, lent = self.session, self.session.quote, Decimal(0)
        balances = dict(session.ledger.balances(session.account) if ledger is None else ledger)
        missing: dict[str, Decimal] = {}
        breaks = session.control_store.open_breaks(session.account) if locks else ()
        in_doubt = {
            spot_symbol(each.subject, quote): f"{each.detail}: was it split or redenominated? "
            "Accept the break once that is clear"
            for each in breaks
            if may_be_new_units(each, quote, self.instruments)
        }
        for asset, lack in self._lacking(balances, breaks, locks).items():
            symbol = spot_symbol(asset, quote)
            if asset == quote:
                balances[asset] -= lack.gone + lack.lent
                missing[asset], lent = lack.gone, lack.lent
            elif symbol in self.instruments:
                balances[asset] -= lack.gone
                missing[asset] = lack.gone
            else:
                in_doubt[symbol] = (
                    f"the venue lacks {lack.gone:f} {asset} and has no market for it: has it a "
                    "new name? Accept the break once that is clear"
                )
        return Quantities(balances, missing, lent, in_doubt)

    def _lacking(
        self,
        balances: Mapping[str, Decimal],
        breaks: Sequence[Break],
        locks: Mapping[str, str],
    ) -> dict[str, "_Lack"]:
        """Return by asset what the ledger has more than the venue.

        Only the quote asset under any open break and coins under a withdrawal are looked at.
        """
        doubtful = {self.session.quote} & locks.keys()
        doubtful |= {
            each.subject
            for each in breaks
            if each.kind is BreakKind.WITHDRAWAL and each.subject in balances
        }
        if not doubtful:
            return {}
        shown = self.session.exchange.balances()
        found = {
            asset: balances.get(asset, Decimal(0)) - shown.get(asset, Decimal(0))
            for asset in doubtful
        }
        return {
            asset: _divided(quantity, [each for each in breaks if each.subject == asset])
            for asset, quantity in found.items()
            if quantity > 0
        }


@dataclass(frozen=True)
class _Lack:
    """What the ledger has of an asset and the venue does not show, in units of the asset."""

    gone: Decimal
    """What left the account."""
    lent: Decimal = Decimal(0)
    """What is in an earn programme: it is the account's."""


def _divided(lack: Decimal, breaks: Sequence[Break]) -> _Lack:
    """Divide what the venue lacks of an asset by the open breaks on it.

    Where one of them says that it is lent, what the others would not book is lent.
    """
    if BreakKind.EARN_BALANCE not in {each.kind for each in breaks}:
        return _Lack(lack)
    booked = sum(
        ((each.changes or {}).get(each.subject, Decimal(0)) for each in breaks), Decimal(0)
    )
    gone = min(max(-booked, Decimal(0)), lack)
    return _Lack(gone, lack - gone)
