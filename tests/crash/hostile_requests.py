"""Requests that the practice exchange must refuse, by seed: valid ones of every route that one or
more changes make wrong, and bytes that are no request at all.

The routes are the exchange's own tables, so a new route is attacked without an entry here. A change
is of the parameters before they are signed, of the signature and the key, or of the bytes.
"""

import hashlib
import hmac
import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus

from penstock.practice.app import PracticeApp
from penstock.practice.parameters import DECIMAL, INT, LONG, TIME, Kind, Route

KEY, SECRET, TOKEN = "key", "secret", "control-token"
#: A text of each kind that is no enumeration, by the parameter's name.
_VALID = {
    "symbol": "BTCUSDT",
    "symbols": '["BTCUSDT","ETHUSDT"]',
    "interval": "1d",
    "quantity": "0.01",
    "orderId": "1",
    "origClientOrderId": "resting",
    "newClientOrderId": "hostile",
    "recvWindow": "5000",
    "limit": "10",
    "coin": "BTC",
    "asset": "BTC",
    "type": "MARKET",
    "side": "BUY",
}
_NUMBERS = (
    "1e-2",
    "+0.01",
    " 0.01",
    "0.01 ",
    "0_0.01",
    "٠.٠١",
    "１",
    "0.01\n",
    "0.01\x00",
    "--1",
    "-1",
    "NaN",
    "Infinity",
    "1e400",
    "9" * 40,
    "9" * 5000,
    ".01",
    "0.",
    "1,000",
    "0x1",
    "1/2",
    "",
    "²",
    "0.000000001",
)
_TEXTS = (
    "",
    " ",
    "ä",
    "\x00",
    "x" * 37,
    "x" * 9000,
    "a b",
    "a/../b",
    "';--",
    "<html>",
    "\U0001f600",
    "\u202eBUY",
    "btcusdt",
    "BTC/USDT",
    "{}",
    "[]",
    '["BTCUSDT", "ETHUSDT"]',
    '["BTCUSDT","BTCUSDT"]',
    "null",
    "%s%n",
    "buy",
    "None",
)
_RAW = (
    b"%ff",
    b"%c3%28",
    b"%",
    b"%g1",
    b"%00",
    b"%ed%a0%80",
    b"%u0041",
    b"%f0%9f%98",
    b"+",
    b"%0d%0a",
)
_VALUES: tuple[Any, ...] = (
    None,
    [],
    {},
    "",
    "NaN",
    "Infinity",
    "-1e400",
    -1,
    1e308,
    10**40,
    "\ud800",
    ["BTC"],
    {"a": 1},
    "\x00",
    True,
)
_FIELDS = (
    *("api_key", "secret", "asset", "quantity", "balances", "client_order_id"),
    *("symbol", "price", "price_tick", "lot_step", "bounds", "price_band", "bid", "ask", "size"),
    *("seconds", "to", "most", "newest", "page"),
    *("kind", "path", "nth", "times", "probability", "body", "body_status", "rows"),
)
_EXTREMES = (0, 1, 1000, 2**31 - 1, 10**12, 10**14, 9 * 10**15, 2**62, 2**63 - 1)
Pairs = list[tuple[bytes, bytes]]


@dataclass
class Call:
    """A request in the making."""

    method: str
    path: str
    query: Pairs = field(default_factory=list)
    body: Pairs = field(default_factory=list)
    key: bytes | None = None
    secret: str | None = None
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    content: bytes | None = None
    """The body where it is no form."""
    sign: Callable[[str], bytes] = str.encode
    """Gives the signature that is sent from the right one."""

    def wire(self) -> bytes:
        """Return the request's bytes."""
        query, body = _joined(self.query), self.content or _joined(self.body)
        if self.secret is not None:
            right = hmac.new(self.secret.encode(), query + body, hashlib.sha256).hexdigest()
            query += (b"&" if query else b"") + b"signature=" + self.sign(right)
        target = self.path.encode("latin-1") + (b"?" + query if query else b"")
        headers = [(b"Host", b"127.0.0.1"), *self.headers]
        if self.key is not None:
            headers.append((b"X-MBX-APIKEY", self.key))
        if body and not any(name.lower() == b"content-type" for name, _ in headers):
            headers.append((b"Content-Type", b"application/x-www-form-urlencoded"))
        if body and not any(name.lower() == b"transfer-encoding" for name, _ in headers):
            headers.append((b"Content-Length", str(len(body)).encode()))
        head = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        return b"%s %s HTTP/1.1\r\n%s\r\n%s" % (self.method.encode(), target, head, body)


def _joined(pairs: Pairs) -> bytes:
    return b"&".join(name + b"=" + value for name, value in pairs)


