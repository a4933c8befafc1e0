"""A request as it came in: its parameters, and the text that its signature covers.

Parameters are in the query or in a form body; of a name that is in both, the query's counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from penstock.practice.binance_errors import PracticeRefusal

_FORM = b"application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Request:
    """One request. Names of headers are in lower case."""

    method: str
    """The HTTP method."""
    path: str
    """The path, without the query."""
    query: bytes = b""
    """The query, as it was sent."""
    body: bytes = b""
    """The body, as it was sent."""
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    """The headers, the last of each name."""

    @property
    def api_key(self) -> str:
        """The API key; "" without one."""
        return self.headers.get(b"x-mbx-apikey", b"").decode("latin-1")

    @property
    def has_form(self) -> bool:
        """Whether the body holds parameters. A GET's never does."""
        kind = self.headers.get(b"content-type", _FORM).split(b";")[0].strip().lower()
        return self.method != "GET" and kind == _FORM

    def parameters(self) -> dict[str, str]:
        """Return all parameters by name.

        Raises PracticeRefusal: -1101 where a name is doubled in the query or the body, -1100 where
        a text is not UTF-8.
        """
        form = _pairs(self.body) if self.has_form else {}
        return form | _pairs(self.query)

    def unread(self) -> int:
        """Return how many parameters were sent where the call has none: in another kind of body."""
        return 0 if self.has_form or not self.body else 1

    def signed_text(self) -> bytes:
        """Return what the signature covers: query and body, one after the other, without it."""
        return _unsigned(self.query) + _unsigned(self.body)


def _pairs(text: bytes) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for piece in filter(None, text.split(b"&")):
        name, _, value = piece.partition(b"=")
        decoded = _decoded(name)
        if decoded in pairs:
            raise PracticeRefusal(-1101, "Duplicate values for a parameter detected.")
        pairs[decoded] = _decoded(value)
    return pairs


def _decoded(text: bytes) -> str:
    try:
        return unquote_to_bytes(text.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        raise PracticeRefusal(-1100, "Illegal characters found in a parameter.") from None


def _unsigned(text: bytes) -> bytes:
    return b"&".join(piece for piece in text.split(b"&") if not piece.startswith(b"signature="))
