"""The ledger: slots, appointments, which remote events carry them, the outbox of writes, and the decisions.

Only the commit task writes here: held by import contract, and in the database by the role ``watertight_commit``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import JSONB, TSTZRANGE, ExcludeConstraint, Range
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base

FOLLOWING = ("copy", "mark")  # actions that carry the news of a decision; the others make one


class Slot(Base):
    """An interval of one agent's time. ``version`` only grows; it is what a caller may name as seen.

    A visitor's hold names the proposal that it belongs to (``held_by``) and ends at ``held_until``; time that is held
    without them is in the hands of a write.

    The exclusion constraint is the last line of P1: no two live slots of one agent overlap. ``int8range`` stands in for
    the equality that would otherwise need the extension btree_gist: docs/adr/0004.
    """

    __tablename__ = "slots"
    __table_args__ = (
        CheckConstraint("state in ('free', 'held', 'booked')", name="state"),
        CheckConstraint(
            "not isempty(during) and lower(during) is not null and upper(during) is not null", name="during"
        ),
        ExcludeConstraint(
            (text("int8range(agent_id, agent_id, '[]')"), "&&"),
            (Column("during", TSTZRANGE), "&&"),
            name="ex_slots_no_overlap",
            where=text("state in ('held', 'booked')"),
            using="gist",
        ),
        CheckConstraint(
            "(held_by is null) = (held_until is null) and (held_by is null or state = 'held')", name="hold"
        ),
        Index("ix_slots_agent_during", "agent_id", "during"),
        Index("uq_slots_held_by", "held_by", unique=True, postgresql_where="held_by is not null"),
        Index("ix_slots_held_until", "held_until", postgresql_where="held_until is not null"),
    )

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    agent_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("agents.id"))
    during: Mapped[Range[datetime]] = mapped_column(TSTZRANGE)
    state: Mapped[str]
    version: Mapped[int] = mapped_column(BigInteger, default=1, server_default="1")
    changed_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp(), onupdate=func.clock_timestamp())
    held_by: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("proposals.id"))
    held_until: Mapped[datetime | None]


class Appointment(Base):
    """The thing booked. ``slot_id`` is null for what people put on the master themselves: they may overlap themselves."""

    __tablename__ = "appointments"
    __table_args__ = (
        CheckConstraint("state in ('confirmed', 'cancelled')", name="state"),
        CheckConstraint("ends_at > starts_at", name="interval"),
        Index("ix_appointments_agent", "agent_id", "starts_at", postgresql_where="state = 'confirmed'"),
        Index(
            "uq_appointments_slot",
            "slot_id",
            unique=True,
            postgresql_where="state = 'confirmed' and slot_id is not null",
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    agent_id: Mapped[int] = mapped_column(ForeignKey("agents.id"))
    proposal_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("proposals.id"))
    slot_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("slots.id"))
    origin: Mapped[str]
    state: Mapped[str] = mapped_column(default="confirmed", server_default="confirmed")
    version: Mapped[int] = mapped_column(BigInteger, default=1, server_default="1")
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    title: Mapped[str] = mapped_column(default="", server_default="")
    attendees: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, default=list, server_default="[]")
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    changed_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp(), onupdate=func.clock_timestamp())


class RemoteLink(Base):
    """Which event on which calendar carries an appointment, and what that event was last known to show.

    A copy whose link shows something else than the appointment is out of step. ``ours`` tells a copy that we made from an event that a person or another system made.
    """

    __tablename__ = "remote_links"
    __table_args__ = (
        UniqueConstraint("calendar_id", "remote_id"),
        UniqueConstraint("appointment_id", "calendar_id"),
        CheckConstraint("ends_at > starts_at", name="interval"),
    )

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    appointment_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("appointments.id"))
    calendar_id: Mapped[int] = mapped_column(ForeignKey("calendars.id"))
    remote_id: Mapped[str]
    version: Mapped[str]
    updated: Mapped[datetime]
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    title: Mapped[str] = mapped_column(default="", server_default="")
    attendees: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, default=list, server_default="[]")
    ours: Mapped[bool]
    gone: Mapped[bool] = mapped_column(default=False, server_default="false")


class Write(Base):
    """The outbox: one intended change at one provider. The row is the truth, the broker's message only a nudge.

    ``key`` goes to the vendor, so every retry, redelivery and recovery is the same write. ``fence`` grows with every
    lease; a finishing UPDATE names the fence it worked under, so a worker that woke up late changes nothing.
    Every write comes from one proposal, and a proposal makes at most one on each calendar. The one on the master
    (``create``, ``update``, ``delete``, or ``hold``, which writes nothing there) decides it; the others follow. A ``copy`` brings one calendar to whatever the
    appointment is when it runs, so one open row per appointment and calendar is enough, however often it changes
    meanwhile; ``appointment_version`` is the newest version that it must show. A ``mark`` tells an event's owner no.
    """

    __tablename__ = "writes"
    __table_args__ = (
        UniqueConstraint("key"),
        UniqueConstraint("proposal_id", "calendar_id"),
        CheckConstraint("action in ('create', 'update', 'delete', 'copy', 'mark', 'hold')", name="action"),
        CheckConstraint("state in ('due', 'done', 'superseded', 'failed')", name="state"),
        Index("ix_writes_due", "not_before", postgresql_where="state = 'due'"),
        Index(
            "uq_writes_open_copy",
            "appointment_id",
            "calendar_id",
            unique=True,
            postgresql_where="state = 'due' and action = 'copy'",
        ),
        Index("ix_writes_appointment", "appointment_id", postgresql_where="appointment_id is not null"),
    )

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    key: Mapped[str]
    agent_id: Mapped[int] = mapped_column(ForeignKey("agents.id"))
    calendar_id: Mapped[int] = mapped_column(ForeignKey("calendars.id"))
    proposal_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("proposals.id"))
    appointment_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("appointments.id"))
    appointment_version: Mapped[int | None] = mapped_column(BigInteger)
    action: Mapped[str]
    remote_id: Mapped[str | None]
    remote_version: Mapped[str | None]
    slot_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("slots.id"))
    reason: Mapped[str | None]
    state: Mapped[str] = mapped_column(default="due", server_default="due")
    attempt: Mapped[int] = mapped_column(default=0, server_default="0")
    not_before: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    fence: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    leased_until: Mapped[datetime | None]
    last_error_code: Mapped[str | None]
    evidence: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict, server_default="{}")
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    finished_at: Mapped[datetime | None]


class Decision(Base):
    """Made once per proposal, with what was read, when, and what was in the way (P4)."""

    __tablename__ = "decisions"
    __table_args__ = (
        UniqueConstraint("proposal_id"),
        Index("ix_decisions_appointment", "appointment_id", postgresql_where="appointment_id is not null"),
    )

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    proposal_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("proposals.id"))
    accepted: Mapped[bool]
    reason: Mapped[str]
    evidence: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict, server_default="{}")
    appointment_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("appointments.id"))
    decided_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
