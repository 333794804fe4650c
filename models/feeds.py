"""What was read from the calendars: each job's place in each feed, the newest state of every event, and the unreadable."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, UniqueConstraint, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


class Cursor(Base):
    """A job's own place in one calendar's feed. ``lease`` grows with every claim; only its holder may move the cursor.

    ``failures`` counts the runs in a row that gave up; the job leaves the calendar alone until ``not_before``. With
    ``may_lose`` a person has said that the next read may show many events gone. ``hinted_at`` is when the vendor first said
    that there is something new since the run that read last began; a claim takes it away. ``changed_at`` is when a read last
    found that something had changed: one in which nothing does is read less often.
    """

    __tablename__ = "cursors"
    __table_args__ = (
        CheckConstraint("job in ('new', 'cancel', 'update')", name="job"),
        CheckConstraint("window_end > window_start", name="window"),
    )

    calendar_id: Mapped[int] = mapped_column(ForeignKey("calendars.id"), primary_key=True)
    job: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str | None]
    window_start: Mapped[datetime | None]
    window_end: Mapped[datetime | None]
    opened_at: Mapped[datetime | None]
    read_at: Mapped[datetime | None]
    changed_at: Mapped[datetime] = mapped_column(server_default=func.now())
    failures: Mapped[int] = mapped_column(default=0, server_default="0")
    not_before: Mapped[datetime | None]
    may_lose: Mapped[bool] = mapped_column(default=False, server_default="false")
    hinted_at: Mapped[datetime | None]
    lease: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    leased_until: Mapped[datetime | None]


class Sighting(Base):
    """The newest state we have read of one remote event. A tombstone keeps the id for ever, so a late creation stays dead.

    ``updated`` is the vendor's clock and orders states of one event; a tombstone of an id never seen alive has none.
    ``revived`` says that the event came back newer than its tombstone: somebody took it out of the bin.
    """

    __tablename__ = "sightings"
    __table_args__ = (
        CheckConstraint("deleted or (starts_at is not null and ends_at > starts_at)", name="interval"),
        Index("ix_sightings_busy", "calendar_id", "starts_at", "ends_at", postgresql_where="not deleted and blocks"),
        Index("ix_sightings_key", "calendar_id", "key", postgresql_where="key is not null"),
        Index("ix_sightings_replaces", "calendar_id", "replaces", postgresql_where="replaces is not null"),
    )

    calendar_id: Mapped[int] = mapped_column(ForeignKey("calendars.id"), primary_key=True)
    remote_id: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[str | None]
    updated: Mapped[datetime | None]
    starts_at: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]
    blocks: Mapped[bool] = mapped_column(default=False, server_default="false")
    deleted: Mapped[bool] = mapped_column(default=False, server_default="false")
    title: Mapped[str] = mapped_column(default="", server_default="")
    attendees: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, default=list, server_default="[]")
    key: Mapped[str | None]
    replaces: Mapped[str | None]
    series_id: Mapped[str | None]
    revived: Mapped[bool] = mapped_column(default=False, server_default="false")
    seen_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class Quarantine(Base):
    """A record that could not be understood, raw, with the field and the reason. Seen again, it is counted, not repeated."""

    __tablename__ = "quarantine"
    __table_args__ = (UniqueConstraint("calendar_id", "digest"),)

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    calendar_id: Mapped[int] = mapped_column(ForeignKey("calendars.id"))
    digest: Mapped[str]
    remote_id: Mapped[str | None]
    field: Mapped[str]
    reason: Mapped[str]
    raw: Mapped[dict[str, Any]] = mapped_column(JSONB)
    first_seen: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    last_seen: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    times: Mapped[int] = mapped_column(default=1, server_default="1")


class UnreadableSubmission(Base):
    """A form's submission that could not be understood, as it was sent, so that a person can book it by hand."""

    __tablename__ = "unreadable_submissions"
    __table_args__ = (UniqueConstraint("form", "digest"),)

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    form: Mapped[str]
    digest: Mapped[str]
    field: Mapped[str]
    reason: Mapped[str]
    content_type: Mapped[str]
    raw: Mapped[bytes]
    first_seen: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    last_seen: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    times: Mapped[int] = mapped_column(default=1, server_default="1")
