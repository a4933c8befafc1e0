"""How a venue account is opened from configuration: at one venue or several, or on paper.

What is known of the venues' answers, and for how long they are doubted, follows the accounts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property

from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.adapters.exchanges.ccxt_market import CcxtMarketData
from penstock.adapters.exchanges.order_expiry import age_limit, refusal_lag, visibility_delay
from penstock.adapters.exchanges.recorder import AnswerRecord
from penstock.adapters.exchanges.several_venues import SeveralVenues
from penstock.core.clock import MachineClock
from penstock.core.errors import ConfigError, PracticeExchangeDownError, VenueError
from penstock.core.ids import IdSource
from penstock.core.machine import RANDOM_IDS, SYSTEM_CLOCK, THREADS
from penstock.ports import AnswerRecorder, Exchange, MarketData, TaskRunner, VenueAccount
from penstock.settings import AccountSettings, MarketSettings, Settings, VenueSettings, secret
from penstock.simulation.fill_model import FillModel
from penstock.simulation.paper import PaperExchange
from penstock.stack import follow_stack


class VenueAccounts:
    """Opens the accounts of an environment, and the public sides of their venues."""

    def __init__(
        self,
        settings: Settings,
        *,
        machine_clock: MachineClock = SYSTEM_CLOCK,
        runner: TaskRunner = THREADS,
    ) -> None:
        self._settings = settings
        self._machine_clock = machine_clock
        self._runner = runner

    @cached_property
    def market(self) -> MarketData:
        """The public side of the environment's own venue. Paper accounts there share it."""
        return self.market_at(self._settings.environment.market)

    def market_at(self, market: MarketSettings, read_attempts: int = 2) -> MarketData:
        """Return the public side of a venue: no keys."""
        return CcxtMarketData(
            market.ccxt_id,
            sandbox=market.sandbox,
            base_url=self.address(market),
            proxy=market.proxy,
            read_attempts=read_attempts,
            clock=self._machine_clock,
        )

    def address(self, market: MarketSettings) -> str | None:
        """Return where a practice exchange answers in the venue's place: the environment's own may
        run elsewhere today.
        """
        own = market.base_url == self._settings.environment.market.base_url
        return (
            (self._settings.process.practice_url or market.base_url)
            if market.base_url and own
            else market.base_url
        )

    def exchange(self, portfolio: str) -> Exchange:
        """Return the account that a portfolio trades, newly opened; several venues are one account.

        Raises ConfigError where it would trade real money without consent.
        """
        environment = self._settings.environment
        account = environment.account_of(portfolio)
        if environment.trading == "venue":
            self._settings.require_consent()
        if not account.venues:
            return self.account(portfolio, account.name, environment.market, account)
        default = Decimal(str(self._settings.costs.fee_bps))
        fees = {
            name: default if v.taker_fee_bps is None else v.taker_fee_bps
            for name, v in account.venues.items()
        }
        opened = {
            name: self.account(portfolio, f"{account.name}-{name}", venue, venue, fees[name])
            for name, venue in account.venues.items()
        }
        return SeveralVenues(opened, fees, runner=self._runner)

    def account(
        self,
        portfolio: str,
        name: str,
        market: MarketSettings,
        keys: AccountSettings | VenueSettings,
        fee_bps: Decimal | None = None,
    ) -> VenueAccount:
        """Return one account at one venue, or on paper with that venue's market data."""
        settings = self._settings
        environment = settings.environment
        if environment.trading == "paper":
            model = FillModel.of(settings.costs)
            return PaperExchange(
                self.market if market == environment.market else self.market_at(market),
                model if fee_bps is None else replace(model, taker_fee_bps=fee_bps),
                balances={settings.universe.quote: Decimal(str(keys.paper_cash))},
                state_file=settings.home / "paper" / f"{name}.json",
                trading_timeframe=settings.portfolio(portfolio).timeframe,
            )
        key, secret_key, password = self._keys(name, market, keys)
        return CcxtExchange(
            market.ccxt_id,
            key,
            secret_key,
            password=password,
            live=market.is_real,
            base_url=self.address(market),
            proxy=market.proxy,
            clock=self._machine_clock,
        )

    def _keys(
        self, name: str, market: MarketSettings, keys: AccountSettings | VenueSettings
    ) -> tuple[str, str, str | None]:
        """Return key, secret and passphrase of an account. Raises ConfigError where one is missing,
        and PracticeExchangeDownError where they would open an account of an exchange that does not
        run: it makes them.
        """
        purpose, variables = f"account '{name}'", self._settings.variables
        try:
            password = None
            if keys.password_env is not None:
                password = secret(variables, keys.password_env, purpose).get_secret_value()
            return (
                secret(variables, keys.api_key_env, purpose).get_secret_value(),
                secret(variables, keys.secret_env, purpose).get_secret_value(),
                password,
            )
        except ConfigError as error:
            if market.base_url is None:
                raise
            try:
                self.market_at(market, read_attempts=1).now()
            except PracticeExchangeDownError:
                raise
            except VenueError:
                raise error from None
            raise ConfigError(
                f"{error}; a practice exchange answers, and its home folder has its keys; in "
                f"Python take Settings.of({follow_stack.__name__}(os.environ).variables)"
            ) from None

    def visibility_delay(self, portfolio: str) -> float:
        """Return for how many seconds "no such order" is doubted at the portfolio's venues;
        ConfigError where fewer are set.
        """
        wanted = self._settings.environment.visibility_delay_seconds
        return visibility_delay(self._venue_names(portfolio), wanted)

    def refusal_lag(self, portfolio: str) -> float:
        """Return after how many seconds the portfolio's venues are asked for an order that they
        refused.
        """
        return refusal_lag(self._venue_names(portfolio))

    def order_age_limits(self) -> dict[str, str | None]:
        """Return, for each venue that an account trades, how it refuses an old order; None where no
        way is known.
        """
        traded = self._settings.environment.traded
        return {market.ccxt_id: age_limit(market.ccxt_id) for market in traded}

    def _venue_names(self, portfolio: str) -> set[str]:
        """Return the ccxt names of the portfolio's venues."""
        environment = self._settings.environment
        venues = environment.account_of(portfolio).venues.values() or (environment.market,)
        return {venue.ccxt_id for venue in venues}


