"""What is written down of a venue's answers: no secret, no other symbol, each to its step."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import pytest
import requests
from requests.adapters import HTTPAdapter

from penstock.adapters.exchanges.recorder import AnswerRecord, request_fields
from penstock.adapters.exchanges.venue_session import VenueSession
from penstock.core.clock import SteppedClock

KEY, SECRET = "AKexample7QAKexample7Q", "c2VjcmV0LWV4YW1wbGU="
ADDRESS = "https://venue.example/api/v3/order"


class OneAnswer(HTTPAdapter):
    """Gives one answer to every request, or raises it, and keeps the requests."""

    def __init__(self, answer: str | Exception) -> None:
        super().__init__()
        self.answer = answer
        self.requests: list[requests.PreparedRequest] = []

    def send(self, request, **options):  # type: ignore[no-untyped-def,override]  # HTTPAdapter's own signature is untyped
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        response = requests.Response()
        response.status_code, response._content = 200, self.answer.encode()
        response.url, response.request = request.url, request
        return response


Connect = Callable[[str | Exception], tuple[VenueSession, OneAnswer, AnswerRecord, SteppedClock]]


@pytest.fixture
def connected() -> Connect:
    def connect(
        answer: str | Exception,
    ) -> tuple[VenueSession, OneAnswer, AnswerRecord, SteppedClock]:
        session, wire = VenueSession(), OneAnswer(answer)
        session.mount("https://", wire)
        clock = SteppedClock(datetime(2024, 3, 1, tzinfo=UTC))
        secrets = (KEY, SECRET, "")
        return session, wire, AnswerRecord(session, secrets, ("AAA", "USDT"), clock=clock), clock

    return connect


def test_each_answer_is_counted_to_its_step_and_dated(connected: Connect) -> None:
    session, _, record, clock = connected("{}")
    record.begin("place")
    session.request("post", ADDRESS, data="symbol=AAAUSDT")
    clock.sleep(1.23456)
    record.begin("cancel")
    session.request("DELETE", f"{ADDRESS}?symbol=AAAUSDT")
    assert [
        (answer.step, answer.method, answer.path, answer.status, answer.after_seconds)
        for answer in record.answers()
    ] == [
        ("place", "POST", "/api/v3/order", 200, 0.0),
        ("cancel", "DELETE", "/api/v3/order", 200, 1.235),
    ]


def test_request_without_an_answer_is_recorded(connected: Connect) -> None:
    """The venue may have taken it: the record shows that it left."""
    session, _, record, _ = connected(requests.ConnectionError("reset"))
    with pytest.raises(requests.ConnectionError, match="reset"):
        session.request("POST", ADDRESS, data="newClientOrderId=a")
    (answer,) = record.answers()
    assert (answer.status, answer.body, answer.is_lost) == (None, "", False)
    assert answer.fields == {"newClientOrderId": "a"}


@pytest.mark.parametrize(
    "body",
    [
        "newClientOrderId=a&symbol=AAAUSDT",
        '[{"clOrdId": "a"}]',
        '{"orderLinkId": "a"}',
        "cl_ord_id=a",
        '{"clientOrderId": "a"}',
    ],
)
def test_only_the_next_answer_to_an_order_is_lost(connected: Connect, body: str) -> None:
    """The venue has the order. Questions, and requests that name no order of ours, are answered
    meanwhile, and so is the order after it.
    """
    session, wire, record, _ = connected('{"orderId": 7}')
    record.lose_next_order()
    session.request("GET", f"{ADDRESS}?newClientOrderId=a")
    session.request("POST", "https://venue.example/token", data="symbol=AAAUSDT")
    with pytest.raises(requests.exceptions.ReadTimeout, match="lost on purpose"):
        session.request("POST", ADDRESS, data=body)
    session.request("POST", ADDRESS, data=body)
    assert [answer.is_lost for answer in record.answers()] == [False, False, True, False]
    assert {answer.body for answer in record.answers()} == {'{"orderId":7}'}
    assert len(wire.requests) == 4


def test_answer_of_a_later_step_is_not_lost(connected: Connect) -> None:
    """A step that sent no order must not lose that of the next one."""
    session, _, record, _ = connected("{}")
    record.lose_next_order()
    record.begin("fill")
    assert session.request("POST", ADDRESS, data="newClientOrderId=a").ok
    assert [answer.is_lost for answer in record.answers()] == [False]


@pytest.mark.parametrize(
    ("address", "body"),
    [
        (f"{ADDRESS}?symbol=AAAUSDT&timestamp=1&recvWindow=5&signature=ab&apiKey={KEY}", None),
        (ADDRESS, f"symbol=AAAUSDT&nonce=17&passphrase={SECRET}"),
        (ADDRESS, f'{{"symbol": "AAAUSDT", "accountId": 354937868, "token": "{KEY}"}}'.encode()),
        (ADDRESS, f'[{{"symbol": "AAAUSDT", "sign": "ab", "userId": 354937868, "k": "{KEY}"}}]'),
    ],
)
def test_fields_that_sign_date_or_name_the_account_are_left_out(
    connected: Connect, address: str, body: str | bytes | None
) -> None:
    """Wherever a venue wants them. A key under another name is replaced."""
    session, _, record, _ = connected("{}")
    session.request("POST", address, data=body)
    (answer,) = record.answers()
    fields = dict(answer.fields)
    assert fields.pop("k", "(redacted)") == "(redacted)"
    assert fields == {"symbol": "AAAUSDT"}
    assert KEY not in str(answer)


@pytest.mark.parametrize("text", ["<html>{}</html>", '{{"msg": "invalid {}"}}', '["{}"]'])
@pytest.mark.parametrize("hidden", [KEY, SECRET])
def test_secret_in_an_answer_is_replaced(connected: Connect, text: str, hidden: str) -> None:
    """A page, an error's text, a bare list."""
    session, _, record, _ = connected(text.format(hidden))
    session.request("GET", ADDRESS)
    (answer,) = record.answers()
    assert hidden not in answer.body
    assert "(redacted)" in answer.body


