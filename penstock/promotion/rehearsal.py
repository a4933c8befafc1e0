"""The rehearsal: a registered version trades slot by slot, as live does, at a paper exchange.

It tests whether a strategy can be traded as it was backtested:

- decisions from a warm window equal those of the whole history;
- the venue takes every order;
- the account ends where the backtest does, except for lots, fees and the no-trade band.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import polars as pl

from penstock.core.clock import SteppedClock
from penstock.core.doubts import DoubtedBar, decide_as_known, known_then
from penstock.core.errors import NotSentError, PromotionError, VenueRejectedError
from penstock.core.orders import OrderRequest, OrderType, client_order_id
from penstock.core.panel import Panel
from penstock.core.panel_frames import panel_of
from penstock.core.proposals import ProposedOrder
from penstock.core.relistings import Join
from penstock.portfolio.decision import decide_targets
from penstock.portfolio.rebalancing import Book, RebalancePolicy, plan_buys, plan_sells
from penstock.ports import Exchange, LoadedModel
from penstock.promotion.criteria import CriterionResult, PromotionThresholds
from penstock.promotion.evidence import Evidence, bars_of
from penstock.research.journal import NoLook

#: Opens an exchange from bars, a clock that the rehearsal steps, and an amount of quote asset.
OpenExchange = Callable[[pl.DataFrame, SteppedClock, Decimal], Exchange]

#: Weights that differ by less count as equal: moving sums round differently on a shorter table.
WEIGHT_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Rehearsal:
    """The result of a rehearsal."""

    slots: int
    """The number of slots."""
    orders: int
    """The number of orders that the venue took."""
    refused: tuple[str, ...]
    """The orders that it refused, with the reasons."""
    changed: tuple[str, ...]
    """The decisions that differed from the backtest's."""
    equity: float
    """The equity at the close of the last bar, in quote units."""
    backtest_equity: float
    """The backtest's equity there."""

    @property
    def difference(self) -> float:
        """The difference of the equity to the backtest's, as a fraction of the latter."""
        return self.equity / self.backtest_equity - 1

    def verdict(self, thresholds: PromotionThresholds) -> CriterionResult:
        """Return the verdict: nothing refused, no decision changed, and a small difference.

        |difference| <= max_rehearsal_difference.
        """
        bound = thresholds.max_rehearsal_difference
        faults = [
            *(f"refused: {reason}" for reason in self.refused[:1]),
            *(
                f"{len(self.changed)} decisions differ from the backtest's, the first: {name}"
                for name in self.changed[:1]
            ),
            *(
                []
                if abs(self.difference) <= bound
                else [f"equity is {self.difference:+.2%} off the backtest's, over {bound:.2%}"]
            ),
        ]
        found = (
            "; ".join(faults)
            or f"equity {self.equity:,.2f} against {self.backtest_equity:,.2f} in the backtest"
        )
        reason = f"{self.slots} slots, {self.orders} orders: {found}"
        return CriterionResult("rehearsal", not faults, abs(self.difference), bound, reason)


def rehearse(
    model: LoadedModel,
    bars: pl.DataFrame,
    evidence: Evidence,
    policy: RebalancePolicy,
    open_exchange: OpenExchange,
    slots: int = 30,
    *,
    doubts: Sequence[DoubtedBar] = (),
    joins: Sequence[Join] = (),
) -> Rehearsal:
    """Trade the last `slots` slots of the evidence's bars, and compare with their backtest.

    `bars` (BARS_SCHEMA), `doubts` and `joins` are those of the evidence's snapshot. Raises
    PromotionError where no bar out of sample has a bar after it.
    """
    from penstock.research.engine.backtest import backtest

    known = bars_of(bars, evidence)
    decided = _decision_bars(known, evidence, slots)
    duration = evidence.timeframe.duration
    cash = Decimal(str(evidence.initial_cash))
    clock = SteppedClock(decided[0] + duration)
    account = _RehearsalAccount(model, policy, open_exchange(known, clock, cash))
    truth = _decided_then(model, panel_of(known, evidence.timeframe), doubts, decided)
    changed: list[str] = []
    for bar in decided:
        clock.at = bar + duration
        window = (
            known_then(known, doubts, evidence.timeframe, clock.at)
            .filter(pl.col("ts") <= bar)
            .group_by("symbol", maintain_order=True)
            .tail(model.strategy.warmup(evidence.timeframe) + 1)
        )
        weights = dict(decide_targets(model, window, evidence.timeframe, clock.at).weights)
        changed += [
            f"{symbol} at {bar}"
            for symbol in truth[bar]
            if _differ(truth[bar][symbol], weights.get(symbol))
        ]
        account.trade(clock.at, weights)
    tested = backtest(
        known,
        model.strategy,
        evidence.costs,
        evidence.initial_cash,
        decided[0],
        timeframe=evidence.timeframe,
        doubts=doubts,
        joins=joins,
        journal=NoLook.NO_CHOICE,
    )
    return Rehearsal(
        slots=len(decided),
        orders=account.orders,
        refused=tuple(account.refused),
        changed=tuple(changed),
        equity=account.worth(known.group_by("symbol", maintain_order=True).last()),
        backtest_equity=tested.metrics.final_equity,
    )


