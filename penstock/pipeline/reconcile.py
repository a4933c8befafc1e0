"""Compare an account's ledger with its venue outside of a rebalance."""

from dataclasses import dataclass
from datetime import timedelta

from penstock.core.actors import Actor
from penstock.core.errors import PenstockError
from penstock.execution.lease import held_lease
from penstock.execution.orders.recover import recover
from penstock.execution.reconciliation.reconcile import Reconciliation, reconcile
from penstock.execution.session import AccountSession
from penstock.pipeline.alerts import alert_failure, alerting
from penstock.pipeline.unexpected import ANYTHING, unexpected
from penstock.pipeline.use_case import use_case
from penstock.wiring import Platform


@dataclass(frozen=True)
class ReconcileOutcome:
    """What the comparison of one account found."""

    account: str
    found: Reconciliation

    def summary(self) -> str:
        """Return the comparison in one sentence."""
        if not self.found.breaks:
            compared = len(self.found.balances)
            assets = "1 asset" if compared == 1 else f"{compared} assets"
            return f"{self.account}: ledger and venue agree on {assets}"
        locked = ", ".join(sorted(self.found.locks))
        count = len(self.found.breaks)
        breaks = "1 open break locks" if count == 1 else f"{count} open breaks lock"
        return f"{self.account}: {breaks} {locked}"


@use_case
def reconcile_account(platform: Platform, actor: Actor, portfolio: str) -> ReconcileOutcome:
    """Finish what earlier runs left, compare, open and close breaks, and alert about new ones.

    Raises StoreError where another process holds the account: it reconciles by itself.
    """
    with alerting(platform, portfolio):
        return _reconcile(platform.session(portfolio))


@use_case
def reconcile_after_slot(
    platform: Platform, actor: Actor, portfolio: str
) -> ReconcileOutcome | None:
    """Compare the fills of a slot that ended just now, where the portfolio's next slot would be too
    late for them. Return None where that slot is soon enough.

    A slot leaves young fills to a later comparison (docs/decisions/0013). Raises as
    `reconcile_account` does, after an alert: nobody else compares them soon.
    """
    bound = timedelta(minutes=platform.environment.trade_comparison_minutes)
    if platform.settings.portfolio(portfolio).timeframe.duration < bound:
        return None
    what = "the comparison of a slot's fills"
    try:
        return reconcile_account(platform, actor, portfolio)
    except PenstockError as error:
        alert_failure(platform, portfolio, what, error)
        raise
    except ANYTHING as error:
        failure = unexpected(error)
        alert_failure(platform, portfolio, what, failure)
        raise failure from error


def _reconcile(session: AccountSession) -> ReconcileOutcome:
    session.ledger.open_account(session.account, session.exchange_name, session.quote)
    with held_lease(session, "it reconciles before and after each slot itself") as keeper:
        recover(session, keeper, None)
        found = reconcile(session, keeper)
    return ReconcileOutcome(session.account, found)
