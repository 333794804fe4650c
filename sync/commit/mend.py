"""Repair what the audit found: a calendar is brought back to what the ledger says, after a live read of what it shows.

No appointment changes here. Copies of ours are shown anew by the same following writes as after a decision; an event of
ours that nobody has goes; what people themselves made is left to the jobs, which read the calendar again in full.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from models.feeds import Cursor, Sighting
from models.ledger import Appointment, Decision, RemoteLink
from models.proposals import Proposal
from models.queries import list_writes
from models.session import Sessions, transaction
from sync.boundaries import Boundary, cross
from sync.commit.claim import Mend
from sync.commit.links import appointment_of, find_link, find_link_of, link_event, remember
from sync.commit.outbox import ANSWERED, queue_answer, queue_copies
from sync.commit.outcome import Accepted, Outcome, Refused, Skipped
from sync.commit.settle import decide
from sync.commit.trouble import blamed_on
from sync.domain import CalendarRef, Kind, Reason, RemoteEvent, RemoteId, Removal
from sync.ports import Calendars


def mend(sessions: Sessions, calendars: Calendars, order: Mend) -> Outcome:
    """Read the event live, then have it put right if it is still as the audit saw it.

    Raises:
        WatertightError: a calendar could not be read, or refused; nothing was decided.
    """
    event = None
    if order.remote_id is not None:
        event = calendars.reader(order.calendar).find_event(order.remote_id)
        cross(Boundary.MEND_READ)
        if (event.version if event is not None else None) != order.version:
            return _overtaken(sessions, order, event)
        if event is not None and _is_nobodys(sessions, order, event):
            with blamed_on(order.master):
                calendars.reader(order.master).read_window(event.interval)  # no write without it (P3)
            calendars.writer(order.calendar).delete(event.remote_id, version=event.version)
            cross(Boundary.MEND_WROTE)
            return _conclude(sessions, order, lambda session, proposal: _removed(session, proposal, order))
    return _conclude(sessions, order, lambda session, proposal: _decide(session, proposal, order, event))


def _conclude(sessions: Sessions, order: Mend, by: Callable[[Session, Proposal], Outcome]) -> Outcome:
    """Decide in one transaction, under the agents' locks, unless that was done meanwhile."""
    with transaction(sessions) as session:
        order.parties.lock(session, order.proposal_id)
        proposal = session.scalars(select(Proposal).where(Proposal.id == order.proposal_id).with_for_update()).one()
        if proposal.state != "pending":
            return Skipped(f"already {proposal.state}")
        outcome = by(session, proposal)
        cross(Boundary.MENDING)
    cross(Boundary.MENDED)
    return outcome


def _overtaken(sessions: Sessions, order: Mend, event: RemoteEvent | None) -> Outcome:
    """Somebody has changed the event since: the jobs will hear of it, and the next audit looks again.

    One that nobody has may be gone because an attempt before this one removed it, and did not live to say so.
    """

    def give_way(session: Session, proposal: Proposal) -> Outcome:
        if event is None and appointment_of(session, proposal) is None:
            return _removed(session, proposal, order)
        decide(session, proposal, Reason.STALE, accepted=False, evidence={"step": "repair"}, appointment=None)
        return Refused(Reason.STALE)

    return _conclude(sessions, order, give_way)


def _is_nobodys(sessions: Sessions, order: Mend, event: RemoteEvent) -> bool:
    """Whether a write of ours made exactly this event, and no appointment has it.

    A person's copy of an event of ours carries its key too, under another id than the write has recorded; and one that a
    person took out of the bin is theirs.
    """
    if event.key is None:
        return False
    with transaction(sessions) as session:
        write = list_writes(session, order.calendar.id, [event.key]).get(event.key)
        link = find_link_of(session, order.calendar.id, event.remote_id)
        seen = session.get(Sighting, (order.calendar.id, event.remote_id))
        revived = seen is not None and seen.revived
        return write is not None and write.remote_id == event.remote_id and (link is None or link.gone) and not revived


def _removed(session: Session, proposal: Proposal, order: Mend) -> Outcome:
    if order.remote_id is not None:
        remember(session, order.calendar.id, Removal(order.remote_id))
    return _accept(session, proposal, {"found": "stray"}, follow=())


