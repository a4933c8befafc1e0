"""A family of venues is entered in every table of the adapter and of these tests, or in none."""

import ast
from pathlib import Path

import ccxt
import pytest

from penstock.adapters.exchanges.order_expiry import _LAGS, _LIMITS
from penstock.adapters.exchanges.order_lookup import _LOOKUPS
from penstock.adapters.exchanges.refusals import _TABLES
from penstock.adapters.exchanges.trade_pages import _PAGERS
from penstock.adapters.exchanges.transfer_pages import _PAGERS as _TRANSFERS
from penstock.adapters.exchanges.venue_families import family_of, names_of
from tests.contracts.exchanges.conftest import TRADED

TESTS = Path(__file__).resolve().parents[2]
HERE = "contracts/exchanges"

#: Of ccxt's venues that derive from one of ours, those that trade no spot.
FUTURES_ONLY = {"binancecoinm", "binanceusdm"}
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


def test_regional_names_belong_to_the_family_of_their_venue() -> None:
    """A new name in ccxt, of a company whose answers are those of a venue that we know, would else
    be read by guesses: no largest order, and a fee in an asset that ccxt guesses.
    """
    for family in _LOOKUPS:
        own = getattr(ccxt, family)
        derived = {name for name in ccxt.exchanges if issubclass(getattr(ccxt, name), own)}
        assert derived - FUTURES_ONLY == set(names_of([family]))


def test_traded_venues_are_those_of_the_tables() -> None:
    """The names in the tests are written by hand: one that leaves the tables is noticed."""
    assert names_of(_LOOKUPS) == sorted(TRADED)
    assert {family_of(venue) for venue in TRADED} == set(_LOOKUPS)


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
    missing = set(_LOOKUPS) - elsewhere - table(path, name)
    assert not missing, f"{sorted(missing)}: no entry in {name} of tests/{path}"
