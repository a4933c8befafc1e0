"""configs/*.yaml and the environment, read once into frozen, validated models. Unknown keys fail.

Decides what the configuration means; which adapters it leads to is for penstock.wiring.
"""

import json
import os
import re
import secrets
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from penstock.core.errors import ConfigError
from penstock.core.timeframes import Timeframe
from penstock.data.bounds import CheckBounds
from penstock.data.policy import IngestPolicy
from penstock.execution.algorithms.styles import Market, Style
from penstock.execution.slots import MissedSlots
from penstock.portfolio.rebalancing import RebalancePolicy
from penstock.promotion.criteria import PromotionThresholds
from penstock.research.costs import Costs
from penstock.research.results import SearchSettings
from penstock.risk.limits import RiskLimits

M = TypeVar("M", bound=BaseModel)

LIVE_CONFIRMATION = "real-money"

#: The portfolios that have an account on the practice exchange.
PRACTICE_PORTFOLIOS = ("daily", "minute", "practice-minute")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TimeframeHistory(_Frozen):
    """From when on a timeframe is kept, and for which symbols (all of the universe where none are named)."""

    start: date
    symbols: tuple[str, ...] = ()

    @property
    def start_at(self) -> datetime:
        return datetime(self.start.year, self.start.month, self.start.day, tzinfo=UTC)


