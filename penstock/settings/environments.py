"""configs/environments.yaml: where bars come from, where orders go, and with which accounts."""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from penstock.core.errors import ConfigError
from penstock.core.halts import EVERY_ACCOUNT
from penstock.settings.files import Frozen, loopback


class MarketSettings(Frozen):
    """Which venue is used, and where it is reached."""

    ccxt_id: str = Field(description="the venue's name in ccxt")
    base_url: str | None = Field(
        None, description="address of the practice exchange on this machine, in the venue's place"
    )
    sandbox: bool = Field(False, description="use the venue's test network")
    proxy: str | None = Field(
        None,
        description="HTTP proxy of this venue, like http://10.0.0.1:3128; by default that of the "
        "environment (HTTPS_PROXY), which may have a password",
    )

    @property
    def is_real(self) -> bool:
        """Whether this is the venue itself: neither its test network nor the practice exchange."""
        return not self.sandbox and self.base_url is None

    @field_validator("proxy")
    @classmethod
    def _proxy_without_password(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "")
        if parts.username or parts.password:
            raise ValueError("keep its password out of this file: set HTTPS_PROXY instead")
        if url is not None and (parts.scheme not in {"http", "https"} or not parts.hostname):
            raise ValueError("write it like http://10.0.0.1:3128")
        return url

    @field_validator("base_url")
    @classmethod
    def _on_this_machine(cls, url: str | None) -> str | None:
        return None if url is None else loopback(url)


class VenueSettings(MarketSettings):
    """One of the venues of an account that trades on several."""

    api_key_env: str | None = Field(None, description="environment variable with the API key")
    secret_env: str | None = Field(None, description="environment variable with the secret")
    password_env: str | None = Field(
        None, description="environment variable with the key's passphrase, where the venue has one"
    )
    paper_cash: float = Field(
        100_000, gt=0, description="cash of a paper account at the start, in quote units"
    )
    taker_fee_bps: Decimal | None = Field(
        None, ge=0, lt=1000, description="taker fee; by default fee_bps of configs/costs.yaml"
    )


class AccountSettings(Frozen):
    """One account at the venue (an exchange's sub-account).

    Keys stay in the environment; only the names of their variables are written here.
    """

    name: str = Field(min_length=1, description="the account's name in the ledger")
    api_key_env: str | None = Field(None, description="environment variable with the API key")
    secret_env: str | None = Field(None, description="environment variable with the secret")
    password_env: str | None = Field(
        None, description="environment variable with the key's passphrase, where the venue has one"
    )
    paper_cash: float = Field(
        100_000, gt=0, description="cash of a paper account at the start, in quote units"
    )
    venues: dict[str, VenueSettings] = Field(
        default_factory=dict,
        description="venues by name; each has its own keys or paper cash, and the account has none",
    )

    @field_validator("name")
    @classmethod
    def _one_account(cls, name: str) -> str:
        if name == EVERY_ACCOUNT:
            raise ValueError("'*' means every account: give this one a name of its own")
        return name

    @model_validator(mode="after")
    def _venues_are_told_apart(self) -> "AccountSettings":
        if not self.venues:
            return self
        if len(self.venues) == 1:
            raise ValueError(
                f"venues: {', '.join(self.venues)} alone is no choice: "
                "leave 'venues' out, or name two at least"
            )
        own = {"api_key_env", "secret_env", "password_env", "paper_cash"}
        moved = sorted(own & self.model_fields_set)
        if moved:
            raise ValueError(
                f"{', '.join(moved)}: each of the venues has its own; write them under 'venues'"
            )
        wrong = [name for name in self.venues if not re.fullmatch(r"[a-z0-9_-]+", name)]
        if wrong:
            raise ValueError(
                f"venues: '{wrong[0]}' is no name: use a-z, 0-9, _ and - (trade ids begin with it)"
            )
        return self


