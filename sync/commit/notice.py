"""Look again at events whose meaning a decision has just changed.

The jobs are independent: one may have read a person's edit of an event before the ledger knew whose event it was, and its
cursor will not pass there again. So whoever links or disowns an event asks the jobs' own rules about it once more, in the
same transaction. The same change gives the same key, so nothing is proposed twice (P5).
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from models.base import is_among_the
from models.feeds import Sighting
from models.session import database_now, lock_calendar
from sync.changes import plan_proposals
from sync.domain import CalendarId, CalendarRef, EventDraft, Job, RemoteEvent
from sync.intake import insert_wish
from sync.known import load_known
from sync.records import seen_of

_SIGHTINGS = select(Sighting).where(
    Sighting.calendar_id == bindparam("calendar"), is_among_the(Sighting.remote_id, "remotes")
)
_WITH_KEY = select(Sighting.remote_id, Sighting.version).where(
    Sighting.calendar_id == bindparam("calendar"), Sighting.key == bindparam("write_key")
)


def notice(session: Session, calendar: CalendarRef, agent_id: int, remote_ids: Collection[str]) -> tuple[str, ...]:
    """Propose what the newest sightings of these events ask for; the answer names the proposals."""
    if not remote_ids:
        return ()
    lock_calendar(session, calendar.id)
    rows = session.scalars(_SIGHTINGS, {"calendar": calendar.id, "remotes": list(remote_ids)})
    batch = [seen_of(row) for row in rows]
    known, now = load_known(session, calendar.id, batch), database_now(session)
    wishes = [wish for job in Job for wish in plan_proposals(job, batch, known, calendar_id=calendar.id, now=now)]
    inserted = [insert_wish(session, wish, ref=calendar, agent_id=agent_id) for wish in wishes]
    return tuple(f"proposal:{proposal}" for proposal in inserted if proposal is not None)


def find_made(
    session: Session,
    calendar_id: CalendarId,
    key: str,
    *,
    event: RemoteEvent | None = None,
    as_made: EventDraft | None = None,
) -> set[str]:
    """Events that carry the key of this write, and so may have changed their meaning: people's copies carry it too.

    ``event`` is the one that the write has just made. In it the jobs' rules would find nothing as long as it was last seen
    just as it was to be made.
    """
    if event is None:
        lock_calendar(session, calendar_id)  # a job may be storing one this moment; whoever remembered an event has it
    found = session.execute(_WITH_KEY, {"calendar": calendar_id, "write_key": key})
    seen = {row.remote_id: row.version for row in found}
    if event is None:
        return set(seen)
    settled = as_made is not None and as_made.is_shown_by(event) and seen.get(event.remote_id) == event.version
    return seen.keys() - {event.remote_id} if settled else seen.keys() | {event.remote_id}
