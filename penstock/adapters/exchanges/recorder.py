"""Records the requests and answers of one account, without secrets.

What signs or dates a request is left out, and so is what names the account. Headers are not
recorded: keys and signatures of most venues stand there. Lists about all symbols are cut to one.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests

from penstock.adapters.exchanges.venue_session import REDACTED, VenueSession
from penstock.core.clock import MachineClock
from penstock.core.machine import SYSTEM_CLOCK
from penstock.ports.recording import RecordedAnswer

#: Names of fields that sign or date a request, or that name an account or its owner.
_SECRET = re.compile(
    r"key|secret|sign|token|pass|nonce|recv_?window|^timestamp$|uid$|user|account_?id|acct_?id|"
    r"parent|master|affiliate|invit|mail|phone|address|^ips?$|^ip_|note|label|kyc|vip",
    re.IGNORECASE,
)
#: A list with more rows is cut to those about the symbol.
_MANY = 20


class AnswerRecord:
    """AnswerRecorder on the session of one ccxt client."""

    def __init__(
        self,
        session: VenueSession,
        secrets: Sequence[str],
        about: Sequence[str],
        *,
        clock: MachineClock = SYSTEM_CLOCK,
    ) -> None:
        """Begin to record. `secrets` are replaced wherever they stand; `about` are assets."""
        self._clock, self._begun = clock, clock.elapsed_seconds()
        self._secrets = [secret for secret in secrets if secret]
        self._about = {asset.upper() for asset in about}
        self._named = {name for asset in self._about for name in _names_of(asset)}
        self._step = ""
        self._loses = False
        self._answers: list[RecordedAnswer] = []
        session.watch(self._record)

    def begin(self, step: str) -> None:
        self._step, self._loses = step, False

    def lose_next_order(self) -> None:
        self._loses = True

    def answers(self) -> Sequence[RecordedAnswer]:
        return tuple(self._answers)

    def _record(
        self, method: str, url: str, body: object, response: requests.Response | None
    ) -> None:
        """Record a request and its answer, None where none came. Raises ReadTimeout where the
        answer is to be lost.
        """
        fields = request_fields(url, body)
        changes = any(name in fields for name in _NAMES)
        loses = self._loses and method != "GET" and changes
        self._answers.append(
            RecordedAnswer(
                self._step,
                method,
                urlsplit(url).path,
                {
                    name: self._without_secrets(value)
                    for name, value in sorted(fields.items())
                    if not _is_secret(name)
                },
                None if response is None else response.status_code,
                "" if response is None else self._body(response.text),
                loses,
                round(self._clock.elapsed_seconds() - self._begun, 3),
            )
        )
        if loses:
            self._loses = False
            raise requests.exceptions.ReadTimeout("the answer is lost on purpose")

    def _body(self, text: str) -> str:
        try:
            found = json.loads(text)
        except ValueError:
            return self._without_secrets(text)
        return self._without_secrets(json.dumps(self._cut(found), separators=(",", ":")))

    def _cut(self, value: Any) -> Any:
        """Return the value without what names the account, its long lists cut to the symbol."""
        if isinstance(value, dict):
            rows = value
            if len(value) > _MANY and all(isinstance(each, dict) for each in value.values()):
                rows = {name: row for name, row in value.items() if self._is_about(row, name)}
            return {
                name: REDACTED if _is_secret(name) and each is not None else self._cut(each)
                for name, each in rows.items()
            }
        if isinstance(value, list):
            if len(value) > _MANY and all(isinstance(each, dict) for each in value):
                value = [row for row in value if self._is_about(row)]
            return [self._cut(each) for each in value]
        return value

    def _is_about(self, row: Mapping[str, Any], name: str = "") -> bool:
        """Return whether a row names the symbol, or one of its assets alone."""
        texts = {str(each).upper() for each in (name, *row.values()) if isinstance(each, str)}
        parts = {re.sub(r"[-_/:]", "", text) for text in texts}
        pairs = {a + b for a in self._named for b in self._named if a != b}
        return bool(parts & (pairs | self._named)) and not self._other_pair(row)

    def _other_pair(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row is about another symbol with one of the assets."""
        for names in (
            ("baseAsset", "quoteAsset"),
            ("baseCcy", "quoteCcy"),
            ("baseCoin", "quoteCoin"),
        ):
            if all(name in row for name in names):
                return {str(row[name]).upper() for name in names} != self._about
        return False

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, REDACTED)
        return text


#: The fields by which the venues name an order of ours in a request.
_NAMES = ("newClientOrderId", "clOrdId", "orderLinkId", "cl_ord_id", "clientOrderId")


def _names_of(asset: str) -> set[str]:
    """Return how an asset may be named: Kraken has names of its own."""
    own = {"BTC": "XBT", "DOGE": "XDG"}.get(asset, asset)
    return {asset, own, f"X{own}", f"Z{own}"}


def _is_secret(name: str) -> bool:
    return bool(_SECRET.search(name))


def request_fields(url: str, body: object) -> dict[str, str]:
    """Return the parameters of a request, from its query and its body."""
    text = body.decode() if isinstance(body, bytes) else str(body or "")
    found: dict[str, str] = {
        name: values[0] for name, values in parse_qs(urlsplit(url).query).items()
    }
    try:
        parsed = json.loads(text)
    except ValueError:  # a form, or no body
        return found | {name: values[0] for name, values in parse_qs(text).items()}
    rows = parsed if isinstance(parsed, list) else [parsed]
    return found | {name: str(value) for row in rows for name, value in row.items()}
