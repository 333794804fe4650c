"""Deliver what people must be told: from the table of notices to every place, tried again until it got there.

A notice is claimed like any other work: under a lease, so that of many processes one sends it, and what a killed one had in
hand is sent by another. Nothing is sent inside a transaction, and nobody waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import select, update
from sqlalchemy.orm import Session, aliased

from models.failures import Notice
from models.session import Sessions, database_now, transaction
from sync.retry import RetryPolicy
from workers.places import Kind, Place

AT_ONCE = 20
LEASE = timedelta(minutes=5)
GIVE_UP = timedelta(days=1)
BACKOFF = RetryPolicy(max_attempts=1, base=4.0, cap=300.0)
NO_PLACE = "WATERTIGHT_ALERT_URLS is not set"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A notice in hand until its lease ends."""

    id: int
    kind: Kind
    title: str
    body: str
    attempt: int
    reached: frozenset[str]
    created_at: datetime


def deliver_due(sessions: Sessions, places: Sequence[Place], *, rand: Callable[[], float]) -> int:
    """Send what is due to the places that have not got it yet; how many notices are done with."""
    with transaction(sessions) as session:
        claimed = _claim(session)
    return sum(_deliver(sessions, notice, places, rand=rand) for notice in claimed)


def _claim(session: Session) -> list[Claimed]:
    """The oldest that are due. Of one incident none overtakes another: "over" must not come before "begun"."""
    now = database_now(session)
    earlier = aliased(Notice)
    waits = (
        select(earlier.id)
        .where(earlier.incident_id == Notice.incident_id, earlier.id < Notice.id, earlier.state == "due")
        .exists()
    )
    rows = session.scalars(
        select(Notice)
        .where(Notice.state == "due", Notice.not_before <= now, ~waits)
        .order_by(Notice.id)
        .limit(AT_ONCE)
        .with_for_update(skip_locked=True, of=Notice)
    ).all()
    for row in rows:
        row.attempt, row.not_before = row.attempt + 1, now + LEASE
    return [_claimed(row) for row in rows]


def _claimed(row: Notice) -> Claimed:
    kind: Kind = "critical" if row.severity == "critical" else "warning"
    kind = "resolved" if row.what == "resolved" else kind
    return Claimed(row.id, kind, row.title, row.body, row.attempt, frozenset(row.reached), row.created_at)


def _deliver(sessions: Sessions, notice: Claimed, places: Sequence[Place], *, rand: Callable[[], float]) -> bool:
    """Whether the notice is done with: everybody has it, nobody is to have it, or it is too old to be of use."""
    open_places = [place for place in places if place.digest not in notice.reached]
    refused = [place for place in open_places if not place.send(notice.title, notice.body, kind=notice.kind)]
    reached = sorted(notice.reached | {place.digest for place in open_places if place not in refused})
    with transaction(sessions) as session:
        now = database_now(session)
        values: dict[str, object] = {"reached": reached, "last_error": _trouble(places, refused)}
        if refused and now - notice.created_at < GIVE_UP:
            values["not_before"] = now + timedelta(seconds=BACKOFF.delay(notice.attempt, rand=rand()))
        elif refused or not places:
            values["state"] = "failed"
        else:
            values |= {"state": "sent", "sent_at": now}
        mine = (Notice.id == notice.id, Notice.attempt == notice.attempt)
        session.execute(update(Notice).where(*mine).values(**values))
    if refused or not places:
        log.warning("alert.not_delivered", notice=notice.id, attempt=notice.attempt, state=values.get("state", "due"))
    return "state" in values


def _trouble(places: Sequence[Place], refused: Sequence[Place]) -> str | None:
    if not places:
        return NO_PLACE
    return f"not accepted by {', '.join(place.shown for place in refused)}" if refused else None
