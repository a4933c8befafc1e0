"""Seeded mutations of a venue's answer, such as a parser or a second reading can detect."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.crash.venue_wires import Call, Said, Wire

#: A request that gets no answer at all.
LOST = -1
_PAGE = "<html><body>busy</body></html>"
_WRONG: tuple[Any, ...] = (True, {"x": 1}, [7], [[]], {})
#: In the place of a number. In that of a name they would be another name.
_NO_NUMBERS = ("many", "NaN", "-", *_WRONG)
_STATUSES = (400, 403, 404, 500, 502, 503, 504, 520, 523, 524)


@dataclass
class Strike:
    """What is done to the answers of one call."""

    call: Call
    """Whose answers are changed."""
    first: int
    """The first answer that is changed, counted from 0."""
    times: int
    """How many answers are changed at most."""
    is_lie: bool
    """Whether the answer stays one that the venue may give: only another reading tells."""
    seed: float
    """Decides what is changed: every answer that is struck is changed in the same way."""
    code: str = ""
    """The code that is answered instead; "" where the answer itself is changed."""
    is_undone: bool = False
    """Whether the venue does not do what it was asked for: it refuses it, or the request is lost on
    the way there.
    """
    seen: int = 0
    """How many answers of the call there were."""
    struck: int = 0
    """How many of them were changed."""
    what: str = ""
    """What was done to the last one."""
    is_believable: bool = False
    """Whether one that was changed is such as the venue may give: nothing in it tells."""

    def of(self, wire: Wire, ask: Callable[[], Said]) -> tuple[int, str]:
        """Return the venue's answer, changed where it is its turn."""
        turn, self.seen = self.seen, self.seen + 1
        if not self.first <= turn < self.first + self.times:
            said = ask()
            return said[0], json.dumps(said[1])
        self.struck += 1
        self.is_believable |= self.is_lie
        if self.is_undone and not self.code:
            self.what = "lost on the way"
            return LOST, ""
        said = (0, None) if self.is_undone else ask()
        if self.code:
            self.what, changed = f"code {self.code}", wire.refused(self.code)
            return changed[0], json.dumps(changed[1])
        chance = random.Random(self.seed)
        status, text, self.what = _emptied(chance, said) if self.is_lie else _damaged(chance, said)
        self.is_believable |= text == "[]" and isinstance(said[1], list)
        return status, text


def drawn(chance: random.Random, wire: Wire, answers: dict[Call, int], hides: bool) -> list[Strike]:
    """Return one or two strikes on calls with answers (by call). One of them at most is a lie.

    Two are often on what changes an order and on what is asked afterwards. Where the venue `hides`
    new orders, a code with which it refuses one is true: no second reading could tell.
    """
    calls = [call for call, count in answers.items() if count]
    struck = chance.sample(calls, 1)
    if chance.random() < 0.4:
        other = chance.choice([call for call in calls if call not in struck])
        struck.append(Call.FIND if _changes(struck[0]) and answers[Call.FIND] else other)
    found = []
    for number, call in enumerate(struck):
        lie = number == 0 and chance.random() < 0.25
        code = chance.choice(wire.codes) if lie and chance.random() < 0.8 else ""
        times = 1 if lie or chance.random() < 0.5 else 10_000
        first = chance.randrange(answers[call])
        undone = _changes(call) and chance.random() < (0.5 if code else 0.1)
        undone = undone or (bool(code) and hides and call is Call.PLACE)
        found.append(Strike(call, first, times, lie, chance.random(), code, undone))
    return found


def _changes(call: Call) -> bool:
    return call in (Call.PLACE, Call.CANCEL)


def _damaged(chance: random.Random, said: Said) -> tuple[int, str, str]:
    """Return an answer with one field that is absent, null, empty or of a wrong type, or one that
    is cut off, replaced or lost.
    """
    status, body = said
    text = json.dumps(body)
    draw = chance.random()
    if draw < 0.05:
        return LOST, "", "lost"
    if draw < 0.12:
        cut = chance.randrange(len(text))
        return status, text[:cut], f"cut after {cut} of {len(text)}"
    if draw < 0.2:
        whole = chance.choice(("", "null", "{}", "[]", '""', "7", _PAGE, "true"))
        return status, whole, f"replaced by {whole!r}"
    if draw < 0.28:
        other, page = chance.choice(_STATUSES), chance.choice((_PAGE, text, "", "{}"))
        # Below 500 a body that is an answer might be one.
        page = _PAGE if other < 500 else page
        return other, page, f"HTTP {other} with {page[:20]!r}"
    places = [place for place in _places(body) if not _is_rows(place)]
    holder, key = chance.choice(places)
    before, how = holder[key], chance.choice(("absent", "null", "empty", "wrong"))
    where = f"{key} = {json.dumps(before)[:60]}"
    if how == "absent" and isinstance(holder, dict) and not _has_rows(holder):
        del holder[key]
        return status, json.dumps(body), f"{where} absent"
    wrong = _NO_NUMBERS if _is_number(before) else _WRONG
    holder[key] = {"empty": "", "wrong": chance.choice(wrong)}.get(how)
    return status, json.dumps(body), f"{where} is {json.dumps(holder[key])}"


def _emptied(chance: random.Random, said: Said) -> tuple[int, str, str]:
    """Return an answer whose rows are gone, as if there were none."""
    status, body = said
    rows = [place for place in _places({"": body}) if _is_rows(place)]
    if not rows:
        return status, json.dumps(body), "nothing"
    holder, key = chance.choice(rows)
    empty: Any = type(holder[key])()
    if key == "":
        return status, json.dumps(empty), "no rows"
    holder[key] = empty
    return status, json.dumps(body), f"no rows in {key}"


def _is_number(value: Any) -> bool:
    return str(value).lstrip("-").replace(".", "", 1).isdigit()


Place = tuple[Any, Any]


def _is_rows(place: Place) -> bool:
    """Return whether the place holds rows: a list or an object of objects."""
    holder, key = place
    value = holder[key]
    within = value.values() if isinstance(value, dict) else value
    return isinstance(value, (dict, list)) and all(isinstance(each, dict) for each in within)


def _has_rows(holder: dict[str, Any]) -> bool:
    """Return whether an object holds rows by name, as Kraken's do. Without one of them it is an
    answer that the venue may give.
    """
    return all(
        isinstance(row, dict) and any(not isinstance(each, dict) for each in row.values())
        for row in holder.values()
    )


def _places(value: Any) -> list[Place]:
    """Return every place of a JSON value, as its holder and the key in it."""
    found: list[Place] = []
    keys = value.keys() if isinstance(value, dict) else range(len(value))
    for key in keys if isinstance(value, (dict, list)) else ():
        found.append((value, key))
        if isinstance(value[key], (dict, list)):
            found += _places(value[key])
    return found