class Universe(_Frozen):
    """configs/universe.yaml"""

    quote: str
    symbols: tuple[str, ...] = Field(min_length=1)
    timeframes: dict[Timeframe, TimeframeHistory]
    ingest: IngestPolicy = IngestPolicy()

    @field_validator("symbols")
    @classmethod
    def _well_formed(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        for symbol in symbols:
            if symbol.count("/") != 1:
                raise ValueError(f"'{symbol}' is not a symbol: write it as BASE/QUOTE, for example BTC/USDT")
        if len(set(symbols)) != len(symbols):
            raise ValueError(f"a symbol is listed twice: {sorted({s for s in symbols if symbols.count(s) > 1})}")
        return symbols

    def history(self, timeframe: Timeframe) -> TimeframeHistory:
        """Return what is kept of a timeframe; raise ConfigError where the universe keeps none of it."""
        if timeframe not in self.timeframes:
            raise ConfigError(
                f"configs/universe.yaml keeps no {timeframe} bars: it has {', '.join(self.timeframes)}; "
                "add it under 'timeframes'"
            )
        return self.timeframes[timeframe]

    def symbols_of(self, timeframe: Timeframe) -> tuple[str, ...]:
        return self.history(timeframe).symbols or self.symbols

    def policy_of(self, timeframe: Timeframe) -> IngestPolicy:
        """Return the ingestion policy with this timeframe's start of history."""
        return self.ingest.model_copy(update={"start": self.history(timeframe).start_at})


class MarketSettings(_Frozen):
    """Which venue, by its ccxt name. `base_url` points the same wire at the practice exchange on this machine."""

    ccxt_id: str
    base_url: str | None = None
    sandbox: bool = False

    @property
    def is_real(self) -> bool:
        """Whether this is the venue itself: neither its test network nor the practice exchange."""
        return not self.sandbox and self.base_url is None

    @field_validator("base_url")
    @classmethod
    def _on_this_machine(cls, url: str | None) -> str | None:
        return None if url is None else _loopback(url)


class VenueSettings(MarketSettings):
    """One of the venues of an account that trades on several. `taker_fee_bps` is that of configs/costs.yaml by default."""

    api_key_env: str | None = None
    secret_env: str | None = None
    paper_cash: float = Field(100_000, gt=0)
    taker_fee_bps: Decimal | None = Field(None, ge=0, lt=1000)


class AccountSettings(_Frozen):
    """One account at the venue (an exchange's sub-account). Keys stay in the environment; only their names stand here.

    With `venues` the account trades on several, by name: each has keys (or paper cash) of its own, and the account none.
    """

    name: str
    api_key_env: str | None = None
    secret_env: str | None = None
    paper_cash: float = Field(100_000, gt=0)
    venues: dict[str, VenueSettings] = {}

    @model_validator(mode="after")
    def _venues_are_told_apart(self) -> "AccountSettings":
        if not self.venues:
            return self
        if len(self.venues) == 1:
            raise ValueError(f"venues: {', '.join(self.venues)} alone is no choice: leave 'venues' out, or name two at least")
        moved = sorted({"api_key_env", "secret_env", "paper_cash"} & self.model_fields_set)
        if moved:
            raise ValueError(f"{', '.join(moved)}: each of the venues has its own; write them under 'venues'")
        wrong = [name for name in self.venues if not re.fullmatch(r"[a-z0-9_-]+", name)]
        if wrong:
            raise ValueError(f"venues: '{wrong[0]}' is no name: use a-z, 0-9, _ and - (trade ids begin with it)")
        at = [(venue.ccxt_id, venue.base_url, venue.sandbox, venue.api_key_env) for venue in self.venues.values()]
        if len({*at}) < len(at) and any(venue.api_key_env for venue in self.venues.values()):
            raise ValueError("venues: two of them are one account at one venue: its balances would count twice")
        return self


class Environment(_Frozen):
    """One entry of configs/environments.yaml: where bars come from and where orders go."""

    exchange: str
    trading: Literal["paper", "venue"]
    market: MarketSettings
    live: bool = False
    accounts: dict[str, AccountSettings] = Field(min_length=1)

    @property
    def is_real_venue(self) -> bool:
        """Whether orders of any account go to a venue that trades real money."""
        traded = [venue for account in self.accounts.values() for venue in account.venues.values() or (self.market,)]
        return self.trading == "venue" and any(venue.is_real for venue in traded)

    def account_of(self, portfolio: str) -> AccountSettings:
        """Return the account that a portfolio trades; one account is never shared by two portfolios."""
        if portfolio not in self.accounts:
            raise ConfigError(
                f"configs/environments.yaml: no account for portfolio '{portfolio}' under 'accounts': "
                f"it has {', '.join(self.accounts)}"
            )
        return self.accounts[portfolio]


class ModelAllocation(_Frozen):
    name: str
    alias: str = "champion"
    quota: float = Field(1.0, gt=0, le=1)


class Portfolio(_Frozen):
    """One entry of configs/portfolio.yaml: the models that share one account, how it trades, and when a slot is too late."""

    models: tuple[ModelAllocation, ...] = Field(min_length=1)
    timeframe: Timeframe
    max_lateness_minutes: float = Field(720, gt=0)
    missed_slots: MissedSlots = MissedSlots.SKIP
    rebalancing: RebalancePolicy = RebalancePolicy()
    execution: Style = Market()

    @model_validator(mode="after")
    def _works_within_a_slot(self) -> "Portfolio":
        if isinstance(self.execution, Market):
            return self
        worked, slot = 2 * self.execution.duration.total_seconds(), self.timeframe.seconds
        if worked > slot:
            raise ValueError(
                f"execution: sells and then buys would take {worked:.0f} s of a slot of {slot} s: "
                "shorten the work, or trade less often"
            )
        return self

    @field_validator("models")
    @classmethod
    def _quotas_fit(cls, models: tuple[ModelAllocation, ...]) -> tuple[ModelAllocation, ...]:
        total = sum(model.quota for model in models)
        if total > 1 + 1e-9:
            raise ValueError(f"the quotas sum to {total:g}: they are fractions of one account and may not exceed 1")
        return models


class Study(_Frozen):
    """One entry of configs/research.yaml: what a search explores and under which name its best is registered."""

    timeframe: Timeframe
    strategies: tuple[str, ...] = Field(min_length=1)
    register_as: str
    search: SearchSettings = SearchSettings()


class Process(BaseSettings):
    """What the environment says (prefix PENSTOCK_): which folder, database and environment this process works with."""

    model_config = SettingsConfigDict(env_prefix="PENSTOCK_", frozen=True, extra="ignore", env_ignore_empty=True)

    home: Path = Path(".penstock")
    configs: Path = Path("configs")
    env: str = "paper"
    live: str = ""
    database_url: SecretStr | None = None
    mlflow_url: str | None = None
    practice_url: str | None = None

    @field_validator("practice_url")
    @classmethod
    def _practice_on_this_machine(cls, url: str | None) -> str | None:
        return _loopback(url) if url else None

    notify_urls: SecretStr = SecretStr("")


class Settings:
    """Everything configured. Files are read on first use, so that a command needs only those it uses."""

    def __init__(self, process: Process | None = None) -> None:
        self.process = process if process is not None else _read_process()

    @property
    def home(self) -> Path:
        return self.process.home.resolve()

    @cached_property
    def universe(self) -> Universe:
        return self._read("universe.yaml", Universe)

    @cached_property
    def costs(self) -> Costs:
        return self._read("costs.yaml", Costs)

    @cached_property
    def checks(self) -> CheckBounds:
        return self._read("checks.yaml", CheckBounds)

    @cached_property
    def risk(self) -> RiskLimits:
        return self._read("risk.yaml", RiskLimits)

    def portfolio(self, name: str) -> Portfolio:
        """Return the portfolio called `name` in configs/portfolio.yaml."""
        return self._read_entry("portfolio.yaml", name, Portfolio, "portfolio")

    def study(self, name: str) -> Study:
        """Return the study called `name` in configs/research.yaml."""
        return self._read_entry("research.yaml", name, Study, "study")

    def promotion(self, study: str) -> PromotionThresholds:
        """Return what configs/promotion.yaml asks of a study's candidates."""
        return self._read_entry("promotion.yaml", study, PromotionThresholds, "study")

    @cached_property
    def environment(self) -> Environment:
        """The environment that PENSTOCK_ENV names."""
        return self._read_entry("environments.yaml", self.process.env, Environment, "PENSTOCK_ENV")

    def require_consent(self) -> None:
        """Raise ConfigError where this environment trades real money and not both places agree to it.

        Asked before an account is opened for orders. Looking, and halting, need no consent.
        """
        if self.environment.is_real_venue and not (self.environment.live and self.process.live == LIVE_CONFIRMATION):
            raise ConfigError(
                f"environment '{self.process.env}' would trade real money: it needs 'live: true' in "
                f"{self.process.configs / 'environments.yaml'} and the environment variable PENSTOCK_LIVE={LIVE_CONFIRMATION}; "
                "use PENSTOCK_ENV=paper or testnet otherwise"
            )

    def _read(self, name: str, model: type[M]) -> M:
        path = self.process.configs / name
        return _validate(_load_yaml(path), model, path)

    def _read_entry(self, file: str, name: str, model: type[M], what: str) -> M:
        path = self.process.configs / file
        entries = _load_yaml(path)
        if name not in entries:
            raise ConfigError(f"{what} '{name}' is not in {path}: it has {', '.join(entries)}")
        return _validate(entries[name] or {}, model, path, f"{name}.")


def secret(variable: str | None, purpose: str) -> SecretStr:
    """Return the secret in an environment variable; raise ConfigError naming the variable, never a value."""
    value = os.environ.get(variable or "")
    if not value:
        raise ConfigError(
            f"{purpose}: the environment variable {variable or '(none configured)'} is empty; set it before trading"
        )
    return SecretStr(value)


def practice_keys(home: Path) -> dict[str, tuple[str, str]]:
    """Return (key, secret) of each practice account, by portfolio: made once, readable by the owner only."""
    path = home / "practice-keys.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    missing = [portfolio for portfolio in PRACTICE_PORTFOLIOS if portfolio not in known]
    if missing:
        home.mkdir(parents=True, exist_ok=True)
        known |= {portfolio: [secrets.token_hex(16), secrets.token_hex(32)] for portfolio in missing}
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(known, file)
    return {name: (key, secret) for name, (key, secret) in known.items()}


def practice_key_variables(home: Path) -> dict[str, str]:
    """Return the environment variables that configs/environments.yaml names for the practice accounts' keys."""
    variables: dict[str, str] = {}
    for portfolio, (key, secret_key) in practice_keys(home).items():
        name = portfolio.upper().replace("-", "_")
        variables |= {f"PENSTOCK_PRACTICE_{name}_KEY": key, f"PENSTOCK_PRACTICE_{name}_SECRET": secret_key}
    return variables


def _read_process() -> Process:
    try:
        return Process()
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"environment variable PENSTOCK_{str(first['loc'][0]).upper()}: {first['msg']}") from None


