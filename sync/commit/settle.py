"""Settle and refuse: the transactions that end a proposal, keep its evidence, and queue what must be told (step 5)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func
from sqlalchemy.orm import Session

from models.agents import Calendar
from models.ledger import Appointment, Decision, RemoteLink, Slot
from models.proposals import Proposal
from models.session import lock_agents
from sync.commit import holds, slots
from sync.commit.lease import finish
from sync.commit.links import appointment_of, find_link, link_event, link_origin, overtake, remember
from sync.commit.notice import find_made, notice
from sync.commit.order import Order, wanted_of
from sync.commit.outbox import queue_answer, queue_copies
from sync.commit.outcome import Accepted, Refused
from sync.domain import Interval, Kind, Reason, RemoteEvent, RemoteId, Removal
from sync.failures import resolve_alert
from sync.records import calendar_ref


def settle(session: Session, order: Order, event: RemoteEvent | None) -> Accepted:
    """Write the ledger for a verified change on the master. ``event`` is None for a cancellation.

    Raises:
        Contention: the lease was lost.
    """
    proposal = _lock(session, order)
    write = finish(session, order, state="done")
    conclude = {Kind.BOOK: _book, Kind.MOVE: _move, Kind.CANCEL: _cancel, Kind.HOLD: _hold}[order.kind]
    appointment = conclude(session, order, proposal, write.slot_id, event)
    resolve_alert(session, f"commit:{order.master.id}")
    follow = accept(session, proposal, Reason.ACCEPTED, appointment=appointment, evidence=write.evidence)
    if event is not None:
        follow += notice(session, order.master, order.agent_id, _changed(session, order, event))
    return Accepted(Reason.ACCEPTED, follow)


def _changed(session: Session, order: Order, event: RemoteEvent) -> set[str]:
    """Events to look at again. A person's copy of ours was taken for ours until the write recorded which one is."""
    as_made = order.draft() if order.kind is Kind.BOOK else None
    return find_made(session, order.master.id, order.key, event=event, as_made=as_made)


def refuse(session: Session, order: Order, reason: Reason, *, evidence: dict[str, Any]) -> Refused:
    """Give the time back and decide no.

    Raises:
        Contention: the lease was lost.
    """
    proposal = _lock(session, order)
    write = finish(session, order, state="failed")
    if write.slot_id is not None:
        _give_back(session, order, session.get_one(Slot, write.slot_id))
    refused = refuse_unclaimed(session, proposal, reason, evidence=evidence)
    made = find_made(session, order.master.id, order.key)
    return Refused(reason, refused.follow + notice(session, order.master, order.agent_id, made))


def _lock(session: Session, order: Order) -> Proposal:
    """The agents, then the proposal, then (by whoever asked) its write: in this order everywhere, so that no two deadlock."""
    lock_agents(session, order.agents, cause=f"proposal:{order.proposal_id}", actor=order.actor)
    return session.get_one(Proposal, order.proposal_id, with_for_update={"key_share": True})


def accept(
    session: Session,
    proposal: Proposal,
    reason: Reason,
    *,
    appointment: Appointment | None,
    evidence: dict[str, Any] | None = None,
) -> tuple[str, ...]:
    """Decide yes, remember what the origin's event shows now, and queue the copies. The answer names their writes."""
    decide(session, proposal, reason, accepted=True, evidence=evidence or {}, appointment=appointment)
    if appointment is None:
        return ()
    return _show_everywhere(session, proposal, appointment)


def _show_everywhere(session: Session, proposal: Proposal, appointment: Appointment) -> tuple[str, ...]:
    """Remember what the origin's event shows, and queue copies where the appointment is not shown as it is now."""
    link_origin(session, proposal, appointment)
    session.flush()
    copies = queue_copies(session, appointment, proposal)
    if proposal.calendar_id is None or proposal.remote_id is None:
        return copies
    calendar = session.get_one(Calendar, proposal.calendar_id)
    return copies + notice(session, calendar_ref(calendar, calendar.agent), proposal.agent_id, [proposal.remote_id])


def refuse_unclaimed(session: Session, proposal: Proposal, reason: Reason, *, evidence: dict[str, Any]) -> Refused:
    """Decide no for a proposal that holds nothing, and queue the answer to its origin."""
    appointment = appointment_of(session, proposal)
    decide(session, proposal, reason, accepted=False, evidence=evidence, appointment=appointment)
    if appointment is not None and reason is not Reason.STALE:
        # The origin's event shows what was refused: once that is remembered, the copy is put back as the master has it.
        return Refused(reason, _show_everywhere(session, proposal, appointment))
    return Refused(reason, queue_answer(session, proposal, reason))


def decide(
    session: Session,
    proposal: Proposal,
    reason: Reason,
    *,
    accepted: bool,
    evidence: dict[str, Any],
    appointment: Appointment | None,
) -> None:
    """End the proposal, once and for all, with its evidence (P4)."""
    session.add(
        Decision(
            proposal_id=proposal.id,
            accepted=accepted,
            reason=reason.value,
            evidence=evidence,
            appointment_id=appointment.id if appointment else None,
        )
    )
    proposal.state = "settled" if accepted else "refused"
    proposal.decided_at = func.clock_timestamp()
    session.flush()


