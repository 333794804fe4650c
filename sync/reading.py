"""Reading one calendar for a job, made certain: what a read alone does not prove is asked for by id (P6, P13)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.feeds import Sighting
from models.session import Sessions, transaction
from sync.changes import Brake, Seen, last_of_each, live_in
from sync.domain import CalendarRef, ChangeSet, Interval, Job, RemoteEvent, RemoteId, Removal, Unparsed
from sync.errors import CursorExpired, MassChange, ProviderUnavailable
from sync.ports import CalendarReader
from sync.sightings import list_seen

Changes = dict[RemoteId, RemoteEvent | Removal]


@dataclass(frozen=True, slots=True)
class Claim:
    """A job's lease on its place in one calendar. With ``may_lose`` a person has said that events may be gone.

    ``hinted_at`` is when the vendor said that there is something new, if it did; ``read_before`` when the complete read
    before this one began.
    """

    job: Job
    ref: CalendarRef
    agent_id: int
    lease: int
    cursor: str | None
    window: Interval
    opened_at: datetime
    now: datetime
    may_lose: bool = False
    hinted_at: datetime | None = None
    read_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Read:
    """A complete read, made certain: removals and revivals that looked odd were asked for by id."""

    changes: Changes
    unparsed: tuple[Unparsed, ...]
    cursor: str
    full: bool
    window: Interval
    opened_at: datetime


def read_calendar(
    sessions: Sessions, reader: CalendarReader, claim: Claim, *, fresh_window: Interval, brake: Brake
) -> Read:
    """Everything since the claim's cursor; where the vendor cannot go on from it, everything in ``fresh_window``.

    Raises:
        MassChange: more of the calendar vanished than is plausible.
        WatertightError: as the reader says.
    """
    try:
        found = reader.read_changes(claim.cursor, window=claim.window, job=claim.job)
        window, opened_at = claim.window, claim.opened_at
    except CursorExpired as error:
        if claim.cursor is None:
            raise ProviderUnavailable("a full read was answered with an expired cursor") from error
        window, opened_at = fresh_window, claim.now
        found = reader.read_changes(None, window=window, job=claim.job)
    changes = _Certainty(sessions, reader, claim, brake).of(found, window=window)
    unparsed = tuple(change for change in found.changes if isinstance(change, Unparsed))
    return Read(changes, unparsed, found.cursor, found.full, window, opened_at)


@dataclass(frozen=True, slots=True)
class _Certainty:
    """Asks by id about a tombstone come to life and about an event missing from a full read."""

    sessions: Sessions
    reader: CalendarReader
    claim: Claim
    brake: Brake

    def of(self, found: ChangeSet, *, window: Interval) -> Changes:
        changes = last_of_each(found.changes)
        if not changes and not found.full:
            return changes
        with transaction(self.sessions) as session:
            stored = list_seen(session, self.claim.ref.id, ids=None if found.full else changes.keys())
        for seen in stored:
            if seen.deleted and isinstance(changes.get(seen.remote_id), RemoteEvent):
                self._ask(changes, seen)
        missing = self._missing(found, changes, stored, window=window) if found.full else []
        self._stop_if_much_is_gone(changes, stored, missing)
        for seen in missing:
            self._ask(changes, seen)
        return changes

    def _missing(self, found: ChangeSet, changes: Changes, stored: list[Seen], *, window: Interval) -> list[Seen]:
        odd = {change.remote_id for change in found.changes if isinstance(change, Unparsed) and change.remote_id}
        shown = {*changes, *odd}
        return [seen for seen in live_in(stored, window=window) if seen.remote_id not in shown]

    def _stop_if_much_is_gone(self, changes: Changes, stored: list[Seen], missing: list[Seen]) -> None:
        """Before anything is believed or stored: what was live, lies ahead, and is now said or seen to be gone."""
        said = [seen for seen in stored if isinstance(changes.get(seen.remote_id), Removal)]
        ahead = (seen for seen in [*said, *missing] if _lies_ahead(seen, self.claim.now))
        gone = len({seen.series_id or seen.remote_id for seen in ahead})
        if self.claim.may_lose or gone < self.brake.at_least:
            return  # nearly always: nobody has to count the others
        with transaction(self.sessions) as session:
            of = _count_future(session, self.claim)
        if self.brake.stops(gone=gone, of=of):
            message = f"a read shows {gone} of {of} coming events gone"
            raise MassChange(message)

    def _ask(self, changes: Changes, seen: Seen) -> None:
        event = self.reader.find_event(seen.remote_id)
        if event is None or event.remote_id != seen.remote_id:
            changes[seen.remote_id] = Removal(seen.remote_id, seen.updated if seen.deleted else None)
        if event is not None:
            changes[event.remote_id] = event


def _lies_ahead(seen: Seen, now: datetime) -> bool:
    return not seen.deleted and seen.interval is not None and seen.interval.end > now


def _count_future(session: Session, claim: Claim) -> int:
    """A series counts once: its end is one person's one decision, however many occurrences go."""
    query = select(func.count(func.distinct(func.coalesce(Sighting.series_id, Sighting.remote_id)))).where(
        Sighting.calendar_id == claim.ref.id, ~Sighting.deleted, Sighting.ends_at > claim.now
    )
    return session.scalar(query) or 0
