"""Claim: one short transaction under the agent's lock decides who may go on. No network in here (design §5.2, step 1)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.agents import Calendar
from models.feeds import Sighting
from models.ledger import Appointment, Slot, Write
from models.proposals import FINAL_STATES, Proposal
from models.queries import list_writes
from models.session import database_now, lock_agent
from sync.boundaries import Boundary, cross
from sync.commit import slots
from sync.commit.links import appointment_of, find_link
from sync.commit.order import LEASE_SECONDS, Order, master_of, order_of, title_of, wanted_of
from sync.commit.outcome import Accepted, Outcome, Skipped, Snoozed
from sync.commit.settle import accept, refuse_unclaimed
from sync.domain import CalendarRef, Interval, Kind, Reason, RemoteId, Role
from sync.errors import NotFound
from sync.records import calendar_ref, dump_attendees, load_attendees, seen_of

TURN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Follow:
    """A proposal that reports what people did on the master itself: nothing to write there, the ledger follows."""

    proposal_id: int
    agent_id: int
    calendar: CalendarRef
    remote_id: RemoteId


@dataclass(frozen=True, slots=True)
class Stray:
    """An event that a write of ours made although the write came to nothing; it must go."""

    proposal_id: int
    agent_id: int
    master: CalendarRef
    calendar: CalendarRef
    remote_id: RemoteId


def claim(session: Session, proposal_id: int) -> Order | Follow | Stray | Outcome:
    """Take the proposal in hand, decide it at once where the ledger alone can, or leave it to whoever has it.

    Raises:
        NotFound: no such proposal, or its agent has no master.
    """
    agent_id = session.scalar(select(Proposal.agent_id).where(Proposal.id == proposal_id))
    if agent_id is None:
        message = f"no proposal {proposal_id}"
        raise NotFound(message)
    lock_agent(session, agent_id)
    proposal = session.scalars(select(Proposal).where(Proposal.id == proposal_id).with_for_update()).one()
    if proposal.state in FINAL_STATES:
        return Skipped(f"already {proposal.state}")
    write = session.scalars(
        select(Write)
        .join(Calendar, Calendar.id == Write.calendar_id)
        .where(Write.proposal_id == proposal_id, Calendar.role == Role.MASTER.value)
        .with_for_update(of=Write)
    ).one_or_none()
    if write is not None:
        return _resume(session, proposal, write)
    if proposal.not_before > database_now(session):
        return Skipped("not due yet")
    return _begin(session, proposal)


def _resume(session: Session, proposal: Proposal, write: Write) -> Order | Outcome:
    now = database_now(session)
    if write.leased_until is not None and write.leased_until > now:
        return Skipped("in another worker's hands")
    if write.not_before > now:
        return Skipped("not due yet")
    write.fence += 1
    write.attempt += 1
    write.leased_until = now + timedelta(seconds=LEASE_SECONDS)
    cross(Boundary.RESUMING)
    return order_of(session, proposal, write)


def _begin(session: Session, proposal: Proposal) -> Order | Follow | Stray | Outcome:
    origin = _origin(session, proposal)
    appointment = appointment_of(session, proposal)
    if _must_wait(session, proposal, appointment):
        return snooze_proposal(session, proposal, seconds=TURN_SECONDS)
    if origin is not None:
        remote_id = RemoteId(str(proposal.remote_id))
        if _is_stray(session, proposal):
            master, _ = master_of(session, proposal.agent_id)
            return Stray(proposal.id, proposal.agent_id, master, origin, remote_id)
        if origin.role is Role.MASTER:
            return Follow(proposal.id, proposal.agent_id, origin, remote_id)
    return _begin_own(session, proposal, appointment)


def _begin_own(session: Session, proposal: Proposal, appointment: Appointment | None) -> Order | Outcome:
    if proposal.kind == Kind.CANCEL:
        return _begin_cancel(session, proposal, appointment)
    if (refused := _outdated(session, proposal)) is not None:
        return refuse_unclaimed(session, proposal, refused, evidence={"step": "claim"})
    if appointment is None:
        return _begin_book(session, proposal)
    return _begin_move(session, proposal, appointment)


def _must_wait(session: Session, proposal: Proposal, appointment: Appointment | None) -> bool:
    """Two proposals for one appointment, or from one event that has none yet, are taken in turn."""
    if appointment is not None:
        return _is_in_hand(session, appointment)
    return proposal.calendar_id is not None and _has_earlier_open(session, proposal)


def _origin(session: Session, proposal: Proposal) -> CalendarRef | None:
    if proposal.calendar_id is None:
        return None
    calendar = session.get_one(Calendar, proposal.calendar_id)
    return calendar_ref(calendar, calendar.agent)


def _is_stray(session: Session, proposal: Proposal) -> bool:
    """Whether a write of ours that came to nothing made this event: by key and id, since people copy our events too."""
    row = session.get(Sighting, (proposal.calendar_id, proposal.remote_id))
    if proposal.kind != Kind.CANCEL or row is None or row.deleted or row.key is None:
        return False
    write = list_writes(session, row.calendar_id, [row.key]).get(row.key)
    return write is not None and write.vain and write.remote_id in {None, row.remote_id}


def _has_earlier_open(session: Session, proposal: Proposal) -> bool:
    earlier = select(Proposal.id).where(
        Proposal.calendar_id == proposal.calendar_id,
        Proposal.remote_id == proposal.remote_id,
        Proposal.id < proposal.id,
        Proposal.state.not_in(FINAL_STATES),
    )
    return session.scalar(earlier.limit(1)) is not None


def _is_in_hand(session: Session, appointment: Appointment) -> bool:
    other = (
        select(Write.id)
        .join(Calendar, Calendar.id == Write.calendar_id)
        .where(Write.appointment_id == appointment.id, Write.state == "due", Calendar.role == Role.MASTER.value)
    )
    return session.scalar(other.limit(1)) is not None


def snooze_proposal(session: Session, proposal: Proposal, *, seconds: float) -> Snoozed:
    """Leave an unclaimed proposal alone for a while."""
    proposal.not_before = database_now(session) + timedelta(seconds=seconds)
    return Snoozed(seconds, "contention")


def _outdated(session: Session, proposal: Proposal) -> Reason | None:
    """Whether the event behind the proposal is gone, or has meanwhile changed so that a newer proposal speaks for it."""
    if proposal.calendar_id is None:
        return None
    row = session.get(Sighting, (proposal.calendar_id, proposal.remote_id))
    if row is None or row.deleted:
        return Reason.GONE
    same = (row.starts_at, row.ends_at) == (proposal.starts_at, proposal.ends_at)
    return None if same and seen_of(row).wants_time else Reason.STALE


def _begin_book(session: Session, proposal: Proposal) -> Order | Outcome:
    wanted = wanted_of(proposal)
    _, buffers = master_of(session, proposal.agent_id)
    taken = slots.find_overlapping(session, proposal.agent_id, buffers.apart(wanted))
    if taken:
        return refuse_unclaimed(session, proposal, Reason.SLOT_TAKEN, evidence=slots.taken_evidence(session, taken))
    if (refused := _version_moved_on(session, proposal, wanted)) is not None:
        return refused
    slot = slots.hold(session, proposal.agent_id, wanted)
    return _lease(session, proposal, action="create", slot=slot, appointment=None)


def _version_moved_on(session: Session, proposal: Proposal, wanted: Interval) -> Outcome | None:
    if proposal.slot_version is None:
        return None
    slot = slots.find_exact(session, proposal.agent_id, wanted)
    version = slot.version if slot is not None else 0
    if version == proposal.slot_version:
        return None
    evidence = {"step": "claim", "version_seen": proposal.slot_version, "version_now": version}
    return refuse_unclaimed(session, proposal, Reason.STALE, evidence=evidence)


def _begin_move(session: Session, proposal: Proposal, appointment: Appointment) -> Order | Outcome:
    if appointment.state == "cancelled":
        return refuse_unclaimed(session, proposal, Reason.GONE, evidence={"step": "claim"})
    wanted = wanted_of(proposal)
    had = Interval(appointment.starts_at, appointment.ends_at)
    if wanted == had and _says_nothing_new(session, proposal, appointment):
        return Accepted(Reason.ALREADY_DONE, accept(session, proposal, Reason.ALREADY_DONE, appointment=appointment))
    _, buffers = master_of(session, proposal.agent_id)
    own = session.get(Slot, appointment.slot_id) if appointment.slot_id else None
    taken = slots.find_overlapping(
        session, proposal.agent_id, buffers.apart(wanted), except_slot=own.id if own else None
    )
    if taken and wanted != had:
        return refuse_unclaimed(session, proposal, Reason.SLOT_TAKEN, evidence=slots.taken_evidence(session, taken))
    slot = own
    if wanted != had:
        slot = _hold_for_move(session, proposal.agent_id, own, wanted=wanted, had=had)
    return _lease(session, proposal, action="update", slot=slot, appointment=appointment)


def _hold_for_move(session: Session, agent_id: int, own: Slot | None, *, wanted: Interval, had: Interval) -> Slot:
    """Widen the own slot where old and new overlap (two live slots could not); else hold the new while the old stays."""
    if own is None or not wanted.overlaps(had):
        return slots.hold(session, agent_id, wanted)
    slots.change(session, own, interval=had.hull(wanted))
    return own


def _says_nothing_new(session: Session, proposal: Proposal, appointment: Appointment) -> bool:
    same_people = proposal.calendar_id is None or proposal.attendees == dump_attendees(
        load_attendees(appointment.attendees)
    )
    return title_of(session, proposal, appointment) == appointment.title and same_people


def _begin_cancel(session: Session, proposal: Proposal, appointment: Appointment | None) -> Order | Outcome:
    if appointment is not None and appointment.state == "confirmed":
        return _lease(session, proposal, action="delete", slot=None, appointment=appointment)
    return Accepted(Reason.ALREADY_DONE, accept(session, proposal, Reason.ALREADY_DONE, appointment=appointment))


def _lease(
    session: Session, proposal: Proposal, *, action: str, slot: Slot | None, appointment: Appointment | None
) -> Order:
    master, _ = master_of(session, proposal.agent_id)
    link = find_link(session, appointment_id=appointment.id, calendar_id=master.id) if appointment else None
    write = Write(
        key=uuid.uuid4().hex,
        agent_id=proposal.agent_id,
        calendar_id=master.id,
        proposal_id=proposal.id,
        appointment_id=appointment.id if appointment else None,
        action=action,
        remote_id=link.remote_id if link else None,
        remote_version=link.version if link else None,
        slot_id=slot.id if slot else None,
        attempt=1,
        fence=1,
        leased_until=func.clock_timestamp() + timedelta(seconds=LEASE_SECONDS),
    )
    session.add(write)
    proposal.state = "claimed"
    session.flush()
    return order_of(session, proposal, write)
