"""What is known about an agent's time, for those who offer it. The picture may be old, and says how old."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import exists, func, or_, select
from sqlalchemy.orm import Session

from models.agents import Agent, Calendar
from models.feeds import Cursor, Sighting
from models.ledger import RemoteLink, Slot
from models.session import database_now

JOBS = 3
NO_MASTER = "no_master"

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
    agent = session.scalars(select(Agent).where(Agent.slug == slug)).one_or_none()
    if agent is None:
        return None
    master = session.scalars(
        select(Calendar).where(Calendar.agent_id == agent.id, Calendar.role == "master")
    ).one_or_none()
    window = func.tstzrange(start, end)
    slots = session.scalars(select(Slot).where(Slot.agent_id == agent.id, Slot.during.op("&&")(window))).all()
    now = database_now(session)
    ran_out = [slot for slot in slots if slot.held_until is not None and slot.held_until <= now]
    live = [slot for slot in slots if slot.state != "free" and slot not in ran_out]
    versions: dict[Times, int] = {}
    for slot in slots:
        if slot not in live:
            seen = slot.version + (slot in ran_out)  # whoever takes it ends the hold first, which counts as a change
            versions[_bounds(slot)] = max(seen, versions.get(_bounds(slot), 0))
    read_at, stopped = (None, NO_MASTER) if master is None else (_read_at(session, master.id), master.stopped_code)
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
        slots=[_bounds(slot) for slot in live],
        busy=_busy(session, agent.id, start=start, end=end),
        versions=versions,
        read_at=read_at,
        stopped=stopped,
        now=now,
    )


def _read_at(session: Session, calendar_id: int) -> datetime | None:
    """When the job that is furthest behind read the calendar; None while one of them never has."""
    read = session.execute(
        select(func.count(Cursor.read_at), func.min(Cursor.read_at)).where(Cursor.calendar_id == calendar_id)
    ).one()
    return read[1] if read[0] == JOBS else None


def _bounds(slot: Slot) -> Times:
    lower, upper = slot.during.lower, slot.during.upper
    if lower is None or upper is None:
        message = f"slot {slot.id} has no end"
        raise ValueError(message)
    return lower, upper


def _busy(session: Session, agent_id: int, *, start: datetime, end: datetime) -> list[Times]:
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
    rows = session.execute(
        select(Sighting.starts_at, Sighting.ends_at)
        .join(Calendar, Calendar.id == Sighting.calendar_id)
        .where(
            Calendar.agent_id == agent_id,
            or_(Calendar.role == "master", Calendar.role == "mirror"),
            ~Sighting.deleted,
            Sighting.blocks,
            Sighting.starts_at < end,
            Sighting.ends_at > start,
            ~known,
        )
    )
    return [(row.starts_at, row.ends_at) for row in rows]
