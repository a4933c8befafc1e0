"""Configuration errors name the file, the key, the value and what is allowed."""

import re
import shutil
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from penstock.adapters.exchanges.several_venues import SeveralVenues
from penstock.core.errors import ConfigError, PracticeExchangeDownError
from penstock.pipeline import doctor
from penstock.settings import MarketSettings, Process, Settings
from penstock.wiring import Platform, VenueAccounts

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    """A copy of the project's own configuration that a test may break."""
    return Path(shutil.copytree(CONFIGS, tmp_path / "configs"))


def settings_of(
    configs: Path, variables: Mapping[str, str] | None = None, **process: str
) -> Settings:
    return Settings(Process(configs=configs, home=configs.parent / "home", **process), variables)


def replace(path: Path, pattern: str, text: str) -> None:
    changed, count = re.subn(pattern, text, path.read_text(), count=1, flags=re.MULTILINE)
    assert count == 1
    path.write_text(changed)


def test_project_configuration_is_valid(configs: Path) -> None:
    """Every file that the project ships can be read."""
    settings = settings_of(configs)
    assert "BTC/USDT" in settings.universe.symbols
    assert settings.environment.trading == "paper"
    for name in ("daily", "minute"):
        assert settings.promotion(name).min_deflated_sharpe >= 0.95
        assert settings.portfolio(name).models
        assert settings.study(name).strategies
        assert settings.environment.account_of(name).name
    assert settings.costs.fee_bps > 0
    assert settings.risk is not None
    assert settings.checks is not None


def test_first_day_trades_at_any_hour_and_on_the_practice_exchange_alone(configs: Path) -> None:
    """Its newest slot is never too late. What passes its gate is loaded nowhere else."""
    settings = settings_of(configs, env="practice")
    portfolio = settings.portfolio("first-day")
    assert portfolio.max_lateness_minutes * 60 >= portfolio.timeframe.seconds
    assert portfolio.models[0].name == settings.study("first-day").register_as
    with_account = [
        name
        for name in settings.environment_names
        if "first-day" in settings.of_environment(name).environment.accounts
    ]
    assert with_account == ["practice"]
    users = [
        name
        for name in ("daily", "minute", "practice-minute")
        if portfolio.models[0].name in {each.name for each in settings.portfolio(name).models}
    ]
    assert users == []


def test_unknown_key_names_file_key_and_allowed_ones(configs: Path) -> None:
    """A typo in a key must not be ignored: it would leave a limit at its default."""
    replace(configs / "costs.yaml", "^fee_bps", "fee_bsp")
    with pytest.raises(
        ConfigError,
        match=r"costs\.yaml: unknown key 'fee_bsp' = 10: allowed are fee_bps, slippage_bps",
    ):
        _ = settings_of(configs).costs


def test_nested_unknown_key_lists_the_keys_of_its_own_level(configs: Path) -> None:
    """The allowed keys named are those of the level where the typo stands."""
    replace(configs / "portfolio.yaml", "no_trade_band", "no_trade_bnad")
    with pytest.raises(
        ConfigError, match=r"'daily\.rebalancing\.no_trade_bnad'.*allowed are .*no_trade_band"
    ):
        settings_of(configs).portfolio("daily")


def test_value_out_of_bounds_names_key_and_value(configs: Path) -> None:
    """A value that is not allowed is shown together with the bound it broke."""
    replace(configs / "costs.yaml", "^fee_bps: 10", "fee_bps: -1")
    with pytest.raises(ConfigError, match=r"key 'fee_bps' = -1: .*greater than or equal to 0"):
        _ = settings_of(configs).costs


def test_unknown_timeframe_is_refused(configs: Path) -> None:
    """A timeframe that no grid is known for cannot be kept."""
    replace(configs / "universe.yaml", "^  1h:", "  7h:")
    with pytest.raises(ConfigError, match=r"universe\.yaml.*7h"):
        _ = settings_of(configs).universe


