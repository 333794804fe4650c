"""What a visitor of the booking page can do: look at openings, have one kept, book it, and be told the truth about it.

The page offers, the commit task decides. What is refused here without asking it are times that the agent does not offer
at all: strangers may wish for nothing else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from fastapi import Request
from pydantic import BaseModel, PlainSerializer

from models.decisions import DecisionRecord
from models.proposals import FINAL_STATES
from models.session import transaction
from models.visits import HoldRecord, find_hold, find_newest_read, find_request
from sync import intake
from sync.availability import LONGEST_WINDOW, Availability, Opening, find_alternatives, find_openings
from sync.domain import Attendee, Interval, Kind, Reason
from sync.errors import NotFound
from sync.schedule import find_period
from workers.app import runtime, settings
from workers.web.nudges import nudge_soon
from workers.web.outcome import outcome

ORIGIN = "page"
NOT_OFFERED = "not_offered"
OLD_AFTER_PERIODS = 8  # of the fastest job: beside pushes it reads at a fifth of its pace, and a run may fail
OLD_AFTER_SECONDS = 300.0  # at least

State = Literal["held", "booked", "refused", "checking", "expired"]
Zulu = Annotated[datetime, PlainSerializer(lambda moment: f"{moment:%Y-%m-%dT%H:%M:%SZ}", return_type=str)]


class Offer(BaseModel):
    """An opening as the page carries it."""

    start: Zulu
    end: Zulu
    version: int

    @classmethod
    def of(cls, opening: Opening) -> Offer:
        return cls(start=opening.interval.start, end=opening.interval.end, version=opening.version)


class Answer(BaseModel):
    """What became of a wish. ``seconds`` is how long the time is kept yet; ``alternatives`` come with a refusal."""

    state: State
    reason: str | None = None
    hold: str | None = None
    seconds: float | None = None
    alternatives: list[Offer] | None = None


@dataclass(frozen=True, slots=True)
class Guest:
    name: str
    email: str


def look(agent: str, window: Interval) -> Availability:
    """The openings that begin in ``window``, of which at most two months are looked at.

    Raises:
        NotFound: no such agent.
    """
    end = min(window.end, window.start + LONGEST_WINDOW)
    return find_openings(runtime().sessions, agent, Interval(window.start, end))


def is_current(availability: Availability) -> bool:
    """Whether the master is being read: if not, what looks free may long be taken."""
    with transaction(runtime().sessions) as session:
        read_at = find_newest_read(session, availability.agent)
        every = find_period(session, "NewAppointmentSync") or settings().new_every
    oldest = timedelta(seconds=max(OLD_AFTER_SECONDS, OLD_AFTER_PERIODS * every))
    return availability.stopped is None and read_at is not None and availability.now - read_at <= oldest


def is_offered(agent: str, wanted: Interval) -> bool:
    """Whether the page would show exactly this time now.

    Raises:
        NotFound: no such agent.
    """
    return any(opening.interval == wanted for opening in look(agent, wanted).openings)


async def decided(request: Request, agent: str, asked: intake.Received, *, seconds: float) -> DecisionRecord:
    """Wake the commit task for what is new; the proposal when it is decided, or as it stands after ``seconds``."""
    if asked.created:
        nudge_soon(request, asked.id, about=f"{agent} via {ORIGIN}")
    return await outcome(request, asked.id, wait=seconds)


def ask_hold(agent: str, wanted: Interval, *, version: int | None, key: str) -> intake.Received | None:
    """Ask for the time to be kept; None if it is not offered. The same key again is the same hold.

    Raises:
        NotFound: no such agent.
        Malformed: the key was used for something else.
    """
    key = f"page:{key}"
    # Whether it was asked before is looked at last: else the same wish, sent twice at once, takes the time from itself.
    if not is_offered(agent, wanted) and not _was_asked(agent, key):
        return None
    request = intake.Request(
        key=key,
        kind=Kind.HOLD,
        agent=agent,
        interval=wanted,
        origin=ORIGIN,
        slot_version=version,
        hold_seconds=settings().booking_hold_seconds,
    )
    return intake.receive(runtime().sessions, request)


def ask_booking(
    agent: str, wanted: Interval, guest: Guest, *, secret: str, version: int | None = None
) -> intake.Received | None:
    """Ask for the time to be booked; None if it is neither offered nor kept for this visitor.

    However often it is asked with one secret, that of a hold or a form's own, it is one booking.

    Raises:
        NotFound: no such agent.
        Malformed: something else was asked with this secret before.
    """
    may_wish = _is_kept(agent, wanted, secret) or is_offered(agent, wanted)
    if not may_wish and not _was_asked(agent, f"book:{secret}"):  # last, as in ask_hold
        return None
    request = intake.Request(
        key=f"book:{secret}",
        agent=agent,
        interval=wanted,
        title=f"Meeting with {guest.name}",
        origin=ORIGIN,
        attendees=(Attendee(guest.name, guest.email),),
        slot_version=version,
        hold=secret,
    )
    return intake.receive(runtime().sessions, request)


def give_back(agent: str, secret: str) -> intake.Received:
    """Ask for a hold to end before its time.

    Raises:
        NotFound: no such hold of this agent.
    """
    get_hold(agent, secret)
    request = intake.Request(key=f"release:{secret}", kind=Kind.CANCEL, hold=secret, origin=ORIGIN)
    return intake.receive(runtime().sessions, request)


def get_hold(agent: str, secret: str) -> HoldRecord:
    """The hold whose secret this is.

    Raises:
        NotFound: no such hold of this agent.
    """
    with transaction(runtime().sessions) as session:
        found = find_hold(session, secret)
    if found is None or found.agent != agent:
        raise NotFound("no such hold")
    return found


def get_booking(agent: str, secret: str) -> int:
    """The proposal that was made with the secret.

    Raises:
        NotFound: nothing was asked for with it.
    """
    found = _find_wish(agent, f"book:{secret}")
    if found is None:
        raise NotFound("no such booking")
    return found


def tell_hold(agent: str, secret: str, record: DecisionRecord) -> Answer:
    """What became of the hold."""
    if record.state not in FINAL_STATES:
        return Answer(state="checking", hold=secret)
    if record.state == "refused":
        return refused(agent, interval_of(record), reason=record.reason)
    seconds = get_hold(agent, secret).seconds_left
    return Answer(state="held" if seconds else "expired", hold=secret, seconds=seconds)


def tell_booking(agent: str, record: DecisionRecord) -> Answer:
    """What became of the booking."""
    if record.state not in FINAL_STATES:
        return Answer(state="checking")
    if record.state == "refused":
        return refused(agent, interval_of(record), reason=record.reason)
    return Answer(state="booked")


def refused(agent: str, wanted: Interval, *, reason: str | None = NOT_OFFERED) -> Answer:
    """No, with what is free now instead: never the same time, which the picture may still show as free, unless that is so."""
    avoid = () if reason == Reason.STALE else (wanted,)
    free = find_alternatives(runtime().sessions, agent, wanted, avoid=avoid)
    return Answer(state="refused", reason=reason, alternatives=[Offer.of(one) for one in free])


def dump_meeting(agent: str, record: DecisionRecord) -> str:
    """A certain booking as iCalendar, in UTC.

    Raises:
        NotFound: it is not certain.
    """
    if record.state != "settled":
        raise NotFound("no such booking")
    wanted, now = interval_of(record), datetime.now(UTC)
    name = find_openings(runtime().sessions, agent, wanted).name
    summary = re.sub(r"([\\;,])", r"\\\1", f"Meeting with {' '.join(name.split())}")
    stamps = [f"{moment:%Y%m%dT%H%M%SZ}" for moment in (now, wanted.start, wanted.end)]
    event = ["BEGIN:VEVENT", f"UID:proposal-{record.id}@watertight", f"DTSTAMP:{stamps[0]}", f"DTSTART:{stamps[1]}"]
    event += [f"DTEND:{stamps[2]}", f"SUMMARY:{summary}", "END:VEVENT"]
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//watertight//booking//EN", *event, "END:VCALENDAR", ""]
    return "\r\n".join(lines)


def interval_of(record: DecisionRecord) -> Interval:
    if record.starts_at is None or record.ends_at is None:
        raise NotFound("no such booking")
    return Interval(record.starts_at, record.ends_at)


def _is_kept(agent: str, wanted: Interval, secret: str) -> bool:
    with transaction(runtime().sessions) as session:
        found = find_hold(session, secret)
    if found is None or found.agent != agent or found.seconds_left is None:
        return False
    return Interval(found.starts_at, found.ends_at) == wanted


def _was_asked(agent: str, key: str) -> bool:
    return _find_wish(agent, key) is not None


def _find_wish(agent: str, key: str) -> int | None:
    with transaction(runtime().sessions) as session:
        return find_request(session, agent, key)
