"""The ASGI application of the practice exchange.

A request passes fault, rate limit, signature, handler and journal before its answer leaves.
"""

import asyncio
import hmac
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from penstock.core.ids import IdSource
from penstock.practice.binance_errors import PracticeRefusal
from penstock.practice.control_api import ControlApi, ControlError
from penstock.practice.faults import Fault, FaultKind, Faults
from penstock.practice.faulty_listings import faulty_listings
from penstock.practice.faulty_trades import faulty_trades
from penstock.practice.limits import Limiter
from penstock.practice.matching import MatchingEngine
from penstock.practice.parameters import Parameters, Route
from penstock.practice.private_api import PrivateApi
from penstock.practice.public_api import PublicApi, PublicHandler
from penstock.practice.request import Request
from penstock.practice.signing import account_of, check_signature, check_time
from penstock.practice.tickers import Tickers
from penstock.practice.time_units import in_microseconds, wants_microseconds
from penstock.practice.wallet_api import WalletApi

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_LONGEST_HEAD, _LONGEST_BODY = 32_768, 1_000_000
#: Counts the requests that no route takes.
_OTHER = "other"
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
    """A connection that ended within a request, or that the server is to end within an answer."""


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
    return Answer(refusal.status, refusal.body, headers)


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
        self.refusals: Counter[str] = Counter()
        self.public = public
        self.private = PrivateApi(engine, ids)
        self.control = ControlApi(engine, faults, self.requests, self.refusals, public.books)
        self.public_routes = public.routes() | Tickers(public.books, public.time).routes()
        self.private_routes = self.private.routes() | WalletApi(engine, limiter).routes()
        self._methods: dict[str, set[str]] = {}
        routes: list[Route[Any]] = [*self.public_routes.values(), *self.private_routes.values()]
        for route in routes:
            self._methods.setdefault(route.path, set()).add(route.method)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            _check_head(scope)
            body = await _body(receive)
        except BrokenOffError:
            return
        except PracticeRefusal as refusal:
            await _send(send, _refused(refusal))
            return
        request = Request(
            scope["method"], scope["path"], scope["query_string"], body, dict(scope["headers"])
        )
        name = f"{request.method} {request.path}"
        if request.path.startswith("/practice/"):
            self.requests[name if name in self.control.routes() else _OTHER] += 1
            await _send(send, self._refused_control(request.headers) or self._control(name, body))
            return
        self.requests[self._counted(request)] += 1
        fault = self.faults.draw(request.method, request.path)
        if fault is None:
            await _send(send, self._answer(request, None))
            return
        await self._faulty(fault, lambda: self._answer(request, fault), receive, send)

    def _counted(self, request: Request) -> str:
        """Return the name by which a request is counted: what no route takes is one."""
        is_known = request.method in self._methods.get(request.path, ())
        return f"{request.method} {request.path}" if is_known else _OTHER

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

    def _answer(self, request: Request, fault: Fault | None) -> Answer:
        """Carry out one API call."""
        limit_headers: dict[str, str] = {}
        try:
            is_micro = wants_microseconds(request)
            value = self._carry_out(request, fault, limit_headers)
        except PracticeRefusal as refusal:
            self.refusals[f"{self._counted(request)} {refusal.status} {refusal.code}"] += 1
            answer = _refused(refusal)
            answer.headers = {**limit_headers, **answer.headers}
            return answer
        finally:
            self.engine.venue.journal.commit()
        return Answer(200, in_microseconds(value) if is_micro else value, limit_headers)

    def _carry_out(
        self, request: Request, fault: Fault | None, limit_headers: dict[str, str]
    ) -> Any:
        """Return the value of the answer; `limit_headers` takes what was counted so far."""
        name = f"{request.method} {request.path}"
        public, private = self.public_routes.get(name), self.private_routes.get(name)
        sent, wrong = _parameters(request)
        route = public or private
        limit_headers |= self.limiter.count_weight(1 if route is None else route.costs(sent))
        self.limiter.require_weight()
        if route is None:
            raise self._no_route(request)
        if wrong is not None:
            raise wrong
        if public is not None:
            return self._public(public, public.read(sent, request.unread()), fault)
        assert private is not None
        account = account_of(self.engine.venue.accounts, request.api_key)
        parameters = private.read(sent, request.unread())
        check_signature(account, request.signed_text(), parameters["signature"])
        check_time(self.engine.venue.time, parameters)
        self.engine.advance()
        if private.counts_orders:
            self.limiter.require_order(request.api_key)
            try:
                answer = private.handler(account, parameters, fault)
            except PracticeRefusal as refusal:
                if refusal.counts_order:
                    limit_headers |= self.limiter.count_order(request.api_key)
                raise
            limit_headers |= self.limiter.count_order(request.api_key)
            return answer
        answer = private.handler(account, parameters)
        if fault is not None and name == "GET /api/v3/myTrades":
            return faulty_trades(answer, fault, self.engine.venue.time.now_ms())
        return answer

    def _public(
        self, route: Route[PublicHandler], parameters: Parameters, fault: Fault | None
    ) -> Any:
        if fault is None:
            return route.handler(parameters)
        if fault.kind is FaultKind.STALE_CANDLES and route.path == "/api/v3/klines":
            return self.public.klines(parameters, fault.seconds)
        answer = route.handler(parameters)
        return faulty_listings(answer, fault) if route.path == "/api/v3/exchangeInfo" else answer

    def _no_route(self, request: Request) -> PracticeRefusal:
        """Return the refusal of a path that does not exist, or not for this method."""
        status = 405 if request.path in self._methods else 404
        call = f"{request.method} {request.path}"
        return PracticeRefusal(
            -1020, f"The practice exchange has no call '{call[:100]}'.", status=status
        )

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
                answer = Answer(fault.body_status, fault.body.encode(errors="replace"))
            case FaultKind.SLOW:
                await asyncio.sleep(fault.seconds)
        assert answer is not None
        if fault.kind is FaultKind.MALFORMED:
            answer = Answer(200, answer.body[: len(answer.body) // 2] + b"<html>")
        await _send(send, answer, break_off=fault.kind is FaultKind.RESET_AFTER)


def _parameters(request: Request) -> tuple[dict[str, str], PracticeRefusal | None]:
    """Return what was sent, or nothing and the refusal: the request's weight counts in any case."""
    try:
        return request.parameters(), None
    except PracticeRefusal as refusal:
        return {}, refusal


def _check_head(scope: Scope) -> None:
    """Raise PracticeRefusal for a long head, another HTTP, or two ways to end the body."""
    size = len(scope["query_string"]) + sum(len(n) + len(v) for n, v in scope["headers"])
    if size > _LONGEST_HEAD:
        raise PracticeRefusal(-1101, "Too many parameters sent for this endpoint.", status=431)
    doubt = {b"content-length", b"transfer-encoding"} <= {name for name, _ in scope["headers"]}
    if doubt or scope["http_version"] not in ("1.0", "1.1"):
        raise PracticeRefusal(-1100, "Illegal characters found in a parameter.")


async def _body(receive: Receive) -> bytes:
    """Return the body.

    Raises PracticeRefusal (413) for one that no call can have, BrokenOffError for half a one.
    """
    pieces, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BrokenOffError("the client left before its request was complete")
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > _LONGEST_BODY:
            raise PracticeRefusal(-1101, "Too many parameters sent for this endpoint.", status=413)
        more = message.get("more_body", False)
    return b"".join(pieces)


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