class Environment(Frozen):
    """One entry of configs/environments.yaml: where bars come from and where orders go."""

    exchange: str = Field(description="the name under which bars and accounts are stored")
    trading: Literal["paper", "venue"] = Field(description="where orders are filled")
    market: MarketSettings = Field(description="the venue whose bars are read")
    live: bool = Field(False, description="one of the two consents that real money needs")
    visibility_delay_seconds: float | None = Field(
        None,
        gt=0,
        description='how long "no such order" is doubted; not less than the venues need',
    )
    senders: int = Field(
        4, ge=1, le=16, description="how many requests about one account may be under way at once"
    )
    trade_comparison_minutes: float = Field(
        60,
        ge=0,
        description="how old a fill may be before a slot compares it with the venue's trades "
        "though every balance agrees; 0 compares at once",
    )
    accounts: dict[str, AccountSettings] = Field(
        min_length=1, description="accounts, by the portfolio that trades each"
    )

    @property
    def is_real_venue(self) -> bool:
        """Whether orders of any account go to a venue that trades real money."""
        return self.trading == "venue" and any(venue.is_real for venue in self.traded)

    @property
    def traded(self) -> list[MarketSettings]:
        """Every venue at which an account of this environment is."""
        return [
            venue
            for account in self.accounts.values()
            for venue in account.venues.values() or (self.market,)
        ]

    @property
    def key_variables(self) -> frozenset[str]:
        """The names of the environment variables that hold the accounts' keys."""
        holders = [
            holder
            for account in self.accounts.values()
            for holder in (account, *account.venues.values())
        ]
        named = {
            getattr(holder, field)
            for holder in holders
            for field in type(holder).model_fields
            if field.endswith("_env")
        }
        return frozenset(named - {None})

    def account_of(self, portfolio: str) -> AccountSettings:
        """Return the account that a portfolio trades. Two portfolios never share one.

        Raises ConfigError where the portfolio has none.
        """
        if portfolio not in self.accounts:
            raise ConfigError(
                f"configs/environments.yaml: no account for portfolio '{portfolio}' "
                f"under 'accounts': it has {', '.join(self.accounts)}"
            )
        return self.accounts[portfolio]


@dataclass(frozen=True)
class _Holder:
    """What names an account at a venue: an entry of an account, or of one of its venues."""

    environment: str
    """The name of its environment."""
    owner: str
    """The entry of the account."""
    where: str
    """The entry that has the keys."""
    name: str
    """The account's name in the ledger."""
    place: tuple[str, str | None, bool]
    """The venue, the address in its place, and whether it is the test network."""
    key_variable: str
    """The variable of the API key; "" on paper."""
    key: str
    """The API key; "" where the variable is empty."""

    def is_account_of(self, other: "_Holder") -> bool:
        """Return whether both have one key at one place. A key that is set is at one venue alone,
        whatever its name there.
        """
        if not self.key_variable:
            return False
        if self.key and self.key == other.key:
            return self.place[1:] == other.place[1:]
        return (self.place, self.key_variable) == (other.place, other.key_variable)


def require_own_accounts(
    chosen: str, environments: Mapping[str, Environment], variables: Mapping[str, str]
) -> None:
    """Raise ConfigError where an account of the environment `chosen` is another one's too.

    They would undo each other's orders. Accounts of one name are one account in the ledger, those
    with one key are one at the venue. The name "*" means all accounts. No message shows a key.
    """
    holders = [
        holder
        for name, environment in environments.items()
        for portfolio, account in environment.accounts.items()
        for holder in _holders(name, portfolio, account, environment, variables)
    ]
    for first, second in itertools.combinations(holders, 2):
        if chosen not in (first.environment, second.environment):
            continue
        both = f"configs/environments.yaml: {first.where} and {second.where}"
        if first.name == second.name and first.owner != second.owner:
            raise ConfigError(
                f"{both} have the one name '{first.name}': each trades an account of its own"
            )
        if first.is_account_of(second):
            raise ConfigError(
                f"{both} have one API key ({first.key_variable}, {second.key_variable}), so they "
                "would trade one account at the venue: give each the keys of an account of its own"
            )


def _holders(
    environment: str,
    portfolio: str,
    account: AccountSettings,
    settings: Environment,
    variables: Mapping[str, str],
) -> list[_Holder]:
    """Return what names an account at its venues. On paper there are no keys."""
    entries: Mapping[str, tuple[MarketSettings, str | None]] = {
        f".venues.{name}": (venue, venue.api_key_env) for name, venue in account.venues.items()
    } or {"": (settings.market, account.api_key_env)}
    owner = f"{environment}.accounts.{portfolio}"
    found = []
    for part, (at, variable) in entries.items():
        traded = variable if settings.trading == "venue" and variable else ""
        found.append(
            _Holder(
                environment,
                owner,
                f"{owner}{part}",
                account.name,
                (at.ccxt_id, at.base_url, at.sandbox),
                traded,
                variables.get(traded, "").strip(),
            )
        )
    return found
