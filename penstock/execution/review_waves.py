"""Risk's word on what one slot sends: on a plan before any of it leaves, and on each wave of a
worked plan's children.

A wave is all that is due at one instant. Its plan was reviewed when the work began, and hours may
have passed since: so the account is read again, once for all its children. The rules are
penstock.risk's; what ends with a child is for schedule.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from penstock.core.orders import Phase, Side
from penstock.core.proposals import ProposedOrder
from penstock.core.risk_records import RiskVerdict, Verdict
from penstock.execution.pretrade import Guard
from penstock.portfolio.allocation import PortfolioTargets
from penstock.portfolio.rebalancing import Book
from penstock.risk.review import ApprovedOrders, ReviewedOrder, review
from penstock.risk.rules import PriceCollar, RuleFinding

#: Says when requests for an order may leave, in seconds from now.
Ahead = Callable[[ProposedOrder], tuple[float, ...]]

#: A price that nobody confirms may be right a moment later: it costs an order this piece's moment,
#: not its rest.
_MOMENTARY = frozenset({PriceCollar.name})
_ZERO = Decimal(0)


@dataclass(frozen=True)
class WaveWord:
    """What risk lets pass of a wave, by symbol (base units). `put_off` are those that only their
    price keeps back.
    """

    passed: Mapping[str, Decimal]
    put_off: frozenset[str] = frozenset()


@dataclass
class Judge:
    """One slot's reviews, and every word that was said in them. `planned`: symbols whose
    instruments are kept already.
    """

    guard: Guard
    planned: Collection[str] = ()
    findings: list[RuleFinding] = field(default_factory=list)
    _said: set[tuple[str, Phase, str]] = field(default_factory=set)

    def plan(
        self,
        drafts: Sequence[ProposedOrder],
        book: Book,
        targets: PortfolioTargets,
        ahead: Ahead | None = None,
    ) -> ApprovedOrders:
        """Return what the rules let pass, their words kept; the steps that orders are planned with
        are kept too.
        """
        requests = {
            order.symbol: (ahead(order) if ahead is not None else (0.0,)) * self._parts
            for order in drafts
        }
        approved = review(
            drafts, self.guard.fresh_context(book, targets, drafts, requests), self.guard.limits
        )
        self.guard.reviewed(approved)
        self.findings += approved.findings
        planned = {order.symbol: book.instruments[order.symbol] for order in approved.orders}
        unkept = [
            instrument for symbol, instrument in planned.items() if symbol not in self.planned
        ]
        if unkept:
            self.guard.session.control_store.record_instruments(self.guard.keeper.lease, unkept)
        return approved

    def wave(
        self,
        children: Sequence[ProposedOrder],
        rests: Mapping[str, Decimal],
        book: Book,
        targets: PortfolioTargets,
    ) -> WaveWord:
        """Return what the rules let pass of the children that are due now; a loss limit that is
        breached sets the state.

        `rests` (base units by symbol) are what each order still lacks: what ends with a child that
        does not pass.
        """
        context = self.guard.look_again(book, targets)
        stops = self.guard.stops(context)
        stopped = [
            ReviewedOrder(child, Verdict.DENY, None, words)
            for child in children
            if child.side is Side.BUY
            and (words := tuple(word for word in stops if word.symbol == child.symbol))
        ]
        going = [child for child in children if all(child is not each.order for each in stopped)]
        requests = dict.fromkeys((child.symbol for child in going), (0.0,) * self._parts)
        approved = review(going, self.guard.quoted(context, going, requests), self.guard.limits)
        put_off = frozenset(each.order.symbol for each in approved.reviewed if _is_put_off(each))
        self._keep([*approved.reviewed, *stopped], rests, put_off)
        return WaveWord({order.symbol: order.quantity for order in approved.orders}, put_off)

    @property
    def _parts(self) -> int:
        """Each request may become so many."""
        venues = self.guard.session.venues
        return 1 if venues is None else len(venues.accounts)

    def _keep(
        self,
        reviewed: Sequence[ReviewedOrder],
        rests: Mapping[str, Decimal],
        put_off: frozenset[str],
    ) -> None:
        """Keep the words against an order that were not said of it before: they would be said again
        in every wave.
        """
        verdicts: list[RiskVerdict] = []
        alerts: list[str] = []
        for each in reviewed:
            order, passed = each.order, _ZERO if each.passed is None else each.passed.quantity
            for word in (
                word
                for word in each.reasons
                if (order.symbol, order.phase, word.rule) not in self._said
            ):
                self._said.add((order.symbol, order.phase, word.rule))
                follows = _what_follows(word, order.symbol in put_off)
                self.findings.append(
                    replace(word, reason=f"{word.reason}; {follows}", flatten=False)
                )
                wanted = order.quantity if order.symbol in put_off else rests[order.symbol]
                verdicts.append(
                    RiskVerdict(
                        order.symbol,
                        each.verdict,
                        word.rule,
                        f"{word.reason}; {follows}",
                        wanted,
                        passed,
                    )
                )
                if word.flatten:
                    alerts.append(
                        f"{order.symbol} is no longer bought by {word.rule}: {word.reason}; {follows}"
                    )
        self.guard.ended(verdicts, alerts)


def _is_put_off(each: ReviewedOrder) -> bool:
    return each.passed is None and all(word.rule in _MOMENTARY for word in each.reasons)


def _what_follows(word: RuleFinding, put_off: bool) -> str:
    if put_off:
        return "this piece joins the next one"
    if word.flatten:
        return "the rest is not bought, and the next slot closes the position if the price is still there"
    return "the rest of the order is not sent"
