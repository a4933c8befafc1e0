"""The adapter of a venue's session against requests' own: the same requests, answers and errors."""

import itertools
import random
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from gzip import compress
from ipaddress import ip_address
from pathlib import Path

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from requests.adapters import HTTPAdapter

from penstock.adapters.exchanges.http_adapter import VenueAdapter
from penstock.adapters.exchanges.venue_session import VenueSession

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
ENDED = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
BODY = compress(b'{"serverTime":1700000000000}')
GZIP = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
HEADERS = b"".join(b"h%d: x\r\n" % k for k in range(101))

ANSWERS = {
    "plain": PLAIN,
    "refusal": PLAIN.replace(b"200 OK", b"400 Bad Request"),
    "no reason": PLAIN.replace(b"200 OK", b"200"),
    "unknown status": PLAIN.replace(b"200 OK", b"999 Odd"),
    "status that is none": PLAIN.replace(b"200 OK", b"2x0 OK"),
    "ended": ENDED,
    "moved": PLAIN.replace(b"200 OK", b"302 Found\r\nLocation: /elsewhere"),
    "gzip": GZIP,
    "gzip that is none": GZIP.replace(BODY, b"x" * len(BODY)),
    "gzip that breaks off": GZIP.replace(BODY, BODY[:-9]).replace(
        b"Length: %d" % len(BODY), b"Length: %d" % (len(BODY) - 9)
    ),
    "chunked": CHUNKED,
    "chunked that breaks off": CHUNKED[:-8],
    "chunks that are none": CHUNKED.replace(b"\r\n2\r\n", b"\r\nz\r\n"),
    "both lengths": CHUNKED.replace(b"\r\n\r\n2", b"\r\nContent-Length: 99\r\n\r\n2"),
    "no length": PLAIN.replace(b"Content-Length: 2\r\n", b""),
    "length twice": PLAIN.replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\n"),
    "two lengths": PLAIN.replace(b"\r\n\r\n", b"\r\nContent-Length: 1\r\n\r\n"),
    "length below zero": PLAIN.replace(b"Length: 2", b"Length: -2"),
    "length that is none": PLAIN.replace(b"Length: 2", b"Length: two"),
    "longer than stated": PLAIN + b"{}",
    "shorter than stated": PLAIN.replace(b"Length: 2", b"Length: 9"),
    "another answer behind it": PLAIN + PLAIN.replace(b"{}", b"[]"),
    "go on first": b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN,
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "no content with a length": PLAIN.replace(b"200 OK", b"204 No Content"),
    "version 1.0": PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "version 2": PLAIN.replace(b"HTTP/1.1", b"HTTP/2"),
    "two cookies": PLAIN.replace(b"\r\n\r\n", b"\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n"),
    "folded header": PLAIN.replace(b"\r\n\r\n", b"\r\nX: a\r\n  b\r\n\r\n"),
    "header without a colon": PLAIN.replace(b"\r\n\r\n", b"\r\nX\r\n\r\n"),
    "header with spaces": PLAIN.replace(b"\r\n\r\n", b"\r\nX:  \t a b \r\n\r\n"),
    "header of no text": PLAIN.replace(b"\r\n\r\n", b"\r\nX:\r\n\r\n"),
    "header beyond ASCII": PLAIN.replace(b"\r\n\r\n", b"\r\nX: \xe9\r\n\r\n"),
    "too many headers": PLAIN.replace(b"\r\n\r\n", b"\r\n" + HEADERS + b"\r\n"),
    "too long a header": PLAIN.replace(b"\r\n\r\n", b"\r\nX: " + b"x" * 70_000 + b"\r\n\r\n"),
    "long headers": PLAIN.replace(b"\r\n\r\n", (b"\r\nX: " + b"x" * 40_000) * 2 + b"\r\n\r\n"),
    "lines of one character": PLAIN.replace(b"\r\n", b"\n"),
    "no answer": b"",
    "no status": b"\r\n\r\n",
    "no HTTP": b"SSH-2.0\r\n\r\n",
    "half a head": PLAIN[:40],
    "head without an end": PLAIN[:-4],
}


