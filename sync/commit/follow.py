"""The ledger follows the master: what people did there is a fact, not a wish (design §5.3)."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from models.feeds import Sighting
from models.ledger import Appointment, Slot
from models.proposals import Proposal
from models.session import Sessions, transaction
from sync.boundaries import Boundary, cross
from sync.commit import slots
from sync.commit.claim import Follow, Stray
from sync.commit.links import appointment_of, remember
from sync.commit.notice import notice
from sync.commit.order import wanted_of
from sync.commit.outcome import Accepted, Outcome, Skipped
from sync.commit.settle import accept, cancel_appointment, refuse_unclaimed
from sync.commit.trouble import blamed_on
from sync.domain import Interval, Kind, Reason, RemoteEvent, Removal, WriteKey
from sync.failures import open_alert, resolve_alert
from sync.ports import CalendarReader, Calendars


def follow_master(sessions: Sessions, calendars: Calendars, order: Follow) -> Outcome:
    """Read the event live, then bring appointment and slot to where it is.

    Raises:
        WatertightError: the master could not be read; nothing was changed.
    """
    event = calendars.reader(order.calendar).find_event(order.remote_id)
    cross(Boundary.FOLLOW_READ)
    with transaction(sessions) as session:
        order.parties.lock(session, order.proposal_id)
        proposal = session.scalars(select(Proposal).where(Proposal.id == order.proposal_id).with_for_update()).one()
        if proposal.state != "pending":
            return Skipped(f"already {proposal.state}")
        resolve_alert(session, f"commit:{order.calendar.id}")
        outcome = _follow(session, proposal, event)
        cross(Boundary.FOLLOWING)
    cross(Boundary.FOLLOWED)
    return outcome


def _follow(session: Session, proposal: Proposal, event: RemoteEvent | None) -> Outcome:
    appointment = appointment_of(session, proposal)
    if proposal.kind == Kind.CANCEL:
        return _follow_cancel(session, proposal, appointment, event)
    if event is None:
        return refuse_unclaimed(session, proposal, Reason.GONE, evidence={"step": "follow"})
    if event.interval != wanted_of(proposal) or not event.blocks:
        return refuse_unclaimed(session, proposal, Reason.STALE, evidence={"step": "follow"})
    if appointment is None:
        return _follow_new(session, proposal, event)
    return _follow_move(session, proposal, appointment, event)


def remove_stray(sessions: Sessions, calendars: Calendars, order: Stray) -> Outcome:
    """Delete an event that a write of ours made although the write came to nothing, after reading it and the master live."""
    reader = calendars.reader(order.calendar)
    event = reader.find_event(order.remote_id)
    if event is not None and event.key is not None and not _is_made_by_us(reader, event, event.key):
        return _disown(sessions, order)
    if event is not None:
        with blamed_on(order.master):
            calendars.reader(order.master).read_window(event.interval)
        calendars.writer(order.calendar).delete(event.remote_id, version=event.version)
    with transaction(sessions) as session:
        order.parties.lock(session, order.proposal_id)
        proposal = session.scalars(select(Proposal).where(Proposal.id == order.proposal_id).with_for_update()).one()
        if proposal.state != "pending":
            return Skipped(f"already {proposal.state}")
        remember(session, order.calendar.id, Removal(order.remote_id))
        return Accepted(Reason.ACCEPTED, accept(session, proposal, Reason.ACCEPTED, appointment=None))


def _is_made_by_us(reader: CalendarReader, event: RemoteEvent, key: WriteKey) -> bool:
    """A write that never heard which event it made cannot tell it from a person's copy of it. The vendor can."""
    made = reader.find_by_key(key)
    return made is not None and made.remote_id == event.remote_id


def _disown(sessions: Sessions, order: Stray) -> Outcome:
    """A copy is the person's own event: it stays, and the jobs' rules are asked about it as about any other."""
    with transaction(sessions) as session:
        order.parties.lock(session, order.proposal_id)
        proposal = session.scalars(select(Proposal).where(Proposal.id == order.proposal_id).with_for_update()).one()
        if proposal.state != "pending":
            return Skipped(f"already {proposal.state}")
        follow = accept(session, proposal, Reason.ALREADY_DONE, appointment=None)
        session.execute(
            update(Sighting)
            .where(Sighting.calendar_id == order.calendar.id, Sighting.remote_id == order.remote_id)
            .values(key=None)
        )
        follow += notice(session, order.calendar, proposal.agent_id, [order.remote_id])
        return Accepted(Reason.ALREADY_DONE, follow)


def _follow_new(session: Session, proposal: Proposal, event: RemoteEvent) -> Outcome:
    appointment = Appointment(
        agent_id=proposal.agent_id,
        proposal_id=proposal.id,
        origin=proposal.origin,
        starts_at=event.interval.start,
        ends_at=event.interval.end,
        title=event.title,
        attendees=proposal.attendees,
        version=1,
        state="confirmed",
    )
    session.add(appointment)
    session.flush()
    _tell_if_covered(session, appointment, event.interval)
    return Accepted(Reason.ACCEPTED, accept(session, proposal, Reason.ACCEPTED, appointment=appointment))


def _follow_move(session: Session, proposal: Proposal, appointment: Appointment, event: RemoteEvent) -> Outcome:
    if appointment.state == "cancelled":
        return refuse_unclaimed(session, proposal, Reason.GONE, evidence={"step": "follow"})
    had = Interval(appointment.starts_at, appointment.ends_at)
    if had == event.interval and appointment.title == event.title:
        return Accepted(Reason.ALREADY_DONE, accept(session, proposal, Reason.ALREADY_DONE, appointment=appointment))
    if had != event.interval:
        _move_slot(session, appointment, event.interval)
    appointment.starts_at, appointment.ends_at = event.interval.start, event.interval.end
    appointment.title, appointment.version = event.title, appointment.version + 1
    return Accepted(Reason.ACCEPTED, accept(session, proposal, Reason.ACCEPTED, appointment=appointment))


def _move_slot(session: Session, appointment: Appointment, interval: Interval) -> None:
    """The slot goes where the person put the event; where another appointment has that time, the slot is given up."""
    covered = _tell_if_covered(session, appointment, interval)
    if appointment.slot_id is None:
        return
    slot = session.get_one(Slot, appointment.slot_id)
    if not covered:
        slots.change(session, slot, interval=interval)
        return
    slots.change(session, slot, state="free")
    appointment.slot_id = None


def _tell_if_covered(session: Session, appointment: Appointment, interval: Interval) -> bool:
    """People may overlap themselves on the master; they are told when it is an appointment of ours that they cover."""
    taken = slots.find_overlapping(session, appointment.agent_id, interval, except_slot=appointment.slot_id)
    if not taken:
        return False
    open_alert(
        session,
        f"master_conflict:appointment:{appointment.id}",
        code="master_conflict",
        detail={"appointment": appointment.id, "interval": str(interval), **slots.taken_evidence(session, taken)},
    )
    return True


def _follow_cancel(
    session: Session, proposal: Proposal, appointment: Appointment | None, event: RemoteEvent | None
) -> Outcome:
    if appointment is None or appointment.state == "cancelled":
        return Accepted(Reason.ALREADY_DONE, accept(session, proposal, Reason.ALREADY_DONE, appointment=appointment))
    if event is not None and event.blocks:  # a feed said "gone"; the event itself says otherwise
        return refuse_unclaimed(session, proposal, Reason.STALE, evidence={"step": "follow"})
    cancel_appointment(session, appointment)
    return Accepted(Reason.ACCEPTED, accept(session, proposal, Reason.ACCEPTED, appointment=appointment))
