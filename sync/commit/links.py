"""Which remote event carries an appointment, and what it was last known to show."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.agents import Calendar
from models.feeds import Sighting
from models.ledger import Appointment, RemoteLink
from models.proposals import Proposal
from sync.changes import is_newer
from sync.commit.order import wanted_of
from sync.domain import CalendarId, EventDraft, Interval, Kind, RemoteEvent, Removal
from sync.records import dump_attendees, seen_of, store_sighting


def find_link(session: Session, *, appointment_id: int, calendar_id: int) -> RemoteLink | None:
    return session.scalars(
        select(RemoteLink).where(RemoteLink.appointment_id == appointment_id, RemoteLink.calendar_id == calendar_id)
    ).one_or_none()


def link_event(
    session: Session, appointment: Appointment, *, calendar_id: CalendarId, event: RemoteEvent, ours: bool | None = None
) -> RemoteLink:
    """Remember which event carries the appointment and what it shows. ``ours`` is kept when not given."""
    link = find_link(session, appointment_id=appointment.id, calendar_id=calendar_id)
    if link is None:
        link = RemoteLink(appointment_id=appointment.id, calendar_id=calendar_id, ours=bool(ours))
        session.add(link)
    elif ours is not None:
        link.ours = ours
    link.remote_id, link.version, link.updated, link.gone = event.remote_id, event.version, event.updated, False
    link.starts_at, link.ends_at = event.interval.start, event.interval.end
    link.title, link.attendees = event.title, dump_attendees(event.attendees)
    remember(session, calendar_id, event)
    return link


def remember(session: Session, calendar_id: CalendarId, change: RemoteEvent | Removal) -> None:
    """What we have just written or read is the newest sighting, unless a job has seen a newer one meanwhile."""
    row = session.get(Sighting, (calendar_id, change.remote_id))
    if row is None or is_newer(change, seen_of(row)):
        store_sighting(session, calendar_id, change, row=row)
        session.flush()


def link_origin(session: Session, proposal: Proposal, appointment: Appointment) -> None:
    """What the origin's own event shows is known from its sighting; it is linked, so no second copy is made."""
    if proposal.calendar_id is None or proposal.remote_id is None:
        return
    row = session.get(Sighting, (proposal.calendar_id, proposal.remote_id))
    if row is None or row.starts_at is None or row.ends_at is None:
        return
    link = find_link(session, appointment_id=appointment.id, calendar_id=proposal.calendar_id)
    if proposal.kind == Kind.CANCEL or row.deleted:
        if link is not None:
            link.gone = True
        return
    if link is None:
        link = RemoteLink(appointment_id=appointment.id, calendar_id=proposal.calendar_id, ours=False)
        session.add(link)
    link.remote_id, link.gone = row.remote_id, False
    wanted = wanted_of(proposal)
    link.version, link.starts_at, link.ends_at = proposal.remote_version or "", wanted.start, wanted.end
    link.title, link.attendees = proposal.title, proposal.attendees
    link.updated = row.updated or proposal.created_at


def shown_title(appointment: Appointment, calendar: Calendar, *, ours: bool) -> str:
    """What a calendar shows: the title, or only that the time is taken. People's own events keep their title."""
    return "Busy" if ours and calendar.shows == "busy" else appointment.title


def draft_for(appointment: Appointment, calendar: Calendar, *, ours: bool) -> EventDraft:
    return EventDraft(
        Interval(appointment.starts_at, appointment.ends_at), shown_title(appointment, calendar, ours=ours)
    )
