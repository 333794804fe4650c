"""Begin: what the ledger alone can say about a proposal, and the lease under which the rest is found out.

Everything in here runs inside the claim's transaction, under the lock of every agent whose time may change.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from sqlalchemy import func
from sqlalchemy.orm import Session

from models.feeds import Sighting
from models.ledger import Appointment, Slot, Write
from models.proposals import Proposal
from sync.commit import holds, slots
from sync.commit.links import find_link
from sync.commit.order import LEASE_SECONDS, Order, master_of, order_of, title_of, wanted_of
from sync.commit.outcome import Accepted, Outcome
from sync.commit.settle import accept, refuse_unclaimed
from sync.domain import Interval, Kind, Reason
from sync.records import dump_attendees, load_attendees, seen_of

CLAIM = {"step": "claim"}


def begin(session: Session, proposal: Proposal, appointment: Appointment | None) -> Order | Outcome:
    """Decide at once where the ledger alone can, or take the time and a lease on the write to the master."""
    if proposal.kind == Kind.CANCEL:
        return _begin_cancel(session, proposal, appointment)
    if (outdated := _outdated(session, proposal)) is not None:
        return refuse_unclaimed(session, proposal, outdated, evidence=CLAIM)
    if appointment is not None:
        return _begin_change(session, proposal, appointment)
    return _take(session, proposal, action="hold") if proposal.kind == Kind.HOLD else _begin_book(session, proposal)


def _begin_change(session: Session, proposal: Proposal, appointment: Appointment) -> Order | Outcome:
    if appointment.state == "cancelled" or _came_from_who_had_it(proposal, appointment):
        return refuse_unclaimed(session, proposal, Reason.GONE, evidence=CLAIM)
    if appointment.agent_id != proposal.agent_id:
        return _take(session, proposal, action="create", appointment=appointment)
    return _begin_move(session, proposal, appointment)


def _came_from_who_had_it(proposal: Proposal, appointment: Appointment) -> bool:
    """What a person did to an event that is only waiting to be taken off: the appointment is another agent's by now."""
    return proposal.calendar_id is not None and proposal.agent_id != appointment.agent_id


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
    own = holds.find_own(session, proposal)
    if own is None:
        return _take(session, proposal, action="create")
    if own.during != slots.as_range(wanted_of(proposal)):
        evidence = slots.taken_evidence(session, [own]) | {"hold": "is for another time"}
        return refuse_unclaimed(session, proposal, Reason.STALE, evidence=evidence)
    slots.change(session, own, state="held")  # from now on a write has it, and it cannot run out
    return _lease(session, proposal, action="create", slot=own)


def _take(
    session: Session, proposal: Proposal, *, action: str, appointment: Appointment | None = None
) -> Order | Outcome:
    """Take time that nobody has yet."""
    wanted = wanted_of(proposal)
    if (refused := _unavailable(session, proposal, wanted)) is not None:
        return refused
    slot = slots.hold(session, proposal.agent_id, wanted)
    return _lease(session, proposal, action=action, slot=slot, appointment=appointment)


def _unavailable(
    session: Session, proposal: Proposal, wanted: Interval, *, except_slot: int | None = None
) -> Outcome | None:
    """Refuse if a live slot is too close, or if the slot is no longer what the caller saw; the evidence says what it is now."""
    _, buffers = master_of(session, proposal.agent_id)
    near = slots.find_overlapping(session, proposal.agent_id, buffers.apart(wanted), except_slot=except_slot)
    taken = holds.end_expired(session, near)
    versions = _versions(session, proposal, wanted)
    if taken:
        evidence = slots.taken_evidence(session, taken) | versions
        return refuse_unclaimed(session, proposal, Reason.SLOT_TAKEN, evidence=evidence)
    if versions and versions["version_now"] != versions["version_seen"]:
        return refuse_unclaimed(session, proposal, Reason.STALE, evidence={**CLAIM, **versions})
    return None


def _versions(session: Session, proposal: Proposal, wanted: Interval) -> dict[str, Any]:
    """What the caller saw of the slot, and what it is now; empty for a caller who named no version."""
    if proposal.slot_version is None:
        return {}
    slot = slots.find_exact(session, proposal.agent_id, wanted)
    return {
        "version_seen": proposal.slot_version,
        "version_now": slot.version if slot is not None else 0,
        "state_now": slot.state if slot is not None else "free",
    }


def _begin_move(session: Session, proposal: Proposal, appointment: Appointment) -> Order | Outcome:
    wanted = wanted_of(proposal)
    had = Interval(appointment.starts_at, appointment.ends_at)
    if wanted == had and _says_nothing_new(session, proposal, appointment):
        return Accepted(Reason.ALREADY_DONE, accept(session, proposal, Reason.ALREADY_DONE, appointment=appointment))
    own = session.get(Slot, appointment.slot_id) if appointment.slot_id else None
    slot = own
    if wanted != had:
        refused = _unavailable(session, proposal, wanted, except_slot=own.id if own else None)
        if refused is not None:
            return refused
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
    if proposal.hold is not None:
        return _release(session, proposal)
    if appointment is None or appointment.state == "cancelled":
        return Accepted(Reason.ALREADY_DONE, accept(session, proposal, Reason.ALREADY_DONE, appointment=appointment))
    if _came_from_who_had_it(proposal, appointment):
        return refuse_unclaimed(session, proposal, Reason.GONE, evidence=CLAIM)
    if (moved_on := _moved_on(session, proposal, appointment)) is not None:
        return refuse_unclaimed(session, proposal, Reason.STALE, evidence=moved_on)
    proposal.agent_id = appointment.agent_id  # whoever has it by now
    return _lease(session, proposal, action="delete", slot=None, appointment=appointment)


def _moved_on(session: Session, proposal: Proposal, appointment: Appointment) -> dict[str, Any] | None:
    slot = session.get(Slot, appointment.slot_id) if appointment.slot_id else None
    if proposal.slot_version is None or slot is None or slot.version == proposal.slot_version:
        return None
    versions = {"version_seen": proposal.slot_version, "version_now": slot.version, "state_now": slot.state}
    return slots.taken_evidence(session, [slot]) | versions


def _release(session: Session, proposal: Proposal) -> Outcome:
    own = holds.find_own(session, proposal)
    if own is None:
        return Accepted(Reason.ALREADY_DONE, accept(session, proposal, Reason.ALREADY_DONE, appointment=None))
    slots.change(session, own, state="free")
    return Accepted(Reason.ACCEPTED, accept(session, proposal, Reason.ACCEPTED, appointment=None))


def _lease(
    session: Session,
    proposal: Proposal,
    *,
    action: str,
    slot: Slot | None,
    appointment: Appointment | None = None,
) -> Order:
    master, _ = master_of(session, proposal.agent_id)
    carried = appointment is not None and action != "create"
    link = find_link(session, appointment_id=appointment.id, calendar_id=master.id) if appointment and carried else None
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