@dataclass
class Wire:
    """A server that says `answer` to each request but the first of a connection, byte for byte.

    The first is answered as a venue does: it opens the connection.
    """

    url: str = ""
    answer: bytes = b""
    stays_silent: bool = False
    """Whether the connection is kept open behind the answer. Else it is closed."""
    in_pieces: bool = False
    """Whether each byte is sent alone."""
    asked: list[bytes] = field(default_factory=list)
    """The requests, as they came."""


def serve(wire: Wire, listener: socket.socket) -> None:
    while True:
        try:
            peer = listener.accept()[0]
        except OSError:  # closed: the test is over
            return
        threading.Thread(target=talk, args=(wire, peer), daemon=True).start()


def talk(wire: Wire, peer: socket.socket) -> None:
    with peer, suppress(OSError):
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for answer in (PLAIN, wire.answer):
            request = request_of(peer)
            if not request:
                return
            wire.asked.append(request)
            parts = [answer] if not wire.in_pieces else [bytes([each]) for each in answer]
            for part in parts:
                peer.sendall(part)
        if wire.stays_silent:
            peer.recv(1)


def request_of(peer: socket.socket) -> bytes:
    """Return the next request; nothing where the peer has gone."""
    came = b""
    while b"\r\n\r\n" not in came or (came.startswith(b"POST") and not came.endswith(b"b=2")):
        piece = peer.recv(65_536)
        if not piece:
            return b""
        came += piece
    return came


@pytest.fixture(scope="module")
def server() -> Iterator[Wire]:
    wire = Wire()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        wire.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        threading.Thread(target=serve, args=(wire, listener), daemon=True).start()
        yield wire


def seen(wire: Wire, adapter: HTTPAdapter, method: str = "GET", timeout: float = 5) -> object:
    """Return what a caller sees of the second exchange on a connection, and what was sent."""
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", adapter)
    wire.asked = []
    session.request("GET", f"{wire.url}/warm", timeout=5)
    body = b"a=1&b=2" if method == "POST" else None
    try:
        answer = session.request(
            method, f"{wire.url}/x?a=%2F1", data=body, timeout=timeout, allow_redirects=False
        )
    except requests.RequestException as error:
        shown = str(error).replace(hex(id(error)), "")
        found: object = (type(error), shown.split(" object at ")[0].split("Pool(")[0])
    else:
        found = (
            answer.status_code,
            answer.reason,
            sorted((name.lower(), value) for name, value in answer.headers.items()),
            answer.content,
            answer.encoding,
            answer.url,
            answer.is_redirect,
        )
    finally:
        adapter.close()
    return found, wire.asked


def is_error(found: object) -> bool:
    return isinstance(found, tuple) and isinstance(found[0][0], type)


def usual() -> HTTPAdapter:
    return HTTPAdapter(max_retries=0)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("name", ANSWERS)
def test_answer_is_read_as_requests_reads_it(server: Wire, name: str, method: str) -> None:
    """Status, headers, body or error, and every byte that was sent."""
    server.answer, server.stays_silent, server.in_pieces = ANSWERS[name], False, False
    assert seen(server, VenueAdapter(4), method) == seen(server, usual(), method)


@pytest.mark.parametrize(
    "name", ["no answer", "half a head", "shorter than stated", "chunked that breaks off"]
)
def test_answer_that_does_not_come_is_the_same_error(server: Wire, name: str) -> None:
    """The connection stays open, and the time for the answer passes."""
    server.answer, server.stays_silent, server.in_pieces = ANSWERS[name], True, False
    ours = seen(server, VenueAdapter(4), "POST", timeout=0.1)
    assert ours == seen(server, usual(), "POST", timeout=0.1)


@pytest.mark.parametrize("name", ["plain", "gzip", "chunked", "folded header", "go on first"])
def test_answer_may_come_byte_by_byte(server: Wire, name: str) -> None:
    """Wherever the network cuts it, the answer is the same."""
    server.answer, server.stays_silent, server.in_pieces = ANSWERS[name], False, True
    assert seen(server, VenueAdapter(4)) == seen(server, usual())


