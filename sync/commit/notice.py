"""Look again at events whose meaning a decision has just changed.

The jobs are independent: one may have read a person's edit of an event before the ledger knew whose event it was, and its
cursor will not pass there again. So whoever links or disowns an event asks the jobs' own rules about it once more, in the
same transaction. The same change gives the same key, so nothing is proposed twice (P5).
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.feeds import Sighting
from models.session import database_now, lock_calendar
from sync.changes import plan_proposals
from sync.domain import CalendarRef, Job
from sync.intake import insert_wish
from sync.known import load_known
from sync.records import seen_of


def notice(session: Session, calendar: CalendarRef, agent_id: int, remote_ids: Collection[str]) -> tuple[str, ...]:
    """Propose what the newest sightings of these events ask for; the answer names the proposals."""
    lock_calendar(session, calendar.id)
    rows = session.scalars(
        select(Sighting).where(Sighting.calendar_id == calendar.id, Sighting.remote_id.in_(remote_ids))
    )
    batch = [seen_of(row) for row in rows]
    known, now = load_known(session, calendar.id, batch), database_now(session)
    wishes = [wish for job in Job for wish in plan_proposals(job, batch, known, calendar_id=calendar.id, now=now)]
    inserted = [insert_wish(session, wish, ref=calendar, agent_id=agent_id) for wish in wishes]
    return tuple(f"proposal:{proposal}" for proposal in inserted if proposal is not None)


def notice_made(session: Session, calendar: CalendarRef, agent_id: int, key: str) -> tuple[str, ...]:
    """The same, for whatever events the write with this key made."""
    made = select(Sighting.remote_id).where(Sighting.calendar_id == calendar.id, Sighting.key == key)
    return notice(session, calendar, agent_id, session.scalars(made).all())
