"""One end of an event: a date, an instant, or a local time with a zone. All become instants in UTC (P8)."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field

from sync.errors import Malformed

# RFC 3339 as Event.start.dateTime documents it. Python alone would also take week dates and times without separators.
_DATE_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)

# Outside these years a time is a mistake; near year 1 and 9999 conversion to UTC overflows.
_FIRST_YEAR = 1900
_LAST_YEAR = 2200

Kind = Literal["date", "dateTime"]


class Moment(BaseModel):
    """``start`` or ``end`` of an event (EventDateTime)."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    date: str = ""
    date_time: str = Field(default="", alias="dateTime")
    time_zone: str = Field(default="", alias="timeZone")

    def kind(self, *, field: str) -> Kind:
        """Which of the two this end carries.

        Raises:
            Malformed: both, or neither.
        """
        if self.date and self.date_time:
            raise Malformed(field, "has both date and dateTime")
        if not self.date and not self.date_time:
            raise Malformed(f"{field}.dateTime", "is missing")
        return "date" if self.date else "dateTime"

    def instant(self, *, field: str, zone: str) -> datetime:
        """The instant; a date is its midnight in ``zone``, the agent's.

        Raises:
            Malformed: not a time, no zone and no offset, or a local time that exists never or twice.
        """
        if self.date:
            return _midnight(self.date, field=f"{field}.date", zone=zone)
        moment = _read(self.date_time, field=f"{field}.dateTime")
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
        if not self.time_zone:
            raise Malformed(f"{field}.dateTime", "has neither zone nor offset")
        local_zone = _zone(self.time_zone, field=f"{field}.timeZone")
        return _from_local(moment, zone=local_zone, field=f"{field}.dateTime")


def parse_instant(value: object, *, field: str) -> datetime:
    """An RFC 3339 instant that carries its own offset.

    Raises:
        Malformed: it is not one.
    """
    if not isinstance(value, str):
        raise Malformed(field, "is null" if value is None else "is not a string")
    moment = _read(value, field=field)
    if moment.tzinfo is None:
        raise Malformed(field, "has neither zone nor offset")
    return moment.astimezone(UTC)


def _read(value: str, *, field: str) -> datetime:
    """The time as written: aware if it has an offset, else naive."""
    if not _DATE_TIME.fullmatch(value):
        raise Malformed(field, "is not an RFC 3339 time")
    try:
        moment = datetime.fromisoformat(value.upper())
    except ValueError:
        raise Malformed(field, "is not a time that exists") from None
    _plausible(moment.year, field=field)
    return moment


def _midnight(value: str, *, field: str, zone: str) -> datetime:
    if not _DATE.fullmatch(value):
        raise Malformed(field, "is not a date")
    try:
        day = date.fromisoformat(value)
    except ValueError:
        raise Malformed(field, "is not a day that exists") from None
    _plausible(day.year, field=field)
    # Where the clock changes at midnight, fold 0 is the first instant of the day, so days neither gap nor overlap.
    return datetime.combine(day, time.min, tzinfo=_zone(zone, field="zone")).astimezone(UTC)


def _plausible(year: int, *, field: str) -> None:
    if not _FIRST_YEAR <= year <= _LAST_YEAR:
        raise Malformed(field, f"is in an implausible year ({year})")


def _zone(name: str, *, field: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, ill-formed, or a directory of the zone database
        raise Malformed(field, "is not a known zone") from None


def _from_local(local: datetime, *, zone: ZoneInfo, field: str) -> datetime:
    instant = local.replace(tzinfo=zone).astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) != local:
        raise Malformed(field, "falls into the hour that the clock change skips")
    if local.replace(tzinfo=zone, fold=1).astimezone(UTC) != instant:
        raise Malformed(field, "happens twice at the clock change and has no offset")
    return instant
