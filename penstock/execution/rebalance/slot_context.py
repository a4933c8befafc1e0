"""The values that every step of a slot's run needs."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from penstock.core.instruments import Instrument, holdings_by_symbol
from penstock.core.order_records import OrderRecord
from penstock.core.rebalances import Rebalance
from penstock.execution.lease import LeaseKeeper
from penstock.execution.session import AccountSession
from penstock.portfolio.allocation import PortfolioTargets
from penstock.portfolio.rebalancing import Book, RebalancePolicy


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

    def read_orders(self) -> Sequence[OrderRecord]:
        """Return all orders of the slot, by any run of it."""
        return self.session.ledger.orders(self.session.account, rebalance_id=self.rebalance.id)

    def read_book(self, locks: Mapping[str, str], symbols: Collection[str] = ()) -> Book:
        """Return the account as it is now, at the venue's last prices.

        Prices are those of all targets, all holdings and `symbols`. Where a break locks the quote
        asset, the cash is the smaller of the ledger's and the venue's.
        """
        balances = dict(self.session.ledger.balances(self.session.account))
        quote = self.session.quote
        if quote in locks:
            shown = self.session.exchange.balances().get(quote, Decimal(0))
            balances[quote] = min(balances.get(quote, Decimal(0)), shown)
        holdings = holdings_by_symbol(balances, quote, self.instruments)
        known = {*self.targets.weights, *symbols} & self.instruments.keys()
        prices = self.session.exchange.last_prices(sorted({*known, *holdings}))
        return Book(
            self.targets.weights,
            balances,
            prices,
            self.instruments,
            self.policy,
            budget=self.targets.budget,
        )
