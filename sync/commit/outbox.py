"""Queue what must be told after a decision: copies on the mirrors, the answer to the origin (design §5.2, step 5)."""

from __future__ import annotations

import uuid

from sqlalchemy import Integer, Select, and_, bindparam, func, or_, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from models.agents import Calendar
from models.ledger import Appointment, RemoteLink, Write
from models.proposals import Proposal
from sync.commit.links import shown_title
from sync.domain import Reason, Role

ANSWERED = (Reason.SLOT_TAKEN, Reason.MASTER_BUSY, Reason.MASTER_UNREADABLE, Reason.REJECTED, Reason.GONE)


def _showing() -> Select[Calendar, RemoteLink]:
    """Calendars of an appointment, with its link where there is one."""
    its, owner = RemoteLink.appointment_id == bindparam("appointment"), bindparam("agent", type_=Integer)
    linked = select(RemoteLink.calendar_id).where(its, ~RemoteLink.gone)
    mirror = and_(Calendar.agent_id == owner, Calendar.role == Role.MIRROR.value)
    source = and_(Calendar.role == Role.SOURCE.value, Calendar.id.in_(linked))
    left = and_(Calendar.agent_id != owner, Calendar.id.in_(linked))
    carries = and_(its, RemoteLink.calendar_id == Calendar.id)
    shown = select(Calendar, RemoteLink).outerjoin(RemoteLink, carries)
    return shown.where(or_(mirror, source, left)).order_by(Calendar.id)


_SHOWN = _showing()


def queue_copies(
    session: Session, appointment: Appointment, proposal: Proposal, *, anew: int | None = None
) -> tuple[str, ...]:
    """One open copy row for every calendar that does not show the appointment as it is now, and for calendar ``anew``.

    These are the agent's mirrors, the source that it came from, and calendars of an agent who had it before.
    """
    shown = session.execute(_SHOWN, {"appointment": appointment.id, "agent": appointment.agent_id}).all()
    return tuple(
        _queue(session, appointment, calendar, proposal)
        for calendar, link in shown
        if calendar.id == anew or not is_in_step(session, appointment, calendar, link=link)
    )


def is_shown(appointment: Appointment, calendar: Calendar) -> bool:
    """Whether the calendar should show the appointment at all."""
    return appointment.state == "confirmed" and calendar.agent_id == appointment.agent_id


def is_in_step(session: Session, appointment: Appointment, calendar: Calendar, *, link: RemoteLink | None) -> bool:
    """Whether the calendar shows the appointment as it is. An unfinished copy may have made an event, so it is not."""
    if not is_shown(appointment, calendar):
        return (link is None or link.gone) and not _has_open_copy(session, appointment, calendar)
    if link is None or link.gone:
        return False
    shows = (link.starts_at, link.ends_at, link.title)
    return shows == (appointment.starts_at, appointment.ends_at, shown_title(appointment, calendar, ours=link.ours))


def _has_open_copy(session: Session, appointment: Appointment, calendar: Calendar) -> bool:
    query = select(Write.id).where(
        Write.appointment_id == appointment.id, Write.calendar_id == calendar.id, Write.state == "due"
    )
    return session.scalar(query.limit(1)) is not None


def _queue(session: Session, appointment: Appointment, calendar: Calendar, proposal: Proposal) -> str:
    row = insert(Write).values(
        key=uuid.uuid4().hex,
        agent_id=calendar.agent_id,
        calendar_id=calendar.id,
        proposal_id=proposal.id,
        appointment_id=appointment.id,
        appointment_version=appointment.version,
        action="copy",
    )
    queued = row.on_conflict_do_update(
        index_elements=["appointment_id", "calendar_id"],
        index_where=text("state = 'due' and action = 'copy'"),  # spelt out: a bound value cannot name it once prepared
        set_={"appointment_version": appointment.version, "not_before": func.clock_timestamp()},
    ).returning(Write.id)
    return f"write:{session.execute(queued).scalar_one()}"


def queue_answer(session: Session, proposal: Proposal, reason: Reason) -> tuple[str, ...]:
    """Tell the owner of a refused event, as the calendar's ``on_refusal`` wants it."""
    if proposal.calendar_id is None or reason not in ANSWERED:
        return ()
    calendar = session.get_one(Calendar, proposal.calendar_id)
    if calendar.role == Role.MASTER.value or calendar.on_refusal == "leave":
        return ()
    row = Write(
        key=uuid.uuid4().hex,
        agent_id=proposal.agent_id,
        calendar_id=calendar.id,
        proposal_id=proposal.id,
        action="mark",
        remote_id=proposal.remote_id,
        remote_version=proposal.remote_version,
        reason=reason.value,
    )
    session.add(row)
    session.flush()
    return (f"write:{row.id}",)
