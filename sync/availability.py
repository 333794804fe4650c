"""What to offer a person who wants an appointment: from the ledger and the newest picture of the calendars.

It is never used as the decision itself: between the offer and the wish somebody else may have been faster, and only the
commit task reads the master live.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from models.openings import TimesRecord, find_times
from models.session import Sessions, transaction
from sync.conflicts import Buffers
from sync.domain import Interval
from sync.errors import Malformed, NotFound
from sync.openings import OfficeHours, Taken, list_openings

LONGEST_WINDOW = timedelta(days=62)
LONGEST_MINUTES = 24 * 60
SHORTEST_MINUTES = 5
NEARBY = timedelta(days=7)
ALTERNATIVES = 5


@dataclass(frozen=True, slots=True)
class Opening:
    """A time that can be offered, and the version of its slot for the caller to name when booking it."""

    interval: Interval
    version: int


@dataclass(frozen=True, slots=True)
class Availability:
    """An agent's openings. ``read_at`` tells how old the picture of the master is: None if it has never been read by all.

    ``stopped`` is the code for which nobody reads the master at present; ``now`` the moment of the database's clock, and
    ``until`` the last at which an opening of this agent may begin.
    """

    agent: str
    name: str
    zone: str
    minutes: int
    openings: tuple[Opening, ...]
    read_at: datetime | None
    stopped: str | None
    now: datetime
    until: datetime


def find_openings(sessions: Sessions, agent: str, window: Interval, *, minutes: int | None = None) -> Availability:
    """The openings that begin in ``window``; ``minutes`` is how long each is (the agent's own length without it).

    Raises:
        NotFound: no such agent.
        Malformed: the window is longer than two months, or the length is out of range.
    """
    if window.end - window.start > LONGEST_WINDOW:
        raise Malformed("to", f"is more than {LONGEST_WINDOW.days} days after from")
    if minutes is not None and not SHORTEST_MINUTES <= minutes <= LONGEST_MINUTES:
        raise Malformed("minutes", f"is not between {SHORTEST_MINUTES} and {LONGEST_MINUTES}")
    around = window.widened(before=timedelta(days=1), after=timedelta(days=2))
    with transaction(sessions) as session:
        times = find_times(session, agent, start=around.start, end=around.end)
    if times is None:
        message = f"no agent {agent!r}"
        raise NotFound(message)
    length = minutes or times.appointment_minutes
    return Availability(
        agent=times.slug,
        name=times.name,
        zone=times.zone,
        minutes=length,
        openings=tuple(_openings(times, window, timedelta(minutes=length))),
        read_at=times.read_at,
        stopped=times.stopped,
        now=times.now,
        until=times.now + timedelta(days=times.booking_days),
    )


def find_alternatives(
    sessions: Sessions, agent: str, wanted: Interval, *, avoid: Collection[Interval] = ()
) -> tuple[Opening, ...]:
    """What is still free and as long as ``wanted``, nearest to it first, and meets nothing of ``avoid``."""
    minutes = (wanted.end - wanted.start) // timedelta(minutes=1)
    if not SHORTEST_MINUTES <= minutes <= LONGEST_MINUTES:
        return ()
    found = find_openings(sessions, agent, wanted.widened(before=NEARBY, after=NEARBY), minutes=minutes)
    free = [one for one in found.openings if not any(one.interval.overlaps(other) for other in avoid)]
    nearest = sorted(free, key=lambda opening: abs(opening.interval.start - wanted.start))
    return tuple(nearest[:ALTERNATIVES])


def _openings(times: TimesRecord, window: Interval, length: timedelta) -> list[Opening]:
    hours = OfficeHours(
        zone=times.zone,
        weekly=times.working_hours,
        notice=timedelta(minutes=times.minimum_notice_minutes),
        ahead=timedelta(days=times.booking_days),
    )
    taken = Taken(times.slots, times.busy)
    buffers = Buffers(
        before=timedelta(minutes=times.buffer_before_minutes), after=timedelta(minutes=times.buffer_after_minutes)
    )
    found = list_openings(hours, taken, buffers=buffers, length=length, window=window, now=times.now)
    return [Opening(one, times.versions.get((one.start, one.end), 0)) for one in found]
