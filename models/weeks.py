"""One agent's week for a picture: slots, appointments, and what was last read from each calendar. No titles, no people (P12)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from models.agents import Agent, Calendar
from models.feeds import Sighting
from models.ledger import Appointment, RemoteLink, Slot, Write
from models.proposals import Proposal


@dataclass(frozen=True, slots=True)
class WeekSlot:
    """Time that is held or booked, and for which proposal."""

    id: int
    starts_at: datetime
    ends_at: datetime
    state: str
    proposal_id: int | None
    origin: str | None


@dataclass(frozen=True, slots=True)
class WeekAppointment:
    """A confirmed appointment, and when each calendar's event was last known to be; calendars with news still to come."""

    id: int
    starts_at: datetime
    ends_at: datetime
    proposal_id: int
    origin: str
    holds_slot: bool
    shown: dict[int, tuple[datetime, datetime]]
    coming: frozenset[int]


@dataclass(frozen=True, slots=True)
class WeekEvent:
    """An event as it was last read. Of one that carries an appointment, which; else the newest proposal that it made."""

    calendar_id: int
    starts_at: datetime
    ends_at: datetime
    blocks: bool
    appointment_id: int | None
    proposal_id: int | None
    proposal_state: str | None


@dataclass(frozen=True, slots=True)
class WeekRecord:
    """Everything of one agent that overlaps a week, each kind earliest first."""

    slots: list[WeekSlot]
    appointments: list[WeekAppointment]
    events: list[WeekEvent]


def find_week(session: Session, slug: str, *, start: datetime, end: datetime) -> WeekRecord:
    """What overlaps ``[start, end)``."""
    agent_id = session.scalars(select(Agent.id).where(Agent.slug == slug)).one()
    return WeekRecord(
        slots=_slots(session, agent_id, start=start, end=end),
        appointments=_appointments(session, agent_id, start=start, end=end),
        events=_events(session, agent_id, start=start, end=end),
    )


def _slots(session: Session, agent_id: int, *, start: datetime, end: datetime) -> list[WeekSlot]:
    rows = session.execute(
        select(Slot, Appointment.proposal_id, Appointment.origin)
        .outerjoin(Appointment, and_(Appointment.slot_id == Slot.id, Appointment.state == "confirmed"))
        .where(Slot.agent_id == agent_id, Slot.during.op("&&")(func.tstzrange(start, end)), Slot.state != "free")
        .order_by(Slot.during)
    )
    found = []
    for slot, proposal_id, origin in rows:
        lower, upper = slot.during.lower, slot.during.upper
        if lower is not None and upper is not None:
            found.append(WeekSlot(slot.id, lower, upper, slot.state, proposal_id or slot.held_by, origin))
    return found


def _appointments(session: Session, agent_id: int, *, start: datetime, end: datetime) -> list[WeekAppointment]:
    rows = session.scalars(
        select(Appointment)
        .where(
            Appointment.agent_id == agent_id,
            Appointment.state == "confirmed",
            Appointment.starts_at < end,
            Appointment.ends_at > start,
        )
        .order_by(Appointment.starts_at, Appointment.id)
    ).all()
    ids = [row.id for row in rows]
    shown: dict[int, dict[int, tuple[datetime, datetime]]] = {}
    for link in session.scalars(select(RemoteLink).where(RemoteLink.appointment_id.in_(ids), ~RemoteLink.gone)):
        shown.setdefault(link.appointment_id, {})[link.calendar_id] = (link.starts_at, link.ends_at)
    coming = _coming(session, ids)
    return [
        WeekAppointment(
            id=row.id,
            starts_at=row.starts_at,
            ends_at=row.ends_at,
            proposal_id=row.proposal_id,
            origin=row.origin,
            holds_slot=row.slot_id is not None,
            shown=shown.get(row.id, {}),
            coming=frozenset(coming.get(row.id, ())),
        )
        for row in rows
    ]


def _coming(session: Session, ids: list[int]) -> dict[int, set[int]]:
    """By appointment, the calendars that a due write is about to bring in step."""
    rows = session.execute(
        select(Write.appointment_id, Write.calendar_id).where(Write.appointment_id.in_(ids), Write.state == "due")
    )
    found: dict[int, set[int]] = {}
    for appointment_id, calendar_id in rows:
        if appointment_id is not None:
            found.setdefault(appointment_id, set()).add(calendar_id)
    return found


def _events(session: Session, agent_id: int, *, start: datetime, end: datetime) -> list[WeekEvent]:
    carried = and_(
        RemoteLink.calendar_id == Sighting.calendar_id, RemoteLink.remote_id == Sighting.remote_id, ~RemoteLink.gone
    )
    # By their ids: joined to the agent's calendars, the planner expects too much and reads everybody's events.
    mine = session.scalars(select(Calendar.id).where(Calendar.agent_id == agent_id)).all()
    rows = session.execute(
        select(Sighting, RemoteLink.appointment_id)
        .outerjoin(RemoteLink, carried)
        .where(Sighting.calendar_id.in_(mine), ~Sighting.deleted, Sighting.starts_at < end, Sighting.ends_at > start)
        .order_by(Sighting.starts_at, Sighting.calendar_id)
    ).all()
    proposals = _proposals_of(session, [row for row, _ in rows])
    return [
        WeekEvent(
            row.calendar_id,
            row.starts_at,
            row.ends_at,
            row.blocks,
            appointment_id,
            *proposals.get((row.calendar_id, row.remote_id), (None, None)),
        )
        for row, appointment_id in rows
        if row.starts_at is not None and row.ends_at is not None
    ]


def _proposals_of(session: Session, sightings: list[Sighting]) -> dict[tuple[int, str], tuple[int, str]]:
    """The newest proposal that each event made, with its state."""
    if not sightings:
        return {}
    wanted = or_(
        *(
            and_(Proposal.calendar_id == calendar, Proposal.remote_id.in_(ids))
            for calendar, ids in _by_calendar(sightings).items()
        )
    )
    rows = session.execute(
        select(Proposal.calendar_id, Proposal.remote_id, Proposal.id, Proposal.state)
        .where(wanted)
        .order_by(Proposal.id)
    )
    return {
        (calendar_id, remote_id): (number, state)
        for calendar_id, remote_id, number, state in rows
        if calendar_id is not None and remote_id is not None
    }


def _by_calendar(sightings: list[Sighting]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for row in sightings:
        found.setdefault(row.calendar_id, []).append(row.remote_id)
    return found