def _give_back(session: Session, order: Order, slot: Slot) -> None:
    if order.kind is Kind.MOVE and slot.state == "booked":
        if order.before is not None and slot.during != slots.as_range(order.before):
            slots.change(session, slot, interval=order.before)
        return
    slots.change(session, slot, state="free")


def _book(
    session: Session, order: Order, proposal: Proposal, slot_id: int | None, event: RemoteEvent | None
) -> Appointment:
    slot = session.get_one(Slot, slot_id)
    slots.change(session, slot, state="booked")
    if order.appointment_id is not None:
        return _reassign(session, order, proposal, slot, event)
    wanted = wanted_of(proposal)
    appointment = Appointment(
        agent_id=order.agent_id,
        proposal_id=proposal.id,
        slot_id=slot.id,
        origin=proposal.origin,
        starts_at=wanted.start,
        ends_at=wanted.end,
        title=order.title,
        attendees=proposal.attendees,
        version=1,
        state="confirmed",
    )
    session.add(appointment)
    session.flush()
    if event is not None:
        _link_master(session, order, appointment, event, link=None, ours=True)
    return appointment


def _reassign(session: Session, order: Order, proposal: Proposal, slot: Slot, event: RemoteEvent | None) -> Appointment:
    """The appointment goes to another agent: booked there and free here at once. What still shows here is taken off."""
    appointment = session.get_one(Appointment, order.appointment_id)
    if appointment.slot_id is not None:
        slots.change(session, session.get_one(Slot, appointment.slot_id), state="free")
    appointment.agent_id, appointment.slot_id = order.agent_id, slot.id
    wanted = wanted_of(proposal)
    appointment.starts_at, appointment.ends_at = wanted.start, wanted.end
    appointment.title, appointment.version = order.title, appointment.version + 1
    session.flush()
    if event is not None:
        link = find_link(session, appointment_id=appointment.id, calendar_id=order.master.id)
        _link_master(session, order, appointment, event, link=link, ours=True)
    return appointment


def _hold(
    session: Session,
    order: Order,  # noqa: ARG001 - one shape for all four
    proposal: Proposal,
    slot_id: int | None,
    event: RemoteEvent | None,  # noqa: ARG001
) -> None:
    holds.keep(session, session.get_one(Slot, slot_id), proposal)


def _move(
    session: Session, order: Order, proposal: Proposal, slot_id: int | None, event: RemoteEvent | None
) -> Appointment:
    appointment = session.get_one(Appointment, order.appointment_id)
    if order.interval is not None:
        _take_new_slot(session, appointment, slot_id, order.interval)
        appointment.starts_at, appointment.ends_at = order.interval.start, order.interval.end
    appointment.title = order.title
    if proposal.attendees:
        appointment.attendees = proposal.attendees
    appointment.version += 1
    if event is not None:
        link = find_link(session, appointment_id=appointment.id, calendar_id=order.master.id)
        _link_master(session, order, appointment, event, link=link, ours=None)
    return appointment


def _take_new_slot(session: Session, appointment: Appointment, slot_id: int | None, interval: Interval) -> None:
    """Book the new slot, or shrink the widened one; free the old one where they differ."""
    if slot_id is None:
        return
    slot = session.get_one(Slot, slot_id)
    if slot_id != appointment.slot_id and appointment.slot_id is not None:
        slots.change(session, session.get_one(Slot, appointment.slot_id), state="free")
    if slot.state != "booked" or slot.during != slots.as_range(interval):
        slots.change(session, slot, state="booked", interval=interval)
    appointment.slot_id = slot_id


def _cancel(
    session: Session,
    order: Order,
    proposal: Proposal,  # noqa: ARG001 - one shape for all four
    slot_id: int | None,  # noqa: ARG001
    event: RemoteEvent | None,  # noqa: ARG001
) -> Appointment:
    appointment = session.get_one(Appointment, order.appointment_id)
    cancel_appointment(session, appointment)
    link = find_link(session, appointment_id=appointment.id, calendar_id=order.master.id)
    if link is not None:
        link.gone = True
        remember(session, order.master.id, Removal(RemoteId(link.remote_id)))
    return appointment


def cancel_appointment(session: Session, appointment: Appointment) -> None:
    """Free the time; what mirrors show is queued by ``accept``."""
    if appointment.slot_id is not None:
        slots.change(session, session.get_one(Slot, appointment.slot_id), state="free")
    appointment.state = "cancelled"
    appointment.version += 1
    session.flush()


def _link_master(
    session: Session,
    order: Order,
    appointment: Appointment,
    event: RemoteEvent,
    *,
    link: RemoteLink | None,
    ours: bool | None,
) -> None:
    """The event may already show a newer human edit; the link keeps what we agreed, so that the edit is noticed."""
    link = link_event(session, appointment, link, calendar_id=order.master.id, event=event, ours=ours)
    if order.interval is not None and not order.draft().is_shown_by(event):
        link.starts_at, link.ends_at, link.title = order.interval.start, order.interval.end, appointment.title
        overtake(link)
