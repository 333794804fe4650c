"""What a claimed proposal hands from step to step: values only, no row outlives its transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from models.agents import Agent, Calendar
from models.ledger import Appointment, RemoteLink, Write
from models.proposals import Proposal
from sync.conflicts import Buffers, Own
from sync.domain import (
    CANCELLED_PREFIX,
    REFUSED_PREFIX,
    CalendarRef,
    EventDraft,
    Interval,
    Kind,
    RemoteEvent,
    RemoteId,
    Role,
    WriteKey,
)
from sync.errors import Malformed, NotFound
from sync.records import buffers_of, calendar_ref

# Taken anew with every step. A step that outlasts it is harmless (same key, conditional writes, fence); a shorter one finds
# a killed worker's rows sooner.
LEASE_SECONDS = 30
_MASTER = select(Calendar, Agent).join(Agent).where(Agent.id == bindparam("agent"), Calendar.role == Role.MASTER.value)
KINDS = {"create": Kind.BOOK, "update": Kind.MOVE, "delete": Kind.CANCEL, "hold": Kind.HOLD}


@dataclass(frozen=True, slots=True)
class Order:
    """A proposal in hand, under a lease on its write to the master.

    ``phase`` is the proposal's state when the lease was taken: where this attempt goes on. ``interval`` is what the
    proposal wants (None: nothing, a cancellation), ``before`` what the appointment had on this master. ``agents`` are all
    whose time may change: two when an appointment goes to another agent, for whose master that is a booking.
    """

    proposal_id: int
    kind: Kind
    phase: str
    write_id: int
    fence: int
    attempt: int
    key: WriteKey
    agent_id: int
    agents: tuple[int, ...]
    actor: str
    master: CalendarRef
    buffers: Buffers
    interval: Interval | None
    before: Interval | None
    title: str
    appointment_id: int | None
    appointment_title: str
    remote_id: RemoteId | None
    remote_version: str | None

    @property
    def takes_time(self) -> bool:
        """Whether it wants time that its appointment does not have yet; new words for an old time disturb nobody."""
        return self.interval != self.before

    @property
    def own(self) -> Own:
        return Own(self.key, self.remote_id)

    def draft(self) -> EventDraft:
        """The event as the proposal wants it."""
        if self.interval is None:
            message = f"proposal {self.proposal_id} wants no event"
            raise ValueError(message)
        return EventDraft(self.interval, self.title)

    def draft_before(self) -> EventDraft:
        """The event as it was before, for an undo."""
        if self.before is None:
            message = f"proposal {self.proposal_id} had no event before"
            raise ValueError(message)
        return EventDraft(self.before, self.appointment_title)


def master_of(session: Session, agent_id: int) -> tuple[CalendarRef, Buffers]:
    """The agent's master calendar, read once in a transaction.

    Raises:
        NotFound: the agent has none, so nothing can be decided for it.
    """
    masters: dict[int, tuple[CalendarRef, Buffers]] = session.info.setdefault("masters", {})
    if agent_id not in masters:
        masters[agent_id] = _read_master(session, agent_id)
    return masters[agent_id]


def _read_master(session: Session, agent_id: int) -> tuple[CalendarRef, Buffers]:
    found = session.execute(_MASTER, {"agent": agent_id}).one_or_none()
    if found is None:
        message = f"agent {agent_id} has no master calendar"
        raise NotFound(message)
    calendar, agent = found
    return calendar_ref(calendar, agent), buffers_of(agent)


def order_of(session: Session, proposal: Proposal, write: Write) -> Order:
    """The order for a write whose lease the caller has just taken."""
    master, buffers = master_of(session, proposal.agent_id)
    appointment = session.get(Appointment, write.appointment_id) if write.appointment_id else None
    wanted = Interval(proposal.starts_at, proposal.ends_at) if proposal.starts_at and proposal.ends_at else None
    kind = KINDS[write.action]
    goes_elsewhere = appointment is not None and kind is Kind.BOOK
    return Order(
        proposal_id=proposal.id,
        kind=kind,
        phase=proposal.state,
        write_id=write.id,
        fence=write.fence,
        attempt=write.attempt,
        key=WriteKey(write.key),
        agent_id=proposal.agent_id,
        agents=tuple({proposal.agent_id, appointment.agent_id} if appointment else {proposal.agent_id}),
        actor=proposal.origin,
        master=master,
        buffers=buffers,
        interval=None if kind is Kind.CANCEL else wanted,
        before=Interval(appointment.starts_at, appointment.ends_at) if appointment and not goes_elsewhere else None,
        title=title_of(session, proposal, appointment),
        appointment_id=write.appointment_id,
        appointment_title=appointment.title if appointment else "",
        remote_id=RemoteId(write.remote_id) if write.remote_id else None,
        remote_version=write.remote_version,
    )


def title_of(session: Session, proposal: Proposal, appointment: Appointment | None) -> str:
    """The title that is wished for: where the origin shows what it was last given, nobody has asked for another one."""
    if appointment is not None and proposal.calendar_id is not None:
        shown = session.scalar(
            select(RemoteLink.title).where(
                RemoteLink.appointment_id == appointment.id, RemoteLink.calendar_id == proposal.calendar_id
            )
        )
        if shown == proposal.title:
            return appointment.title
    if appointment is not None and proposal.calendar_id is None and not proposal.title:
        return appointment.title
    return proposal.title.removeprefix(REFUSED_PREFIX).removeprefix(CANCELLED_PREFIX)


def evidence_of(events: list[RemoteEvent], *, window: Interval, read_at: datetime, step: str) -> dict[str, Any]:
    """What was in the way, and when it was read: ids, versions and intervals, never titles or people (P12)."""
    return {
        "step": step,
        "read_at": read_at.isoformat(),
        "window": str(window),
        "events": [
            {"remote_id": event.remote_id, "version": event.version, "interval": str(event.interval)}
            for event in events
        ],
    }


def wanted_of(proposal: Proposal) -> Interval:
    """The interval of a proposal that must have one, as the table's constraint says.

    Raises:
        Malformed: the row has none.
    """
    if proposal.starts_at is None or proposal.ends_at is None:
        raise Malformed("start", f"proposal {proposal.id} names no time")
    return Interval(proposal.starts_at, proposal.ends_at)
