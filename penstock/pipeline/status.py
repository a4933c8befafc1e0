"""What an operator wants to see first: data, models, the account, locks and halts."""

from dataclasses import dataclass

import polars as pl

from penstock.core.accounts import TradingState
from penstock.pipeline.report import account_figures
from penstock.wiring import Platform


@dataclass(frozen=True)
class Status:
    """Tables for the terminal: bars stored, versions under their aliases, and the account of each portfolio."""

    environment: str
    database: str
    coverage: pl.DataFrame
    models: pl.DataFrame
    accounts: dict[str, pl.DataFrame]
    breaks: pl.DataFrame
    halts: pl.DataFrame


def read_status(platform: Platform) -> Status:
    """Read the present state; nothing is asked of the venue."""
    accounts = {name: account.name for name, account in platform.environment.accounts.items()}
    rows = [
        (account, b.subject, b.kind.value, b.detail)
        for account in accounts.values()
        for b in platform.supervision.open_breaks(account)
    ]
    return Status(
        environment=platform.settings.process.env,
        database=platform.database.describe(),
        coverage=platform.bars.coverage(platform.exchange_name),
        models=_models(platform, list(accounts)),
        accounts={f"{name} ({account})": account_figures(platform, account) for name, account in accounts.items()},
        breaks=pl.DataFrame(rows, schema=dict.fromkeys(("account", "locked", "kind", "detail"), pl.String), orient="row"),
        halts=_halts(platform, list(accounts.values())),
    )


def _halts(platform: Platform, accounts: list[str]) -> pl.DataFrame:
    """Return the accounts that may not trade freely: account, state, reason, set by, since (text)."""
    in_force = [(account, platform.supervision.trading_state(account)) for account in accounts]
    rows = [
        (account, halt.state.value, halt.reason, halt.by, f"{halt.at:%Y-%m-%d %H:%M}")
        for account, halt in in_force
        if halt.state is not TradingState.ACTIVE
    ]
    return pl.DataFrame(rows, schema=dict.fromkeys(("account", "state", "reason", "set by", "since"), pl.String), orient="row")


def _models(platform: Platform, portfolios: list[str]) -> pl.DataFrame:
    names = {model.name for portfolio in portfolios for model in platform.settings.portfolio(portfolio).models}
    rows = [
        (name, version.version, ", ".join(version.aliases), version.tags.get("strategy", ""))
        for name in sorted(names)
        for version in platform.registry.versions(name)
        if version.aliases
    ]
    return pl.DataFrame(rows, schema=dict.fromkeys(("model", "version", "aliases", "strategy"), pl.String), orient="row")