def _decide(session: Session, proposal: Proposal, order: Mend, event: RemoteEvent | None) -> Outcome:
    appointment = appointment_of(session, proposal)
    if appointment is None:
        return _answer_again(session, proposal, order, event)
    if order.remote_id is None:
        return _accept(session, proposal, {"found": "nothing"}, appointment=appointment)
    link = find_link(session, appointment_id=appointment.id, calendar_id=order.calendar.id)
    if link is None or not link.ours or order.calendar.id == order.master.id:
        return _leave_to_jobs(session, proposal, order.calendar, appointment)
    _note(session, order.calendar, appointment, link=link, event=event)
    session.flush()
    if event is None:
        return _accept(session, proposal, {"found": "gone"}, appointment=appointment)
    found = str(event.interval) if event.blocks else "free"
    freed = order.calendar.id if not event.blocks else None  # a link does not say whether its event takes time
    return _accept(session, proposal, {"found": found}, appointment=appointment, anew=freed)


def _note(
    session: Session, calendar: CalendarRef, appointment: Appointment, *, link: RemoteLink, event: RemoteEvent | None
) -> None:
    """The link says from now on what is really there, so that the copy is made anew, or changed from that state."""
    if event is not None:
        link_event(session, appointment, link, calendar_id=calendar.id, event=event)
        return
    link.gone = True
    remember(session, calendar.id, Removal(RemoteId(link.remote_id)))


def _accept(
    session: Session,
    proposal: Proposal,
    evidence: dict[str, Any],
    *,
    appointment: Appointment | None = None,
    follow: tuple[str, ...] | None = None,
    anew: int | None = None,
) -> Accepted:
    """Decide, and queue whatever is out of step with the appointment: the reason says whether there was anything to do."""
    queued = queue_copies(session, appointment, proposal, anew=anew) if appointment is not None else follow
    in_step = queued is None or (appointment is not None and not queued)
    reason = Reason.ALREADY_DONE if in_step else Reason.ACCEPTED
    decide(session, proposal, reason, accepted=True, evidence={"step": "repair", **evidence}, appointment=appointment)
    return Accepted(reason, queued or ())


def _answer_again(session: Session, proposal: Proposal, order: Mend, event: RemoteEvent | None) -> Outcome:
    """A refused event that shows as taken time again is answered again; any other that nobody knows is read again."""
    if event is None or not event.blocks:
        return _accept(session, proposal, {"found": "free" if event is not None else "gone"})
    reason = _refused_for(session, order.calendar, event.remote_id)
    if reason is None:
        return _leave_to_jobs(session, proposal, order.calendar, None)
    proposal.remote_version, proposal.title = event.version, event.title
    proposal.starts_at, proposal.ends_at = event.interval.start, event.interval.end
    session.flush()
    return _accept(session, proposal, {"found": "busy"}, follow=queue_answer(session, proposal, reason))


def _refused_for(session: Session, calendar: CalendarRef, remote_id: RemoteId) -> Reason | None:
    """Why the last wish of this event was turned down, if it was and its owner is told so."""
    said = session.scalar(
        select(Decision.reason)
        .join(Proposal, Proposal.id == Decision.proposal_id)
        .where(Proposal.calendar_id == calendar.id, Proposal.remote_id == remote_id, Proposal.kind != Kind.REPAIR)
        .order_by(Decision.id.desc())
        .limit(1)
    )
    return Reason(said) if said in {reason.value for reason in ANSWERED} else None


def _leave_to_jobs(
    session: Session, proposal: Proposal, calendar: CalendarRef, appointment: Appointment | None
) -> Outcome:
    """What people made themselves is a wish or a fact that nobody heard of: every job reads the calendar in full."""
    session.execute(
        update(Cursor)
        .where(Cursor.calendar_id == calendar.id)
        .values(value=None, hinted_at=func.clock_timestamp(), not_before=None)
    )
    evidence = {"step": "repair", "left_to": "jobs"}
    decide(session, proposal, Reason.ACCEPTED, accepted=True, evidence=evidence, appointment=appointment)
    return Accepted(Reason.ACCEPTED)
