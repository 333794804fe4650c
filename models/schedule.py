"""The beat schedule. It lives here so that a change made at run time survives everything (design §5.1)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


class BeatJob(Base):
    """One beat entry. ``next_slot`` is anchored to multiples of the period; a beat fires it by compare-and-set.

    ``ran_at`` is when a worker last ended a run of it: a slot that was fired need not have been heard.
    """

    __tablename__ = "beat_jobs"
    __table_args__ = (
        UniqueConstraint("name"),
        CheckConstraint("every_seconds > 0", name="every"),
    )

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    name: Mapped[str]
    task: Mapped[str]
    every_seconds: Mapped[float]
    enabled: Mapped[bool] = mapped_column(default=True, server_default="true")
    next_slot: Mapped[datetime]
    last_slot: Mapped[datetime | None]
    ran_at: Mapped[datetime | None]
    changed_by: Mapped[str] = mapped_column(default="defaults", server_default="defaults")


class BeatFire(Base):
    """A slot that was fired. The primary key refuses a second firing whatever the scheduler does."""

    __tablename__ = "beat_fires"

    name: Mapped[str] = mapped_column(primary_key=True)
    slot: Mapped[datetime] = mapped_column(primary_key=True)
    fired_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
