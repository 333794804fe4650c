"""What was: every change of slots and appointments, written by the database itself, and calendars as of a past instant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Index, func, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base


class History(Base):
    """One change. A trigger writes it in the transaction that makes the change; nobody may update or delete it.

    ``cause`` is what made it (``proposal:7``, ``write:9``, ``hold:3``), ``actor`` which kind of system asked.
    ``left_agent_id`` is whom an appointment was taken from when it changed its agent.
    """

    __tablename__ = "history"
    __table_args__ = (
        CheckConstraint("subject in ('slot', 'appointment')", name="subject"),
        CheckConstraint("before is not null or after is not null", name="change"),
        Index("ix_history_agent", "agent_id", "at"),
        Index("ix_history_left", "left_agent_id", postgresql_where="left_agent_id is not null"),
        Index("ix_history_subject", "subject", "subject_id", "id"),
        Index("ix_history_cause", "cause"),
    )

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    agent_id: Mapped[int] = mapped_column(BigInteger)
    left_agent_id: Mapped[int | None] = mapped_column(BigInteger)
    subject: Mapped[str]
    subject_id: Mapped[int] = mapped_column(BigInteger)
    actor: Mapped[str]
    cause: Mapped[str]
    before: Mapped[dict[str, Any] | None]
    after: Mapped[dict[str, Any] | None]


@dataclass(frozen=True, slots=True)
class PastSlot:
    """A slot as it was."""

    id: int
    state: str
    version: int
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class PastAppointment:
    """An appointment as it was."""

    id: int
    state: str
    version: int
    starts_at: datetime
    ends_at: datetime
    title: str
    slot_id: int | None


@dataclass(frozen=True, slots=True)
class PastCalendar:
    """An agent's time as the ledger had it at one instant: live slots and confirmed appointments, earliest first."""

    slots: tuple[PastSlot, ...]
    appointments: tuple[PastAppointment, ...]


# The newest change of each thing that ever was this agent's. Whether it still was is asked of the row that was.
THEN = """
    WITH mine AS (
        SELECT DISTINCT subject_id FROM history
        WHERE subject = :subject AND at <= :instant AND (agent_id = :agent OR left_agent_id = :agent)
    )
    SELECT after FROM mine CROSS JOIN LATERAL (
        SELECT after FROM history WHERE subject = :subject AND subject_id = mine.subject_id AND at <= :instant
        ORDER BY id DESC LIMIT 1
    ) AS last
"""
SLOTS = f"""
    SELECT past.id, past.state, past.version, lower(past.during), upper(past.during)
    FROM ({THEN}) AS newest, jsonb_populate_record(NULL::slots, newest.after) AS past
    WHERE past.agent_id = :agent AND past.state <> 'free' ORDER BY past.during
"""  # noqa: S608 - constants of this module
APPOINTMENTS = f"""
    SELECT past.id, past.state, past.version, past.starts_at, past.ends_at, past.title, past.slot_id
    FROM ({THEN}) AS newest, jsonb_populate_record(NULL::appointments, newest.after) AS past
    WHERE past.agent_id = :agent AND past.state = 'confirmed' ORDER BY past.starts_at, past.id
"""  # noqa: S608 - constants of this module


def calendar_as_of(session: Session, agent_id: int, instant: datetime) -> PastCalendar:
    """Rebuild an agent's calendar from the log alone. ``instant`` is compared with the database's clock."""
    values = {"agent": agent_id, "instant": instant}
    slots = session.execute(text(SLOTS), {**values, "subject": "slot"})
    appointments = session.execute(text(APPOINTMENTS), {**values, "subject": "appointment"})
    return PastCalendar(tuple(PastSlot(*row) for row in slots), tuple(PastAppointment(*row) for row in appointments))


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the log, with only what differs."""

    at: datetime
    subject: str
    subject_id: int
    actor: str
    cause: str
    before: dict[str, Any]
    after: dict[str, Any]


UNINTERESTING = {"changed_at", "created_at"}


def list_changes(session: Session, *causes: str) -> list[Change]:
    """What these causes changed, oldest first."""
    rows = session.scalars(select(History).where(History.cause.in_(causes)).order_by(History.id))
    return [
        Change(
            row.at, row.subject, row.subject_id, row.actor, row.cause, *_difference(row.before or {}, row.after or {})
        )
        for row in rows
    ]


def _difference(before: dict[str, Any], after: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    names = [name for name in (before | after) if name not in UNINTERESTING and before.get(name) != after.get(name)]
    return {name: before[name] for name in names if name in before}, {
        name: after[name] for name in names if name in after
    }
