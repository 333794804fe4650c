"""Times as Graph writes them: a wall clock with the label of a zone, or a date for a whole day."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from sync.errors import Malformed

_YEARS: Final = range(1900, 2201)  # 0001-01-01 is Graph's "no time"; 9999 overflows in half of the zones
_WALL_CLOCK: Final = re.compile(r"(\d{4})-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2})?")


def parse_instant(text: object, field: str) -> datetime:
    """An instant that carries its offset.

    Raises:
        Malformed: it does not.
    """
    if not isinstance(text, str):
        raise Malformed(field, "is not a time")
    wall = _wall_clock(text, field)
    if wall.tzinfo is None:
        raise Malformed(field, "has neither zone nor offset")
    return wall.astimezone(UTC)


def parse_zoned(text: str, label: str, *, field: str) -> datetime:
    """``field.dateTime`` in ``field.timeZone``. An offset inside the text wins over the label.

    Raises:
        Malformed: there is no such time or zone.
    """
    wall = _wall_clock(text, f"{field}.dateTime")
    if wall.tzinfo is None:
        wall = wall.replace(tzinfo=_zone(label, f"{field}.timeZone"))
    return wall.astimezone(UTC)


def parse_midnight(text: str, zone: ZoneInfo, *, field: str) -> datetime:
    """The first moment of a date in ``zone``.

    All-day events are dates, whatever zone the answer is labelled with (microsoft-graph-docs#1802).

    Raises:
        Malformed: it is not a date at midnight.
    """
    wall = _wall_clock(text, f"{field}.dateTime")
    if wall.time() != time():
        raise Malformed(f"{field}.dateTime", "is not midnight although isAllDay is true")
    return datetime.combine(wall.date(), time(), zone).astimezone(UTC)


def dump_instant(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def dump_moment(instant: datetime) -> dict[str, str]:
    wall = instant.astimezone(UTC).replace(tzinfo=None)
    return {"dateTime": wall.isoformat(timespec="microseconds"), "timeZone": "UTC"}


def _wall_clock(text: str, field: str) -> datetime:
    match = _WALL_CLOCK.fullmatch(text)
    if match is None:
        raise Malformed(field, "is not a date and time")
    if int(match[1]) not in _YEARS:
        raise Malformed(field, f"has the year {match[1]}")
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise Malformed(field, "is not a date and time that exists") from None


def _zone(label: str, field: str) -> ZoneInfo:
    """We ask for UTC, so a Windows name here means that the request for UTC was ignored: refuse, do not guess."""
    try:
        return _zone_info("UTC" if label.lower() in {"utc", "tzone://microsoft/utc"} else label)
    except (KeyError, ValueError, OSError):
        raise Malformed(field, "is not a time zone that we know") from None


@lru_cache(maxsize=256)
def _zone_info(name: str) -> ZoneInfo:
    return ZoneInfo(name)