class _RehearsalAccount:
    """The account of a rehearsal: it sells, reads its balances, buys, and lists refusals."""

    def __init__(self, model: LoadedModel, policy: RebalancePolicy, exchange: Exchange) -> None:
        self.model = model
        self.policy = policy
        self.exchange = exchange
        self.instruments = exchange.instruments()
        self.orders = 0
        self.refused: list[str] = []

    def trade(self, slot: datetime, weights: Mapping[str, float | None]) -> None:
        sells, _ = plan_sells(self._book(weights))
        self._send(slot, sells)
        rest = {**weights, **dict.fromkeys((order.symbol for order in sells), None)}
        buys, _ = plan_buys(self._book(rest))
        self._send(slot, buys)

    def worth(self, last_bars: pl.DataFrame) -> float:
        closes = dict(last_bars.select("symbol", "close").iter_rows())
        balances = self.exchange.balances()
        assets = {instrument.base: symbol for symbol, instrument in self.instruments.items()}
        priced: float = sum(
            float(quantity) * closes[assets[asset]]
            for asset, quantity in balances.items()
            if asset in assets
        )
        return float(balances.get(self.policy.quote, Decimal(0))) + priced

    def _book(self, weights: Mapping[str, float | None]) -> Book:
        prices = self.exchange.last_prices(list(weights))
        return Book(weights, self.exchange.balances(), prices, self.instruments, self.policy)

    def _send(self, slot: datetime, orders: list[ProposedOrder]) -> None:
        for order in orders:
            order_id = client_order_id(
                "rehearsal",
                self.model.version.label,
                slot,
                order.symbol,
                order.phase,
                child=0,
                attempt=0,
            )
            request = OrderRequest(
                order_id, order.symbol, order.side, OrderType.MARKET, order.quantity
            )
            try:
                self.exchange.submit(request)
                self.orders += 1
            except (NotSentError, VenueRejectedError) as error:
                self.refused.append(
                    f"{order.side} {order.quantity} {order.symbol} at {slot}: {error}"
                )


def _decision_bars(bars: pl.DataFrame, evidence: Evidence, slots: int) -> list[datetime]:
    """Return the newest out-of-sample bars that are followed by another bar, oldest first."""
    instants: list[datetime] = bars["ts"].unique().sort().to_list()
    present = set(instants)
    usable = [
        at
        for at in instants
        if at >= evidence.out_of_sample_start and at + evidence.timeframe.duration in present
    ]
    if not usable:
        raise PromotionError(
            f"rehearsal: no bar after {evidence.out_of_sample_start} is followed by another; "
            "ingest more bars and search again"
        )
    return usable[-slots:]


def _decided_then(
    model: LoadedModel, panel: Panel, doubts: Sequence[DoubtedBar], bars: Sequence[datetime]
) -> dict[datetime, dict[str, float | None]]:
    """Return the weights at the close of each of `bars`, by symbol, as the model knew them."""
    weights = decide_as_known(model.strategy, panel, doubts).tolist()
    rows = {bar: row for row, bar in enumerate(panel.ts.to_list())}
    return {
        bar: {
            symbol: None if math.isnan(weight) else weight
            for symbol, weight, known in zip(
                panel.symbols, weights[rows[bar]], panel.present[rows[bar]], strict=True
            )
            if known
        }
        for bar in bars
    }


def _differ(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is not other
    return abs(one - other) > WEIGHT_TOLERANCE
