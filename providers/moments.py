"""Times as vendors write them. All become instants in UTC at this edge and nowhere else (P8)."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sync.errors import Malformed

# RFC 3339 and what vendors make of it: no offset, or up to seven digits of a second. Python alone would also take week
# dates and times without separators.
_DATE_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_EPOCH_MS = re.compile(r"-?\d{1,15}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Outside these years a time is a mistake; near year 1 and 9999 conversion to UTC overflows.
FIRST_YEAR = 1900
LAST_YEAR = 2200


def parse_instant(value: object, *, field: str) -> datetime:
    """A time that carries its own offset, as an instant in UTC.

    Raises:
        Malformed: it is not one.
    """
    moment = parse_time(value, field=field)
    if moment.tzinfo is None:
        raise Malformed(field, "has neither zone nor offset")
    return moment.astimezone(UTC)


def parse_time(value: object, *, field: str) -> datetime:
    """The time as written: aware if it has an offset, else naive.

    Raises:
        Malformed: it is not a time, or lies in an implausible year.
    """
    if not isinstance(value, str):
        raise Malformed(field, "is null" if value is None else "is not a string")
    if not _DATE_TIME.fullmatch(value):
        raise Malformed(field, "is not an RFC 3339 time")
    try:
        moment = datetime.fromisoformat(value.upper())
    except ValueError:
        raise Malformed(field, "is not a time that exists") from None
    _plausible(moment.year, field=field)
    return moment


def parse_epoch_ms(value: object, *, field: str) -> datetime:
    """Milliseconds since 1970, as a string or a whole number.

    Raises:
        Malformed: it is not, or lies in an implausible year.
    """
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not _EPOCH_MS.fullmatch(text):
        raise Malformed(field, "is null" if value is None else "is not milliseconds since 1970")
    try:
        moment = _EPOCH + timedelta(milliseconds=int(text))
    except OverflowError:
        raise Malformed(field, "is not a time that exists") from None
    _plausible(moment.year, field=field)
    return moment


def parse_midnight(value: object, *, field: str, zone: str) -> datetime:
    """The first instant of a date in ``zone`` (the agent's, where the vendor means "all day").

    Raises:
        Malformed: it is not a date.
    """
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        raise Malformed(field, "is null" if value is None else "is not a date")
    try:
        day = date.fromisoformat(value)
    except ValueError:
        raise Malformed(field, "is not a day that exists") from None
    _plausible(day.year, field=field)
    # Where the clock changes at midnight, fold 0 is the first instant of the day, so days neither gap nor overlap.
    return datetime.combine(day, time.min, tzinfo=find_zone(zone, field="zone")).astimezone(UTC)


def find_zone(name: str, *, field: str) -> ZoneInfo:
    """The zone of a name.

    Raises:
        Malformed: nobody knows it.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, ill-formed, or a directory of the zone database
        raise Malformed(field, "is not a known zone") from None


def from_local(local: datetime, *, zone: ZoneInfo, field: str) -> datetime:
    """The instant of a wall clock in ``zone``.

    Raises:
        Malformed: the wall clock shows this never, or twice.
    """
    instant = local.replace(tzinfo=zone).astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) != local:
        raise Malformed(field, "falls into the hour that the clock change skips")
    if local.replace(tzinfo=zone, fold=1).astimezone(UTC) != instant:
        raise Malformed(field, "happens twice at the clock change and has no offset")
    return instant


def _plausible(year: int, *, field: str) -> None:
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise Malformed(field, f"is in an implausible year ({year})")
