"""Damage to a JSON record, drawn from a seeded generator: whatever a vendor's bad day may make of it."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any, Final

MOST_WOUNDS: Final = 4

Place = tuple[Any, Any]
"""A container and the name or number of one of its items."""


def mutated(record: dict[str, Any], rng: random.Random) -> object:
    """A damaged copy. Rarely the record itself is something else altogether."""
    if rng.random() < 0.01:
        return rng.choice(JUNK)
    damaged = copy.deepcopy(record)
    for _ in range(rng.randint(1, MOST_WOUNDS)):
        places = list(_places(damaged))
        if places:
            rng.choice(WOUNDS)(rng, *rng.choice(places))
    return damaged


def _places(value: Any) -> Iterator[Place]:  # noqa: ANN401 - any JSON
    """Every item of every container, the shallow ones again and again: most of what is read stands there."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in pairs:
        yield value, name
        yield from _places(item)


def _nested(depth: int, *, of: type) -> Any:  # noqa: ANN401 - any JSON
    value: Any = "core"
    for _ in range(depth):
        value = {"in": value} if of is dict else [value]
    return value


TEXTS: Final = (
    "", " ", "\x00", "a\x00b", "\ud800", "x\udfffy", "\u202e", "🏠", "null", "true", "NaN", "-1", "1e999", "'; DROP TABLE",
    "../../etc/passwd", "America", "America/Chicago", "Customized Time Zone", "tzone://Microsoft/Custom", "UTC", "utc",
    "Asia/Kathmandu", "cancelled", "confirmed", "tentative", "free", "busy", "oof", "declined", "seriesMaster",
    "occurrence", "transparent", "workingLocation", "date", "a" * 3000, "é" * 900, "x" * 100_000,
)  # fmt: skip
TIMES: Final = (
    "0001-01-01T00:00:00Z", "0000-00-00T00:00:00", "9999-12-31T23:59:59.9999999", "9999-12-31T23:59:59-12:00",
    "1899-12-31T23:59:59Z", "1900-01-01T00:00:00+14:00", "2200-12-31T23:59:59-14:00", "2201-01-01T00:00:00Z",
    "2027-03-14T02:30:00", "2027-11-07T01:30:00", "2027-03-08T15:00:00", "2027-03-08T15:00:00Z", "2027-03-08T15:00:00z",
    "2027-03-08 15:00:00Z", "2027-03-08T24:00:00Z", "2027-03-08T15:00:60Z", "2027-02-30T00:00:00Z", "2027-02-30",
    "2027-03-08T15:00:00+99:99", "2027-03-08T15:00:00+23:59", "2027-03-08T15:00:00-00:00", "2027-03-08T15:00Z", "2027-03-08",
    "2027-W10-1", "20270308T150000Z", "1804518000", "2027-03-08T15:00:00.12345678901234567890Z", "-2027-03-08T15:00:00Z",
    "\uff12\uff10\uff12\uff17-03-08T15:00:00Z", "0001-01-01", "9999-12-31", "2027-03-08T00:00:00.0000000", "2027-03-09T00:00:00.0000000",
    "2027-03-08T15:00:00\n", "2027-03-08T15:00:00,5Z",
)  # fmt: skip
NUMBERS: Final = (
    0,
    1,
    -1,
    2**31,
    2**63,
    -(2**63),
    10**400,
    0.5,
    -0.0,
    1e308,
    float("inf"),
    float("-inf"),
    float("nan"),
)
JUNK: Final[tuple[object, ...]] = (
    None, True, False, *NUMBERS, *TEXTS, *TIMES, [], {}, [None], [[]], {"": None}, {"\x00": "\x00"}, {"\ud800": 7},
    {"x" * 5000: 7}, _nested(300, of=list), _nested(300, of=dict), ["x"] * 500,
)  # fmt: skip


def _drop(_: random.Random, container: Any, name: Any) -> None:  # noqa: ANN401
    del container[name]


def _null(_: random.Random, container: Any, name: Any) -> None:  # noqa: ANN401
    container[name] = None


def _junk(rng: random.Random, container: Any, name: Any) -> None:  # noqa: ANN401
    container[name] = copy.deepcopy(rng.choice(JUNK))


def _time(rng: random.Random, container: Any, name: Any) -> None:  # noqa: ANN401
    container[name] = rng.choice(TIMES)


def _text(rng: random.Random, container: Any, name: Any) -> None:  # noqa: ANN401
    container[name] = rng.choice(TEXTS)


def _retype(rng: random.Random, container: Any, name: Any) -> None:  # noqa: ANN401
    value = container[name]
    container[name] = rng.choice([str(value), [value], {"value": value}, bool(value), len(str(value)), float("nan")])


def _duplicate(rng: random.Random, container: Any, name: Any) -> None:  # noqa: ANN401
    """The value stands in a second place as well, or the list holds it many times."""
    if isinstance(container, list):
        container.extend([container[name]] * rng.choice([1, 7, 100]))
    else:
        container[rng.choice(list(container))] = copy.deepcopy(container[name])


def _swap(rng: random.Random, container: Any, name: Any) -> None:  # noqa: ANN401
    other = rng.choice(list(container)) if isinstance(container, dict) else rng.randrange(len(container))
    container[name], container[other] = container[other], container[name]


def _rename(rng: random.Random, container: Any, name: Any) -> None:  # noqa: ANN401
    """The value moves to a strange name, or to one in another case."""
    if isinstance(container, dict):
        strange = ["", "\x00", "\ud800", "id", "error", "@removed", str(name).upper(), "x" * 5000, f"{name}.0"]
        container[rng.choice(strange)] = container.pop(name)


def _spoil(rng: random.Random, container: Any, name: Any) -> None:  # noqa: ANN401
    """One character of a text is another, is gone, or comes twice."""
    text = container[name]
    if isinstance(text, str) and text:
        position = rng.randrange(len(text))
        instead = rng.choice(
            ["", "\x00", "\udc80", "9", "-", ":", "T", " ", text[position] * 2, chr(rng.randrange(0x20, 0x3000))]
        )
        container[name] = text[:position] + instead + text[position + 1 :]


WOUNDS: Final[tuple[Callable[[random.Random, Any, Any], None], ...]] = (
    _drop, _null, _junk, _junk, _time, _time, _text, _retype, _duplicate, _swap, _rename, _spoil, _spoil,
)  # fmt: skip
