"""What was true at every minute of a soak, and whether any order followed from something else.

The code under test is not asked. True prices are the candles of the seed. What the account had, and
every order that the venue took, are in the venue's own journal. What was wrong at the venue when an
order came is in the record of arranged minutes.
"""

import bisect
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from penstock.core.instruments import spot_assets
from penstock.practice.market import PracticeMarket
from penstock.practice.synthetic import SyntheticCandles
from tests.soak.situations import MINUTE, SECOND, Situation, Situations, level, printed

#: An order may miss the true target by so much of the true equity. A price moves by some hundredths
#: of a percent in a minute; a wrong print of the smallest position would move a target by more.
TOLERANCE = Decimal("0.001")
#: So far may a recorded equity be from the true one.
EQUITY_TOLERANCE = Decimal("0.003")
#: What the policy of the soak does not trade, and what it keeps for fees and slippage (fractions).
_BAND, _COSTS = Decimal("0.005"), Decimal("0.002")
#: A print nearer to the true price than this may be believed.
_COLLAR = Decimal("0.20")


class TruePrices:
    """The prices of the seed's candles."""

    def __init__(self, candles: SyntheticCandles) -> None:
        self._market = PracticeMarket.of(candles.load())
        self._of_minute = lru_cache(maxsize=20_000)(self._read)

    def at(self, symbol: str, at: datetime) -> Decimal:
        """Return the price of a symbol in the minute of `at`."""
        return self._of_minute(symbol, int(at.timestamp()) // 60)

    def _read(self, symbol: str, minute: int) -> Decimal:
        known = self._market.quote(symbol, minute * 60_000)
        assert known is not None
        return Decimal(f"{known.price:.8f}")


class Arranged(NamedTuple):
    """What the venue shows from an instant on."""

    at: datetime
    """After this, by the venue's clock."""
    slot: datetime
    """The slot whose situation was arranged last."""
    is_wrong: bool
    """Whether that situation is in force: a venue that came back shows what is so."""


@dataclass(frozen=True)
class TakenOrder:
    """An order that the venue took, with what the account had before it."""

    client_order_id: str
    symbol: str
    is_buy: bool
    quantity: Decimal
    executed: Decimal
    at: datetime
    before: Mapping[str, Decimal]


@dataclass
class Journal:
    """What the venue has on record of one account."""

    orders: list[TakenOrder] = field(default_factory=list)
    trades: list[dict[str, Any]] = field(default_factory=list)
    balances: list[tuple[datetime, Mapping[str, Decimal]]] = field(default_factory=list)
    """Totals by asset after each change."""

    @classmethod
    def read(cls, path: Path, symbols: Sequence[str]) -> "Journal":
        """Return the record of a venue's journal; a line has all that one request changed."""
        names = {symbol.replace("/", ""): symbol for symbol in symbols}
        found, held, seen = cls(), dict[str, Decimal](), set[int]()
        for line in path.read_text(encoding="utf-8").splitlines():
            before, changed = dict(held), None
            for entry in json.loads(line):
                at = datetime.fromtimestamp(entry["at"] / 1000, UTC)
                if entry["kind"] == "balance":
                    held[entry["asset"]] = Decimal(entry["free"]) + Decimal(entry["locked"])
                    changed = at
                elif entry["kind"] == "trade":
                    found.trades.append(entry["trade"])
                elif entry["kind"] == "order" and entry["order"]["order_id"] not in seen:
                    order = entry["order"]
                    seen.add(order["order_id"])
                    found.orders.append(
                        TakenOrder(
                            order["client_id"],
                            names[order["symbol"]],
                            order["side"] == "BUY",
                            Decimal(order["quantity"]),
                            Decimal(order["executed"]),
                            datetime.fromtimestamp(order["created_ms"] / 1000, UTC),
                            before,
                        )
                    )
            if changed is not None:
                found.balances.append((changed, dict(held)))
        return found

    def held_at(self, at: datetime) -> Mapping[str, Decimal]:
        """Return the totals by asset at an instant."""
        place = bisect.bisect_right(self.balances, at, key=lambda each: each[0])
        return self.balances[place - 1][1] if place else {}


@dataclass
class Truth:
    """Judges a soak. Each finding says what happened and why it must not."""

    symbols: Sequence[str]
    prices: TruePrices
    situations: Situations
    journal: Journal
    arranged: Sequence[Arranged]
    """What was arranged, in order."""
    findings: list[str] = field(default_factory=list)
    judged: Counter[str] = field(default_factory=Counter)
    """How many orders, and how many minutes of each situation, were looked at."""

    def arranged_at(self, at: datetime) -> Arranged:
        """Return what was arranged when an order came."""
        return self.arranged[bisect.bisect_left(self.arranged, at, key=lambda each: each.at) - 1]

    def situation(self, slot: datetime) -> Situation:
        return self.situations.at(slot)

    def equity(self, held: Mapping[str, Decimal], at: datetime) -> Decimal:
        """Return what holdings are worth at true prices."""
        return held.get("USDT", Decimal(0)) + sum(
            held.get(base(symbol), Decimal(0)) * self.prices.at(symbol, at)
            for symbol in self.symbols
        )

    def wrong_prints(self, slot: datetime) -> dict[str, Decimal]:
        """Return the prints of a slot that are prices and far from the true one."""
        found = {}
        for symbol, kind in self.situation(slot).prints.items():
            true = self.prices.at(symbol, slot + SECOND)
            shown = printed(kind, true)
            if shown > 0 and abs(shown / true - 1) > _COLLAR:
                found[symbol] = shown
        return found

    def judge_orders(self) -> None:
        """Look at every order that the venue took."""
        groups: dict[tuple[datetime, str], list[TakenOrder]] = defaultdict(list)
        first_buys: dict[datetime, TakenOrder] = {}
        for order in self.journal.orders:
            arranged = self.arranged_at(order.at)
            groups[arranged.slot, order.symbol].append(order)
            if order.is_buy:
                first_buys.setdefault(arranged.slot, order)
            self._judge(order, arranged)
        for (slot, symbol), (order, *others) in groups.items():
            self.judged["orders"] += 1 + len(others)
            if others or symbol in self.situation(slot).cut:
                continue
            short = -self._beyond(order, slot)
            if order.is_buy:
                short -= self._unaffordable(order, first_buys[slot], slot)
            if short > TOLERANCE:
                self._found(order, slot, f"ends {short:.3%} of equity short of its true target")

    def _judge(self, order: TakenOrder, arranged: Arranged) -> None:
        slot = arranged.slot
        situation = self.situation(slot) if arranged.is_wrong else Situation()
        wrong = self.wrong_prints(slot) if arranged.is_wrong else {}
        if order.symbol in situation.suspended:
            self._found(order, slot, "of a suspended symbol")
        if order.symbol in situation.late:
            self._found(order, slot, "of a symbol whose newest bar had not come")
        if order.symbol in wrong:
            self._found(order, slot, f"at a print of {wrong[order.symbol]}")
        in_doubt = [each for each in wrong if order.before.get(base(each), 0) > 0]
        if in_doubt and (order.is_buy or self._target(order, slot) > 0):
            self._found(order, slot, f"no whole exit, while {in_doubt} made equity unknown")
        gap = self._beyond(order, slot)
        if gap > TOLERANCE:
            self._found(order, slot, f"goes {gap:.3%} of equity beyond its true target")

    def _unaffordable(self, order: TakenOrder, first: TakenOrder, slot: datetime) -> Decimal:
        """Return the fraction of equity by which the cash cuts a buy, as all buys of its slot.

        The cash is that before the `first` buy: holdings that could not be sold bind the rest.
        """
        situation, equity = self.situation(slot), self.equity(first.before, first.at)
        lacking = {
            symbol: Decimal(str(level(slot, n)))
            - first.before.get(base(symbol), 0) * self.prices.at(symbol, first.at) / equity
            for n, symbol in enumerate(self.symbols)
            if symbol not in situation.suspended and symbol not in situation.late
        }
        wanted = sum(part for part in lacking.values() if part >= _BAND) * (1 + _COSTS)
        cash = first.before.get("USDT", Decimal(0)) / equity
        share = min(Decimal(1), cash / wanted) if wanted else Decimal(1)
        return (1 - share) * lacking[order.symbol]

    def _target(self, order: TakenOrder, slot: datetime) -> Decimal:
        """Return the true target of an order's symbol in base units."""
        weight = Decimal(str(level(slot, self.symbols.index(order.symbol))))
        return weight * self.equity(order.before, order.at) / self.prices.at(order.symbol, order.at)

    def _beyond(self, order: TakenOrder, slot: datetime) -> Decimal:
        """Return how far an order goes beyond its true target, as a fraction of true equity."""
        position = order.before.get(base(order.symbol), Decimal(0))
        sign = 1 if order.is_buy else -1
        over = sign * (position + sign * order.quantity - self._target(order, slot))
        value = over * self.prices.at(order.symbol, order.at)
        return value / self.equity(order.before, order.at)

    def judge_equity(self, recorded: Mapping[datetime, Decimal]) -> None:
        """Look at every equity that the code under test put on record, by slot."""
        for slot, equity in recorded.items():
            held = self.journal.held_at(self._ends.get(slot, slot + MINUTE))
            true = self.equity(held, slot + SECOND)
            self.judged["equities"] += 1
            if abs(equity / true - 1) > EQUITY_TOLERANCE:
                self.findings.append(f"{slot}: equity {equity:.2f} recorded, true {true:.2f}")

    @cached_property
    def _ends(self) -> dict[datetime, datetime]:
        """Until when, by the venue's clock, each slot was arranged."""
        spans = zip(self.arranged, self.arranged[1:], strict=False)
        return {each.slot: following.at for each, following in spans}

    def count(self, traded: Sequence[datetime]) -> None:
        """Count the situations of the slots that were traded to their end."""
        before = Situation()
        for slot in sorted(traded):
            situation, held = self.situation(slot), self.journal.held_at(slot)
            n = Counter(
                {
                    "suspensions": len(situation.suspended - before.suspended),
                    "suspended while held": sum(
                        held.get(base(each), 0) > 0 for each in situation.suspended
                    ),
                    "suspended while wanted": sum(
                        level(slot, self.symbols.index(each)) > 0 for each in situation.suspended
                    ),
                    "late bars": len(situation.late),
                    "candle lists in pages": len(self.symbols) * situation.paged,
                }
            )
            n.update({f"print {kind}": 1 for kind in situation.prints.values()})
            self.judged.update(n)
            before = situation

    def _found(self, order: TakenOrder, slot: datetime, why: str) -> None:
        side = "buy" if order.is_buy else "sell"
        self.findings.append(
            f"slot {slot}: {side} of {order.quantity} {order.symbol} at {order.at}: {why}"
        )


def base(symbol: str) -> str:
    return spot_assets(symbol)[0]


def read_arranged(record: Path) -> list[Arranged]:
    """Return what a soak's stage wrote down; a line that a kill cut off is left out."""
    found: list[Arranged] = []
    for line in record.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        at = datetime.fromtimestamp(entry["at"] / 1000, UTC)
        if entry["slot"] is not None:
            found.append(Arranged(at, datetime.fromisoformat(entry["slot"]), is_wrong=True))
        elif found:
            found.append(Arranged(at, found[-1].slot, is_wrong=False))
    return found
