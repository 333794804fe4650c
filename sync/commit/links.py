"""Which remote event carries an appointment, and what it was last known to show."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from models.agents import Calendar
from models.feeds import Sighting
from models.ledger import Appointment, RemoteLink
from models.proposals import Proposal
from models.session import lock_calendar
from sync.changes import is_newer
from sync.commit.order import wanted_of
from sync.domain import CalendarId, EventDraft, Interval, Kind, RemoteEvent, Removal
from sync.records import dump_attendees, seen_of, store_sighting

_ON = RemoteLink.calendar_id == bindparam("calendar")
_LINK = select(RemoteLink).where(_ON, RemoteLink.appointment_id == bindparam("appointment"))
_LINK_OF = select(RemoteLink).where(_ON, RemoteLink.remote_id == bindparam("remote"))


def find_link(session: Session, *, appointment_id: int, calendar_id: int) -> RemoteLink | None:
    return session.scalars(_LINK, {"appointment": appointment_id, "calendar": calendar_id}).one_or_none()


def appointment_of(session: Session, proposal: Proposal) -> Appointment | None:
    """The appointment that a proposal is about.

    An event that comes back has none, once its link has ended and its appointment was cancelled or went to another agent.
    """
    if proposal.calendar_id is None or proposal.remote_id is None:
        return session.get(Appointment, proposal.appointment_id) if proposal.appointment_id else None
    link = find_link_behind(session, proposal.calendar_id, proposal.remote_id)
    appointment = session.get_one(Appointment, link.appointment_id) if link is not None else None
    if link is None or appointment is None:
        return None
    left = appointment.state == "cancelled" or appointment.agent_id != proposal.agent_id
    return None if link.gone and left else appointment


def find_link_of(session: Session, calendar_id: int, remote_id: str) -> RemoteLink | None:
    """The link of this event, to a live appointment or a cancelled one."""
    return session.scalars(_LINK_OF, {"calendar": calendar_id, "remote": remote_id}).one_or_none()


def find_link_behind(session: Session, calendar_id: int, remote_id: str) -> RemoteLink | None:
    """The link of this event, or else of the one that it has taken over from."""
    link, passed = find_link_of(session, calendar_id, remote_id), {remote_id}
    while link is None:
        row = session.get(Sighting, (calendar_id, remote_id))
        if row is None or row.replaces is None or row.replaces in passed:
            return None
        remote_id = row.replaces
        passed.add(remote_id)
        link = find_link_of(session, calendar_id, remote_id)
    return link


def link_event(
    session: Session,
    appointment: Appointment,
    link: RemoteLink | None,
    *,
    calendar_id: CalendarId,
    event: RemoteEvent,
    ours: bool | None = None,
) -> RemoteLink:
    """Remember which event carries the appointment and what it shows, in the link that it has on this calendar or a new one.

    ``ours`` is kept when not given.
    """
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
    """What we have just written or read is the newest sighting, unless a job has seen a newer one meanwhile.

    A tombstone without a date is newer than anything that was read before it: were the event brought back to life here,
    nobody would hear of its end, since the job's cursor has passed it.
    """
    lock_calendar(session, calendar_id)
    row = session.get(Sighting, (calendar_id, change.remote_id), populate_existing=True)
    if row is not None and row.deleted and row.updated is None and isinstance(change, RemoteEvent):
        return
    if row is None or is_newer(change, seen_of(row)):
        store_sighting(session, calendar_id, change, row=row)
        session.flush()


def link_origin(session: Session, proposal: Proposal, appointment: Appointment) -> None:
    """The origin's own event is linked as the proposal saw it, so no second copy is made."""
    if proposal.calendar_id is None or proposal.remote_id is None:
        return
    link = find_link_of(session, proposal.calendar_id, proposal.remote_id)
    row = session.get(Sighting, (proposal.calendar_id, proposal.remote_id))
    if proposal.kind == Kind.CANCEL:
        if link is not None:
            # A copy of ours that a person only set free is still there, and must go; what is theirs, or on their main
            # calendar, stays as they left it.
            stays = link.ours and proposal.origin != "master" and row is not None and not row.deleted
            link.gone = not stays
        return
    wanted = wanted_of(proposal)
    if link is None or link.appointment_id != appointment.id:
        link = _relink(session, proposal.calendar_id, appointment, old=link)
    link.remote_id, link.version, link.gone = proposal.remote_id, proposal.remote_version or "", False
    link.starts_at, link.ends_at = wanted.start, wanted.end
    link.title, link.attendees = proposal.title, proposal.attendees
    link.updated = row.updated if row is not None and row.updated else proposal.created_at
    if row is not None and row.version != proposal.remote_version:
        overtake(link)


def _relink(session: Session, calendar_id: int, appointment: Appointment, *, old: RemoteLink | None) -> RemoteLink:
    """A link of this calendar for the appointment. An event that came back after its appointment had ended is a person's."""
    if old is not None:
        session.delete(old)
        session.flush()
    link = find_link(session, appointment_id=appointment.id, calendar_id=calendar_id)
    if link is None:
        link = RemoteLink(appointment_id=appointment.id, calendar_id=calendar_id)
        session.add(link)
    link.ours = False
    return link


def overtake(link: RemoteLink) -> None:
    """A person has changed the event since: let its newest state count as news, which at an equal time it would not."""
    link.updated -= timedelta(microseconds=1)


def shown_title(appointment: Appointment, calendar: Calendar, *, ours: bool) -> str:
    """What a calendar shows: the title, or only that the time is taken. People's own events keep their title."""
    return "Busy" if ours and calendar.shows == "busy" else appointment.title


def draft_for(appointment: Appointment, calendar: Calendar, *, ours: bool) -> EventDraft:
    return EventDraft(
        Interval(appointment.starts_at, appointment.ends_at), shown_title(appointment, calendar, ours=ours)
    )
