"""What an operator does to the practice exchange by hand: move money from outside, and have it
misbehave.

For trying what a deposit, a withdrawal or a fault leads to. At any other venue these calls do not
exist, and are refused here.
"""

import os
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from penstock.core.errors import ConfigError, VenueUnavailableError
from penstock.core.instruments import spot_assets
from penstock.practice.control import PracticeControl
from penstock.practice.faults import Fault
from penstock.settings import Settings, practice_key_variables


@dataclass(frozen=True)
class PracticeTransfer:
    """Money that came to or left a portfolio's account; `held` is what the account has of the asset
    afterwards.
    """

    account: str
    asset: str
    quantity: Decimal
    held: Decimal

    def summary(self) -> str:
        """Return the transfer in one sentence."""
        way = "deposited to" if self.quantity > 0 else "withdrawn from"
        moved, held = (f"{amount.normalize():f}" for amount in (abs(self.quantity), self.held))
        return (
            f"{moved} {self.asset} {way} {self.account} at the practice exchange: it has {held} now"
        )


def transfer(
    settings: Settings, portfolio: str, asset: str, quantity: str, sign: int
) -> PracticeTransfer:
    """Deposit (`sign` 1) or withdraw (-1) an amount at the portfolio's account.

    Raises ConfigError where the venue is not the practice exchange, the asset is none of the
    universe's, the amount is not above zero, or more is withdrawn than is free;
    VenueUnavailableError where the exchange does not run.
    """
    control, named = practice_control(settings), asset.upper()
    account, key = settings.environment.account_of(portfolio), _key_of(settings, portfolio)
    known = {part for symbol in settings.universe.symbols for part in spot_assets(symbol)}
    if named not in known:
        raise ConfigError(f"'{asset}' is none of the universe's assets: {', '.join(sorted(known))}")
    moved = _amount(quantity)
    (control.deposit if sign > 0 else control.withdraw)(key, named, moved)
    return PracticeTransfer(
        account.name, named, sign * moved, control.balances(key).get(named, Decimal(0))
    )


def arm_fault(settings: Settings, fault: Fault) -> str:
    """Arm a fault at the practice exchange; return what will happen in one sentence."""
    practice_control(settings).arm(fault)
    often = "until it is cleared" if fault.times is None else f"{fault.times} times at most"
    return f"{fault.kind} strikes {fault.method or 'any'} {fault.path}*, {often}"


def armed_faults(settings: Settings, clear: bool) -> list[str]:
    """Return the faults that are armed, a line each; with `clear` disarm them all first."""
    control = practice_control(settings)
    if clear:
        control.clear_faults()
    return [
        f"{each['kind']} {each['method'] or 'any'} {each['path']}*: matched {each['calls']} calls, struck {each['struck']}"
        for each in control.faults()
    ]


def practice_control(settings: Settings) -> PracticeControl:
    """Return the control of the environment's practice exchange, seen to answer."""
    environment, name = settings.environment, settings.process.env
    if environment.trading != "venue" or environment.market.base_url is None:
        where = "on paper" if environment.trading == "paper" else f"at {environment.market.ccxt_id}"
        raise ConfigError(
            f"environment '{name}' trades {where}, not at the practice exchange, and only there can this be done: start "
            "`penstock up`, or set PENSTOCK_ENV=practice beside a running `penstock exchange serve`"
        )
    control = PracticeControl(settings.process.practice_url or environment.market.base_url)
    try:
        control.now()
    except VenueUnavailableError:
        raise VenueUnavailableError(
            f"the practice exchange does not answer at {control.url}: start it with `penstock up` or `penstock exchange serve`"
        ) from None
    return control


def _key_of(settings: Settings, portfolio: str) -> str:
    """Return the public key by which the practice exchange knows the portfolio's account."""
    account = settings.environment.account_of(portfolio)
    if account.venues:
        raise ConfigError(
            f"account '{account.name}' is at several venues: move money at one of them by its control calls"
        )
    variable = account.api_key_env or ""
    key = os.environ.get(variable) or practice_key_variables(settings.home).get(variable)
    if not key:
        raise ConfigError(
            f"account '{account.name}': the environment variable {variable or '(none configured)'} is empty"
        )
    return key


def _amount(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise ConfigError(f"'{text}' is no amount: write it like 1000 or 0.25") from None
    if not amount.is_finite() or amount <= 0:
        raise ConfigError(f"an amount is above zero, not {text}")
    return amount
