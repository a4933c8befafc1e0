"""What an operator does to the practice exchange by hand: move money from outside, and arm faults.

They show what a deposit, a withdrawal or a fault leads to. Any other venue is refused.
"""

from dataclasses import dataclass, field
from decimal import Decimal

from penstock.core.actors import Actor
from penstock.core.amounts import to_step
from penstock.core.errors import (
    ConfigError,
    NotPracticeError,
    PracticeExchangeDownError,
    VenueUnavailableError,
)
from penstock.core.instruments import spot_assets
from penstock.pipeline.use_case import use_case
from penstock.practice.control import PracticeControl
from penstock.practice.faults import Fault
from penstock.settings import Settings, StackSecret, stack_secret


@dataclass(frozen=True)
class PracticeTransfer:
    """Money that came to or left a portfolio's account."""

    account: str
    """The account's name."""
    asset: str
    """What was moved."""
    quantity: Decimal
    """How much, in units of the asset; below zero where it left."""
    held: Decimal
    """What the account has of the asset afterwards."""

    def summary(self) -> str:
        """Return the transfer in one sentence."""
        way = "deposited to" if self.quantity > 0 else "withdrawn from"
        moved, held = map(to_step, (abs(self.quantity), self.held))
        return (
            f"{moved} {self.asset} {way} {self.account} at the practice exchange: it has {held} now"
        )


@dataclass(frozen=True)
class ClientAccount:
    """An account at the practice exchange for somebody else's client."""

    url: str
    """The exchange's address."""
    api_key: str
    """The key that names the account."""
    secret: str = field(repr=False)
    """The key that signs its requests."""
    balances: dict[str, Decimal]
    """What it holds of each asset."""


@dataclass(frozen=True)
class ArmedFault:
    """A fault that is armed."""

    kind: str
    """What goes wrong."""
    method: str
    """The HTTP method that it strikes; "" for any."""
    path: str
    """How the paths that it strikes begin."""
    calls: int
    """How many calls it has matched."""
    struck: int
    """How many calls it has struck."""


@use_case
def deposit(
    settings: Settings, actor: Actor, portfolio: str, asset: str, quantity: Decimal
) -> PracticeTransfer:
    """Put an amount on the portfolio's account at the practice exchange.

    Raises NotPracticeError where another venue is configured, and PracticeExchangeDownError where
    the exchange does not run. Raises ConfigError for an asset outside the universe, and for an
    amount that is not above zero.
    """
    return _transfer(settings, portfolio, asset, quantity, 1)


@use_case
def withdraw(
    settings: Settings, actor: Actor, portfolio: str, asset: str, quantity: Decimal
) -> PracticeTransfer:
    """Take an amount off the portfolio's account at the practice exchange.

    Raises what `deposit` raises, and VenueRejectedError where more is withdrawn than is free.
    """
    return _transfer(settings, portfolio, asset, quantity, -1)


@use_case
def open_client_account(
    settings: Settings, actor: Actor, name: str, cash: Decimal
) -> ClientAccount:
    """Open an account for a foreign client, or return the one of that name as it is.

    Raises ConfigError for a portfolio's name, and NotPracticeError and PracticeExchangeDownError as
    `deposit` does.
    """
    control, (key, secret) = _control(settings), settings.client_keys(name)
    control.create_account(key, secret, {settings.universe.quote: cash})
    return ClientAccount(control.url, key, secret, control.balances(key))


@use_case
def arm_fault(settings: Settings, actor: Actor, fault: Fault) -> Fault:
    """Arm a fault at the practice exchange and return it."""
    _control(settings).arm(fault)
    return fault


@use_case
def armed_faults(
    settings: Settings, actor: Actor, *, clear: bool = False
) -> tuple[ArmedFault, ...]:
    """Return the faults that are armed; with `clear` disarm them all first."""
    control = _control(settings)
    if clear:
        control.clear_faults()
    return tuple(
        ArmedFault(each["kind"], each["method"], each["path"], each["calls"], each["struck"])
        for each in control.faults()
    )


def _transfer(
    settings: Settings, portfolio: str, asset: str, quantity: Decimal, sign: int
) -> PracticeTransfer:
    control, named = _control(settings), asset.upper()
    account, key = settings.environment.account_of(portfolio), _key_of(settings, portfolio)
    known = {part for symbol in settings.universe.symbols for part in spot_assets(symbol)}
    if named not in known:
        raise ConfigError(f"'{asset}' is none of the universe's assets: {', '.join(sorted(known))}")
    if not quantity.is_finite() or quantity <= 0:
        raise ConfigError(f"an amount is above zero, not {to_step(quantity)}")
    (control.deposit if sign > 0 else control.withdraw)(key, named, quantity)
    return PracticeTransfer(
        account.name, named, sign * quantity, control.balances(key).get(named, Decimal(0))
    )


def _control(settings: Settings) -> PracticeControl:
    """Return the control of the environment's practice exchange, seen to answer."""
    environment, name = settings.environment, settings.process.env
    if environment.trading != "venue" or environment.market.base_url is None:
        where = "on paper" if environment.trading == "paper" else f"at {environment.market.ccxt_id}"
        raise NotPracticeError(
            f"environment '{name}' trades {where}, not at the practice exchange, and only there "
            "can this be done"
        )
    control = PracticeControl(
        settings.process.practice_url or environment.market.base_url,
        token=stack_secret(settings.home, StackSecret.PRACTICE).get_secret_value(),
    )
    try:
        control.now()
    except VenueUnavailableError:
        raise PracticeExchangeDownError(control.url, "a control call") from None
    return control


def _key_of(settings: Settings, portfolio: str) -> str:
    """Return the public key by which the practice exchange knows the portfolio's account."""
    account = settings.environment.account_of(portfolio)
    if account.venues:
        raise ConfigError(
            f"account '{account.name}' is at several venues: move money at one of them by its "
            "control calls"
        )
    variable = account.api_key_env or ""
    known = settings.practice_key_variables()
    key = settings.variables.get(variable) or known.get(variable)
    if not key:
        raise ConfigError(
            f"account '{account.name}': the environment variable "
            f"{variable or '(none configured)'} is empty"
        )
    return key
