"""Wishes. Anybody may insert one; only the commit task changes it afterwards."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, UniqueConstraint, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base

OPEN_STATES = ("pending", "claimed", "checked", "written", "verified")
FINAL_STATES = ("settled", "refused")


class Proposal(Base):
    """A wish to book, move, cancel or hold, or to repair what a calendar shows. ``key`` is unique: the same wish delivered k times is one row (P5).

    ``calendar_id`` and ``remote_id`` name the event it came from; both are null when a person asked through the API.
    ``origin`` says which kind of system asked, for people and metrics only. ``appointment_id`` names what a person asks to
    move or cancel; ``agent_id`` is whose time is wanted, so a move may lead to another agent. ``hold`` is the secret by
    which a visitor proves that a hold is theirs: made with the hold, shown again to convert or release it.
    """

    __tablename__ = "proposals"
    __table_args__ = (
        UniqueConstraint("key"),
        CheckConstraint("kind in ('book', 'move', 'cancel', 'hold', 'repair')", name="kind"),
        CheckConstraint(
            "state in ('pending', 'claimed', 'checked', 'written', 'verified', 'undone', 'settled', 'refused')",
            name="state",
        ),
        CheckConstraint(
            "kind in ('cancel', 'repair') or (starts_at is not null and ends_at > starts_at)", name="interval"
        ),
        CheckConstraint("kind <> 'hold' or (hold is not null and hold_seconds between 1 and 3600)", name="hold"),
        CheckConstraint("(calendar_id is null) = (remote_id is null)", name="origin_event"),
        Index("ix_proposals_origin", "calendar_id", "remote_id", postgresql_where="calendar_id is not null"),
        Index("ix_proposals_open", "not_before", postgresql_where="state not in ('settled', 'refused')"),
        Index("uq_proposals_hold", "hold", unique=True, postgresql_where="kind = 'hold'"),
        Index("ix_proposals_appointment", "appointment_id", postgresql_where="appointment_id is not null"),
    )

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    key: Mapped[str]
    agent_id: Mapped[int] = mapped_column(ForeignKey("agents.id"))
    kind: Mapped[str]
    origin: Mapped[str]
    calendar_id: Mapped[int | None] = mapped_column(ForeignKey("calendars.id"))
    remote_id: Mapped[str | None]
    remote_version: Mapped[str | None]
    appointment_id: Mapped[int | None] = mapped_column(BigInteger)
    starts_at: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]
    title: Mapped[str] = mapped_column(default="", server_default="")
    attendees: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, default=list, server_default="[]")
    slot_version: Mapped[int | None] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(default="pending", server_default="pending")
    attempt: Mapped[int] = mapped_column(default=0, server_default="0")
    not_before: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    decided_at: Mapped[datetime | None]
    hold: Mapped[str | None]
    hold_seconds: Mapped[int | None]
