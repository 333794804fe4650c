"""One end of a Graph event: a wall clock with the label of a zone; for a whole day, a date at midnight."""

from __future__ import annotations

from datetime import UTC, datetime, time

from pydantic import BaseModel, ConfigDict, Field

from providers.moments import parse_midnight, parse_time, parse_zoned
from sync.errors import Malformed


class Moment(BaseModel):
    """``start`` or ``end`` (dateTimeTimeZone). We ask for UTC, so another zone means that the request was ignored."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    date_time: str = Field(alias="dateTime")
    time_zone: str = Field(alias="timeZone")

    def instant(self, *, field: str) -> datetime:
        """In UTC.

        Raises:
            Malformed: there is no such time or zone.
        """
        return parse_zoned(self.date_time, self.time_zone, field=field)

    def day(self, *, field: str, zone: str) -> datetime:
        """The first moment of the date in ``zone``, the agent's.

        All-day events are dates, whatever zone the answer is labelled with (microsoft-graph-docs#1802).

        Raises:
            Malformed: it is not a date at midnight.
        """
        wall = parse_time(self.date_time, field=f"{field}.dateTime")
        if wall.time() != time():
            raise Malformed(f"{field}.dateTime", "is not midnight although isAllDay is true")
        return parse_midnight(wall.date().isoformat(), field=f"{field}.dateTime", zone=zone)


def dump_moment(instant: datetime) -> dict[str, str]:
    wall = instant.astimezone(UTC).replace(tzinfo=None)
    return {"dateTime": wall.isoformat(timespec="microseconds"), "timeZone": "UTC"}