def test_malformed_symbol_is_refused(configs: Path) -> None:
    """A symbol is BASE/QUOTE, and the message shows how."""
    replace(configs / "universe.yaml", "^  - BTC/USDT", "  - BTCUSDT")
    with pytest.raises(ConfigError, match="'BTCUSDT' is not a symbol: write it as BASE/QUOTE"):
        _ = settings_of(configs).universe


def test_broken_yaml_is_one_sentence(configs: Path) -> None:
    """A file that is not YAML names itself and the place, on one line."""
    (configs / "costs.yaml").write_text("fee_bps: [10\n")
    with pytest.raises(ConfigError, match=r"costs\.yaml is not valid YAML: line 2, ") as caught:
        _ = settings_of(configs).costs
    assert "\n" not in str(caught.value)


def test_missing_folder_names_the_remedy(tmp_path: Path) -> None:
    """Running from the wrong folder is the likely cause, and is named."""
    with pytest.raises(ConfigError, match="PENSTOCK_CONFIGS"):
        _ = settings_of(tmp_path / "nowhere").costs


def test_quotas_over_one_are_refused(configs: Path) -> None:
    """Models that share an account cannot be given more than all of it."""
    two = "    - {name: a, quota: 0.7}\n    - {name: b, quota: 0.7}"
    replace(configs / "portfolio.yaml", r"^    - \{name: daily-portfolio.*$", two)
    with pytest.raises(ConfigError, match=r"quotas sum to 1\.4"):
        settings_of(configs).portfolio("daily")


@pytest.mark.parametrize(
    ("live_in_file", "live_in_environment"),
    [(False, ""), (True, ""), (False, "real-money"), (True, "y")],
)
def test_real_money_needs_both_places(
    configs: Path, live_in_file: bool, live_in_environment: str
) -> None:
    """One consent alone, or wrong text, never reaches a real account."""
    replace(configs / "environments.yaml", "live: false", f"live: {str(live_in_file).lower()}")
    with pytest.raises(ConfigError, match="would trade real money"):
        settings_of(configs, env="real", live=live_in_environment).require_consent()


def test_real_money_with_both_consents_is_allowed(configs: Path) -> None:
    """The file and the environment together open the real account."""
    replace(configs / "environments.yaml", "live: false", "live: true")
    settings_of(configs, env="real", live="real-money").require_consent()


def test_real_account_can_be_looked_at_and_halted_without_consent(configs: Path) -> None:
    """The kill switch must not ask for the permission to trade."""
    assert settings_of(configs, env="real").environment.account_of("daily").name == "real-daily"


@pytest.mark.parametrize("url", ["https://api.binance.com", "http://10.0.0.5:8190"])
def test_practice_exchange_is_on_this_machine_only(configs: Path, url: str) -> None:
    """A base_url elsewhere would be a real venue that needs no consent."""
    replace(configs / "environments.yaml", r"http://127\.0\.0\.1:8190", url)
    with pytest.raises(ConfigError, match="not on this machine"):
        _ = settings_of(configs, env="practice").environment


def test_secret_in_the_wrong_place_is_not_repeated(configs: Path) -> None:
    """A key pasted into a file is refused without its value: messages end up in logs."""
    replace(configs / "environments.yaml", "paper_cash: 100000", "api_secret: s3cr3t-value")
    with pytest.raises(ConfigError, match="api_secret") as caught:
        _ = settings_of(configs).environment
    assert "s3cr3t-value" not in str(caught.value)


def test_unknown_environment_lists_the_known_ones(configs: Path) -> None:
    """A wrong PENSTOCK_ENV shows what there is."""
    with pytest.raises(ConfigError, match=r"PENSTOCK_ENV 'prod'.*paper, practice, testnet, real"):
        _ = settings_of(configs, env="prod").environment


def test_execution_style_is_read_with_its_own_keys(configs: Path) -> None:
    """A portfolio may be worked over time. By default its orders go out whole and its missed slots
    are skipped.
    """
    replace(
        configs / "portfolio.yaml",
        r"^daily:$",
        "daily:\n  execution: {algorithm: twap, duration_seconds: 600, slices: 20}",
    )
    daily = settings_of(configs).portfolio("daily")
    assert (daily.execution.algorithm, daily.missed_slots) == ("twap", "skip")
    assert settings_of(configs).portfolio("minute").execution.algorithm == "market"


