"""An account's history for risk rules, kept in memory. A replay uses it instead of a database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from penstock.core.cost_basis import CostBasis, entry_prices
from penstock.core.halts import Halt, stricter
from penstock.core.orders import Fill
from penstock.core.risk_records import PositionMark, RiskHistory
from penstock.core.timeframes import day_before
from penstock.risk.losses import LossBreach


@dataclass
class AccountMemory:
    """What an account did, slot by slot.

    Call `note` once a slot is over. `history` of a later slot then equals a ledger's.
    """

    halt: Halt
    """The trading state in force."""
    equity: list[tuple[datetime, Decimal]] = field(default_factory=list)
    """Slot and equity (quote units), oldest first."""
    targets: list[Mapping[str, float]] = field(default_factory=list)
    """The decided weights by symbol of each slot, oldest first."""
    trades: list[tuple[datetime, Decimal]] = field(default_factory=list)
    """Slot and notional of each trade, oldest first."""
    marks: Mapping[str, PositionMark] = field(default_factory=dict)
    """What is remembered of positions, by symbol."""
    cost_basis: dict[str, CostBasis] = field(default_factory=dict)
    """The cost basis of positions, by symbol."""
    peak: Decimal | None = None
    """The highest equity so far."""

    def history(self, slot: datetime) -> RiskHistory:
        """Return the history of the account before `slot`."""
        day, hour, midnight = (
            day_before(slot),
            slot - timedelta(hours=1),
            slot.replace(hour=0, minute=0, second=0, microsecond=0),
        )
        return RiskHistory(
            day_start=next(
                (equity for at, equity in reversed(self.equity) if at <= day),
                self.equity[0][1] if self.equity else None,
            ),
            peak=self.peak,
            targets=tuple(self.targets[:-3:-1]),
            orders_last_minute=sum(at > slot - timedelta(minutes=1) for at, _ in self._since(hour)),
            orders_today=len(self._since(midnight)),
            traded_last_hour=sum((notional for _, notional in self._since(hour)), Decimal(0)),
            marks=self.marks,
        )

    @property
    def entry_prices(self) -> dict[str, Decimal]:
        """The average price paid for positions, by symbol."""
        return entry_prices(self.cost_basis)

    def filled(self, fill: Fill) -> None:
        """Add a fill to the cost basis. Fills must be given oldest first."""
        self.cost_basis[fill.symbol] = self.cost_basis.get(fill.symbol, CostBasis()).after([fill])

    def _since(self, at: datetime) -> list[tuple[datetime, Decimal]]:
        """Return the trades from `at` on."""
        first = len(self.trades)
        while first and self.trades[first - 1][0] >= at:
            first -= 1
        return self.trades[first:]

    def breach(self, breaches: Sequence[LossBreach], slot: datetime) -> None:
        """Set the state that breached limits ask for, where the present one is less strict."""
        for breach in breaches:
            state = breach.limit.trading_state
            if state is not None and stricter(state, self.halt.state):
                self.halt = Halt(
                    self.halt.account,
                    state,
                    breach.reason,
                    breach.rule,
                    slot,
                    flatten=breach.limit.flatten,
                )

    def note(self, slot: datetime, equity: Decimal, weights: Mapping[str, float | None]) -> None:
        """Record a slot's equity (quote units) and weights."""
        self.equity.append((slot, equity))
        self.peak = equity if self.peak is None else max(self.peak, equity)
        self.targets.append(
            {symbol: weight for symbol, weight in weights.items() if weight is not None}
        )
