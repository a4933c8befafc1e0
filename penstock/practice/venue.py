"""The venue's state: its accounts and what happened on them, rebuilt from the journal at a restart.

Every change goes through here and is noted in the journal; matching.py decides which changes an
order makes.
"""

from decimal import Decimal

from penstock.core.errors import ConfigError
from penstock.practice.accounts import Account, Order, Trade
from penstock.practice.clock import ClockMode, VenueTime
from penstock.practice.journal import Entry, Journal, order_from, trade_from


class Venue:
    """Accounts by API key, with the numbering of orders and trades."""

    def __init__(self, journal: Journal, time: VenueTime) -> None:
        self.accounts: dict[str, Account] = {}
        self.journal = journal
        self.time = time
        self._last_order_id = 0
        self._last_trade_id = 0
        for entry in journal.entries:
            self._restore(entry)

    def open_account(self, api_key: str, secret: str, balances: dict[str, Decimal]) -> Account:
        """Create an account; opening one again with the same secret changes nothing, with another
        one is a ConfigError.
        """
        existing = self.accounts.get(api_key)
        if existing is not None:
            if existing.secret != secret:
                raise ConfigError(
                    f"the practice exchange has an account '{api_key}' with another secret"
                )
            return existing
        account = self.accounts[api_key] = Account(api_key, secret)
        self.journal.add("account", api_key, self.time.now_ms(), {"secret": secret})
        for asset, quantity in balances.items():
            self.change(account, asset, quantity, "opening")
        return account

    def change(self, account: Account, asset: str, quantity: Decimal, reason: str) -> None:
        """Add `quantity` to an asset's free balance and note why; ConfigError where that would go
        below zero.
        """
        if account.balances.of(asset).free + quantity < 0:
            raise ConfigError(
                f"{reason} of {-quantity} {asset}: only {account.balances.of(asset).free} is free"
            )
        account.balances.add(asset, quantity)
        self.note_balance(account, asset, quantity, reason)

    def note_balance(self, account: Account, asset: str, change: Decimal, reason: str) -> None:
        self.journal.balance(account, self.time.now_ms(), asset, change, reason)

    def note_order(self, account: Account, order: Order) -> None:
        account.keep(order)
        self.journal.order(account.api_key, self.time.now_ms(), order)

    def note_trade(self, account: Account, trade: Trade) -> None:
        account.trades.setdefault(trade.symbol, []).append(trade)
        self.journal.trade(account.api_key, self.time.now_ms(), trade)

    def next_order_id(self) -> int:
        self._last_order_id += 1
        return self._last_order_id

    def next_trade_id(self) -> int:
        self._last_trade_id += 1
        return self._last_trade_id

    def move_clock(self, at_ms: int) -> None:
        """Move the venue's time forward and note it, so that a restart goes on from there."""
        self.time.move_to(at_ms)
        self.journal.add("clock", "", at_ms, {})

    def _restore(self, entry: Entry) -> None:
        """Redo one journal entry."""
        kind, api_key = entry["kind"], entry["account"]
        if kind == "clock":
            if self.time.mode is not ClockMode.REAL:
                self.time.move_to(max(entry["at"], self.time.now_ms()))
            return
        if kind == "account":
            self.accounts[api_key] = Account(api_key, entry["secret"])
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