@pytest.mark.parametrize(
    ("portfolio", "line", "said"),
    [
        ("daily", "execution: {algorithm: best}", "best"),
        ("daily", "execution: {algorithm: iceberg, slices: 3}", "slices"),
        ("minute", "execution: {algorithm: twap, duration_seconds: 40}", "80 s of a slot of 60 s"),
        ("daily", "missed_slots: sometimes", "run_latest"),
    ],
)
def test_wrong_execution_or_slot_policy_is_named(
    configs: Path, portfolio: str, line: str, said: str
) -> None:
    """An unknown style, a key of another style, work that outlasts its slot, an unknown policy: the
    message says which.
    """
    replace(configs / "portfolio.yaml", rf"^{portfolio}:$", f"{portfolio}:\n  {line}")
    with pytest.raises(ConfigError, match=re.escape(said)):
        settings_of(configs).portfolio(portfolio)


def test_empty_home_is_the_default_one() -> None:
    """An empty PENSTOCK_HOME must not put databases and keys into the folder that one happens to
    stand in.
    """
    assert Process.of({"PENSTOCK_HOME": ""}).home == Path(".penstock")


BOTH = (
    "{name: both, venues: {\n      here: {ccxt_id: binance, "
    'base_url: "http://127.0.0.1:8190", api_key_env: K1, secret_env: S1},\n'
    '      there: {ccxt_id: binance, base_url: "http://127.0.0.1:8191", api_key_env: K2, '
    "secret_env: S2, taker_fee_bps: 7.5}}}"
)


def test_account_may_trade_on_several_venues(configs: Path) -> None:
    """Each venue has its own keys and fee. By default an account has one venue."""
    replace(configs / "environments.yaml", r"\{name: practice-daily,[^}]*\}", BOTH)
    environment = settings_of(configs, env="practice").environment
    venues = environment.account_of("daily").venues
    assert {name: (venue.api_key_env, venue.taker_fee_bps) for name, venue in venues.items()} == {
        "here": ("K1", None),
        "there": ("K2", Decimal("7.5")),
    }
    assert environment.account_of("minute").venues == {}
    assert not environment.is_real_venue


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (r"there: \{.*", "}}", "here alone is no choice"),
        (
            "name: both,",
            "name: both, api_key_env: K0,",
            "api_key_env: each of the venues has its own",
        ),
        ("here:", '"he:re":', "'he:re' is no name"),
        ("8191", "8190", None),
        ("taker_fee_bps: 7.5", "taker_fee: 7.5", "taker_fee_bps"),
        ("taker_fee_bps: 7.5", "taker_fee_bps: -1", "greater than or equal to 0"),
        ("http://127.0.0.1:8191", "https://api.binance.com", "not on this machine"),
    ],
)
def test_wrong_venues_are_named(configs: Path, before: str, after: str, said: str | None) -> None:
    """One venue alone, keys in two places, a name that ids cannot hold, a typo: the message says
    which.
    """
    wrong = re.sub(before, after, BOTH)
    assert wrong != BOTH
    replace(
        configs / "environments.yaml", r"\{name: practice-daily,[^}]*\}", wrong.replace("\\", "")
    )
    if said is None:  # two accounts at one venue are two accounts
        assert settings_of(configs, env="practice").environment.account_of("daily").venues
        return
    with pytest.raises(ConfigError, match=re.escape(said)):
        _ = settings_of(configs, env="practice").environment


def test_one_account_named_twice_would_count_twice(configs: Path) -> None:
    """Two venues with the same address and keys are one account."""
    twice = BOTH.replace("8191", "8190").replace("K2", "K1")
    replace(configs / "environments.yaml", r"\{name: practice-daily,[^}]*\}", twice)
    said = r"practice.accounts.daily.venues.here and .*venues.there have one API key \(K1, K1\)"
    with pytest.raises(ConfigError, match=said):
        _ = settings_of(configs, env="practice").environment


