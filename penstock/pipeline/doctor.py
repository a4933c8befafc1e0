"""Check every dependency. Each check is a function that returns what it saw, or raises. How to mend
what is wrong is for the interface that shows it.
"""

import importlib.metadata
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit
from urllib.request import getproxies

from penstock.core.actors import Actor
from penstock.core.errors import (
    ConfigError,
    PenstockError,
    PracticeExchangeDownError,
    VenueUnavailableError,
)
from penstock.core.halts import EVERY_ACCOUNT
from penstock.execution.kill_switch import KillSwitch
from penstock.pipeline.rebalance import listed_limits
from penstock.pipeline.stack_health import stack_health
from penstock.pipeline.use_case import use_case
from penstock.ports import ModelVersion
from penstock.settings import MarketSettings, Settings
from penstock.stack import StackNotRunningError, require_chosen_environment
from penstock.wiring import Platform, open_platform

#: Versions beyond which another part of the set breaks, and how that shows.
_PINS = {
    "fastapi": ((0, 151), "the Prefect server does not start"),
    "sqlalchemy": ((2, 1), "the Prefect scheduler creates no runs"),
}
#: Libraries whose versions are shown. Those of extras may be missing.
_SHOWN = ("ccxt", "mlflow-skinny", "prefect", "mlflow", "great-expectations", "optuna", "vectorbt")
_FREE_BYTES = 1 << 30


class Subject(StrEnum):
    """What the doctor looks at, in its order."""

    PYTHON = "Python"
    LIBRARIES = "pinned libraries"
    CONFIGURATION = "configuration"
    DISK = "disk"
    STACK = "stack"
    DATABASE = "database"
    VENUE = "venue"
    VENUE_CLOCK = "venue clock"
    OLD_ORDERS = "old orders"
    REGISTRY = "model registry"
    KILL_SWITCH = "kill switch"


@dataclass(frozen=True)
class HealthCheck:
    """One check of the doctor."""

    subject: Subject
    """What was looked at."""
    ok: bool
    """Whether it is well."""
    seen: str
    """What was seen."""
    cause: Subject
    """What is to be mended where it is not well: the subject, or what another check looks at."""
    warning: bool = False
    """Whether it is well as it stands and still to be looked at."""


@use_case
def examine(settings: Settings, actor: Actor) -> tuple[HealthCheck, ...]:
    """Run every check; one that fails does not keep the others from running.

    Without a database the checks that need one are left out, and so is what could only repeat that
    the configuration cannot be read.
    """
    checks = _run(
        {
            Subject.PYTHON: _python,
            Subject.LIBRARIES: _libraries,
            Subject.CONFIGURATION: lambda: _configuration(settings),
            Subject.DISK: lambda: _disk(settings),
        }
    )
    checks += _stack(settings, actor)
    try:
        with open_platform(settings) as platform:
            checks += _run(
                {
                    Subject.DATABASE: platform.open_database,
                    Subject.VENUE: lambda: _venue(platform),
                    Subject.VENUE_CLOCK: lambda: _clock(platform),
                    Subject.OLD_ORDERS: lambda: _old_orders(platform),
                    Subject.REGISTRY: lambda: _registry(platform),
                    Subject.KILL_SWITCH: lambda: _kill_switch(platform),
                }
            )
    except PenstockError as error:
        checks += (_failed(Subject.DATABASE, error),)
    return _without_repetition(checks)


def _without_repetition(checks: tuple[HealthCheck, ...]) -> tuple[HealthCheck, ...]:
    """Leave out what only repeats that the configuration cannot be read."""
    unread = {check.seen for check in checks if check.subject is Subject.CONFIGURATION}
    return tuple(
        check
        for check in checks
        if check.subject is Subject.CONFIGURATION or check.ok or check.seen not in unread
    )


def _run(checks: Mapping[Subject, Callable[[], str]]) -> tuple[HealthCheck, ...]:
    return tuple(_look(subject, check) for subject, check in checks.items())


def _look(subject: Subject, check: Callable[[], str]) -> HealthCheck:
    try:
        return HealthCheck(subject, True, check(), subject)
    except (PenstockError, OSError) as error:
        return _failed(subject, error)


def _failed(subject: Subject, error: Exception) -> HealthCheck:
    cause = subject
    if isinstance(error, ConfigError):
        cause = Subject.CONFIGURATION
    elif isinstance(error, PracticeExchangeDownError):
        cause = Subject.STACK
    elif isinstance(error, VenueUnavailableError):
        cause = Subject.VENUE
    return HealthCheck(subject, False, str(error), cause)


def _python() -> str:
    found = ".".join(map(str, sys.version_info[:3]))
    if not (3, 11) <= sys.version_info[:2] < (3, 14):
        raise PenstockError(f"this is Python {found}")
    return found


def _libraries() -> str:
    for name, (limit, symptom) in _PINS.items() if _version("prefect") else ():
        version = importlib.metadata.version(name)
        if tuple(int(part) for part in version.split(".")[:2]) >= limit:
            raise PenstockError(
                f"{name} {version} is installed; from {'.'.join(map(str, limit))} on {symptom}"
            )
    return ", ".join(f"{name} {_version(name) or 'not installed'}" for name in _SHOWN)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _configuration(settings: Settings) -> str:
    environment = settings.environment
    files = [settings.universe, settings.costs, settings.checks, settings.risk]
    for name in environment.accounts:
        files += [settings.portfolio(name), settings.study(name), settings.promotion(name)]
    name = settings.process.env
    what = f"{environment.trading} trading on {environment.exchange}"
    return f"{len(files)} parts read, environment '{name}': {what}"


