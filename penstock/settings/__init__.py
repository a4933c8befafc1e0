"""configs/*.yaml and the environment, read once into frozen, validated models. Unknown keys fail.

penstock.wiring decides which adapters a configuration leads to.
"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError, field_validator

from penstock.core.errors import ConfigError
from penstock.data.bounds import CheckBounds
from penstock.promotion.criteria import PromotionThresholds
from penstock.research.engine.costs import Costs
from penstock.risk.limits import RiskLimits
from penstock.settings.environments import (
    AccountSettings,
    Environment,
    MarketSettings,
    VenueSettings,
    require_own_accounts,
)
from penstock.settings.files import M, load_yaml, loopback, validate
from penstock.settings.keys import (
    StackSecret,
    has_practice_keys,
    practice_keys,
    secret,
    stack_secret,
)
from penstock.settings.portfolios import ModelAllocation, Portfolio, Study
from penstock.settings.universe import TimeframeHistory, Universe

__all__ = [
    "LIVE_CONFIRMATION",
    "AccountSettings",
    "Environment",
    "MarketSettings",
    "ModelAllocation",
    "Portfolio",
    "Process",
    "Settings",
    "StackSecret",
    "Study",
    "TimeframeHistory",
    "Universe",
    "VenueSettings",
    "has_practice_keys",
    "practice_keys",
    "secret",
    "stack_secret",
]

LIVE_CONFIRMATION = "real-money"


class Process(BaseModel):
    """What the environment variables with the prefix PENSTOCK_ say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path = Path(".penstock")
    """The folder of everything that this installation keeps."""
    configs: Path = Path("configs")
    """The folder of the configuration files."""
    env: str = "paper"
    """The environment, by its name in configs/environments.yaml."""
    live: str = ""
    """The other consent that real money needs: "real-money"."""
    database_url: SecretStr | None = None
    """The database; without it the embedded one is used."""
    mlflow_url: str | None = None
    """The MLflow server; without it that of `penstock up`, or a file in the home folder."""
    practice_url: str | None = None
    """Where the practice exchange answers, if not at the configured address."""
    notify_urls: SecretStr = SecretStr("")
    """The channels of alerts, as Apprise URLs with spaces between them."""
    log_level: Literal["debug", "info", "warning", "error"] = "warning"
    """Which log lines are written. At "info" every order and every fill has one."""

    @field_validator("practice_url")
    @classmethod
    def _practice_on_this_machine(cls, url: str | None) -> str | None:
        return loopback(url) if url else None

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> "Process":
        """Return what the variables PENSTOCK_* say; an empty one counts as none.

        Raises ConfigError, which names the variable, for a value that is not allowed.
        """
        named = {name: variables.get(f"PENSTOCK_{name.upper()}", "") for name in cls.model_fields}
        try:
            return cls.model_validate({name: value for name, value in named.items() if value})
        except ValidationError as error:
            first = error.errors()[0]
            raise ConfigError(
                f"environment variable PENSTOCK_{str(first['loc'][0]).upper()}: {first['msg']}"
            ) from None