def two_portfolios(configs: Path, daily: str, minute: str) -> None:
    """Give the portfolios of `practice` these accounts."""
    path = configs / "environments.yaml"
    replace(path, r"\{name: practice-daily,[^}]*\}", daily)
    replace(path, r"\{name: practice-strict-minute,[^}]*\}", minute)


def test_two_portfolios_with_one_name_are_refused(configs: Path) -> None:
    """They would be one account in the ledger, and each would undo the other's orders."""
    two_portfolios(configs, "{name: one, api_key_env: K1}", "{name: one, api_key_env: K2}")
    with pytest.raises(ConfigError, match=r"accounts.daily and .*minute have the one name 'one'"):
        _ = settings_of(configs, env="practice").environment
    assert settings_of(configs, env="paper").environment


@pytest.mark.parametrize(
    ("second", "keys", "is_refused"),
    [
        ("K1", {}, True),
        ("K1", {"K1": "k3y-value"}, True),
        ("K2", {"K1": "k3y-value", "K2": "k3y-value"}, True),
        ("K2", {"K1": "k3y-value", "K2": "k3y-value \n"}, True),
        ("K2", {"K1": "k3y-value", "K2": "another"}, False),
        ("K2", {"K1": "", "K2": ""}, False),
    ],
)
def test_two_portfolios_with_one_key_are_refused(
    configs: Path, second: str, keys: dict[str, str], is_refused: bool
) -> None:
    """The same variable, or the same key in two variables. The message names the variables and
    shows no key.
    """
    two_portfolios(configs, "{name: a, api_key_env: K1}", f"{{name: b, api_key_env: {second}}}")
    settings = settings_of(configs, keys, env="practice")
    if not is_refused:
        assert settings.environment
        return
    with pytest.raises(ConfigError, match=rf"have one API key \(K1, {second}\)") as caught:
        _ = settings.environment
    assert "k3y-value" not in str(caught.value)


def test_two_environments_with_one_account_are_refused(configs: Path) -> None:
    """Another environment of the same venue has the same key, under any name that ccxt has for the
    venue. Its test network is another place.
    """
    path = configs / "environments.yaml"
    more = (
        "\nspare: {exchange: spare, trading: venue, market: {ccxt_id: binanceus}, accounts: "
        "{daily: {name: spare, api_key_env: SPARE_KEY, secret_env: S}}}\n"
    )
    path.write_text(path.read_text(encoding="utf-8") + more, encoding="utf-8")
    same = {"BINANCE_KEY": "k", "SPARE_KEY": "k"}
    for env in ("real", "spare"):
        with pytest.raises(ConfigError, match=r"real\.accounts\.daily"):
            _ = settings_of(configs, same, env=env).environment
    for env in ("paper", "practice", "testnet"):
        assert settings_of(configs, same, env=env).environment
    assert settings_of(configs, {"BINANCE_TESTNET_KEY": "k", **same}, env="testnet").environment
    assert settings_of(configs, {**same, "SPARE_KEY": "other"}, env="real").environment


def test_names_are_one_account_across_environments(configs: Path) -> None:
    """The ledger knows an account by its name alone, on paper too."""
    replace(configs / "environments.yaml", "name: testnet-daily", "name: paper-daily")
    with pytest.raises(ConfigError, match="have the one name 'paper-daily'"):
        _ = settings_of(configs, env="paper").environment
    assert settings_of(configs, env="practice").environment


def test_name_that_means_every_account_is_refused(configs: Path) -> None:
    """A halt of "*" halts all of them."""
    replace(configs / "environments.yaml", "name: paper-daily", 'name: "*"')
    with pytest.raises(ConfigError, match="means every account"):
        _ = settings_of(configs, env="paper").environment


