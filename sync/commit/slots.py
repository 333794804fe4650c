"""Taking and giving back an agent's time. Every caller holds the agent's lock; the exclusion constraint stands behind."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.orm import Session

from models.ledger import Appointment, Slot
from models.session import UNSEEN
from sync.domain import Interval
from sync.errors import Contention

LIVE = ("held", "booked")


@dataclass(frozen=True, slots=True)
class Hold:
    """Whose hold a slot is, by the proposal that asked for it, and until when."""

    proposal_id: int
    until: datetime


def as_range(interval: Interval) -> Range[datetime]:
    return Range(interval.start, interval.end, bounds="[)")


def find_overlapping(
    session: Session, agent_id: int, interval: Interval, *, except_slot: int | None = None
) -> list[Slot]:
    """Live slots of the agent that overlap, earliest first."""
    query = select(Slot).where(
        Slot.agent_id == agent_id,
        Slot.state.in_(LIVE),
        Slot.during.op("&&")(func.tstzrange(interval.start, interval.end)),
    )
    if except_slot is not None:
        query = query.where(Slot.id != except_slot)
    return list(session.scalars(query.order_by(Slot.during)))


def find_exact(session: Session, agent_id: int, interval: Interval) -> Slot | None:
    """The newest slot row of exactly this interval, whatever its state: its version is what callers have seen."""
    return session.scalars(
        select(Slot)
        .where(Slot.agent_id == agent_id, Slot.during == as_range(interval))
        .order_by(Slot.version.desc(), Slot.id.desc())
        .limit(1)
    ).one_or_none()


def hold(session: Session, agent_id: int, interval: Interval) -> Slot:
    """Take free time. A slot row that was used before is taken up again, so that its version keeps growing."""
    slot = find_exact(session, agent_id, interval)
    if slot is None or slot.state != "free":
        slot = Slot(agent_id=agent_id, during=as_range(interval), state="held", version=1)
        session.add(slot)
        session.flush()
        return slot
    change(session, slot, state="held")
    return slot


def change(
    session: Session,
    slot: Slot,
    *,
    state: str | None = None,
    interval: Interval | None = None,
    hold: Hold | None = None,
) -> None:
    """Change a slot if it still has the version that was read. Whatever else becomes of it, a visitor's hold is over.

    Raises:
        Contention: somebody changed it without holding the agent's lock.
    """
    values: dict[str, Any] = {"version": Slot.version + 1, "changed_at": func.clock_timestamp()}
    values |= {"held_by": hold and hold.proposal_id, "held_until": hold and hold.until}
    if state is not None:
        values["state"] = state
    if interval is not None:
        values["during"] = as_range(interval)
    seen = slot.version
    change = update(Slot).where(Slot.id == slot.id, Slot.version == seen).values(**values).returning(Slot)
    # The row in memory becomes what the database made of it.
    changed = session.scalars(change, execution_options=UNSEEN | {"populate_existing": True}).one_or_none()
    if changed is None:
        message = f"slot {slot.id} is no longer at version {seen}"
        raise Contention(message)


def taken_evidence(session: Session, slots: list[Slot]) -> dict[str, Any]:
    """Which slots are in the way, with the appointments that have them."""
    rows = session.execute(
        select(Appointment.slot_id, Appointment.id).where(
            Appointment.slot_id.in_([slot.id for slot in slots]), Appointment.state == "confirmed"
        )
    )
    owners = {row.slot_id: row.id for row in rows}
    return {
        "step": "claim",
        "slots": [
            {
                "slot": slot.id,
                "version": slot.version,
                "state": slot.state,
                "interval": f"{slot.during.lower:%Y-%m-%dT%H:%MZ}/{slot.during.upper:%Y-%m-%dT%H:%MZ}",
                **({"held_until": f"{slot.held_until:%Y-%m-%dT%H:%M:%SZ}"} if slot.held_until else {}),
                "appointment": owners.get(slot.id),
            }
            for slot in slots
        ],
    }
