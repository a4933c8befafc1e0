"""The HTTP adapter under a venue's session: an ordinary exchange costs a third of requests' time.

Most of that time goes into headers, which four layers split and join. Here a request is written in
one piece on a connection that is open already, and the head of its answer is read at once.
Everything else is done by requests: it opens connections, verifies certificates and asks proxies.
An answer that is not ordinary is read by http.client, beginning with the bytes that have come.
Errors are those of requests.
"""

import errno
import http.client
import io
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import get_encoding_from_headers, select_proxy
from urllib3.exceptions import ClosedPoolError, IncompleteRead, ProtocolError, ReadTimeoutError

#: Addresses and headers that urllib3 sends as they are.
_ADDRESS = re.compile(
    r"(https?://[a-z0-9-]+(?:\.[a-z0-9-]+)*(?::\d+)?)(/(?:[\w/.~!$&'()*+,;=:@?-]|%[0-9A-F]{2})*)",
    re.ASCII,
)
_LINES = re.compile(r"(?:[\w!#$%&'*+.^`|~-]+: [ -~]*\r\n)+", re.ASCII)
#: Headers that urllib3 adds where they are missing, and those that it treats in ways of their own.
_NEEDED = frozenset({"user-agent", "accept-encoding"})
_SPECIAL = frozenset({"host", "transfer-encoding", "expect"})
#: The head of an ordinary answer, and what may not stand in it twice.
_HEAD = re.compile(
    rb"HTTP/1\.1 ([2-5]\d\d) ([ -~]*)\r\n((?:[\w!#$%&'*+.^`|~-]+:[\t -~]*\r\n){1,99})\r\n"
)
_LONGEST_HEAD = 65_536
_PIECE = 65_536
_FOLD = re.compile(r"[ \t]*\r\n[ \t]+")
#: After these errors of sending, the answer of a venue that did not read on may be there.
_ANSWERED = (errno.EPIPE, errno.ECONNRESET, errno.EPROTOTYPE)


class VenueAdapter(HTTPAdapter):
    """Sends each request once. Thread-safe."""

    def __init__(self, connections: int) -> None:
        super().__init__(pool_maxsize=connections, max_retries=0)
        self._ways: dict[tuple[str, bool | str], _Way] = {}

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        options = {
            "stream": stream,
            "timeout": timeout,
            "verify": verify,
            "cert": cert,
            "proxies": proxies,
        }
        url = str(request.url)
        address = _ADDRESS.fullmatch(url)
        is_direct = not (proxies and select_proxy(url, proxies))
        is_usual = verify and is_direct and isinstance(timeout, (int, float))
        if address is None or stream or cert or not is_usual:
            return super().send(request, **options)
        host, target = address.groups()
        way = self._ways.get((host, verify))
        text = None if way is None else way.text(request, target)
        connection = None if way is None or text is None else way.open_connection()
        if way is None or text is None or connection is None:
            response = super().send(request, **options)
            pool = self.get_connection_with_tls_context(request, verify, proxies, cert)
            self._ways[host, verify] = _Way(pool)
            return response
        exchange = _Exchange(request, target, way.pool, connection, float(timeout))
        try:
            answer = exchange.answer(text)
        except BaseException:
            connection.close()
            way.pool._put_conn(None)
            raise
        if isinstance(answer, urllib3.HTTPResponse):
            return self.build_response(request, answer)
        answer.connection = self  # as requests does
        return answer

    def close(self) -> None:
        self._ways.clear()
        super().close()


class _Way:
    """How requests go to one host: its pool of connections, and its name in a request."""

    def __init__(self, pool: Any) -> None:
        self.pool: urllib3.HTTPConnectionPool = pool
        host, port = str(pool.host), pool.port
        is_default = port in (None, pool.ConnectionCls.default_port)
        self._host = f"Host: {host}\r\n" if is_default else f"Host: {host}:{port}\r\n"

    def text(self, request: requests.PreparedRequest, target: str) -> bytes | None:
        """Return the request as urllib3 sends it; None where urllib3 does more than to write it."""
        headers, body = list(request.headers.items()), request.body
        names = {name.lower() for name, _ in headers}
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
        is_plain = (
            names >= _NEEDED
            and names.isdisjoint(_SPECIAL)
            and ("content-length" in names if body or request.method != "GET" else not body)
            and (not body or isinstance(body, bytes))
            and _LINES.fullmatch(lines)
            and lines.count("\n") == len(headers)  # no value begins another header
        )
        if not is_plain or not str(request.method).isalpha():
            return None
        head = f"{request.method} {target} HTTP/1.1\r\n{self._host}{lines}\r\n".encode("ascii")
        return head + body if isinstance(body, bytes) else head

    def open_connection(self) -> Any:
        """Return a connection that is open, taken from its pool; None where there is none."""
        try:
            connection: Any = self.pool._get_conn()
        except ClosedPoolError:
            return None
        if connection.sock is not None:
            return connection
        self.pool._put_conn(connection)
        return None


