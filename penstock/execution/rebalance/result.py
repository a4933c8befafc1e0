"""What a rebalance did, as values."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from penstock.core.amounts import money, plain
from penstock.core.breaks import Break
from penstock.core.order_records import OrderRecord, failed_orders
from penstock.core.orders import Fill
from penstock.core.rebalances import RebalanceStatus
from penstock.core.risk_records import RiskVerdict
from penstock.portfolio.rebalancing import Skipped
from penstock.risk.rules import RuleFinding


@dataclass(frozen=True)
class RebalanceResult:
    """One run of one slot."""

    account: str
    """The account's name in the ledger."""

    slot: datetime
    """The bar close that the run acted on."""

    status: RebalanceStatus | None
    """The slot's status; None where another process had the account."""

    reason: str
    """The reason for the status; "" where there is none."""

    portfolio_version: str
    """The portfolio version that the slot trades."""

    already_done: bool = False
    """Whether the slot had ended before this run, which then sent nothing."""

    resumed: bool = False
    """Whether an earlier run of the slot had made orders."""

    sent: int = 0
    """How many requests this run sent."""

    equity_before: Decimal | None = None
    """Equity before the first order (quote units); None where nothing was traded or equity was
    unknown."""

    equity_after: Decimal | None = None
    """Equity after the last order (quote units); None where nothing was traded or equity was
    unknown."""

    cash_after: Decimal | None = None
    """Cash after the last order (quote units); None where nothing was traded."""

    invested: float | None = None
    """The summed target weights (fraction of equity); None where nothing was decided."""

    orders: tuple[OrderRecord, ...] = ()
    """All orders of the slot, by any run of it."""

    fills: tuple[Fill, ...] = ()
    """The fills that this run booked."""

    skipped: tuple[Skipped, ...] = ()
    """Symbols for which no order was made, or less than was wanted, with the reason."""

    findings: tuple[RuleFinding, ...] = ()
    """What risk rules found."""

    breaks: tuple[Break, ...] = ()
    """The breaks that are open now."""

    opened: tuple[Break, ...] = ()
    """The breaks that this run found."""

    alerts: tuple[str, ...] = ()
    """What an operator must know: acts of risk, orders that may still work, interrupted slots."""

    urgent: tuple[str, ...] = ()
    """What an operator must know at once: positions that were to be closed and are still held."""

    not_closed: frozenset[str] = frozenset()
    """The symbols that were to be closed and are still held."""

    alerted: bool = False
    """Whether the alerts of how the slot ended were committed with that end."""

    lateness_seconds: float = 0.0
    """How long after the slot the run began, by the venue's clock."""

    duration_seconds: float = 0.0
    """How long the run took, by the machine's clock."""

    quote: str = "USDT"
    """The asset that equity and cash are in."""

    @property
    def is_failure(self) -> bool:
        """Whether the slot failed, or was not traded because another process had the account."""
        return self.status is RebalanceStatus.FAILED or (
            self.status is None and not self.already_done
        )

    @property
    def failed_orders(self) -> tuple[OrderRecord, ...]:
        """The orders of the slot that were refused, never arrived, or ended at the venue with
        nothing filled; but for those that were sent again.
        """
        return tuple(failed_orders(self.orders))

    @property
    def turnover(self) -> Decimal:
        """Summed notional of the fills per `equity_before`; zero where that is None."""
        traded = sum((fill.notional for fill in self.fills), Decimal(0))
        return traded / self.equity_before if self.equity_before else Decimal(0)

    def rows(self) -> list[dict[str, str]]:
        """Return one row per order, skipped symbol, finding and break.

        The columns are what, symbol, detail, state and reason.
        """
        rows = [
            {
                "what": "order",
                "symbol": order.request.symbol,
                "detail": (
                    f"{order.request.side} {plain(order.request.quantity)}{_at(order)}, "
                    f"{plain(order.filled_quantity)} filled"
                ),
                "state": order.state.value,
                "reason": order.reason,
            }
            for order in self.orders
        ]
        rows += [_row("skipped", skip.symbol, "", skip.reason) for skip in self.skipped]
        verbs = {
            RiskVerdict.SHRINK: "shrunk",
            RiskVerdict.DENY: "denied",
            RiskVerdict.CLOSE: "closed",
        }
        denied = {each.symbol for each in self.findings if each.verdict is RiskVerdict.DENY}
        for each in self.findings:
            closes = each.verdict is RiskVerdict.CLOSE
            if closes and each.symbol in denied:
                continue
            what = (
                "not closed" if closes and each.symbol in self.not_closed else verbs[each.verdict]
            )
            rows.append(_row(what, each.symbol, each.rule, each.reason))
        return rows + [
            _row("break", found.subject, found.kind.value, found.detail) for found in self.breaks
        ]

    def summary(self) -> str:
        """Return one line: slot, what happened, orders, fills, equity, lateness and duration."""
        named = f"{self.account} {self.slot:%Y-%m-%d %H:%M}"
        if self.already_done:
            ends = [order.updated_at for order in self.orders]
            at = f" at {max(ends):%Y-%m-%d %H:%M}" if ends else ""
            return f"{named}: {self.reason}{at}; 0 orders sent now"
        if self.status is None:
            return f"{named}: {self.reason}"
        equity = (
            "" if self.equity_after is None else f", equity {money(self.equity_after, self.quote)}"
        )
        return (
            f"{named}: {self.status}"
            f"{f' ({self.reason})' if self.reason else ''}, "
            f"{self.sent} orders sent{self._why_none()}, {len(self.fills)} fills{equity}, "
            f"{_lateness(self.lateness_seconds)} late, took {self.duration_seconds:.1f} s"
        )

    def _why_none(self) -> str:
        """Return why no symbol was traded, in brackets; "" where one was, or where `reason` says
        more. Without another reason the account holds what is wanted.
        """
        reasons = [f"{each.symbol}: {each.reason}" for each in self.findings]
        reasons += [f"{each.symbol}: {each.reason}" for each in self.skipped]
        if self.orders or self.reason:
            return ""
        if not reasons:
            wanted = self.invested
            return "" if wanted is None else f" (at its targets: {wanted:.0%} of equity invested)"
        more = f"; {len(reasons) - 1} more" if len(reasons) > 1 else ""
        return f" ({reasons[0]}{more})"


def _lateness(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 600 else f"{seconds / 3600:.1f} h"


def _at(order: OrderRecord) -> str:
    return f" at {order.request.venue}" if order.request.venue else ""


def _row(what: str, symbol: str, detail: str, reason: str) -> dict[str, str]:
    return {"what": what, "symbol": symbol, "detail": detail, "state": "", "reason": reason}