def test_passphrase_comes_from_its_own_variable(configs: Path) -> None:
    """OKX signs with it. Without one the account is refused before anything is sent; an empty
    variable is named.
    """
    path = configs / "environments.yaml"
    replace(path, r"\{ccxt_id: binance, sandbox", "{ccxt_id: okx, sandbox")
    keys = {"K": "key", "S": "secret"}
    own = "{name: okx-daily, api_key_env: K, secret_env: S%s}"
    replace(path, r"\{name: testnet-daily,[^}]*\}", own % "")
    with pytest.raises(ConfigError, match=r"okx asks for the passphrase .* password_env"):
        Platform(settings_of(configs, keys, env="testnet"), "").exchange("daily")
    replace(path, r"\{name: okx-daily,[^}]*\}", own % ", password_env: P")
    settings = settings_of(configs, keys, env="testnet")
    assert "P" in settings.environment.key_variables
    with pytest.raises(ConfigError, match="the environment variable P is empty"):
        Platform(settings, "").exchange("daily")
    settings = settings_of(configs, {**keys, "P": "phrase"}, env="testnet")
    exchange = Platform(settings, "").exchange("daily")
    assert exchange.client.password == "phrase"  # type: ignore[attr-defined]  # of ccxt's adapter


def test_one_real_venue_among_several_needs_both_consents(configs: Path) -> None:
    """A real venue beside a practice exchange is real money."""
    real = BOTH.replace(', base_url: "http://127.0.0.1:8191"', "")
    replace(configs / "environments.yaml", r"\{name: practice-daily,[^}]*\}", real)
    with pytest.raises(ConfigError, match="would trade real money"):
        settings_of(configs, env="practice").require_consent()


def test_several_venues_become_one_account(configs: Path) -> None:
    """The session trades all of them as one account. The ledger keeps their names, so that the
    account can never mean others.
    """
    replace(configs / "environments.yaml", r"\{name: practice-daily,[^}]*\}", BOTH)
    where: dict[str, Any] = {"env": "practice", "practice_url": "http://127.0.0.1:9999"}
    with pytest.raises(PracticeExchangeDownError, match="does not answer at"):
        Platform(settings_of(configs, **where), "").exchange("daily")
    keys = dict.fromkeys(("K1", "S1", "K2", "S2"), "x")
    exchange = Platform(settings_of(configs, keys, **where), "").exchange("daily")
    assert isinstance(exchange, SeveralVenues)
    hosts = {
        name: account.session._base.netloc  # type: ignore[attr-defined]  # of ccxt's adapter
        for name, account in exchange.accounts.items()
    }
    assert hosts == {"here": "127.0.0.1:9999", "there": "127.0.0.1:8191"}


def test_denial_is_doubted_for_as_long_as_the_accounts_slowest_venue_needs(configs: Path) -> None:
    """The delay comes from the venues. An environment may set a longer one; a shorter one is
    refused before it trades.
    """
    okx = BOTH.replace("ccxt_id: binance", "ccxt_id: okx", 1)
    assert okx != BOTH
    replace(configs / "environments.yaml", r"\{name: practice-daily,[^}]*\}", okx)
    accounts = VenueAccounts(settings_of(configs, env="practice"))
    assert (accounts.visibility_delay("minute"), accounts.visibility_delay("daily")) == (75, 95)
    for seconds in (80, 120):
        text = f"practice:\n  visibility_delay_seconds: {seconds}"
        replace(configs / "environments.yaml", r"^practice:.*$(\n  visibility.*$)?", text)
        accounts = VenueAccounts(settings_of(configs, env="practice"))
        assert accounts.visibility_delay("minute") == seconds
        if seconds == 80:
            with pytest.raises(
                ConfigError,
                match="visibility_delay_seconds is 80, and binance, okx needs 95 at least",
            ):
                accounts.visibility_delay("daily")
    assert accounts.visibility_delay("daily") == 120