def _disk(settings: Settings) -> str:
    settings.home.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.home).free
    if free < _FREE_BYTES:
        raise PenstockError(f"{free / 1e9:.1f} GB are free under {settings.home}")
    return f"{free / 1e9:.0f} GB free under {settings.home}"


def _stack(settings: Settings, actor: Actor) -> tuple[HealthCheck, ...]:
    """Return a check for each part that is not well, or one of the whole stack."""
    try:
        found = stack_health(settings, actor, ask=True)
    except PenstockError as error:
        return (_failed(Subject.STACK, error),)
    if found is None:
        return (_no_stack(settings),)
    faults = tuple(
        HealthCheck(Subject.STACK, False, fault, Subject.STACK) for fault in found.faults
    )
    at = found.note.addresses
    seen = "; ".join([f"Prefect {at.prefect}, MLflow {at.mlflow}", *found.past_deaths])
    return faults or (HealthCheck(Subject.STACK, True, seen, Subject.STACK),)


def _no_stack(settings: Settings) -> HealthCheck:
    try:
        require_chosen_environment({**settings.variables, "PENSTOCK_HOME": str(settings.home)})
    except StackNotRunningError as error:
        return HealthCheck(Subject.STACK, True, str(error), Subject.STACK, warning=True)
    return HealthCheck(Subject.STACK, True, "not running", Subject.STACK)


def _venue(platform: Platform) -> str:
    market = platform.environment.market
    ways = {f"{each.ccxt_id} {_way(each)}" for each in (market, *platform.environment.traded)}
    asked = "; ".join(sorted(ways))
    try:
        listed_limits(platform)
        count = len(platform.market.instruments())
    except PracticeExchangeDownError:
        raise
    except VenueUnavailableError as error:
        raise VenueUnavailableError(f"{error}; {asked}") from None
    return f"{market.ccxt_id}: {count} instruments; {asked}"


def _way(market: MarketSettings) -> str:
    """Return how a venue is reached: directly, or by which proxy, without its password."""
    if market.proxy is not None:
        return f"by the proxy {market.proxy}"
    if market.base_url is not None:
        return "on this machine"
    found = getproxies().get("https")
    if found is None:
        return "without a proxy"
    parts = urlsplit(found)
    port = "" if parts.port is None else f":{parts.port}"
    return f"by the environment's proxy {parts.scheme}://{parts.hostname}{port}"


def seconds_apart(seconds: float, digits: int) -> str:
    """Return the difference of two clocks with its sign; what rounds to nothing is not negative."""
    return f"{seconds:+z.{digits}f} s"


def _clock(platform: Platform) -> str:
    skew = (platform.market.now() - platform.machine_clock.now()).total_seconds()
    if platform.environment.market.base_url:
        return f"practice time is {seconds_apart(skew, 1)} from ours"
    if abs(skew) > 1:
        raise PenstockError(f"the venue's clock is {skew:+.1f} s from this machine's")
    return f"{seconds_apart(skew, 2)} from ours"


def _old_orders(platform: Platform) -> str:
    if platform.environment.trading == "paper":
        return "trading on paper: nothing is sent"
    accounts = platform.venue_accounts
    limits = accounts.order_age_limits()
    without = ", ".join(venue for venue, limit in limits.items() if limit is None)
    if without:
        raise PenstockError(
            f"{without}: no way is known by which it refuses an old order; a process that slept "
            "could send one"
        )
    doubted = max(accounts.visibility_delay(each) for each in platform.environment.accounts)
    return (
        "; ".join(f"{venue}: {limit}" for venue, limit in limits.items())
        + f'; "no such order" is doubted for {doubted:g} s'
    )


def _registry(platform: Platform) -> str:
    """Ask for every model that an account of this environment trades."""
    wanted = [
        model
        for portfolio in platform.environment.accounts
        for model in platform.settings.portfolio(portfolio).models
    ]
    found = {each.name: platform.registry.find(each.name, each.alias) for each in wanted}
    named = (
        f"{name} trades version {version.version}{_gate(version)}"
        for name, version in found.items()
        if version is not None
    )
    without = ", ".join(name for name, version in found.items() if version is None)
    seen = [*named, *([f"no champion yet of {without}"] if without else [])]
    return "; ".join([platform.tracking_address, *seen])


def _gate(version: ModelVersion) -> str:
    """Return what the gate decided about a version; "" where that is not kept with it."""
    decided = version.tags.get("gate", "")
    return f" ({decided})" if decided else ""


def _kill_switch(platform: Platform) -> str:
    file = platform.kill_switch_file
    if not file.exists():
        return "off"
    halt = KillSwitch(EVERY_ACCOUNT, file=file, clock=platform.machine_clock).read()
    asked = "flatten" if halt.flatten else "cancel" if halt.cancel else ""
    raise PenstockError(f"{file} exists: {halt.state}{asked and f', {asked}'}: {halt.reason}")
