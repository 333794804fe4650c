"""Rows as domain values: the one place that knows both spellings."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, Select, select
from sqlalchemy.orm import Session

from models.agents import Agent, Calendar
from models.feeds import Sighting
from sync.changes import Seen
from sync.conflicts import Buffers
from sync.domain import Attendee, BusyPolicy, CalendarId, CalendarRef, Interval, RemoteEvent, RemoteId, Removal, Role


def calendar_ref(calendar: Calendar, agent: Agent) -> CalendarRef:
    return CalendarRef(
        id=CalendarId(calendar.id),
        agent=agent.slug,
        provider=calendar.provider,
        remote=calendar.remote,
        role=Role(calendar.role),
        zone=agent.zone,
        busy=BusyPolicy(**agent.counts_as_busy),
    )


def buffers_of(agent: Agent) -> Buffers:
    return Buffers(
        before=timedelta(minutes=agent.buffer_before_minutes), after=timedelta(minutes=agent.buffer_after_minutes)
    )


def select_calendars(*, agent_id: int) -> Select[Calendar]:
    return select(Calendar).where(Calendar.agent_id == agent_id).order_by(Calendar.id)


def list_revived(session: Session, calendar_id: CalendarId) -> set[str]:
    """Events of a calendar that a person took out of the bin."""
    return set(session.scalars(select(Sighting.remote_id).where(Sighting.calendar_id == calendar_id, Sighting.revived)))


def dump_attendees(attendees: Iterable[Attendee]) -> list[dict[str, Any]]:
    return [{"name": attendee.name, "email": attendee.email} for attendee in attendees]


def load_attendees(rows: Iterable[dict[str, Any]]) -> tuple[Attendee, ...]:
    return tuple(Attendee(name=row["name"], email=row["email"]) for row in rows)


def seen_of(row: Sighting | Row[Any]) -> Seen:
    return Seen(
        remote_id=RemoteId(row.remote_id),
        version=row.version or "",
        updated=row.updated,
        interval=Interval(row.starts_at, row.ends_at) if row.starts_at and row.ends_at else None,
        blocks=row.blocks,
        deleted=row.deleted,
        title=row.title,
        attendees=load_attendees(row.attendees),
        replaces=RemoteId(row.replaces) if row.replaces else None,
        series_id=row.series_id,
        revived=row.revived,
        key=row.key,
    )


def store_sighting(
    session: Session, calendar_id: CalendarId, change: RemoteEvent | Removal, *, row: Sighting | None
) -> Sighting:
    """Make ``change`` the newest state. The caller has decided that it is; a removal keeps what was last seen alive."""
    if row is None:
        row = Sighting(calendar_id=calendar_id, remote_id=change.remote_id)
        session.add(row)
    row.replaces = change.replaces or row.replaces
    if isinstance(change, Removal):
        row.deleted, row.blocks, row.revived = True, False, False
        row.updated = change.updated or row.updated
        row.version = f"deleted {row.updated.isoformat()}" if row.updated else "deleted"
        row.attendees = row.attendees or []
        row.title = row.title or ""
        return row
    if row.deleted and row.updated is not None and change.updated > row.updated:
        row.revived = True
    row.deleted, row.blocks, row.version, row.updated = False, change.blocks, change.version, change.updated
    row.starts_at, row.ends_at = change.interval.start, change.interval.end
    row.title, row.attendees, row.key = change.title, dump_attendees(change.attendees), change.key
    row.series_id = change.series_id
    return row
