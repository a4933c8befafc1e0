"""The state of the practice exchange: its accounts and what happened on them.

Every change is made here and written to the journal, from which a restart rebuilds the state.
penstock.practice.matching decides which changes an order makes.
"""

from decimal import Decimal

from penstock.core.amounts import at_most, to_step
from penstock.core.errors import ConfigError
from penstock.practice.accounts import (
    PracticeAccount,
    PracticeOrder,
    PracticeTrade,
    order_from,
    plain,
    trade_from,
)
from penstock.practice.clock import ClockMode, VenueTime
from penstock.simulation.journal import Journal, JournalEntry


class PracticeVenue:
    """Accounts by API key, with the numbering of orders and trades."""

    def __init__(self, journal: Journal, time: VenueTime) -> None:
        self.accounts: dict[str, PracticeAccount] = {}
        self.journal = journal
        self.time = time
        self._last_order_id = 0
        self._last_trade_id = 0
        for entry in journal.entries:
            self._restore(entry)

    def open_account(
        self, api_key: str, secret: str, balances: dict[str, Decimal]
    ) -> PracticeAccount:
        """Create an account, or return the one that is open with the same secret.

        Raises ConfigError where the account is open with another secret, or a balance is below
        zero.
        """
        existing = self.accounts.get(api_key)
        if existing is not None:
            if existing.secret != secret:
                raise ConfigError(
                    f"the practice exchange has an account '{api_key}' with another secret"
                )
            return existing
        if any(quantity < 0 for quantity in balances.values()):
            raise ConfigError(f"the opening balances of '{api_key}' are not below zero")
        account = self.accounts[api_key] = PracticeAccount(api_key, secret)
        self.journal.add("account", api_key, self.time.now_ms(), {"secret": secret})
        for asset, quantity in balances.items():
            self.change(account, asset, quantity, "opening")
        return account

    def change(self, account: PracticeAccount, asset: str, quantity: Decimal, reason: str) -> None:
        """Add `quantity` to an asset's free balance and record the reason.

        Raises ConfigError where the balance would go below zero.
        """
        free = account.balances.of(asset).free
        if free + quantity < 0:
            raise ConfigError(
                f"{reason} of {to_step(-quantity)} {asset}: only {at_most(free)} is free"
            )
        account.balances.add({asset: quantity})
        self.note_balance(account, asset, quantity, reason)

    def note_balance(
        self, account: PracticeAccount, asset: str, change: Decimal, reason: str
    ) -> None:
        """Write a balance to the journal, after its total changed by `change`."""
        balance = account.balances.of(asset)
        values = {
            "asset": asset,
            "change": str(change),
            "free": str(balance.free),
            "locked": str(balance.locked),
            "reason": reason,
        }
        self.journal.add("balance", account.api_key, self.time.now_ms(), values)

    def note_order(self, account: PracticeAccount, order: PracticeOrder) -> None:
        """Record an order's present state."""
        account.keep(order)
        self.journal.add("order", account.api_key, self.time.now_ms(), {"order": plain(order)})

    def note_trade(self, account: PracticeAccount, trade: PracticeTrade) -> None:
        """Record a trade."""
        account.trades.setdefault(trade.symbol, []).append(trade)
        self.journal.add("trade", account.api_key, self.time.now_ms(), {"trade": plain(trade)})

    def next_order_id(self) -> int:
        self._last_order_id += 1
        return self._last_order_id

    def next_trade_id(self) -> int:
        self._last_trade_id += 1
        return self._last_trade_id

    def move_clock(self, at_ms: int) -> None:
        """Move the venue's time forward and record it, so that a restart goes on from there."""
        self.time.move_to(at_ms)
        self.journal.add("clock", "", at_ms, {})

    def _restore(self, entry: JournalEntry) -> None:
        """Apply one journal entry."""
        kind, api_key = entry["kind"], entry["account"]
        if kind == "clock":
            if self.time.mode is not ClockMode.REAL:
                self.time.move_to(max(entry["at"], self.time.now_ms()))
            return
        if kind == "account":
            self.accounts[api_key] = PracticeAccount(api_key, entry["secret"])
            return
        account = self.accounts[api_key]
        if kind == "balance":
            balance = account.balances.of(entry["asset"])
            balance.free, balance.locked = Decimal(entry["free"]), Decimal(entry["locked"])
        elif kind == "order":
            order = order_from(entry["order"])
            account.keep(order)
            self._last_order_id = max(self._last_order_id, order.order_id)
        elif kind == "trade":
            trade = trade_from(entry["trade"])
            account.trades.setdefault(trade.symbol, []).append(trade)
            self._last_trade_id = max(self._last_trade_id, trade.trade_id)