def _load_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(
            f"{path} does not exist: run from the project's folder, or set PENSTOCK_CONFIGS to the folder of configs"
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold keys and values, it holds a {type(content).__name__}")
    return content


def _validate(content: dict[str, Any], model: type[M], path: Path, prefix: str = "") -> M:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        lines = [_explain(problem, model, prefix) for problem in error.errors()]
        raise ConfigError(f"{path}: " + "; ".join(lines)) from None


def _explain(problem: Any, model: type[BaseModel], prefix: str) -> str:
    key = prefix + ".".join(str(part) for part in problem["loc"] if part != "[key]")
    if problem["type"] == "extra_forbidden":
        allowed = _fields_at(model, problem["loc"][:-1])
        return f"unknown key '{key}' = {_shown(key, problem)}" + (f": allowed are {', '.join(allowed)}" if allowed else "")
    if problem["type"] == "missing":
        return f"key '{key}' is missing"
    return f"key '{key}' = {_shown(key, problem)}: {problem['msg'].removeprefix('Value error, ')}"


def _shown(key: str, problem: Any) -> str:
    """Return the value seen, or stars where its key speaks of a secret: messages end up in logs. Of a block, its keys."""
    if isinstance(problem["input"], dict):
        return "{" + ", ".join(map(str, problem["input"])) + "}"
    secret_words = ("key", "secret", "password", "token", "passphrase")
    return "***" if any(word in key.lower() for word in secret_words) else repr(problem["input"])


def _loopback(url: str) -> str:
    """Return the URL of a server on this machine; raise ValueError for any other, which would be a venue in disguise."""
    host = urlsplit(url).hostname or ""
    if host not in {"127.0.0.1", "localhost", "::1"}:
        raise ValueError(f"'{url}' is not on this machine: only a practice exchange on 127.0.0.1 may stand in for a venue")
    return url


def _fields_at(model: type[BaseModel], where: tuple[Any, ...]) -> list[str]:
    """Return the field names of the model nested at `where`, following plain and container annotations."""
    current: Any = model
    for part in where:
        if isinstance(current, type) and issubclass(current, BaseModel) and part in current.model_fields:
            current = current.model_fields[part].annotation
        for argument in reversed(getattr(current, "__args__", ())):
            if isinstance(argument, type) and issubclass(argument, BaseModel):
                current = argument
                break
    return list(current.model_fields) if isinstance(current, type) and issubclass(current, BaseModel) else []