def test_damaged_answers_are_read_as_requests_reads_them(server: Wire) -> None:
    """Bytes of ordinary answers are changed, lost and added at random.

    Of two faults in one answer either may be the error.
    """
    server.stays_silent, server.in_pieces = False, False
    luck = random.Random(1)
    for _ in range(300):
        answer = bytearray(luck.choice((PLAIN, ENDED, GZIP, CHUNKED)))
        for _ in range(luck.randint(1, 3)):
            at = luck.randrange(len(answer))
            piece = luck.choice((b"", b"\r\n", b"\n", b" ", b"0", bytes([luck.randrange(256)])))
            answer[at : at + luck.randint(0, 2)] = piece
        server.answer = bytes(answer)
        ours, theirs = seen(server, VenueAdapter(4)), seen(server, usual())
        assert ours == theirs or (is_error(ours) and is_error(theirs)), server.answer


@pytest.mark.parametrize(
    "name", ["newline", "beyond ASCII", "own host", "lower case", "space", "no agent"]
)
def test_odd_request_is_written_as_requests_writes_it(server: Wire, name: str) -> None:
    """Or it is refused as there: a value with a line break never becomes a header of its own."""
    odd: dict[str, dict[str, str | None]] = {
        "newline": {"X": "a\r\nY: b"},
        "beyond ASCII": {"X": "\xe9"},
        "own host": {"host": "elsewhere.example"},
        "no agent": {"User-Agent": None},
        "lower case": {"user-agent": "x", "accept-encoding": "identity"},
    }
    path = {"lower case": "/a%2f?b=%2f", "space": "/a b?c=d e#f"}.get(name, "/a")
    server.answer, server.stays_silent, server.in_pieces = PLAIN, False, False
    found = []
    for adapter in (VenueAdapter(4), usual()):
        session = VenueSession()
        session.mount("http://", adapter)
        server.asked = []
        session.request("GET", f"{server.url}/warm", timeout=5)
        try:
            session.request(
                "POST", server.url + path, data=b"a=1&b=2", headers=odd.get(name), timeout=5
            )
        except ValueError as error:
            server.asked.append(str(error).encode())
        session.close()
        found.append(server.asked)
    assert found[0] == found[1]
    assert len(found[0]) == 2


@pytest.mark.parametrize(
    ("name", "connections"),
    [("plain", 1), ("gzip", 1), ("chunked", 1), ("ended", 2), ("longer than stated", 2)],
)
def test_connection_is_kept_unless_the_venue_ends_it(name: str, connections: int) -> None:
    """The next request goes over it, and over a new one where it was ended."""
    opened = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve_kept() -> None:
            with suppress(OSError):
                while True:
                    peer = listener.accept()[0]
                    opened.append(peer)
                    threading.Thread(target=answer_all, args=(peer,), daemon=True).start()

        def answer_all(peer: socket.socket) -> None:
            with peer, suppress(OSError):
                answers = itertools.chain([PLAIN], itertools.repeat(ANSWERS[name]))
                while request_of(peer):
                    peer.sendall(next(answers))

        threading.Thread(target=serve_kept, daemon=True).start()
        session, url = VenueSession(), f"http://127.0.0.1:{listener.getsockname()[1]}/x"
        for _ in range(4):
            assert session.request("GET", url, timeout=5).ok
        assert len(opened) == connections


def test_certificate_is_verified_on_each_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is not vouched for gets no request. The environment names whose word is taken."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a venue")])
    today = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    own, secret = tmp_path / "own.pem", tmp_path / "key.pem"
    own.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own, secret)
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve_safely() -> None:
            while True:
                try:
                    peer = listener.accept()[0]
                except OSError:
                    return
                with suppress(OSError), context.wrap_socket(peer, server_side=True) as safe:
                    while request := request_of(safe):
                        asked.append(request)
                        safe.sendall(PLAIN)

        threading.Thread(target=serve_safely, daemon=True).start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/x"
        for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            monkeypatch.delenv(variable, raising=False)
        with pytest.raises(requests.exceptions.SSLError):
            VenueSession().request("GET", url, timeout=5)
        assert not asked
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(own))
        session = VenueSession()
        for _ in range(3):
            assert session.request("GET", url, timeout=5).json() == {}
        session.close()
        with pytest.raises(requests.exceptions.SSLError):
            session.request("GET", url.replace("127.0.0.1", "localhost"), timeout=5)
        assert len(asked) == 3
