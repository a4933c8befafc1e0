"""configs/environments.yaml: where bars come from, where orders go, and with which accounts."""

from typing import Literal

from pydantic import Field, field_validator

from penstock.core.errors import ConfigError
from penstock.settings.files import Frozen, loopback


class MarketSettings(Frozen):
    """Which venue, by its ccxt name. `base_url` points the same wire at the practice exchange on this machine."""

    ccxt_id: str
    base_url: str | None = None
    sandbox: bool = False

    @field_validator("base_url")
    @classmethod
    def _on_this_machine(cls, url: str | None) -> str | None:
        return None if url is None else loopback(url)


class AccountSettings(Frozen):
    """One account at the venue (an exchange's sub-account). Keys stay in the environment; only their names stand here."""

    name: str
    api_key_env: str | None = None
    secret_env: str | None = None
    paper_cash: float = Field(100_000, gt=0)


class Environment(Frozen):
    """One entry of configs/environments.yaml: where bars come from and where orders go."""

    exchange: str
    trading: Literal["paper", "venue"]
    market: MarketSettings
    live: bool = False
    accounts: dict[str, AccountSettings] = Field(min_length=1)

    @property
    def is_real_venue(self) -> bool:
        return self.trading == "venue" and not self.market.sandbox and self.market.base_url is None

    def account_of(self, portfolio: str) -> AccountSettings:
        """Return the account that a portfolio trades; one account is never shared by two portfolios."""
        if portfolio not in self.accounts:
            raise ConfigError(
                f"configs/environments.yaml: no account for portfolio '{portfolio}' under 'accounts': "
                f"it has {', '.join(self.accounts)}"
            )
        return self.accounts[portfolio]