def public_market(ccxt_id: str) -> MarketData:
    """Return the public side of a venue by its ccxt name: no keys, and no configuration."""
    return CcxtMarketData(ccxt_id)


@dataclass(frozen=True)
class RecordedAccount:
    """An account at one venue whose answers are recorded."""

    exchange: VenueAccount
    """The account."""
    recorder: AnswerRecorder
    """What records its answers."""
    clock: MachineClock
    """The machine's clock."""
    ids: IdSource
    """Names its orders."""


def recorded_account(
    settings: Settings, portfolio: str, venue: str, about: Sequence[str]
) -> RecordedAccount:
    """Return the portfolio's account at its venue, or at the one of several that is named.

    It needs no database. `about` are the assets that will be traded: lists of all symbols are
    recorded for these alone. Raises ConfigError where the account is on paper.
    """
    account = settings.environment.account_of(portfolio)
    market: MarketSettings = account.venues[venue] if venue else settings.environment.market
    keys = account.venues[venue] if venue else account
    exchange = VenueAccounts(settings).account(portfolio, account.name, market, keys)
    if not isinstance(exchange, CcxtExchange):
        raise ConfigError(f"account '{account.name}' is on paper: no venue answers")
    client = exchange.client
    secrets = [client.apiKey, client.secret, client.password]
    recorder = AnswerRecord(exchange.session, secrets, about, clock=SYSTEM_CLOCK)
    return RecordedAccount(exchange, recorder, SYSTEM_CLOCK, RANDOM_IDS)
