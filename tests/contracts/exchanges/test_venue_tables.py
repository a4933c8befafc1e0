"""A venue is entered in every table of the adapter and of these tests, or in none."""

import ast
from pathlib import Path
from typing import Any

import pytest

from penstock.adapters.exchanges.order_expiry import _LAGS, _LIMITS
from penstock.adapters.exchanges.order_lookup import _LOOKUPS
from penstock.adapters.exchanges.refusals import _TABLES
from penstock.adapters.exchanges.trade_pages import _PAGERS
from penstock.adapters.exchanges.transfer_pages import _PAGERS as _TRANSFERS

TESTS = Path(__file__).resolve().parents[2]
HERE = "contracts/exchanges"

#: The same venue under the names of its regional companies: it is tested under its own.
REGIONAL = {
    "binanceus": "binance",
    "bybiteu": "bybit",
    "bybitid": "bybit",
    "myokx": "okx",
    "okxus": "okx",
}
#: The practice exchange answers as Binance does: test_trading.py runs against it.
PRACTICE = {"binance"}
#: Venues that ccxt asks with one call. OKX's is in test_trade_pages.py.
ONE_CALL = {*PRACTICE, "okx"}


def table(path: str, name: str) -> set[str]:
    """Return the keys of a table of another test file."""
    tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            (target,) = node.targets
            if isinstance(target, ast.Name) and target.id == name:
                return {ast.literal_eval(key) for key in node.value.keys if key is not None}
    raise AssertionError(f"{path} has no table {name}")


def test_adapter_knows_everything_of_a_venue_or_nothing() -> None:
    """How it is asked for an order, what its refusals mean, how its trades are read, and so on."""
    assert set(_LOOKUPS) == set(_LIMITS) == set(_LAGS) == set(_TABLES) == set(_PAGERS)
    assert set(_PAGERS) == set(_TRANSFERS)


def test_regional_name_has_the_rules_of_its_venue() -> None:
    """A regional name needs no test of its own because it is entered with the same values."""
    tables: list[Any] = [_LOOKUPS, _LIMITS, _LAGS, _TABLES, _PAGERS, _TRANSFERS]
    for name, venue in REGIONAL.items():
        assert all(each[name] == each[venue] for each in tables)


@pytest.mark.parametrize(
    ("path", "name", "elsewhere"),
    [
        ("unit/core/test_client_order_id_at_venues.py", "RULES", set()),
        (f"{HERE}/test_order_lookup.py", "ASKED", ONE_CALL),
        (f"{HERE}/test_order_expiry.py", "ANSWERS", PRACTICE),
        (f"{HERE}/test_trade_pages.py", "IDS", PRACTICE),
        (f"{HERE}/test_trade_pages.py", "PATHS", PRACTICE),
        (f"{HERE}/test_transfer_pages.py", "PATHS", set()),
    ],
)
def test_every_venue_is_tested(path: str, name: str, elsewhere: set[str]) -> None:
    """A venue that orders are sent to stands in each table that the tests are run from."""
    missing = set(_LOOKUPS) - set(REGIONAL) - elsewhere - table(path, name)
    assert not missing, f"{sorted(missing)}: no entry in {name} of tests/{path}"