@pytest.mark.parametrize(
    ("file", "before", "after", "error"),
    [
        (
            "risk.yaml",
            "^max_weight: 0.50",
            "max_weight: 0.2\nmax_weight: 0.9",
            "key 'max_weight' is given twice, in lines 6 and 7",
        ),
        (
            "risk.yaml",
            "^drawdown: {limit: 0.20,",
            "drawdown: {limit: 0.20, limit: 0.9,",
            "key 'limit' is given twice",
        ),
        ("portfolio.yaml", "^minute:", "daily:", "key 'daily' is given twice"),
        ("environments.yaml", "^real:", "paper:", "key 'paper' is given twice"),
    ],
)
def test_key_that_is_given_twice_is_an_error(
    configs: Path, file: str, before: str, after: str, error: str
) -> None:
    """The second would silently replace the first, in a block as at the top."""
    replace(configs / file, before, after)
    settings = settings_of(configs)
    with pytest.raises(ConfigError, match=rf"{re.escape(file)}.*{error}"):
        _ = settings.risk, settings.portfolio("daily"), settings.environment


@pytest.mark.parametrize("text", ["yes", "true", "on", "1:30", "0x1", ".nan", ".inf"])
def test_what_is_no_decimal_number_is_no_number(configs: Path, text: str) -> None:
    """YAML 1.1 makes `yes` a flag, a flag 1, and 1:30 ninety: a limit of 100% out of a word."""
    replace(configs / "risk.yaml", "^max_weight: 0.50", f"max_weight: {text}")
    with pytest.raises(ConfigError, match=rf"risk\.yaml.*{re.escape(text)}"):
        _ = settings_of(configs).risk


@pytest.mark.parametrize(("text", "flag"), [("yes", True), ("true", True), ("off", False)])
def test_flag_is_written_as_before(configs: Path, text: str, flag: bool) -> None:
    """A setting that is a flag understands the words."""
    replace(configs / "risk.yaml", "^strategy_quotas: true", f"strategy_quotas: {text}")
    assert settings_of(configs).risk.strategy_quotas is flag


def test_leading_zero_makes_no_octal_number(configs: Path) -> None:
    """010 is ten, not eight."""
    replace(configs / "costs.yaml", "^fee_bps: 10", "fee_bps: 010")
    assert settings_of(configs).costs.fee_bps == 10


def test_symbols_of_a_timeframe_are_held_to_the_same_form(configs: Path) -> None:
    """`BTCUSDT` under a timeframe would be found out at the venue only."""
    replace(configs / "universe.yaml", r"symbols: \[BTC/USDT, ETH/USDT\]", "symbols: [BTCUSDT]")
    with pytest.raises(ConfigError, match=r"universe\.yaml.*BTCUSDT"):
        _ = settings_of(configs).universe


@pytest.mark.parametrize(
    ("proxy", "error"),
    [
        ("http://ana:hunter2@10.0.0.1:3128", "keep its password out of this file"),
        ("10.0.0.1", "write it like http://10.0.0.1:3128"),
    ],
)
def test_proxy_is_an_address_without_a_password(configs: Path, proxy: str, error: str) -> None:
    """A password would end up in a repository, and is not repeated."""
    replace(
        configs / "environments.yaml",
        r"market: {ccxt_id: binance}",
        f'market: {{ccxt_id: binance, proxy: "{proxy}"}}',
    )
    with pytest.raises(ConfigError, match=error) as caught:
        _ = settings_of(configs).environment
    assert "hunter2" not in str(caught.value)


def test_proxy_of_a_venue_is_shown_and_the_environments_without_its_password(
    configs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the doctor says of each venue's way."""
    own = MarketSettings(ccxt_id="okx", proxy="http://10.0.0.1:3128")
    assert doctor._way(own) == "by the proxy http://10.0.0.1:3128"
    monkeypatch.setenv("https_proxy", "http://ana:hunter2@10.0.0.2:3128")
    shown = doctor._way(MarketSettings(ccxt_id="kraken"))
    assert shown == "by the environment's proxy http://10.0.0.2:3128"


def test_mistyped_portfolio_has_one_sentence(configs: Path) -> None:
    """Whatever asks first, the configuration of the portfolio or its account."""
    settings = Settings(Process(configs=configs, env="practice"))
    with pytest.raises(ConfigError) as account:
        settings.environment.account_of("weekly")
    with pytest.raises(ConfigError) as portfolio:
        settings.portfolio("weekly")
    assert str(portfolio.value) == str(account.value)
    assert "no account for portfolio 'weekly'" in str(account.value)
