"""Times as vendors write them. All become instants in UTC at this edge and nowhere else (P8)."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from tzlocal.windows_tz import win_tz  # Unicode CLDR's table of Windows names; celery brings the package along anyway

from sync.errors import Malformed

# RFC 3339 and what vendors make of it: no offset, or up to nine digits of a second. Python alone would also
# take week dates and times without separators.
_DATE_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_EPOCH_MS = re.compile(r"-?\d{1,15}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# "GMT+5" is missing on purpose: to some it is five hours before UTC (as in the zone Etc/GMT+5), to others five after.
_OFFSET = re.compile(r"(?:utc)?([+-])(\d\d?)(?::?([0-5]\d))?", re.ASCII)
_FARTHEST = timedelta(hours=14)
_OWN_RULES = frozenset({"customized time zone", "tzone://microsoft/custom"})  # the rules stand elsewhere, if at all
_UTC_NAMES = frozenset({"z", "tzone://microsoft/utc"})
_NO_ZONES = frozenset({"factory", "localtime", "posixrules"})  # in the zone database, and not the zone of anybody

SKIPPED_DAY = "is a day that the agent's zone skipped"

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
    """The time as written: aware if it has an offset, else naive. Digits beyond microseconds are cut off.

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


def parse_zoned(value: object, zone: object, *, field: str) -> datetime:
    """``field.dateTime`` in ``field.timeZone``, in UTC. An offset inside the time wins over the zone beside it.

    Raises:
        Malformed: no time, no zone and no offset (a floating time), or a wall clock that shows this never or twice.
    """
    moment = parse_time(value, field=f"{field}.dateTime")
    if moment.tzinfo is not None:
        return moment.astimezone(UTC)
    if not zone:
        raise Malformed(f"{field}.dateTime", "has neither zone nor offset")
    return from_local(moment, zone=find_zone(zone, field=f"{field}.timeZone"), field=f"{field}.dateTime")


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
    return first_instant(day, zone=find_zone(zone, field="zone"))


def first_instant(day: date, *, zone: tzinfo) -> datetime:
    """When ``day`` begins in ``zone``: the end of the day before, so days neither leave a gap nor overlap.

    Where the clocks skip midnight it is the moment after the jump (01:00, say); a day that was skipped altogether, as
    2011-12-30 in Apia, begins where the next one does and has no length. Where midnight comes twice, it is the first.
    """
    midnight = datetime.combine(day, time.min)
    after = midnight.replace(tzinfo=zone).astimezone(UTC)
    if _wall(after, zone) == midnight:
        return after
    before = midnight.replace(tzinfo=zone, fold=1).astimezone(UTC)
    while after - before > timedelta(seconds=1):  # zones change at whole seconds
        middle = before + timedelta(seconds=(after - before) // timedelta(seconds=2))
        before, after = (before, middle) if _wall(middle, zone) >= midnight else (middle, after)
    return after


def find_zone(name: object, *, field: str) -> tzinfo:
    """The zone of an IANA name, a Windows name or an offset (``UTC+05:45``, ``+05:45``, ``Z``), whatever its case.

    Raises:
        Malformed: nobody knows it, or its rules are its owner's own.
    """
    if not isinstance(name, str):
        raise Malformed(field, "is null" if name is None else "is not a string")
    plain = name.strip().lower()
    if plain in _OWN_RULES:
        raise Malformed(field, "is a custom zone, whose rules are not told")
    known = UTC if plain in _UTC_NAMES else _zone_names().get(plain) or _offset(plain)
    if known is None:
        raise Malformed(field, "is not a known zone")
    return ZoneInfo(known) if isinstance(known, str) else known


def from_local(local: datetime, *, zone: tzinfo, field: str) -> datetime:
    """The instant of a wall clock in ``zone``.

    Raises:
        Malformed: the wall clock shows this never, or twice.
    """
    instant = local.replace(tzinfo=zone).astimezone(UTC)
    if _wall(instant, zone) != local:
        raise Malformed(field, "falls into the hour that the clock change skips")
    if local.replace(tzinfo=zone, fold=1).astimezone(UTC) != instant:
        raise Malformed(field, "happens twice at the clock change and has no offset")
    return instant


def dump_instant(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _wall(instant: datetime, zone: tzinfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


@lru_cache(maxsize=1)
def _zone_names() -> dict[str, str]:
    """IANA name by any name in lower case. No Windows name is also an IANA one with another meaning."""
    windows = {name.lower(): zone for name, zone in win_tz.items()}
    own = {name.lower(): name for name in available_timezones() if name.lower() not in _NO_ZONES}
    return {**windows, **own}


def _offset(plain: str) -> timezone | None:
    found = _OFFSET.fullmatch(plain)
    if found is None:
        return None
    size = timedelta(hours=int(found[2]), minutes=int(found[3] or 0))
    if size > _FARTHEST:
        return None
    return timezone(size if found[1] == "+" else -size)


def _plausible(year: int, *, field: str) -> None:
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise Malformed(field, f"is in an implausible year ({year})")
