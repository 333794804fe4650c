"""What is known about an agent's time, for those who offer it. The picture may be old, and says how old."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, DateTime, Select, and_, bindparam, exists, func, or_, select, true
from sqlalchemy.orm import InstrumentedAttribute, Session

from models.agents import Agent, Calendar
from models.base import UtcDateTime
from models.feeds import Cursor, Sighting
from models.ledger import RemoteLink, Slot

JOBS = 3
NO_MASTER = "no_master"
INSTANT = DateTime(timezone=True)  # sessions are in UTC, and rows here come by the thousand: not read twice

Times = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class TimesRecord:
    """An agent's hours and taken times. ``versions`` are those of free slots that were used before; all others have 0.

    ``read_at`` is the job's read of the master that lies longest ago, None where one has never read it, and ``stopped``
    why nobody reads it at present.
    """

    slug: str
    name: str
    zone: str
    working_hours: dict[str, Any]
    minimum_notice_minutes: int
    booking_days: int
    appointment_minutes: int
    buffer_before_minutes: int
    buffer_after_minutes: int
    slots: list[Times]
    busy: list[Times]
    versions: dict[Times, int]
    read_at: datetime | None
    stopped: str | None
    now: datetime


def find_times(session: Session, slug: str, *, start: datetime, end: datetime) -> TimesRecord | None:
    """What takes the agent's time between ``start`` and ``end``; None if there is no such agent."""
    found = session.execute(_AGENT, {"slug": slug}).one_or_none()
    if found is None:
        return None
    agent, now = found.Agent, found.now
    asked = {"agent": agent.id, "start": start, "end": end}
    live, versions = _slots(session, asked, now=now)
    return TimesRecord(
        slug=agent.slug,
        name=agent.name or agent.slug,
        zone=agent.zone,
        working_hours=agent.working_hours,
        minimum_notice_minutes=agent.minimum_notice_minutes,
        booking_days=agent.booking_days,
        appointment_minutes=agent.appointment_minutes,
        buffer_before_minutes=agent.buffer_before_minutes,
        buffer_after_minutes=agent.buffer_after_minutes,
        slots=live,
        busy=[(lower, upper) for lower, upper in session.connection().execute(_BUSY, asked).all()],
        versions=versions,
        read_at=found.first_read if found.jobs == JOBS else None,
        stopped=NO_MASTER if found.master is None else found.stopped_code,
        now=now,
    )


def _agent() -> Select[Any]:
    """The agent, the master, and when the job that is furthest behind read it (if each of them ever did), in one answer."""
    read = (
        select(func.count(Cursor.read_at).label("jobs"), func.min(Cursor.read_at).label("first_read"))
        .where(Cursor.calendar_id == Calendar.id)
        .lateral("read")
    )
    return (
        select(
            Agent,
            Calendar.id.label("master"),
            Calendar.stopped_code,
            read.c.jobs,
            read.c.first_read,
            func.clock_timestamp(type_=UtcDateTime()).label("now"),
        )
        .outerjoin(Calendar, and_(Calendar.agent_id == Agent.id, Calendar.role == "master"))
        .outerjoin(read, true())
        .where(Agent.slug == bindparam("slug"))
    )


def _bounds(
    during: ColumnElement[Any] | InstrumentedAttribute[Any],
) -> tuple[ColumnElement[datetime], ColumnElement[datetime]]:
    """Both ends, which the database requires every slot to have."""
    return func.lower(during, type_=INSTANT), func.upper(during, type_=INSTANT)


def _taken_slots() -> Select[*tuple[Any, ...]]:
    columns = (*_bounds(Slot.during), Slot.state, Slot.version, Slot.held_until)
    window = func.tstzrange(bindparam("start", type_=UtcDateTime), bindparam("end", type_=UtcDateTime))
    return select(*columns).where(Slot.agent_id == bindparam("agent"), Slot.during.op("&&")(window))


def _busy_times() -> Select[*tuple[Any, ...]]:
    """On the master and the mirrors: what people put on a mirror is about to be proposed.

    Of an event that we made, the ledger knows more than a sighting that is no newer: time that was cancelled or moved away
    is free at once, though no job has read so yet.
    """
    known = exists().where(
        RemoteLink.calendar_id == Sighting.calendar_id,
        RemoteLink.remote_id == Sighting.remote_id,
        RemoteLink.ours,
        RemoteLink.updated >= Sighting.updated,
    )
    # As one union: masters and mirrors show the same events, and thousands of rows cost more to fetch than to merge.
    union = func.range_agg(func.tstzrange(Sighting.starts_at, Sighting.ends_at))
    during = (
        select(func.unnest(union).label("during"))
        .join(Calendar, Calendar.id == Sighting.calendar_id)
        .where(
            Calendar.agent_id == bindparam("agent"),
            or_(Calendar.role == "master", Calendar.role == "mirror"),
            ~Sighting.deleted,
            Sighting.blocks,
            Sighting.starts_at < bindparam("end"),
            Sighting.ends_at > bindparam("start"),
            ~known,
        )
    ).subquery()
    return select(*_bounds(during.c.during))


_AGENT, _SLOTS, _BUSY = _agent(), _taken_slots(), _busy_times()


def _slots(session: Session, asked: dict[str, Any], *, now: datetime) -> tuple[list[Times], dict[Times, int]]:
    """What is taken, and the versions of what is free and was used before."""
    rows = session.connection().execute(_SLOTS, asked)
    live: list[Times] = []
    versions: dict[Times, int] = {}
    for lower, upper, state, version, held_until in rows.all():
        ran_out = held_until is not None and held_until <= now
        if state != "free" and not ran_out:
            live.append((lower, upper))
        else:
            seen = version + ran_out  # whoever takes it ends the hold first, which counts as a change
            versions[lower, upper] = max(seen, versions.get((lower, upper), 0))
    return live, versions
