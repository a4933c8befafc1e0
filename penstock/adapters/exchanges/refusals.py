"""What each venue means by its refusals: one table of codes per venue.

ccxt's classes do not say it: they call a time-out an invalid order, and a refusal unavailable. A
code that is in no table says nothing of what became of the request. Sources: the venues' own lists
of error codes, and answers that were seen.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from penstock.adapters.exchanges.venue_families import family_of


class Meaning(StrEnum):
    """What a refusal says of the request."""

    REFUSED = "refused"
    """The venue did not carry it out."""
    NO_FUNDS = "no funds"
    """The venue did not carry it out, for lack of free balance."""
    NO_SYMBOL = "no symbol"
    """The venue did not carry it out, because it has no such symbol."""
    RATE = "rate"
    """The venue did not carry it out, because of the other requests: too many, or one with a later
    number (Kraken's nonce, where two processes use one key). It may be repeated.
    """
    DUPLICATE = "duplicate"
    """The venue has an order of this name."""
    NOT_FOUND = "not found"
    """The venue has no such order."""
    ENDED = "ended"
    """The order that was to be cancelled has ended."""
    UNKNOWN = "unknown"
    """The venue does not know what became of it."""


_M = Meaning


@dataclass(frozen=True)
class RefusalTable:
    """The refusals of one venue."""

    codes_in: Callable[[Any], list[tuple[str, str]]]
    """Returns the codes of a parsed answer, each with the text beside it."""
    meanings: Mapping[str, Meaning]
    """The meaning of each code. A code may be followed by ":" and details."""
    by_text: tuple[tuple[str, str, Meaning], ...] = ()
    """Code, words in lower case, and meaning, where the text beside a code decides."""
    hints: Mapping[str, str] = field(default_factory=dict)
    """What to do about a code."""

    def of_body(self, body: bytes) -> tuple[str, Meaning | None]:
        """Return the code of an answer and its meaning; None where the table does not have it."""
        try:
            return self.of_answer(json.loads(body))
        except ValueError:
            return "", None

    def of_answer(self, answer: object) -> tuple[str, Meaning | None]:
        """Return the code of a parsed answer and its meaning.

        The meaning is None where the table does not have the code, or where several codes disagree.
        """
        found = self.codes_in(answer)
        meanings = {self._meaning(code, text) for code, text in found}
        return (found[0][0] if found else "", meanings.pop() if len(meanings) == 1 else None)

    def _meaning(self, code: str, text: str) -> Meaning | None:
        for of, words, meaning in self.by_text:
            if of == code and words in text.lower():
                return meaning
        named = code
        while named not in self.meanings and ":" in named:
            named = named.rpartition(":")[0]
        return self.meanings.get(named)


def _code(value: object) -> str:
    """Return a code as text; "" for what is none, and for a success."""
    is_code = isinstance(value, (int, str)) and not isinstance(value, bool)
    return str(value) if is_code and str(value) not in ("", "0") else ""


def _field(code: str, text: str) -> Callable[[Any], list[tuple[str, str]]]:
    """Return what reads one code and its text from an answer's top."""

    def read(answer: Any) -> list[tuple[str, str]]:
        found = _code(answer.get(code)) if isinstance(answer, dict) else ""
        return [(found, str(answer.get(text) or ""))] if found else []

    return read


def _okx_codes(answer: Any) -> list[tuple[str, str]]:
    """Return the codes of the rows, or else the code at the top. A row of an answer is read too."""
    if not isinstance(answer, dict):
        return []
    data = answer.get("data")
    rows = [row for row in data if isinstance(row, dict)] if isinstance(data, list) else []
    stated = [row for row in (answer, *rows) if row.get("sCode") is not None]
    codes = [(code, str(row.get("sMsg") or "")) for row in stated if (code := _code(row["sCode"]))]
    if codes and len(codes) < len(stated):  # one row is refused and another is not
        codes.append(("0", ""))
    # "Failed" and "in parts": what failed is said by the rows alone.
    top = _code(answer.get("code"))
    return codes or ([(top, str(answer.get("msg") or ""))] if top not in ("", "1", "2") else [])


def _kraken_codes(answer: Any) -> list[tuple[str, str]]:
    """Return the errors. A text that begins with "W" is a warning."""
    errors = answer.get("error") if isinstance(answer, dict) else None
    texts = errors if isinstance(errors, list) else []
    return [(str(text), "") for text in texts if not str(text).startswith("W")]


def _whitebit_codes(answer: Any) -> list[tuple[str, str]]:
    """Return the sentences about fields, or else the message: the numbers mean several things."""
    if not isinstance(answer, dict):
        return []
    errors = answer.get("errors")
    lists = list(errors.values()) if isinstance(errors, dict) else []
    texts = [str(text) for each in lists if isinstance(each, list) for text in each]
    texts = texts or ([str(answer["message"])] if answer.get("message") else [])
    return [(next((w for w in _WHITEBIT if w in text), text), text) for text in texts]


def _table(**codes: str) -> dict[str, Meaning]:
    """Return the meaning by code, from texts with codes by the name of their meaning.

    Raises ValueError where a code stands twice.
    """
    pairs = [(code, Meaning[name]) for name, text in codes.items() for code in text.split()]
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a code has two meanings")
    return found


_BINANCE = RefusalTable(
    _field("code", "msg"),
    _table(
        # Disconnected, unexpected answer, time-out, too busy; -1000 is "unknown error".
        UNKNOWN="-1000 -1001 -1006 -1007 -1008 -1010",
        RATE="-1003 -1015",
        # -1016 shuts down, -1020 is not supported, -1021 is too old, -1022 has a wrong signature;
        # -11xx: a parameter; -20xx: the key, the account or the order itself.
        REFUSED="-1002 -1013 -1014 -1016 -1020 -1021 -1022 -1099 -1100 -1101 -1102 -1103 -1104"
        " -1105 -1106 -1108 -1111 -1112 -1114 -1115 -1116 -1117 -1118 -1119 -1120 -1127 -1128"
        " -1130 -1131 -1134 -1135 -1145 -2008 -2010 -2011 -2014 -2015 -2016",
        NO_SYMBOL="-1121",
        NOT_FOUND="-2013 -2026",
    ),
    by_text=(
        ("-2010", "duplicate order sent", _M.DUPLICATE),
        ("-2010", "insufficient balance", _M.NO_FUNDS),
        ("-2011", "unknown order sent", _M.NOT_FOUND),
    ),
    hints={
        "-1021": "the request's timestamp is outside the venue's window: "
        "set this machine's clock (NTP)",
        "-1022": "the signature is wrong: check the API secret",
        "-2014": "the API key is malformed: check the API key",
        "-2015": "the venue refuses the API key: "
        "check the key, its permissions and its allowed addresses",
    },
)

_BYBIT = RefusalTable(
    _field("retCode", "retMsg"),
    _table(
        # Time-outs, internal errors, load. 170146 and 170147: creating, cancelling timed out.
        UNKNOWN="429 5004 10000 10016 110079 170001 170007 170032 170035 170146 170147 170149"
        " 170234 170310 340099",
        RATE="10006 10018 10429 170005 170222",
        # maintenance
        REFUSED="10019 110063 110066 110074 170031 170151"
        # key, clock, permissions
        " 10002 10003 10004 10005 10007 10008 10009 10010 10024 10027 10028 10029"
        # filters
        " 10001 30208 110003 110017 110094 110120 110121 170121 170124 170130 170132 170136 170137"
        " 170140 170193 170194 170341 170381"
        # the state of account or market
        " 30228 110020 110021 110023 110103 110118 110124 170210 170218",
        NO_FUNDS="110004 110006 110007 110012 110044 110045 110051 110090 110131 170033 170131",
        DUPLICATE="10014 12141 110030 110072 170141",
        NOT_FOUND="110001 170213",
        ENDED="110008 110010 170139 170142 170143",
    ),
)

_OKX = RefusalTable(
    _okx_codes,
    _table(
        UNKNOWN="50004 50013 50026 51054 51149",
        RATE="50011 50061 51113",
        # maintenance
        REFUSED="50001 50005 51021 51022 51027 51028 51029 51030"
        # key, clock, permissions, account
        " 50007 50009 50027 50030 50038 50100 50101 50102 50103 50104 50105 50106 50107 50110 50111"
        " 50112 50113 50114 50119 50120 51009 51024"
        # filters
        " 51000 51005 51006 51020 51100 51116 51120 51121 51136 51137 51138 51201 51202"
        # the state of account or market
        " 50017 50018 50019 50020 50021 50022 50023 51010 51023 51025 51112 51155 51169 51170 51174"
        " 51205 54072 59000",
        NO_FUNDS="51004 51008 51119 51127 51131 51502",
        NO_SYMBOL="51001 51015",
        DUPLICATE="51011 51016",
        NOT_FOUND="51603",
        ENDED="51400 51401 51402 51405 51503 51509 51510",
    ),
)

_KRAKEN = RefusalTable(
    _kraken_codes,
    {
        **dict.fromkeys(
            (
                "EDatabase:Internal error",
                "EGeneral:Internal error",
                "EGeneral:Unknown error",
                "EOrder:Cancel pending",
                "EService:Busy",
                "EService:Deadline elapsed",
                "EService:Timeout",
                "EService:Unavailable",
            ),
            _M.UNKNOWN,
        ),
        **dict.fromkeys(
            (
                "EAPI:Invalid nonce",
                "EAPI:Rate limit exceeded",
                "EAuth:Rate limit exceeded",
                "EAuth:Too many requests",
                "EGeneral:Too many requests",
                "EOrder:Domain rate limit exceeded",
                "EOrder:Rate limit exceeded",
                "EService:Throttled",
            ),
            _M.RATE,
        ),
        **dict.fromkeys(
            (
                "EAPI:Feature disabled",
                "EAPI:Invalid key",
                "EAPI:Invalid signature",
                "EAccount:Invalid permissions",
                "EAuth:Account temporary disabled",
                "EAuth:Account unconfirmed",
                "EBM:limit exceeded",
                "EGeneral:Invalid arguments",
                "EGeneral:Permission denied",
                "EGeneral:Temporary lockout",
                "EOrder:Cannot open opposing position",
                "EOrder:Cannot open position",
                "EOrder:Cost minimum not met",
                "EOrder:Invalid price",
                "EOrder:Market price protection",
                "EOrder:Order minimum not met",
                "EOrder:Orders limit exceeded",
                "EOrder:Positions limit exceeded",
                "EOrder:Post only order",
                "EOrder:Reduce only",
                "EOrder:Tick size check failed",
                "EService:Market in cancel_only mode",
                "EService:Market in limit_only mode",
                "EService:Market in post_only mode",
                "ETrade:Locked",
                "ETrade:User Locked",
            ),
            _M.REFUSED,
        ),
        **dict.fromkeys(
            (
                "EOrder:Insufficient funds",
                "EOrder:Insufficient initial margin",
                "EOrder:Insufficient margin",
                "EOrder:Margin allowance exceeded",
            ),
            _M.NO_FUNDS,
        ),
        **dict.fromkeys(
            (
                "EGeneral:Invalid asset pair",
                "EQuery:Invalid asset pair",
                "EQuery:Unknown asset pair",
            ),
            _M.NO_SYMBOL,
        ),
        "EOrder:Unknown order": _M.NOT_FOUND,
    },
)

#: By words in WhiteBIT's sentences.
_WHITEBIT: Mapping[str, Meaning] = {
    **dict.fromkeys(
        (
            "Amount must be greater than 0",
            "Enable your key in API settings",
            "Given amount is less than min amount",
            "Invalid payload",
            "Market is not available",
            "Min amount step",
            "The Price should be greater than or equal to",
            "The Price should be less than or equal to",
            "This API Key is not authorized",
            "This action is unauthorized",
            "Total is less than",
            "Unauthorized request",
            "fee must be no less than",
        ),
        _M.REFUSED,
    ),
    "Not enough balance": _M.NO_FUNDS,
    "The market format is invalid": _M.NO_SYMBOL,
    "lient order id is already used": _M.DUPLICATE,
    "Unexecuted order was not found": _M.NOT_FOUND,
}

_TABLES: Mapping[str, RefusalTable] = {
    "binance": _BINANCE,
    "okx": _OKX,
    "bybit": _BYBIT,
    "kraken": _KRAKEN,
    "whitebit": RefusalTable(_whitebit_codes, _WHITEBIT),
}


def refusal_table(venue: str) -> RefusalTable | None:
    """Return the venue's table; None for a venue that is read only and never traded."""
    return _TABLES.get(family_of(venue))