@dataclass(frozen=True)
class _Exchange:
    """One request and its answer, on a connection that nobody else uses meanwhile."""

    request: requests.PreparedRequest
    target: str
    pool: urllib3.HTTPConnectionPool
    connection: Any
    timeout: float

    def answer(self, text: bytes) -> requests.Response | urllib3.HTTPResponse:
        """Send the request, and return a whole answer, or one whose body is still to be read.

        With a whole answer the connection is back in its pool.
        """
        with self._errors_of_head():
            self.connection.sock.settimeout(self.timeout)
            self._send(text)
            data, end = self._head()
            head = _HEAD.fullmatch(data, 0, end) if end <= _LONGEST_HEAD else None
            fields = None if head is None else _fields(head[3].decode("ascii"))
            is_bodiless = self.request.method == "HEAD" or (head and head[1] in (b"204", b"304"))
            if head is None or fields is None or is_bodiless:
                return self._read_on(data)
        length = int(fields["content-length"])
        body = self._body(data[end:], length)
        if len(body) > length or "close" in fields.get("connection", "").lower():
            self.connection.close()
        self.pool._put_conn(self.connection)
        status, reason, body = int(head[1]), head[2].decode("ascii").strip(), body[:length]
        if "content-encoding" in fields:
            return urllib3.HTTPResponse(
                io.BytesIO(body),
                fields,
                status,
                11,
                "HTTP/1.1",
                reason,
                preload_content=False,
                decode_content=False,
                request_method=self.request.method,
            )
        response = requests.Response()
        response.status_code, response.reason, response.headers = status, reason, fields
        response.encoding = _encoding(fields.get("content-type"))
        response.url, response.request = str(self.request.url), self.request
        response.raw = io.BytesIO(body)
        response._content, response._content_consumed = body, True  # type: ignore[attr-defined]  # read already
        return response

    def _send(self, text: bytes) -> None:
        try:
            self.connection.sock.sendall(text)
        except OSError as error:
            if error.errno not in _ANSWERED:
                raise requests.ConnectionError(
                    ProtocolError("Connection aborted.", error), request=self.request
                ) from error

    def _head(self) -> tuple[bytes, int]:
        """Return what came, with the head's end in it; the end is the last byte where none came."""
        data = self.connection.sock.recv(_PIECE)
        if not data:
            raise http.client.RemoteDisconnected("Remote end closed connection without response")
        while (end := data.find(b"\r\n\r\n")) < 0 and len(data) <= _LONGEST_HEAD:
            piece = self.connection.sock.recv(_PIECE)
            if not piece:
                break
            data += piece
        return data, end + 4 if end >= 0 else len(data)

    def _body(self, begun: bytes, length: int) -> bytes:
        """Return the body, of which the first bytes have come."""
        pieces, got = [begun], len(begun)
        with self._errors_of_body():
            while got < length:
                piece = self.connection.sock.recv(min(length - got, 16 * _PIECE))
                if not piece:
                    raise IncompleteRead(got, length - got)
                pieces.append(piece)
                got += len(piece)
        return b"".join(pieces)

    def _read_on(self, data: bytes) -> urllib3.HTTPResponse:
        """Have http.client and urllib3 read the answer that begins with `data`."""
        read = http.client.HTTPResponse(
            _Begun(self.connection.sock, data),  # type: ignore[arg-type]  # all it needs of a socket
            method=self.request.method,
        )
        read.begin()
        if read.will_close:
            self.connection.close()
        return urllib3.HTTPResponse(
            read,
            urllib3.HTTPHeaderDict(
                [(name, _FOLD.sub(" ", value)) for name, value in read.msg.items()]
            ),
            read.status,
            read.version,
            "HTTP/1.1",
            read.reason,
            preload_content=False,
            decode_content=False,
            original_response=read,
            pool=self.pool,
            connection=self.connection,
            request_method=self.request.method,
        )

    @contextmanager
    def _errors_of_head(self) -> Iterator[None]:
        """Raise what requests raises where no answer begins."""
        try:
            yield
        except TimeoutError as error:
            message = f"Read timed out. (read timeout={self.timeout})"
            raise requests.ReadTimeout(
                ReadTimeoutError(self.pool, self.target, message), request=self.request
            ) from error
        except ssl.SSLError as error:
            raise requests.exceptions.SSLError(error, request=self.request) from error
        except requests.RequestException:
            raise
        except urllib3.exceptions.InvalidHeader as error:
            raise requests.exceptions.InvalidHeader(error, request=self.request) from error
        except (OSError, http.client.HTTPException) as error:
            raise requests.ConnectionError(
                ProtocolError("Connection aborted.", error), request=self.request
            ) from error

    @contextmanager
    def _errors_of_body(self) -> Iterator[None]:
        """Raise what requests raises where an answer breaks off."""
        try:
            yield
        except TimeoutError as error:
            raise requests.ConnectionError(
                ReadTimeoutError(self.pool, None, "Read timed out."),
                request=self.request,
            ) from error
        except ssl.SSLError as error:
            raise requests.exceptions.SSLError(error, request=self.request) from error
        except (OSError, http.client.HTTPException) as error:
            raise requests.exceptions.ChunkedEncodingError(
                ProtocolError(f"Connection broken: {error!r}", error), request=self.request
            ) from error


class _Begun:
    """A socket of which some bytes have been read already."""

    def __init__(self, sock: Any, data: bytes) -> None:
        self._sock, self._data = sock, data

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_ReadOn(self._data, self._sock.makefile("rb", buffering=0)))


class _ReadOn(io.RawIOBase):
    """Gives some bytes first, and then what comes from a file."""

    def __init__(self, data: bytes, rest: io.RawIOBase) -> None:
        self._data, self._rest = data, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if not self._data:
            return self._rest.readinto(buffer)
        piece, self._data = self._data[: len(buffer)], self._data[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        self._rest.close()
        super().close()


def _fields(lines: str) -> CaseInsensitiveDict[str] | None:
    """Return the headers of an ordinary answer: each once, and with the length of its body."""
    pairs = [line.partition(":")[::2] for line in lines.split("\r\n")[:-1]]
    found = CaseInsensitiveDict((name, value.lstrip(" \t")) for name, value in pairs)
    length = found.get("content-length", "")
    is_ordinary = len(found) == len(pairs) and "transfer-encoding" not in found and length.isdigit()
    return found if is_ordinary else None


@lru_cache(maxsize=64)
def _encoding(content_type: str | None) -> str | None:
    return get_encoding_from_headers({} if content_type is None else {"content-type": content_type})
