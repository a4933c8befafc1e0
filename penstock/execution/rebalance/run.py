"""The rebalance of one account for one slot, from taking the lease to the slot's end. It reads like
the runbook's steps.

Running a slot again is safe: a slot that has ended sends nothing, one that was interrupted goes on
where it stopped.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from penstock.core.errors import ConfigError, StaleDataError
from penstock.core.halts import Halt
from penstock.core.orders import Phase
from penstock.core.rebalances import Rebalance, RebalanceStatus
from penstock.execution.algorithms import MarketStyle
from penstock.execution.algorithms.phase_worker import PhaseWorker
from penstock.execution.lease import LeaseKeeper, take_lease
from penstock.execution.orders.cancel import cancel_working
from penstock.execution.orders.recover import end_superseded, recover
from penstock.execution.pretrade import PreTradeRisk
from penstock.execution.rebalance.outcome import cut_short, new_breaks, outcome_of, refusal_of
from penstock.execution.rebalance.report import RebalanceReport
from penstock.execution.rebalance.slot_context import SlotContext
from penstock.execution.reconciliation.reconcile import reconcile
from penstock.execution.session import AccountSession
from penstock.portfolio.allocation import PortfolioTargets
from penstock.portfolio.rebalancing import RebalancePolicy
from penstock.risk.limits import RiskLimits

#: A run may start this much before its slot by the venue's clock without being early.
_EARLY_SECONDS = 1.0


@dataclass(frozen=True)
class RebalanceInputs:
    """What to rebalance to. `slot` is the bar close it acts on.

    `decide` is given a portfolio version and returns its targets at the slot. The version is the
    one the ledger fixed when the slot was first run, which an interrupted slot keeps though another
    has been promoted since.
    """

    slot: datetime
    portfolio_version: str
    decide: Callable[[str], PortfolioTargets]
    policy: RebalancePolicy
    limits: RiskLimits


def rebalance(session: AccountSession, inputs: RebalanceInputs) -> RebalanceReport:
    """Bring the account to the slot's targets, once; return what was done.

    Raises what stops a run half-way (StaleDataError, VenueUnavailableError, StaleLeaseError,
    StoreError ...); the slot is then still RUNNING and may be run again.
    """
    if inputs.policy.quote != session.quote:
        raise ConfigError(
            f"the policy's quote is {inputs.policy.quote} and the account's is {session.quote}: "
            "make them the same"
        )
    clock = session.machine_clock
    started = clock.elapsed_seconds()
    policy = session.policy
    session.ledger.open_account(session.account, session.exchange_name, session.quote)
    keeper = take_lease(
        session.ledger,
        session.account,
        policy.lease_ttl_seconds,
        policy.lease_wait_seconds,
        clock=clock,
        ids=session.ids,
    )
    if keeper is None:
        reason = "another process holds the account's lease: it is trading now"
        return RebalanceReport(session.account, inputs.slot, None, reason, inputs.portfolio_version)
    try:
        report = _run(session, keeper, inputs)
    finally:
        keeper.release()
    return replace(report, duration_seconds=clock.elapsed_seconds() - started)


def _run(session: AccountSession, keeper: LeaseKeeper, inputs: RebalanceInputs) -> RebalanceReport:
    lateness = (session.clock.now() - inputs.slot).total_seconds()
    if lateness < -_EARLY_SECONDS:
        raise StaleDataError(
            f"the slot {inputs.slot:%Y-%m-%d %H:%M} closes in {-lateness:.0f} s: wait for it"
        )
    halt = session.kill_switch.read()
    working = cancel_working(session).left if halt.cancel or halt.flatten else ()
    recovery = recover(session, keeper, inputs.slot)
    instruments = session.exchange.instruments()
    reconciled = reconcile(session, keeper, instruments)
    passed = end_superseded(session, keeper, inputs.slot)
    slot = session.ledger.start_rebalance(keeper.lease, inputs.slot, inputs.portfolio_version)
    orders = tuple(session.ledger.orders(session.account, rebalance_id=slot.id))
    report = RebalanceReport(
        session.account,
        inputs.slot,
        slot.status,
        slot.reason,
        slot.portfolio_version,
        resumed=bool(orders),
        orders=orders,
        fills=recovery.fills,
        breaks=reconciled.breaks,
        opened=reconciled.opened,
        alerts=(*working, *cut_short(passed)),
        lateness_seconds=lateness,
    )
    if slot.status is not RebalanceStatus.RUNNING:
        return replace(
            report,
            already_done=True,
            reason=f"already {slot.status}{f' ({slot.reason})' if slot.reason else ''}",
        )
    refusal = refusal_of(session, inputs.slot, lateness, instruments)
    if refusal is not None:
        refusal = (
            f"{refusal}; {slot.reason}" if slot.reason else refusal
        )  # what stopped an earlier run of it
        return _end_slot(
            session,
            keeper,
            slot,
            report,
            RebalanceStatus.FAILED if orders else RebalanceStatus.SKIPPED,
            refusal,
        )
    risk = PreTradeRisk(
        session=session,
        keeper=keeper,
        limits=inputs.limits,
        slot=slot.slot,
        locks=reconciled.locks,
        halt=session.kill_switch.read(),
        kept_instruments=frozenset(reconciled.planned),
    )
    context = SlotContext(
        session=session,
        keeper=keeper,
        rebalance=slot,
        instruments=instruments,
        targets=_decided(session, keeper, slot, inputs, risk.halt),
        policy=inputs.policy,
    )
    return _traded(context, risk, report)


def _end_slot(
    session: AccountSession,
    keeper: LeaseKeeper,
    slot: Rebalance,
    report: RebalanceReport,
    status: RebalanceStatus,
    reason: str,
) -> RebalanceReport:
    session.ledger.end_rebalance(keeper.lease, slot.id, status, reason)
    return replace(report, status=status, reason=reason)


def _decided(
    session: AccountSession,
    keeper: LeaseKeeper,
    slot: Rebalance,
    inputs: RebalanceInputs,
    halt: Halt,
) -> PortfolioTargets:
    """Return the slot's targets, kept in the ledger. An account that is being flattened asks no
    strategy.
    """
    version = slot.portfolio_version
    if halt.flatten:
        return PortfolioTargets(version, {}, {}, {})
    targets = inputs.decide(version)
    decided = {symbol: weight for symbol, weight in targets.weights.items() if weight is not None}
    session.ledger.record_targets(keeper.lease, slot.id, decided)
    return targets


def _traded(context: SlotContext, risk: PreTradeRisk, report: RebalanceReport) -> RebalanceReport:
    """Trade the slot: sells to their end, then buys from what the sells really yielded."""
    session, keeper = context.session, context.keeper
    before = context.read_book(risk.locks)
    context = replace(context, targets=risk.open(before, context.targets))
    phases = []
    for phase in Phase:
        # What risk wants closed goes out whole and at once.
        urgent = risk.halt.flatten or (phase is Phase.SELLS and risk.closing)
        style = MarketStyle() if urgent else session.style
        phases.append(PhaseWorker(context, risk, phase=phase, style=style).work())
    after = context.read_book(risk.locks)
    risk.close(after)
    final = reconcile(session, keeper, context.instruments)
    in_doubt = risk.view.cash_in_doubt(after)
    session.control_store.record_equity(
        keeper.lease, context.rebalance.slot, after.equity, after.cash, in_doubt
    )
    orders = context.read_orders()
    report = replace(
        report,
        sent=sum(phase.sent for phase in phases),
        equity_before=before.equity,
        equity_after=after.equity,
        cash_after=after.cash,
        orders=tuple(orders),
        fills=(
            *report.fills,
            *(fill for phase in phases for fill in phase.fills),
            *final.fills,
        ),
        skipped=tuple(skip for phase in phases for skip in phase.skipped),
        findings=risk.findings,
        breaks=final.breaks,
        opened=(*report.opened, *new_breaks(final.breaks, report.breaks)),
        alerts=(*report.alerts, *risk.alerts),
    )
    status, reason = outcome_of(orders)
    return _end_slot(session, keeper, context.rebalance, report, status, reason)
