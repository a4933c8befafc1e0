"""configs/environments.yaml: where bars come from, where orders go, and with which accounts."""

import re
from decimal import Decimal
from typing import Literal

from pydantic import Field, field_validator, model_validator

from penstock.core.errors import ConfigError
from penstock.settings.files import Frozen, loopback


class MarketSettings(Frozen):
    """Which venue, by its ccxt name. `base_url` points the same wire at the practice exchange on
    this machine.
    """

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
        return None if url is None else loopback(url)


class VenueSettings(MarketSettings):
    """One of the venues of an account that trades on several. `taker_fee_bps` is that of
    configs/costs.yaml by default.
    """

    api_key_env: str | None = None
    secret_env: str | None = None
    paper_cash: float = Field(100_000, gt=0)
    taker_fee_bps: Decimal | None = Field(None, ge=0, lt=1000)


class AccountSettings(Frozen):
    """One account at the venue (an exchange's sub-account). Keys stay in the environment; only
    their names stand here.

    With `venues` the account trades on several, by name: each has keys (or paper cash) of its own,
    and the account none.
    """

    name: str
    api_key_env: str | None = None
    secret_env: str | None = None
    paper_cash: float = Field(100_000, gt=0)
    venues: dict[str, VenueSettings] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _venues_are_told_apart(self) -> "AccountSettings":
        if not self.venues:
            return self
        if len(self.venues) == 1:
            raise ValueError(
                f"venues: {', '.join(self.venues)} alone is no choice: leave 'venues' out, or name "
                "two at least"
            )
        moved = sorted({"api_key_env", "secret_env", "paper_cash"} & self.model_fields_set)
        if moved:
            raise ValueError(
                f"{', '.join(moved)}: each of the venues has its own; write them under 'venues'"
            )
        wrong = [name for name in self.venues if not re.fullmatch(r"[a-z0-9_-]+", name)]
        if wrong:
            raise ValueError(
                f"venues: '{wrong[0]}' is no name: use a-z, 0-9, _ and - (trade ids begin with it)"
            )
        at = [
            (venue.ccxt_id, venue.base_url, venue.sandbox, venue.api_key_env)
            for venue in self.venues.values()
        ]
        if len({*at}) < len(at) and any(venue.api_key_env for venue in self.venues.values()):
            raise ValueError(
                "venues: two of them are one account at one venue: its balances would count twice"
            )
        return self


class Environment(Frozen):
    """One entry of configs/environments.yaml: where bars come from and where orders go.

    `visibility_delay_seconds` doubts "no such order" for longer than the accounts' venues need;
    less than that is refused.
    """

    exchange: str
    trading: Literal["paper", "venue"]
    market: MarketSettings
    live: bool = False
    visibility_delay_seconds: float | None = Field(None, gt=0)
    accounts: dict[str, AccountSettings] = Field(min_length=1)

    @property
    def is_real_venue(self) -> bool:
        """Whether orders of any account go to a venue that trades real money."""
        return self.trading == "venue" and any(venue.is_real for venue in self.traded)

    @property
    def traded(self) -> list[MarketSettings]:
        """Every venue that an account of this environment is at."""
        return [
            venue
            for account in self.accounts.values()
            for venue in account.venues.values() or (self.market,)
        ]

    def account_of(self, portfolio: str) -> AccountSettings:
        """Return the account that a portfolio trades; one account is never shared by two
        portfolios.
        """
        if portfolio not in self.accounts:
            raise ConfigError(
                f"configs/environments.yaml: no account for portfolio '{portfolio}' under "
                f"'accounts': it has {', '.join(self.accounts)}"
            )
        return self.accounts[portfolio]
