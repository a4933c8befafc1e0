"""What an operator wants to see first: data, models, the account, locks and halts."""

import os
from dataclasses import dataclass

import polars as pl

from penstock.adapters.stores.postgres.ledger_history import LedgerHistory
from penstock.core.halts import TradingState
from penstock.execution.reconciliation.remedies import remedy
from penstock.pipeline.halts import not_active
from penstock.pipeline.report import account_figures
from penstock.stack import running
from penstock.wiring import Platform


@dataclass(frozen=True)
class AccountStatus:
    """Tables for the terminal: bars stored, versions under their aliases, and the account of each
    portfolio.

    `where` says which environment this is, why, and how to see another; `remedies` what to do about
    each break and halt.
    """

    where: tuple[str, ...]
    environment: str
    database: str
    coverage: pl.DataFrame
    models: pl.DataFrame
    accounts: dict[str, pl.DataFrame]
    breaks: pl.DataFrame
    halts: pl.DataFrame
    remedies: tuple[str, ...]


def read_status(platform: Platform) -> AccountStatus:
    """Read the present state; nothing is asked of the venue."""
    accounts = {name: account.name for name, account in platform.environment.accounts.items()}
    rows = [
        (account, b.subject, b.kind.value, b.detail)
        for account in accounts.values()
        for b in platform.control_store.open_breaks(account)
    ]
    remedies = [
        f"{b.subject} of {account}: {remedy(b.kind, b.subject, name)}"
        for name, account in accounts.items()
        for b in platform.control_store.open_breaks(account)
    ]
    return AccountStatus(
        where=_where(platform),
        environment=platform.settings.process.env,
        database=platform.database.describe(),
        coverage=platform.bars.coverage(platform.exchange_name),
        models=_models(platform, list(accounts)),
        accounts={
            f"{name} ({account})": account_figures(platform, account)
            for name, account in accounts.items()
        },
        breaks=pl.DataFrame(
            rows,
            schema=dict.fromkeys(("account", "locked", "kind", "detail"), pl.String),
            orient="row",
        ),
        halts=_halts(platform, list(accounts.values())),
        remedies=(*remedies, *not_active(platform)),
    )


def _where(platform: Platform) -> tuple[str, ...]:
    """Return which environment is shown and why, and a line for each other one whose accounts are
    in the same ledger.
    """
    settings, known = platform.settings, set(LedgerHistory(platform.database).accounts())
    env, found = settings.process.env, running(settings.home)
    if found is not None and found[1].environment == env:
        why = "the stack that runs from this home works with it"
    elif os.environ.get("PENSTOCK_ENV"):
        why = "PENSTOCK_ENV says so"
    else:
        why = f"the default: PENSTOCK_ENV is not set, and no stack runs from {settings.home}"
    lines = [f"environment {env} ({why})"]
    for name in settings.environment_names:
        theirs = (
            {
                account.name
                for account in settings.of_environment(name).environment.accounts.values()
            }
            if name != env
            else set()
        )
        if theirs & known:
            lines.append(
                f"this ledger has accounts of {name} too: `PENSTOCK_ENV={name} penstock status`"
            )
    return tuple(lines)


def _halts(platform: Platform, accounts: list[str]) -> pl.DataFrame:
    """Return the accounts that may not trade freely: account, state, reason, set by, since (text)."""
    in_force = [(account, platform.control_store.trading_state(account)) for account in accounts]
    rows = [
        (account, halt.state.value, halt.reason, halt.by, f"{halt.at:%Y-%m-%d %H:%M}")
        for account, halt in in_force
        if halt.state is not TradingState.ACTIVE
    ]
    return pl.DataFrame(
        rows,
        schema=dict.fromkeys(("account", "state", "reason", "set by", "since"), pl.String),
        orient="row",
    )


def _models(platform: Platform, portfolios: list[str]) -> pl.DataFrame:
    names = {
        model.name
        for portfolio in portfolios
        for model in platform.settings.portfolio(portfolio).models
    }
    rows = [
        (name, version.version, ", ".join(version.aliases), version.tags.get("strategy", ""))
        for name in sorted(names)
        for version in platform.registry.versions(name)
        if version.aliases
    ]
    return pl.DataFrame(
        rows,
        schema=dict.fromkeys(("model", "version", "aliases", "strategy"), pl.String),
        orient="row",
    )
