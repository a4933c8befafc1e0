"""Check every dependency and say how to mend what is wrong. Each check is a function that returns
what it saw or raises.
"""

import importlib.metadata
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass

from penstock.adapters.exchanges.order_expiry import age_limit
from penstock.adapters.mlflow.connection import without_password
from penstock.core.errors import PenstockError
from penstock.settings import Settings
from penstock.stack import running
from penstock.wiring import Platform, open_platform

#: Versions beyond which another part of the set breaks, and how that shows.
_PINS = {
    "fastapi": ((0, 151), "the Prefect server does not start"),
    "sqlalchemy": ((2, 1), "the Prefect scheduler creates no runs"),
}
#: Libraries whose versions are shown. Those of extras may be missing.
_SHOWN = ("ccxt", "mlflow-skinny", "prefect", "mlflow", "great-expectations", "optuna", "vectorbt")
_FREE_BYTES = 1 << 30


@dataclass(frozen=True)
class HealthCheck:
    """What one check saw. `remedy` is "" where all is well."""

    what: str
    ok: bool
    seen: str
    remedy: str = ""


def examine(settings: Settings | None = None) -> list[HealthCheck]:
    """Run every check; one that fails does not keep the others from running."""
    chosen = settings if settings is not None else Settings()
    findings = [
        _look("Python", _python, "use Python 3.11, 3.12 or 3.13"),
        _look("pinned libraries", _libraries, "run 'make clean setup': it installs the pinned set"),
        _look(
            "configuration",
            lambda: _configuration(chosen),
            "mend the file and key that the message names",
        ),
        _look(
            "disk", lambda: _disk(chosen), "free some space, or set PENSTOCK_HOME to another disk"
        ),
        _look("stack", lambda: _stack(chosen), "run 'make up'"),
    ]
    try:
        with open_platform(chosen) as platform:
            findings += _platform_findings(platform)
    except PenstockError as error:
        remedy = (
            "start the server that PENSTOCK_DATABASE_URL names, or unset it to use the embedded one"
        )
        findings.append(HealthCheck("database", False, str(error), remedy))
    return findings


def _platform_findings(platform: Platform) -> list[HealthCheck]:
    return [
        _look("database", platform.database.describe, "see the message"),
        _look(
            "venue",
            lambda: _venue(platform),
            "check the network, or use PENSTOCK_ENV=practice with 'penstock up'",
        ),
        _look(
            "venue clock",
            lambda: _clock(platform),
            "synchronise this machine's clock (NTP): signed requests expire within seconds",
        ),
        _look(
            "old orders",
            lambda: _old_orders(platform),
            "trade a venue of the README's table, or see to it that the trading machine is never suspended or frozen",
        ),
        _look(
            "model registry",
            lambda: _registry(platform),
            "start the MLflow server ('make up'), or unset PENSTOCK_MLFLOW_URL",
        ),
        _look(
            "kill switch",
            lambda: _kill_switch(platform),
            "delete the file once it is safe to trade",
        ),
    ]


def _look(what: str, check: Callable[[], str], remedy: str) -> HealthCheck:
    try:
        return HealthCheck(what, True, check())
    except (PenstockError, OSError) as error:
        return HealthCheck(what, False, str(error), remedy)


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
    return f"{len(files)} parts read, environment '{name}': {environment.trading} trading on {environment.exchange}"


def _disk(settings: Settings) -> str:
    settings.home.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.home).free
    if free < _FREE_BYTES:
        raise PenstockError(f"{free / 1e9:.1f} GB are free under {settings.home}")
    return f"{free / 1e9:.0f} GB free under {settings.home}"


def _stack(settings: Settings) -> str:
    found = running(settings.home)
    if found is None:
        return "not running (the commands work without it)"
    return f"Prefect {found[1].prefect}, MLflow {found[1].mlflow}"


def _venue(platform: Platform) -> str:
    return (
        f"{platform.environment.market.ccxt_id}: {len(platform.market.instruments())} instruments"
    )


def _clock(platform: Platform) -> str:
    skew = (platform.market.now() - platform.machine_clock.now()).total_seconds()
    if platform.environment.market.base_url:
        return f"practice time is {skew:+.1f} s from ours"
    if abs(skew) > 1:
        raise PenstockError(f"the venue's clock is {skew:+.1f} s from this machine's")
    return f"{skew:+.2f} s from ours"


def _old_orders(platform: Platform) -> str:
    if platform.environment.trading == "paper":
        return "trading on paper: nothing is sent"
    limits = {market.ccxt_id: age_limit(market.ccxt_id) for market in platform.environment.traded}
    without = ", ".join(venue for venue, limit in limits.items() if limit is None)
    if without:
        raise PenstockError(
            f"{without}: no way is known by which it refuses an old order; a process that slept could send one"
        )
    doubted = max(
        platform.visibility_delay(portfolio) for portfolio in platform.environment.accounts
    )
    return (
        "; ".join(f"{venue}: {limit}" for venue, limit in limits.items())
        + f'; "no such order" is doubted for {doubted:g} s'
    )


def _registry(platform: Platform) -> str:
    platform.registry.versions("daily-portfolio")
    return without_password(platform.tracking_uri)


def _kill_switch(platform: Platform) -> str:
    if platform.kill_switch_file.exists():
        raise PenstockError(f"{platform.kill_switch_file} exists: nobody sends orders")
    return "off"
