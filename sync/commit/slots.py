"""Taking and giving back an agent's time. Every caller holds the agent's lock; the exclusion constraint stands behind."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.orm import Session

from models.base import UtcDateTime
from models.ledger import Appointment, Slot
from models.session import UNSEEN
from sync.domain import Interval
from sync.errors import Contention

LIVE = ("held", "booked")

_OVERLAPPING = (
    select(Slot)
    .where(
        Slot.agent_id == bindparam("agent"),
        Slot.state.in_(LIVE),
        Slot.during.op("&&")(
            func.tstzrange(bindparam("start", type_=UtcDateTime), bindparam("end", type_=UtcDateTime))
        ),
        Slot.id.is_distinct_from(bindparam("except_slot")),
    )
    .order_by(Slot.during)
)
_EXACT = (
    select(Slot)
    .where(Slot.agent_id == bindparam("agent"), Slot.during == bindparam("during"))
    .order_by(Slot.version.desc(), Slot.id.desc())
    .limit(1)
)
_CHANGE = (
    update(Slot)
    .where(Slot.id == bindparam("slot"), Slot.version == bindparam("seen"))
    .values(
        state=bindparam("new_state"),
        during=bindparam("new_during"),
        held_by=bindparam("new_holder"),
        held_until=bindparam("new_until"),
        version=Slot.version + 1,
        changed_at=func.clock_timestamp(),
    )
    .returning(Slot)
)


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
    asked = {"agent": agent_id, "start": interval.start, "end": interval.end, "except_slot": except_slot}
    return list(session.scalars(_OVERLAPPING, asked))


def find_exact(session: Session, agent_id: int, interval: Interval) -> Slot | None:
    """The newest slot row of exactly this interval, whatever its state: its version is what callers have seen."""
    return session.scalars(_EXACT, {"agent": agent_id, "during": as_range(interval)}).one_or_none()


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
    seen = slot.version
    new = {"new_state": state or slot.state, "new_during": as_range(interval) if interval else slot.during}
    new |= {"new_holder": hold and hold.proposal_id, "new_until": hold and hold.until}
    # The row in memory becomes what the database made of it.
    changed = session.scalars(
        _CHANGE, {"slot": slot.id, "seen": seen, **new}, execution_options=UNSEEN | {"populate_existing": True}
    ).one_or_none()
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
