"""Claim: one short transaction under the agent's lock decides who may go on. No network in here (design §5.2, step 1)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, bindparam, func, select
from sqlalchemy.orm import Session

from models.agents import Calendar
from models.feeds import Sighting
from models.ledger import FOLLOWING, Appointment, Write
from models.proposals import FINAL_STATES, Proposal
from models.queries import list_writes
from models.session import database_now, lock_agents
from sync.boundaries import Boundary, cross
from sync.commit.begin import begin
from sync.commit.links import appointment_of
from sync.commit.order import LEASE_SECONDS, Order, master_of, order_of
from sync.commit.outcome import Outcome, Skipped, Snoozed
from sync.domain import CalendarRef, Kind, RemoteId, Role
from sync.errors import NotFound
from sync.records import calendar_ref

TURN_SECONDS = 1.0

_PROPOSAL = select(Proposal, func.clock_timestamp()).where(Proposal.id == bindparam("proposal")).with_for_update()


@dataclass(frozen=True, slots=True)
class Parties:
    """Whose time a proposal may change, and which kind of system asked."""

    agents: frozenset[int]
    actor: str

    def lock(self, session: Session, proposal_id: int) -> None:
        lock_agents(session, self.agents, cause=f"proposal:{proposal_id}", actor=self.actor)


@dataclass(frozen=True, slots=True)
class Follow:
    """A proposal that reports what people did on the master itself: nothing to write there, the ledger follows."""

    proposal_id: int
    parties: Parties
    calendar: CalendarRef
    remote_id: RemoteId


@dataclass(frozen=True, slots=True)
class Stray:
    """An event that a write of ours made although the write came to nothing; it must go."""

    proposal_id: int
    parties: Parties
    master: CalendarRef
    calendar: CalendarRef
    remote_id: RemoteId


@dataclass(frozen=True, slots=True)
class Mend:
    """A repair: of one event as the audit saw it (``version``, None: it was missing), or (no ``remote_id``) of all copies."""

    proposal_id: int
    parties: Parties
    master: CalendarRef
    calendar: CalendarRef
    remote_id: RemoteId | None
    version: str | None


def claim(session: Session, proposal_id: int) -> Order | Follow | Stray | Mend | Outcome:
    """Take the proposal in hand, decide it at once where the ledger alone can, or leave it to whoever has it.

    Raises:
        NotFound: no such proposal, or its agent has no master.
    """
    parties = _parties(session, proposal_id)
    parties.lock(session, proposal_id)
    proposal, now = session.execute(_PROPOSAL, {"proposal": proposal_id}).one()
    if proposal.state in FINAL_STATES:
        return Skipped(f"already {proposal.state}")
    if proposal.state != "pending":  # which it is as long as it has no write to the master
        return _resume(session, proposal, now=now)
    if proposal.not_before > now:
        return Skipped("not due yet")
    return _begin(session, proposal, parties)


def _parties(session: Session, proposal_id: int) -> Parties:
    """The agent whose time is wanted, and the one who has the appointment that it is about."""
    proposal = session.get(Proposal, proposal_id)
    if proposal is None:
        message = f"no proposal {proposal_id}"
        raise NotFound(message)
    agents = {proposal.agent_id}
    if (appointment := appointment_of(session, proposal)) is not None:
        agents.add(appointment.agent_id)
    parties = Parties(frozenset(agents), proposal.origin)
    session.expire_all()  # read without the lock: what is decided on is read again under it
    return parties


def _resume(session: Session, proposal: Proposal, *, now: datetime) -> Order | Outcome:
    of_ours = (Write.proposal_id == proposal.id, Write.action.not_in(FOLLOWING))
    write = session.scalars(select(Write).where(*of_ours).with_for_update()).one()
    if write.leased_until is not None and write.leased_until > now:
        return Skipped("in another worker's hands")
    if write.not_before > now:
        return Skipped("not due yet")
    write.fence += 1
    write.attempt += 1
    write.leased_until = now + timedelta(seconds=LEASE_SECONDS)
    cross(Boundary.RESUMING)
    return order_of(session, proposal, write)


def _begin(session: Session, proposal: Proposal, parties: Parties) -> Order | Follow | Stray | Mend | Outcome:
    origin = _origin(session, proposal)
    appointment = appointment_of(session, proposal)
    if appointment is not None and appointment.agent_id not in parties.agents:
        return snooze_proposal(session, proposal, seconds=TURN_SECONDS)  # it changed its agent before we had the lock
    if _must_wait(session, proposal, appointment):
        return snooze_proposal(session, proposal, seconds=TURN_SECONDS)
    if proposal.kind == Kind.REPAIR:
        master, _ = master_of(session, proposal.agent_id)
        about = RemoteId(proposal.remote_id) if proposal.remote_id is not None else None
        return Mend(proposal.id, parties, master, origin or master, about, proposal.remote_version)
    if origin is not None:
        remote_id = RemoteId(str(proposal.remote_id))
        if _is_stray(session, proposal):
            master, _ = master_of(session, proposal.agent_id)
            return Stray(proposal.id, parties, master, origin, remote_id)
        if origin.role is Role.MASTER and (appointment is None or appointment.agent_id == proposal.agent_id):
            return Follow(proposal.id, parties, origin, remote_id)
    return begin(session, proposal, appointment)


def _must_wait(session: Session, proposal: Proposal, appointment: Appointment | None) -> bool:
    """Two proposals for one appointment, or from one event that has none yet, are taken in turn."""
    if appointment is None:
        return proposal.calendar_id is not None and _has_earlier_open(session, proposal)
    return _is_in_hand(session, proposal, appointment) or _was_asked_before(session, proposal)


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
    same = (Proposal.calendar_id == proposal.calendar_id, Proposal.remote_id == proposal.remote_id)
    return _is_open_before(session, proposal, *same)


def _is_open_before(session: Session, proposal: Proposal, *about: ColumnElement[bool]) -> bool:
    earlier = select(Proposal.id).where(*about, Proposal.id < proposal.id, Proposal.state.not_in(FINAL_STATES))
    return session.scalar(earlier.limit(1)) is not None


def _was_asked_before(session: Session, proposal: Proposal) -> bool:
    """What people ask about one appointment by its number is done in the order in which they asked."""
    if proposal.appointment_id is None:
        return False
    return _is_open_before(session, proposal, Proposal.appointment_id == proposal.appointment_id)


def _is_in_hand(session: Session, proposal: Proposal, appointment: Appointment) -> bool:
    """Whether a decision about it is being carried out; for somebody else to take it, also whether a master still shows it.

    That one waits until the new master carries the appointment, so what is said there must not wait for it.
    """
    open_writes = select(Write.id).where(Write.appointment_id == appointment.id, Write.state == "due")
    if proposal.agent_id == appointment.agent_id:
        waited_for = open_writes.where(Write.action.not_in(FOLLOWING))
    else:
        waited_for = open_writes.join(Calendar, Calendar.id == Write.calendar_id).where(
            Calendar.role == Role.MASTER.value
        )
    return session.scalar(waited_for.limit(1)) is not None


def snooze_proposal(session: Session, proposal: Proposal, *, seconds: float) -> Snoozed:
    """Leave an unclaimed proposal alone for a while."""
    proposal.not_before = database_now(session) + timedelta(seconds=seconds)
    return Snoozed(seconds, "contention")
