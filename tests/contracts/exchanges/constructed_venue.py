"""A venue on the near side of the wire: unmodified ccxt over answers that a test constructs."""

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
from requests.adapters import HTTPAdapter

from penstock.adapters.exchanges.ccxt import CcxtExchange

#: HTTP status and body: text is sent as it is, anything else as JSON.
Said = tuple[int, object]


class ConstructedVenue(HTTPAdapter):
    """Answers every request with `answer(method, path, fields)`, and keeps the requests.

    `headers` are those of every answer.
    """

    def __init__(self, answer: Callable[[str, str, Mapping[str, Any]], Said]) -> None:
        super().__init__()
        self.answer = answer
        self.requests: list[tuple[str, str, Mapping[str, Any]]] = []
        self.headers: dict[str, str] = {}

    def send(self, request, **options):  # type: ignore[no-untyped-def,override]  # HTTPAdapter's own signature is untyped
        asked = (request.method, urlsplit(request.url).path, fields_of(request))
        self.requests.append(asked)
        status, body = self.answer(*asked)
        response = requests.Response()
        response.status_code = status
        response._content = (body if isinstance(body, str) else json.dumps(body)).encode()
        response.url, response.request = request.url, request
        response.headers.update(self.headers)
        return response

    def sent(self, path: str) -> list[Mapping[str, Any]]:
        """Return the fields of the requests to a path."""
        return [fields for _, asked, fields in self.requests if asked == path]


def fields_of(request: requests.PreparedRequest) -> Mapping[str, Any]:
    """Return the fields of a request, from its query and its body."""
    body = request.body.decode() if isinstance(request.body, bytes) else str(request.body or "")
    if body.startswith(("{", "[")):
        found = json.loads(body)
        return found[0] if isinstance(found, list) else found  # type: ignore[no-any-return]
    query = f"{urlsplit(str(request.url)).query}&{body}"
    return {name: values[0] for name, values in parse_qs(query).items()}


def account_at(
    venue: str, answer: Callable[[str, str, Mapping[str, Any]], Said], **options: Any
) -> tuple[CcxtExchange, ConstructedVenue]:
    """Return an account at the venue that asks nobody but us. It lists AAA/USDT."""
    exchange = CcxtExchange(
        venue,
        options.pop("api_key", "key"),
        "c2VjcmV0",
        password="phrase",
        live=True,
        rate_limit_ms=0,
        **({"read_attempts": 1} | options),
    )
    wire = ConstructedVenue(answer)
    exchange.session.mount("https://", wire)
    market_id = "AAA-USDT" if venue == "okx" else "AAAUSDT"
    kinds = ("margin", "swap", "future", "option", "contract", "linear", "inverse")
    exchange.client.set_markets(
        [
            {
                "id": market_id,
                "symbol": "AAA/USDT",
                "base": "AAA",
                "quote": "USDT",
                "info": {"orderTypes": ["LIMIT", "MARKET"]},
                "type": "spot",
                "spot": True,
                "active": True,
                **dict.fromkeys(kinds, False),
                "precision": {"amount": 0.001, "price": 0.01},
                "limits": {"amount": {}, "price": {}, "cost": {}},
            }
        ]
    )
    exchange._has_markets = True
    return exchange, wire