def test_names_of_the_account_are_replaced_at_every_depth(connected: Connect) -> None:
    """None stays None: ccxt may ask whether a field is there."""
    answer = {
        "uid": 354937868,
        "subAccountId": None,
        "data": [{"mail": "a@b.example", "ips": ["10.0.0.7"], "fills": [{"userId": 5, "px": "1"}]}],
    }
    session, _, record, _ = connected(json.dumps(answer))
    session.request("GET", ADDRESS)
    assert json.loads(record.answers()[0].body) == {
        "uid": "(redacted)",
        "subAccountId": None,
        "data": [
            {
                "mail": "(redacted)",
                "ips": "(redacted)",
                "fills": [{"userId": "(redacted)", "px": "1"}],
            }
        ],
    }


def test_long_list_keeps_the_symbol_and_its_assets_alone(connected: Connect) -> None:
    """However the venue writes them. A short list and a list of numbers are kept whole."""
    ours = [
        {"symbol": "AAAUSDT"},
        {"instId": "AAA-USDT"},
        {"asset": "USDT", "free": "3"},
        {"symbol": "AAAUSDT", "baseAsset": "AAA", "quoteAsset": "USDT"},
    ]
    others: list[Mapping[str, str]] = [
        {"symbol": "AAABTC"},
        {"coin": "BTC"},
        {"name": "AAA", "baseCcy": "AAA", "quoteCcy": "EUR"},
        {"name": "AAA", "baseCoin": "B", "quoteCoin": "AAA"},
    ]
    many = others * 6
    session, _, record, _ = connected(
        json.dumps({"long": [*many, *ours], "short": others, "numbers": list(range(30))})
    )
    session.request("GET", ADDRESS)
    assert json.loads(record.answers()[0].body) == {
        "long": ours,
        "short": others,
        "numbers": list(range(30)),
    }


def test_long_table_is_cut_by_its_names(connected: Connect) -> None:
    """Kraken's tables have a row under the name of each pair or asset."""
    table = {f"B{n}USDT": {"wsname": f"B{n}/USDT"} for n in range(30)}
    session, _, record, _ = connected(json.dumps(table | {"XAAAZUSDT": {"lot": 8}}))
    session.request("GET", ADDRESS)
    assert json.loads(record.answers()[0].body) == {"XAAAZUSDT": {"lot": 8}}


def test_fields_of_query_and_body_are_united() -> None:
    assert request_fields(f"{ADDRESS}?a=1", "b=2&c=") == {"a": "1", "b": "2"}
    assert request_fields(f"{ADDRESS}?a=1", b'[{"b": 2}, {"c": 3}]') == {
        "a": "1",
        "b": "2",
        "c": "3",
    }
    assert request_fields(ADDRESS, None) == {}
