"""Who has a calendar, and which remote feeds belong to it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.base import Base

USUAL_HOURS = json.dumps({day: ["09:00-17:00"] for day in ("mon", "tue", "wed", "thu", "fri")})


def usual_hours() -> dict[str, Any]:
    """Monday to Friday, nine to five."""
    hours: dict[str, Any] = json.loads(USUAL_HOURS)
    return hours


class Agent(Base):
    """A salesperson. ``zone`` (IANA) serves all-day dates, floating times and working hours only.

    ``counts_as_busy`` holds the differences from ``sync.domain.BusyPolicy``. ``working_hours`` names by weekday (``mon`` …)
    when the agent can be booked, in local time; they, ``minimum_notice_minutes`` and ``booking_days`` bound what is offered,
    never what is decided.
    """

    __tablename__ = "agents"
    __table_args__ = (
        UniqueConstraint("slug"),
        CheckConstraint("slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'", name="slug"),
        CheckConstraint("buffer_before_minutes between 0 and 1440", name="buffer_before"),
        CheckConstraint("buffer_after_minutes between 0 and 1440", name="buffer_after"),
        CheckConstraint("minimum_notice_minutes between 0 and 43200", name="minimum_notice"),
        CheckConstraint("booking_days between 1 and 365", name="booking_days"),
        CheckConstraint("appointment_minutes between 5 and 1440", name="appointment_minutes"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str]
    name: Mapped[str] = mapped_column(default="", server_default="")
    zone: Mapped[str]
    buffer_before_minutes: Mapped[int] = mapped_column(default=0, server_default="0")
    buffer_after_minutes: Mapped[int] = mapped_column(default=0, server_default="0")
    working_hours: Mapped[dict[str, Any]] = mapped_column(JSONB, default=usual_hours, server_default=USUAL_HOURS)
    minimum_notice_minutes: Mapped[int] = mapped_column(default=60, server_default="60")
    booking_days: Mapped[int] = mapped_column(default=30, server_default="30")
    appointment_minutes: Mapped[int] = mapped_column(default=30, server_default="30")
    counts_as_busy: Mapped[dict[str, bool]] = mapped_column(JSONB, default=dict, server_default="{}")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    calendars: Mapped[list[Calendar]] = relationship(back_populates="agent")


class Calendar(Base):
    """One remote feed. ``stopped_code`` is set while a human is needed (revoked credential, mass change)."""

    __tablename__ = "calendars"
    __table_args__ = (
        UniqueConstraint("provider", "remote"),
        CheckConstraint("role in ('master', 'mirror', 'source')", name="role"),
        CheckConstraint("on_refusal in ('mark', 'leave', 'delete')", name="on_refusal"),
        CheckConstraint("shows in ('title', 'busy')", name="shows"),
        Index("uq_calendars_one_master", "agent_id", unique=True, postgresql_where="role = 'master'"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    agent_id: Mapped[int] = mapped_column(ForeignKey("agents.id"))
    provider: Mapped[str]
    remote: Mapped[str]
    role: Mapped[str]
    on_refusal: Mapped[str] = mapped_column(default="mark", server_default="mark")
    shows: Mapped[str] = mapped_column(default="title", server_default="title")
    stopped_code: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    agent: Mapped[Agent] = relationship(back_populates="calendars")
