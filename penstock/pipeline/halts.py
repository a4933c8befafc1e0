"""Stop and resume trading by an operator's word."""

import getpass

from penstock.core.accounts import TradingState
from penstock.wiring import Platform

EVERY_ACCOUNT = "*"


def halt_trading(platform: Platform, portfolio: str, reason: str, reduce_only: bool = False, everything: bool = False) -> str:
    """Halt an account (or let it only reduce), or every account; return what was done in one sentence."""
    state = TradingState.REDUCE_ONLY if reduce_only else TradingState.HALTED
    return _set(platform, portfolio, state, reason, everything)


def resume_trading(platform: Platform, portfolio: str, reason: str, everything: bool = False) -> str:
    """Lift the halt of an account or of every account; return the state then in force in one sentence."""
    return _set(platform, portfolio, TradingState.ACTIVE, reason, everything)


def _set(platform: Platform, portfolio: str, state: TradingState, reason: str, everything: bool) -> str:
    account = platform.settings.environment.account_of(portfolio).name
    target = EVERY_ACCOUNT if everything else account
    platform.supervision.set_trading_state(target, state, reason, getpass.getuser(), platform.wall_clock.now())
    in_force = platform.supervision.trading_state(account)
    who = "every account" if everything else account
    return f"{who} is set to {state}; in force for {account}: {in_force.state} ({in_force.reason})"