def encoded(text: str) -> bytes:
    return quote_plus(text, errors="surrogatepass").encode()


@dataclass(frozen=True)
class Attack:
    """What is sent on one connection, one request or several in a row."""

    what: str
    """The route and its changes."""
    data: bytes = field(repr=False)
    """The bytes."""
    requests: int = 1
    """How many answers there may be."""
    is_refused: bool = True
    """Whether every answer must be a refusal."""
    is_whole: bool = True
    """Whether the server can know where the request ends. Else the connection is closed."""


class HostileRequests:
    """Attacks on every route of an application, by seed."""

    def __init__(self, app: PracticeApp, seed: str) -> None:
        self._chance = random.Random(seed)
        self._app = app
        self._routes: list[Route[Any]] = [*app.public_routes.values(), *app.private_routes.values()]
        self._controls = sorted(app.control.routes())

    def __iter__(self) -> Iterator[Attack]:
        while True:
            kind = self._chance.choices(
                (self._changed, self._extreme, self._row, self._control, self._bytes),
                (60, 10, 5, 15, 10),
            )[0]
            yield kind()

    def valid(self, route: Route[Any]) -> Call:
        """Return a call of the route with what it needs and some of what it may have."""
        chance, pairs = self._chance, []
        for each in route.reads:
            if each.is_mandatory or (each.name in _VALID and chance.random() < 0.3):
                pairs.append((each.name.encode(), encoded(_text(each.name, each.kind))))
        call = Call(route.method, route.path)
        if route.path == "/api/v3/order" and route.method == "POST":
            pairs.append((b"quantity", b"0.01"))
        pairs = list(dict(pairs).items())
        if route.is_signed:
            call.key, call.secret = KEY.encode(), SECRET
            pairs.append((b"timestamp", str(time.time_ns() // 1_000_000).encode()))
        chance.shuffle(pairs)
        cut = (
            len(pairs) if route.method == "GET" else chance.choice((0, len(pairs), len(pairs) // 2))
        )
        call.query, call.body = pairs[:cut], pairs[cut:]
        return call

    def order(self, **terms: str) -> Attack:
        """Return an order that is right."""
        call = Call("POST", "/api/v3/order", key=KEY.encode(), secret=SECRET)
        stamp = str(time.time_ns() // 1_000_000)
        given = {
            "symbol": "BTCUSDT",
            "side": "BUY",
            "quantity": "0.01",
            "timestamp": stamp,
            **terms,
        }
        call.query = [(name.encode(), encoded(value)) for name, value in given.items()]
        return Attack("a right order", call.wire(), is_refused=False)

    def _changed(self) -> Attack:
        weights = [1 if route.method == "GET" else 4 for route in self._routes]
        (route,) = self._chance.choices(self._routes, weights)
        call = self.valid(route)
        names, amounts = [], any(each.kind is DECIMAL for each in route.reads)
        for _ in range(self._chance.choice((1, 1, 1, 2))):
            change = self._chance.choice(_CHANGES if route.is_signed else _OPEN_CHANGES)
            if amounts and self._chance.random() < 0.4:
                change = _amount
            names.append(change.__name__.strip("_"))
            change(self._chance, call)
        return Attack(f"{route.name}: {', '.join(names)}", call.wire())

    def _extreme(self) -> Attack:
        """A question that is legal, with numbers and times at the ends of what may be sent."""
        route = self._chance.choice([each for each in self._routes if each.method == "GET"])
        call, given = self.valid(route), dict[str, str]()
        for each in route.reads:
            if each.kind in (LONG, INT, TIME) and self._chance.random() < 0.6:
                numbers = [number for number in _EXTREMES if number <= (each.kind.most or 0)]
                given[each.name] = str(self._chance.choice(numbers))
        kept = [pair for pair in call.query if pair[0].decode() not in given]
        call.query = [(name.encode(), text.encode()) for name, text in given.items()] + kept
        return Attack(f"{route.name} with {given}", call.wire(), is_refused=False)

    def _row(self) -> Attack:
        """Several wrong requests in one packet."""
        parts = [self._changed() for _ in range(self._chance.randint(2, 6))]
        data = b"".join(part.data for part in parts)
        return Attack(" | ".join(part.what for part in parts), data, len(parts))

    def _control(self) -> Attack:
        """A control call without the token, or with a body that no call understands."""
        chance, route = self._chance, self._chance.choice(self._controls)
        method, path = route.split(" ")
        call = Call(method, path, headers=[(b"Content-Type", b"application/json")])
        if method == "POST" and chance.random() < 0.7:
            call.headers.append((b"Authorization", f"Bearer {TOKEN}".encode()))
            call.content = _control_body(chance)
            return Attack(f"{route}: {call.content[:200]!r}", call.wire(), is_refused=False)
        call.content = b"{}"
        call.headers.append((b"Authorization", chance.choice((b"", b"Bearer x", b"\xff"))))
        return Attack(f"{route} without the token", call.wire())

    def _bytes(self) -> Attack:
        """Bytes that are no request, or not a whole one."""
        order = self.valid(self._app.private_routes["POST /api/v3/order"])
        what = self._chance.choice(sorted(_BYTES))
        return Attack(f"bytes: {what}", _BYTES[what](self._chance, order.wire()), is_whole=False)


def _text(name: str, kind: Kind) -> str:
    """Return a legal text of a parameter."""
    if name in _VALID:
        return _VALID[name]
    return kind.values[0] if kind.values else "1"


def _spot(chance: random.Random, call: Call) -> tuple[Pairs, int]:
    """Return a parameter of the call, as a list and a place; adds an unknown one where none is."""
    pairs = chance.choice([pairs for pairs in (call.query, call.body) if pairs] or [call.query])
    if not pairs:
        pairs.append((b"unknown", b"1"))
    return pairs, chance.randrange(len(pairs))


def _number(chance: random.Random, call: Call) -> None:
    pairs, place = _spot(chance, call)
    pairs[place] = pairs[place][0], encoded(chance.choice(_NUMBERS))
    _unknown(chance, call)


def _amount(chance: random.Random, call: Call) -> None:
    name = chance.choice((b"quantity", b"price", b"quoteOrderQty", b"stopPrice", b"icebergQty"))
    for pairs in (call.query, call.body):
        pairs[:] = [pair for pair in pairs if pair[0] != name]
    call.query.append((name, encoded(chance.choice(_NUMBERS))))


def _word(chance: random.Random, call: Call) -> None:
    pairs, place = _spot(chance, call)
    pairs[place] = pairs[place][0], encoded(chance.choice(_TEXTS))
    _unknown(chance, call)


def _raw(chance: random.Random, call: Call) -> None:
    pairs, place = _spot(chance, call)
    name, value = pairs[place]
    raw = chance.choice(_RAW)
    pairs[place] = chance.choice(((name, value + raw), (name + raw, value)))


def _unknown(chance: random.Random, call: Call) -> None:
    name = chance.choice(
        (b"unknown", b"stopprice", b"Symbol", b"", b"a" * 3000, b"%00", b"quantity%20")
    )
    call.query.append((name, chance.choice((b"1", b"", b"%22"))))


def _many(chance: random.Random, call: Call) -> None:
    call.query += [(b"p%d" % number, b"1") for number in range(chance.choice((30, 900)))]


def _doubled(chance: random.Random, call: Call) -> None:
    pairs, place = _spot(chance, call)
    pairs += [pairs[place], (pairs[place][0], b"2")]


def _path(chance: random.Random, call: Call) -> None:
    ways = ("/", "//", "/..", "/x" * 2000, "%2f", "%00", "%ff", ";a=b", "/api/v3/order")
    call.path = chance.choice(
        (call.path + chance.choice(ways), call.path.upper(), "/", "*", "/api")
    )


def _method(chance: random.Random, call: Call) -> None:
    call.method = chance.choice(("PUT", "PATCH", "OPTIONS", "TRACE", "BREW", "get", "M" * 200))


def _type(chance: random.Random, call: Call) -> None:
    kinds = (b"application/json", b"multipart/form-data; boundary=x", b"text/plain", b"", b"\xff")
    call.headers.append((b"Content-Type", chance.choice(kinds)))
    call.content = chance.choice(
        (b'{"symbol":"BTCUSDT"}', b"--x\r\n", b"\x00\xff", b"symbol=BTCUSDT")
    )
    _unknown(chance, call)


def _unit(chance: random.Random, call: Call) -> None:
    units = (b"NANOSECOND", b"", b"1", b"\xff", b"MICROSECOND,MILLISECOND")
    call.headers.append((b"X-MBX-TIME-UNIT", chance.choice(units)))


def _large(chance: random.Random, call: Call) -> None:
    call.content = chance.choice((b"a=", b"", b"&")) + b"9" * chance.choice((70_000, 1_500_000))
    _unknown(chance, call)


def _forged(chance: random.Random, call: Call) -> None:
    ways: tuple[Callable[[str], bytes], ...] = (
        lambda right: right[:-1].encode() + (b"0" if right[-1] != "0" else b"1"),
        lambda right: right[:-1].encode(),
        lambda right: right.encode() + b"0",
        lambda _: b"",
        lambda _: b"%ff" * 32,
        lambda _: b"0" * 9000,
        lambda right: right.encode() + b"&signature=" + right.encode(),
        lambda right: right.encode() + b"&quantity=0.02&newClientOrderId=added",
        lambda right: ("٠" * len(right)).encode("latin-1", "replace"),
    )
    call.sign = chance.choice(ways)


def _stranger(chance: random.Random, call: Call) -> None:
    keys = (None, b"", b"unknown", b"\xff\xfe", b"key " * 30, b"key\t,key", b"x" * 5000)
    call.key = chance.choice(keys)


def _other_secret(chance: random.Random, call: Call) -> None:
    call.secret = chance.choice(("", "Secret", "secret ", "s" * 1000))


def _unsigned(_: random.Random, call: Call) -> None:
    call.secret = None


def _stamp(chance: random.Random, call: Call) -> None:
    for pairs in (call.query, call.body):
        pairs[:] = [pair for pair in pairs if pair[0] != b"timestamp"]
    now = time.time_ns() // 1_000_000
    far = (
        now - 60_000,
        now + 60_000,
        now * 1000 - 60_000_000,
        0,
        10**19,
        10**40,
        "",
        "-1",
        "x",
        None,
    )
    given = chance.choice(far)
    if given is not None:
        call.query.append((b"timestamp", str(given).encode()))


def _window(chance: random.Random, call: Call) -> None:
    for pairs in (call.query, call.body):
        pairs[:] = [pair for pair in pairs if pair[0] != b"recvWindow"]
    wrong = (b"60001", b"-1", b"1e3", b"", b"5000.1234", b"9" * 30, b"%ff")
    call.query.append((b"recvWindow", chance.choice(wrong)))


_OPEN_CHANGES = (
    _number,
    _word,
    _raw,
    _unknown,
    _many,
    _doubled,
    _path,
    _method,
    _type,
    _unit,
    _large,
)
_CHANGES = (
    *_OPEN_CHANGES,
    _amount,
    _forged,
    _stranger,
    _other_secret,
    _unsigned,
    _stamp,
    _window,
)


def _control_body(chance: random.Random) -> bytes:
    """Return a body of a control call in which no field is right."""
    if chance.random() < 0.3:
        broken = (b"[]", b"1", b"null", b"{", b"\xff\xfe", b'"a"', b"[" * 50_000, b"{}" * 3, b"NaN")
        return chance.choice(broken)
    chosen = chance.sample(_FIELDS, chance.randint(1, len(_FIELDS)))
    return json.dumps({name: chance.choice(_VALUES) for name in chosen}).encode()


def _garbage(chance: random.Random, _: bytes) -> bytes:
    return chance.randbytes(chance.randint(1, 3000)) + b"\r\n\r\n"


def _header_of(text: bytes) -> Callable[[random.Random, bytes], bytes]:
    return lambda _, order: order.replace(b"\r\n", b"\r\n" + text + b"\r\n", 1)


_BYTES: dict[str, Callable[[random.Random, bytes], bytes]] = {
    "garbage": _garbage,
    "cut off": lambda chance, order: order[: chance.randint(1, len(order) - 1)],
    "a body that does not come": _header_of(b"Content-Length: 99999"),
    "two lengths": _header_of(b"Content-Length: 3\r\nContent-Length: 4"),
    "a length that is no number": _header_of(b"Content-Length: -1"),
    "a wrong chunk": lambda _, order: (
        order.split(b"\r\n\r\n")[0]
        + b"\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n"
    ),
    "length and chunks": lambda _, order: (
        order.split(b"\r\n\r\n")[0]
        + b"\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        + order[:20]
    ),
    "a header of 200 kB": _header_of(b"X-Long: " + b"a" * 200_000),
    "20,000 headers": _header_of(b"\r\n".join(b"X-%d: 1" % n for n in range(20_000))),
    "a body of 32 MB": lambda _, order: (
        order.split(b"\r\n")[0]
        + b"\r\nHost: 127.0.0.1\r\nContent-Length: 32000000\r\n\r\n"
        + bytes(32_000_000)
    ),
    "a header with a nul": _header_of(b"X-Nul: a\x00b"),
    "0xff in the target": lambda _, order: order.replace(b"?", b"?\xff", 1).replace(
        b"/api", b"/\xffapi", 1
    ),
    "a blank in the target": lambda _, order: order.replace(b"/api", b"/ api", 1),
    "HTTP/9": lambda _, order: order.replace(b"HTTP/1.1", b"HTTP/9.9", 1),
    "no host": lambda _, order: order.replace(b"Host: 127.0.0.1\r\n", b"", 1),
    "HTTP/2": lambda _, __: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00" * 30,
    "TLS": lambda chance, _: (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + chance.randbytes(300)
    ),
}
