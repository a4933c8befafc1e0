"""The ASGI application of the practice exchange.

A request passes fault, rate limit, signature, handler and journal before its answer leaves.
"""

import asyncio
import hmac
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

from penstock.core.ids import IdSource
from penstock.practice.binance_errors import PracticeRefusal
from penstock.practice.control_api import ControlApi, ControlError
from penstock.practice.faults import Fault, FaultKind, Faults
from penstock.practice.faulty_listings import faulty_listings
from penstock.practice.faulty_trades import faulty_trades
from penstock.practice.limits import Limiter
from penstock.practice.matching import MatchingEngine
from penstock.practice.private_api import PrivateApi
from penstock.practice.public_api import PublicApi
from penstock.practice.signing import authenticate
from penstock.practice.tickers import Tickers
from penstock.practice.wallet_api import WalletApi

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_BEFORE = frozenset(
    {
        FaultKind.TIMEOUT_BEFORE,
        FaultKind.ERROR_BEFORE,
        FaultKind.RATE_LIMIT,
        FaultKind.BAN,
        FaultKind.REFUSAL,
    },
)


class BrokenOffError(ConnectionError):
    """Raised after half an answer, so that the server closes the connection."""


class Answer:
    """A status, a body and headers."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.body = (
            body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
        )
        self.headers = headers or {}


def _refused(refusal: PracticeRefusal) -> Answer:
    headers = {} if refusal.retry_after is None else {"retry-after": str(refusal.retry_after)}
    return Answer(refusal.status, {"code": refusal.code, "msg": refusal.message}, headers)


class PracticeApp:
    """The ASGI application. Handlers run one at a time, so each request is atomic.

    Control calls need the token; "" asks for none. A control call of a web page is always refused.
    """

    def __init__(
        self,
        engine: MatchingEngine,
        public: PublicApi,
        limiter: Limiter,
        faults: Faults,
        *,
        ids: IdSource,
        control_token: str = "",
    ) -> None:
        self._control_token = control_token
        self.engine = engine
        self.faults = faults
        self.limiter = limiter
        self.requests: Counter[str] = Counter()
        self.public = public
        self.private = PrivateApi(engine, ids)
        self.control = ControlApi(engine, faults, self.requests, public.books)
        self._public_routes = public.routes() | Tickers(public.books, public.time).routes()
        self._private_routes = self.private.routes() | WalletApi(engine, limiter).routes()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        method, path, query = scope["method"], scope["path"], scope["query_string"]
        body = await _body(receive)
        self.requests[f"{method} {path}"] += 1
        if path.startswith("/practice/"):
            headers = _headers(scope)
            refused = self._refused_control(headers)
            await _send(send, refused or self._control(f"{method} {path}", body))
            return
        fault = self.faults.draw(method, path)
        if fault is None:
            await _send(send, self._answer(method, path, query, body, _headers(scope), None))
            return
        await self._faulty(
            fault,
            lambda: self._answer(method, path, query, body, _headers(scope), fault),
            receive,
            send,
        )

    def _refused_control(self, headers: Mapping[bytes, bytes]) -> Answer | None:
        """Return the refusal of a control call that a web page sends, or that lacks the token."""
        if b"origin" in headers:
            return Answer(403, {"error": "a web page may not make control calls"})
        given, wanted = headers.get(b"authorization", b""), f"Bearer {self._control_token}".encode()
        if self._control_token and not hmac.compare_digest(given, wanted):
            return Answer(401, {"error": "control calls need the token that the server was given"})
        return None

    def _control(self, route: str, body: bytes) -> Answer:
        try:
            answer = Answer(200, self.control.call(route, body))
        except ControlError as error:
            answer = Answer(400, {"error": str(error)})
        self.engine.venue.journal.commit()
        return answer

    def _answer(
        self,
        method: str,
        path: str,
        query: bytes,
        body: bytes,
        headers: Mapping[bytes, bytes],
        fault: Fault | None,
    ) -> Answer:
        """Carry out one API call."""
        route = f"{method} {path}"
        parameters = dict(parse_qsl((query + b"&" + body).decode(), keep_blank_values=True))
        limit_headers: dict[str, str] = {}
        try:
            limit_headers |= self.limiter.spend_weight(route, "symbol" in parameters)
            value = self._carry_out(route, parameters, query + body, headers, fault, limit_headers)
        except PracticeRefusal as refusal:
            answer = _refused(refusal)
            answer.headers = {**limit_headers, **answer.headers}
            return answer
        finally:
            self.engine.venue.journal.commit()
        return Answer(200, value, limit_headers)

    def _carry_out(
        self,
        route: str,
        parameters: dict[str, str],
        payload: bytes,
        headers: Mapping[bytes, bytes],
        fault: Fault | None,
        limit_headers: dict[str, str],
    ) -> Any:
        if route in self._public_routes:
            if (
                fault is not None
                and fault.kind is FaultKind.STALE_CANDLES
                and route == "GET /api/v3/klines"
            ):
                return self.public.klines(parameters, fault.seconds)
            if fault is not None and route == "GET /api/v3/exchangeInfo":
                return faulty_listings(self._public_routes[route](parameters), fault)
            return self._public_routes[route](parameters)
        if route not in self._private_routes:
            raise PracticeRefusal(
                -1100, f"The practice exchange has no call '{route}'.", status=404
            )
        key = headers.get(b"x-mbx-apikey", b"").decode()
        account = authenticate(
            self.engine.venue.accounts, self.engine.venue.time, key, payload, parameters
        )
        self.engine.advance()
        if route == "POST /api/v3/order":
            limit_headers |= self.limiter.spend_order(key)
            return self.private.new_order(account, parameters, fault)
        answer = self._private_routes[route](account, parameters)
        if fault is not None and route == "GET /api/v3/myTrades":
            return faulty_trades(answer, fault, self.engine.venue.time.now_ms())
        return answer

    async def _faulty(
        self, fault: Fault, carry_out: Callable[[], Answer], receive: Receive, send: Send
    ) -> None:
        """Answer as the fault asks."""
        answer = None if fault.kind in _BEFORE else carry_out()
        match fault.kind:
            case FaultKind.TIMEOUT_BEFORE | FaultKind.TIMEOUT_AFTER:
                await _wait_for_disconnect(receive, fault.seconds)
                raise BrokenOffError("a fault keeps the answer back")
            case FaultKind.ERROR_BEFORE | FaultKind.ERROR_AFTER:
                answer = Answer(
                    fault.status,
                    {
                        "code": -1000,
                        "msg": "An unknown error occurred while processing the request.",
                    },
                )
            case FaultKind.RATE_LIMIT:
                answer = _refused(
                    PracticeRefusal(-1003, "Too many requests.", 429, round(fault.seconds))
                )
            case FaultKind.BAN:
                answer = _refused(PracticeRefusal(-1003, "IP banned.", 418, round(fault.seconds)))
            case FaultKind.OTHER_ANSWER | FaultKind.REFUSAL:
                answer = Answer(fault.body_status, fault.body.encode())
            case FaultKind.SLOW:
                await asyncio.sleep(fault.seconds)
        assert answer is not None
        if fault.kind is FaultKind.MALFORMED:
            answer = Answer(200, answer.body[: len(answer.body) // 2] + b"<html>")
        await _send(send, answer, break_off=fault.kind is FaultKind.RESET_AFTER)


def _headers(scope: Scope) -> Mapping[bytes, bytes]:
    return dict(scope["headers"])


async def _body(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return body


async def _wait_for_disconnect(receive: Receive, seconds: float) -> None:
    """Wait until the client closes the connection, `seconds` at most."""

    async def closed() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    try:
        await asyncio.wait_for(closed(), seconds)
    except TimeoutError:
        return


async def _send(send: Send, answer: Answer, break_off: bool = False) -> None:
    """Send the answer, or half of it and then break off."""
    headers = [
        (b"content-type", b"application/json;charset=UTF-8"),
        (b"content-length", str(len(answer.body)).encode()),
    ]
    headers += [(name.encode(), value.encode()) for name, value in answer.headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if break_off:
        await send(
            {
                "type": "http.response.body",
                "body": answer.body[: len(answer.body) // 2],
                "more_body": True,
            }
        )
        raise BrokenOffError("a fault breaks the answer off")
    await send({"type": "http.response.body", "body": answer.body})