class Settings:
    """Everything that is configured. A file is read when it is first used.

    `variables` are the environment variables that were passed in, which hold the keys of accounts.
    The environment of this process is not read.
    """

    def __init__(self, process: Process, variables: Mapping[str, str] | None = None) -> None:
        self.process = process
        self.variables: Mapping[str, str] = MappingProxyType(dict(variables or {}))
        self._entries: dict[tuple[str, str], BaseModel] = {}

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> "Settings":
        """Return the settings of an environment, such as `os.environ`."""
        return cls(Process.of(variables), variables)

    @property
    def home(self) -> Path:
        """The absolute path of the home folder."""
        return self.process.home.resolve()

    @cached_property
    def universe(self) -> Universe:
        """configs/universe.yaml: which bars are kept."""
        return self._read("universe.yaml", Universe)

    @cached_property
    def costs(self) -> Costs:
        """configs/costs.yaml: what a backtest pays."""
        return self._read("costs.yaml", Costs)

    @cached_property
    def checks(self) -> CheckBounds:
        """configs/checks.yaml: how much of each defect is allowed."""
        return self._read("checks.yaml", CheckBounds)

    @cached_property
    def risk(self) -> RiskLimits:
        """configs/risk.yaml: the limits that every order must pass."""
        return self._read("risk.yaml", RiskLimits)

    def portfolio(self, name: str) -> Portfolio:
        """Return the portfolio called `name` in configs/portfolio.yaml.

        Raises ConfigError; for a name that is nowhere, with the sentence of `account_of`.
        """
        known = ("portfolio.yaml", name) in self._entries
        if not known and name not in load_yaml(self.process.configs / "portfolio.yaml"):
            self.environment.account_of(name)
        return self._read_entry("portfolio.yaml", name, Portfolio, "portfolio")

    def has_portfolio(self, name: str) -> bool:
        """Return whether configs/portfolio.yaml has a portfolio of that name."""
        return name in load_yaml(self.process.configs / "portfolio.yaml")

    def study(self, name: str) -> Study:
        """Return the study called `name` in configs/research.yaml."""
        return self._read_entry("research.yaml", name, Study, "study")

    def studies_of(self, model: str) -> list[str]:
        """Return the studies of configs/research.yaml whose candidates are versions of `model`."""
        names = load_yaml(self.process.configs / "research.yaml")
        return [name for name in names if self.study(name).register_as == model]

    def promotion(self, study: str) -> PromotionThresholds:
        """Return what configs/promotion.yaml asks of a study's candidates."""
        return self._read_entry("promotion.yaml", study, PromotionThresholds, "study")

    @cached_property
    def environment(self) -> Environment:
        """The environment that PENSTOCK_ENV names.

        Raises ConfigError where one of its accounts is an account of another portfolio too, in this
        environment or in another.
        """
        name, file = self.process.env, "environments.yaml"
        chosen = self._read_entry(file, name, Environment, "PENSTOCK_ENV")
        others = {
            each: other
            for each in self.environment_names
            if each != name and (other := self._environment_or_none(each)) is not None
        }
        require_own_accounts(name, {name: chosen, **others}, self.variables)
        return chosen

    def _environment_or_none(self, name: str) -> Environment | None:
        """Return another environment; None where it is wrong, which is said when it is chosen."""
        try:
            return self._read_entry("environments.yaml", name, Environment, "PENSTOCK_ENV")
        except ConfigError:
            return None

    @property
    def environment_names(self) -> tuple[str, ...]:
        """The environments that configs/environments.yaml has."""
        return tuple(load_yaml(self.process.configs / "environments.yaml"))

    def of_environment(self, name: str) -> "Settings":
        """Return the same settings for another environment."""
        return Settings(self.process.model_copy(update={"env": name}), self.variables)

    @cached_property
    def _practice_variables(self) -> dict[str, tuple[str, str]]:
        """The variables with key and secret of each account at a practice exchange, by the
        account's name there: the portfolio, and behind "/" the venue where it has several.
        """
        found: dict[str, tuple[str, str]] = {}
        for name in self.environment_names:
            environment = self.of_environment(name).environment
            for portfolio, account in environment.accounts.items():
                places = {f"{portfolio}/{venue}": each for venue, each in account.venues.items()}
                for place, keys in places.items() or ((portfolio, account),):
                    market = environment.market if isinstance(keys, AccountSettings) else keys
                    if market.base_url and keys.api_key_env and keys.secret_env:
                        found[place] = (keys.api_key_env, keys.secret_env)
        return found

    def practice_keys(self) -> dict[str, tuple[str, str]]:
        """Return (key, secret) of each account at a practice exchange, made once."""
        return practice_keys(self.home, self._practice_variables)

    def client_keys(self, name: str) -> tuple[str, str]:
        """Return (key, secret) of a foreign client's account at the practice exchange, made once.

        Raises ConfigError where a portfolio trades the account of that name.
        """
        if name in self._practice_variables:
            raise ConfigError(
                f"'{name}' is the practice account that a portfolio trades: choose another name "
                "for a client of your own"
            )
        return practice_keys(self.home, [name])[name]

    def practice_key_variables(self) -> dict[str, str]:
        """Return the same keys by the variables that configs/environments.yaml names."""
        keys = self.practice_keys()
        return {
            variable: value
            for name, variables in self._practice_variables.items()
            for variable, value in zip(variables, keys[name], strict=True)
        }

    def require_consent(self) -> None:
        """Raise ConfigError where this environment trades real money without both consents.

        This is called before an account is opened for orders. Reading and halting need no consent.
        """
        if self.environment.is_real_venue and not (
            self.environment.live and self.process.live == LIVE_CONFIRMATION
        ):
            raise ConfigError(
                f"environment '{self.process.env}' would trade real money: it needs "
                f"'live: true' in {self.process.configs / 'environments.yaml'} and "
                f"the environment variable PENSTOCK_LIVE={LIVE_CONFIRMATION}; "
                "use PENSTOCK_ENV=paper or testnet otherwise"
            )

    def _read(self, name: str, model: type[M]) -> M:
        path = self.process.configs / name
        return validate(load_yaml(path), model, path)

    def _read_entry(self, file: str, name: str, model: type[M], what: str) -> M:
        found = self._entries.get((file, name))
        if isinstance(found, model):
            return found
        path = self.process.configs / file
        entries = load_yaml(path)
        if name not in entries:
            raise ConfigError(f"{what} '{name}' is not in {path}: it has {', '.join(entries)}")
        entry = validate(entries[name] or {}, model, path, f"{name}.")
        self._entries[file, name] = entry
        return entry
