"""What an operator wants to see first: data, models, the accounts, locks and halts."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from penstock.core.actors import Actor
from penstock.core.breaks import Break
from penstock.core.errors import PromotionError
from penstock.monitoring.figures import AccountFigures
from penstock.monitoring.positions import Holdings
from penstock.pipeline.halts import TradingStates, trading_states
from penstock.pipeline.positions import list_positions
from penstock.pipeline.report import account_figures
from penstock.pipeline.stack_health import StackHealth, stack_health
from penstock.pipeline.use_case import use_case
from penstock.ports import ModelVersion
from penstock.settings import Settings
from penstock.wiring import Platform


class ChosenBy(StrEnum):
    """Why this environment is the one that is shown."""

    STACK = "stack"  # the stack that runs from the home folder works with it
    ABANDONED_STACK = "abandoned stack"  # that stack did, and has lost its supervisor
    VARIABLE = "variable"  # PENSTOCK_ENV names it
    DEFAULT = "default"  # nothing says otherwise


@dataclass(frozen=True)
class ChosenEnvironment:
    """The environment that is shown, and the stack of its home."""

    name: str
    """The environment's name."""
    why: ChosenBy
    """Why it is this one."""
    stack: StackHealth | None
    """What of the local stack lives; None where the home has none."""


@dataclass(frozen=True)
class StoredBars:
    """What is stored of a symbol in one timeframe."""

    timeframe: str
    """The bar length."""
    symbol: str
    """The symbol."""
    rows: int
    """How many bars."""
    first: datetime
    """Open time of the first bar."""
    last: datetime
    """Open time of the last bar."""


@dataclass(frozen=True)
class AccountStatus:
    """One account: what it did and earned, and what locks it."""

    portfolio: str
    account: str
    figures: AccountFigures
    breaks: tuple[Break, ...]
    holdings: Holdings
    """What it holds, at the newest prices that are known."""


@dataclass(frozen=True)
class SystemStatus:
    """The present state of one environment."""

    environment: str
    """The environment's name."""
    others: tuple[str, ...]
    """Further environments whose accounts are in the same ledger."""
    database: str
    """Kind and address of the database."""
    bars: tuple[StoredBars, ...]
    """One per symbol and timeframe."""
    models: tuple[ModelVersion, ...]
    """The registered versions that an alias points at."""
    models_unknown: str
    """Why the models are not known; "" where they are."""
    accounts: tuple[AccountStatus, ...]
    """One per portfolio."""
    states: TradingStates
    """Which accounts may trade."""


@use_case
def choose_environment(settings: Settings, actor: Actor) -> ChosenEnvironment:
    """Return which environment is shown, and why. The servers of the home's stack are asked whether
    they answer; no database is opened.
    """
    stack, name = stack_health(settings, actor, ask=True), settings.process.env
    why = ChosenBy.VARIABLE if settings.variables.get("PENSTOCK_ENV") else ChosenBy.DEFAULT
    if stack is not None and stack.note.addresses.environment == name:
        why = ChosenBy.ABANDONED_STACK if stack.abandoned else ChosenBy.STACK
    return ChosenEnvironment(name, why, stack)


@use_case
def read_status(platform: Platform, actor: Actor, stack: StackHealth | None) -> SystemStatus:
    """Read the present state. No venue is asked, but for the practice exchange's time.

    `stack` is the home's, looked at before. An MLflow server of its that does not answer is not
    asked; nor does a registry that cannot be reached keep the rest from being shown.
    """
    accounts = platform.environment.accounts
    coverage = platform.bar_inventory.coverage(platform.exchange_name)
    models, models_unknown = _models(platform, stack)
    return SystemStatus(
        environment=platform.settings.process.env,
        others=_others(platform),
        database=platform.open_database(),
        bars=tuple(StoredBars(**row) for row in coverage.iter_rows(named=True)),
        models=models,
        models_unknown=models_unknown,
        accounts=tuple(
            AccountStatus(
                portfolio,
                account.name,
                account_figures(platform, account.name),
                tuple(platform.control_store.open_breaks(account.name)),
                list_positions(platform, actor, portfolio),
            )
            for portfolio, account in accounts.items()
        ),
        states=trading_states(platform, actor),
    )


def _others(platform: Platform) -> tuple[str, ...]:
    """Return the other environments that have accounts in this ledger."""
    settings, known = platform.settings, set(platform.ledger_history.accounts())
    return tuple(
        name
        for name in settings.environment_names
        if name != settings.process.env
        and known & {a.name for a in settings.of_environment(name).environment.accounts.values()}
    )


def _models(platform: Platform, stack: StackHealth | None) -> tuple[tuple[ModelVersion, ...], str]:
    """Return the versions with an alias; where the registry cannot be asked, none and why."""
    names = {
        model.name
        for portfolio in platform.environment.accounts
        for model in platform.settings.portfolio(portfolio).models
    }
    used = None if platform.settings.process.mlflow_url else stack
    if used is not None and used.is_silent("mlflow-server"):
        return (), "the stack's mlflow-server does not answer"
    try:
        found = [each for name in sorted(names) for each in platform.registry.versions(name)]
    except PromotionError as error:
        return (), str(error)
    return tuple(version for version in found if version.aliases), ""
