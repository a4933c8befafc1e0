"""The deterministic id of an order is legal wherever it may be sent. Each venue's rule stands
beside its source.
"""

import re
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.orders import Phase, client_order_id

SLOT = datetime(2024, 3, 1, tzinfo=UTC)

#: Venue -> (field, what the venue takes, where it says so).
RULES = {
    "binance": (
        "newClientOrderId",
        re.compile(r"[a-zA-Z0-9\-_]{1,36}"),
        (
            "binance-spot-api-docs, fix-api: client order ID fields must conform to "
            "^[a-zA-Z0-9-_]{1,36}$ (REST: error -1100)"
        ),
    ),
    "bybit": (
        "orderLinkId",
        re.compile(r"[a-zA-Z0-9\-_]{1,36}"),
        (
            "bybit-exchange.github.io/docs, place order: at most 36 of digits, "
            "letters (both cases), dashes and underscores"
        ),
    ),
    "okx": (
        "clOrdId",
        re.compile(r"[a-zA-Z0-9]{1,32}"),
        (
            "okx.com/docs-v5 order-book-trading-trade, as nautilus_okx's OKX_MAX_CLORDID_LEN has "
            "it: 1 to 32 letters and digits"
        ),
    ),
    "kraken": (
        "cl_ord_id",
        re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}|[\x20-\x7e]{1,18}"),
        (
            "docs.kraken.com/exchange/guides/general/clordid: a UUID or free text, "
            "unique among open orders; nautilus_kraken's truncate_cl_ord_id gives the forms: "
            "36 characters with dashes, 32 hexadecimal digits, or text of at most 18"
        ),
    ),
    "whitebit": (
        "clientOrderId",
        re.compile(r"[a-zA-Z0-9\-._]{1,32}"),
        (
            "docs.whitebit.com/guides/client-order-id: letters, digits, dashes, dots and "
            "underscores; 32 characters are the recommended length, none is the longest"
        ),
    ),
}


@pytest.mark.parametrize("name", RULES)
@given(
    account=st.text(min_size=1),
    version=st.text(min_size=1),
    symbol=st.text(min_size=1),
    phase=st.sampled_from(Phase),
    child=st.integers(0, 5_000),
    attempt=st.integers(0, 100),
)
def test_id_of_any_order_is_legal_at_the_venue(
    name: str, account: str, version: str, symbol: str, phase: Phase, child: int, attempt: int
) -> None:
    """Whatever account, version and symbol are called and however many children there are, the
    venue takes the id.
    """
    made = client_order_id(account, version, SLOT, symbol, phase, child, attempt)
    field, rule, source = RULES[name]
    assert rule.fullmatch(made), f"{made!r} is not legal as {field}: {source}"


def test_id_is_a_uuid_without_dashes() -> None:
    """Kraken reads 32 hexadecimal digits as a UUID: the id is the same after that."""
    made = client_order_id("main", "trend/1", SLOT, "BTC/USDT", Phase.BUYS, 0, 0)
    assert UUID(made).hex == made


def test_children_attempts_and_phases_have_ids_of_their_own() -> None:
    """A thousand children of both phases with three attempts each: no id comes twice, and each
    comes again the same.
    """
    parts = [
        (phase, child, attempt) for phase in Phase for child in range(1_000) for attempt in range(3)
    ]
    made = [client_order_id("main", "trend/1", SLOT, "BTC/USDT", *part) for part in parts]
    assert len(set(made)) == len(parts)
    assert made == [client_order_id("main", "trend/1", SLOT, "BTC/USDT", *part) for part in parts]


@pytest.mark.parametrize(
    ("phase", "child", "attempt", "known"),
    [
        (Phase.SELLS, 0, 0, "59beaf82c6a784ff96baabf594d4922e"),
        (Phase.BUYS, 0, 0, "0cda4279cb89231990bfa9d23f1b861c"),
        (Phase.SELLS, 1, 0, "763dbc9fba232256f523f9ea1e0909db"),
        (Phase.BUYS, 1, 1, "884e356b08c68a6bab797848bd8effe5"),
        (Phase.BUYS, 7, 2, "e4e4b4b3fd9daa59fb963a9c98a2786b"),
    ],
)
def test_decision_has_the_id_that_it_always_had(
    phase: Phase, child: int, attempt: int, known: str
) -> None:
    """An order that an earlier version sent is asked for by the same id."""
    made = client_order_id("main", "trend/1", SLOT, "BTC/USDT", phase, child, attempt)
    assert made == known


def test_same_slot_in_another_time_zone_gives_the_same_id() -> None:
    """A database session may show the slot in its own time zone. The decision is the same, and so
    is its order.
    """
    elsewhere = SLOT.astimezone(timezone(timedelta(hours=2)))
    assert client_order_id(
        "main", "trend/1", elsewhere, "BTC/USDT", Phase.BUYS, 0, 0
    ) == client_order_id("main", "trend/1", SLOT, "BTC/USDT", Phase.BUYS, 0, 0)
