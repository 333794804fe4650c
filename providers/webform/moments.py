"""Times as forms send them: a wall clock in somebody's zone, in two fields or one, or milliseconds since 1970."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from tzlocal.windows_tz import win_tz

from providers.moments import find_zone, from_local, parse_epoch_ms, parse_time
from sync.errors import Malformed

# Browsers leave out the seconds (HTML, "valid local date and time string"), form tools often write a blank for the T.
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d)(:\d\d(?:\.\d+)?)? ?([Zz]|[+-]\d\d:?\d\d)?", re.ASCII)
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_CLOCK: Final = re.compile(r"(\d\d:\d\d)(:\d\d)?", re.ASCII)
# "GMT+5" is missing on purpose: to some it is five hours before UTC (as in the zone Etc/GMT+5), to others five after.
_OFFSET: Final = re.compile(r"(?:UTC)?([+-])(\d\d?)(?::?([0-5]\d))?", re.ASCII | re.IGNORECASE)
_NOTE: Final = re.compile(r"\s*\([^()]*\)$")
_WIDEST_OFFSET: Final = timedelta(hours=14)
_LONGEST_ZONE: Final = 100  # characters


def parse_whole(value: object, form: str | None, *, field: str) -> datetime:
    """A whole time in one field: aware if it says where it is, else a wall clock. ``form`` is the mapping's ``format``.

    Raises:
        Malformed: it is not one.
    """
    if form == "epoch_ms":
        return parse_epoch_ms(value, field=field)
    text = _text(value, field=field)
    if form is not None:
        return _formatted(text, form, field=field)
    match = _TIME.fullmatch(text)
    if match is None:
        raise Malformed(field, "is not a date and time such as 2027-03-08T15:00, with or without an offset")
    day, clock, seconds, offset = match.groups()
    if offset is not None and len(offset) == len("+0000"):
        offset = f"{offset[:3]}:{offset[3:]}"
    return parse_time(f"{day}T{clock}{seconds or ':00'}{offset or ''}", field=field)


def parse_halves(day: str, clock: str, *, forms: tuple[str | None, str | None], field: str) -> datetime:
    """A wall clock whose date and time of day come in fields of their own.

    Raises:
        Malformed: one is not what it should be.
    """
    day_form, clock_form = forms
    if day_form is not None:
        day = f"{_formatted(day, day_form, field=f'{field}.date'):%Y-%m-%d}"
    elif not _DATE.fullmatch(day):
        raise Malformed(f"{field}.date", "is not a date such as 2027-03-08")
    if clock_form is not None:
        clock = f"{_clock(clock, clock_form, field=f'{field}.clock'):%H:%M:%S}"
    elif not (match := _CLOCK.fullmatch(clock)):
        raise Malformed(f"{field}.clock", "is not a time of day such as 15:00")
    else:
        clock = f"{match[1]}{match[2] or ':00'}"
    return parse_time(f"{day}T{clock}", field=field)


def find_clock(name: str, *, field: str) -> tzinfo:
    """The zone of an IANA or Windows name, or of an offset. What stands in brackets behind is for people, and is ignored.

    Some tools write there an offset that the zone never has (Jotform: "Asia/Calcutta (GMT+06:30)").

    Raises:
        Malformed: nobody knows it.
    """
    if len(name) > _LONGEST_ZONE:
        raise Malformed(field, "is not a known zone")
    bare = _NOTE.sub("", name.strip())
    if bare in {"Z", "z"}:
        return UTC
    if match := _OFFSET.fullmatch(bare):
        return _fixed(match, field=field)
    return find_zone(win_tz.get(bare, bare), field=field)


def to_instant(moment: datetime, zone: tzinfo, *, field: str) -> datetime:
    """The instant of a wall clock in ``zone``.

    Raises:
        Malformed: the clock shows this never, or twice.
    """
    if isinstance(zone, ZoneInfo):
        return from_local(moment, zone=zone, field=field)
    return moment.replace(tzinfo=zone).astimezone(UTC)


def _fixed(match: re.Match[str], *, field: str) -> tzinfo:
    sign, hours, minutes = match.groups()
    offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
    if offset > _WIDEST_OFFSET:
        raise Malformed(field, "is not a known zone")
    return timezone(-offset if sign == "-" else offset)


def _formatted(text: str, form: str, *, field: str) -> datetime:
    """By the mapping's own format; the year is checked as everybody's is."""
    moment = _clock(text, form, field=field)
    return parse_time(f"{moment:%Y-%m-%dT%H:%M:%S}".rjust(len("0000-00-00T00:00:00"), "0"), field=field)


def _clock(text: str, form: str, *, field: str) -> datetime:
    try:
        return datetime.strptime(text, form)  # noqa: DTZ007 - a wall clock; the zone is the mapping's matter
    except ValueError:
        raise Malformed(field, f"is not written as {form}") from None


def _text(value: object, *, field: str) -> str:
    if not isinstance(value, str):
        raise Malformed(field, "is missing" if value is None else "is not text")
    return value.strip()
