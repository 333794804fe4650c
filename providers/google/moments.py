"""One end of an event: a date, an instant, or a local time with a zone. All become instants in UTC (P8)."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from providers.moments import parse_midnight, parse_zoned
from sync.errors import Malformed

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
            return parse_midnight(self.date, field=f"{field}.date", zone=zone)
        return parse_zoned(self.date_time, self.time_zone, field=field)
