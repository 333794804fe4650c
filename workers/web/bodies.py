"""What the HTTP application takes and answers. Times carry an offset, which becomes UTC; one without is refused (P8)."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from sync.domain import Attendee, Interval
from sync.errors import Malformed
from sync.intake import HOLD_SECONDS, LONGEST_HOLD_SECONDS

BIGGEST = 2**63 - 1  # of a bigint
YEARS = range(2000, 2100)  # anything else is a slip of the hand, and near the ends of time arithmetic fails
LONGEST = timedelta(days=31)
STARTS_LIKE_AN_INSTANT = re.compile(r"\d{4}-\d\d-\d\d")


def _spelled_out(value: object) -> object:
    """Seconds since 1970 would be understood, but nobody can say in which zone they were meant."""
    if not isinstance(value, str) or not STARTS_LIKE_AN_INSTANT.match(value):
        raise ValueError("must be text with date, time and offset, such as 2027-03-08T15:00:00Z")
    return value


def _plausible(value: datetime) -> datetime:
    if value.year not in YEARS:
        raise ValueError(f"lies outside the years {YEARS[0]} to {YEARS[-1]}")
    return value


def _storable(value: str) -> str:
    if "\0" in value:
        raise ValueError("holds the character U+0000, which cannot be stored")
    return value


Instant = Annotated[AwareDatetime, BeforeValidator(_spelled_out), AfterValidator(_plausible)]
Text = Annotated[str, AfterValidator(_storable)]
Version = Annotated[int | None, Field(ge=0, le=BIGGEST, description="the version of the slot that the caller saw")]
Secret = Annotated[Text | None, Field(max_length=64, description="the secret of a hold, which its holder was given")]


def _example(**values: Any) -> ConfigDict:  # noqa: ANN401 - JSON
    return ConfigDict(json_schema_extra={"examples": [values]})


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AttendeeBody(Body):
    name: Text = Field(max_length=200)
    email: Text = Field(max_length=320, pattern="^[^@\\s]+@[^@\\s]+$")


class TimeBody(Body):
    start: Instant
    end: Instant

    def interval(self) -> Interval:
        """What is wanted.

        Raises:
            Malformed: it ends before it starts, or is longer than a month.
        """
        interval = Interval(self.start, self.end)
        if interval.end - interval.start > LONGEST:
            raise Malformed("end", f"is more than {LONGEST.days} days after start")
        return interval


class ProposalBody(TimeBody):
    """A wish to book."""

    model_config = _example(
        agent="dana",
        start="2027-03-08T15:00:00Z",
        end="2027-03-08T15:30:00Z",
        title="Demo",
        attendees=[{"name": "Ann", "email": "ann@prospect.example"}],
        slot_version=0,
    )

    agent: Text = Field(max_length=63)
    title: Text = Field(min_length=1, max_length=300)
    attendees: list[AttendeeBody] = Field(default_factory=list, max_length=50)
    slot_version: Version = None
    hold: Secret = None

    def people(self) -> tuple[Attendee, ...]:
        return tuple(Attendee(attendee.name, attendee.email) for attendee in self.attendees)


class HoldBody(TimeBody):
    """A wish to keep a time while somebody makes up their mind."""

    model_config = _example(agent="dana", start="2027-03-08T15:00:00Z", end="2027-03-08T15:30:00Z", seconds=120)

    agent: Text = Field(max_length=63)
    slot_version: Version = None
    seconds: int = Field(default=HOLD_SECONDS, ge=1, le=LONGEST_HOLD_SECONDS)


class MoveBody(TimeBody):
    """A wish to move an appointment, and with ``agent`` to hand it over."""

    model_config = _example(start="2027-03-09T09:00:00-06:00", end="2027-03-09T09:30:00-06:00")

    agent: Text | None = Field(default=None, max_length=63)
    title: Text = Field(default="", max_length=300, description="empty: as it is")
    slot_version: Version = None


class CancelBody(Body):
    """A wish to cancel an appointment."""

    model_config = _example(slot_version=3)

    slot_version: Version = None
