"""Detecting: one job reads one calendar, stores what it saw, and proposes what is its own to propose (design §5.1).

The three jobs share this code and nothing else: each has its own cursor and lease, so none waits for, reads or breaks
another. What was read, the proposals that follow and the cursor's move are one transaction (P7).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import bindparam, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from models.agents import Agent, Calendar
from models.base import UtcDateTime, is_among
from models.feeds import Cursor, Sighting
from models.queries import list_linked_after
from models.session import Sessions, lock_calendar, transaction
from sync.boundaries import Boundary, cross
from sync.changes import Brake, Seen, Wish, plan_proposals
from sync.domain import CalendarId, Interval, Job, ProposalId
from sync.errors import Contention, NotFound
from sync.failures import resolve_alert
from sync.hints import count_unannounced
from sync.intake import insert_wishes
from sync.known import load_known
from sync.ports import Calendars
from sync.quarantine import quarantine
from sync.reading import Claim, Read, read_calendar
from sync.records import calendar_ref
from sync.sightings import list_seen, merge_changes

_CALENDAR = (
    select(Calendar, Agent, func.clock_timestamp(type_=UtcDateTime()))
    .join(Agent)
    .where(Calendar.id == bindparam("calendar"))
)
_CURSOR = (
    select(Cursor)
    .where(Cursor.calendar_id == bindparam("calendar"), Cursor.job == bindparam("job"))
    .with_for_update()
    .execution_options(populate_existing=True)
)

_Found = tuple[Calendar, Agent, datetime]

LEASE_SECONDS = 120  # longer than the slowest read that the transport's timeouts and page caps allow in practice


@dataclass(frozen=True, slots=True)
class Horizon:
    """Which part of a calendar is kept in step, and how often the window is opened anew (it is frozen in the cursor)."""

    back: timedelta = timedelta(days=1)
    ahead: timedelta = timedelta(days=60)
    reopen: timedelta = timedelta(days=1)

    def window(self, now: datetime) -> Interval:
        return Interval(now - self.back, now + self.ahead)


@dataclass(frozen=True, slots=True)
class Report:
    """What one run did; ids and counts only. ``about`` names agent and calendar for those who watch.

    ``again`` says that the vendor has announced something since the run began; ``others`` are the jobs for which a run
    that was announced has seen work.
    """

    job: Job
    calendar_id: CalendarId
    skipped: str | None = None
    read: int = 0
    full: bool = False
    quarantined: int = 0
    wishes: tuple[Wish, ...] = ()
    proposals: tuple[ProposalId, ...] = ()
    about: str = ""
    again: bool = False
    others: tuple[Job, ...] = ()

    def sentence(self) -> str:
        """One line for Flower and the terminal."""
        if self.skipped:
            return f"skipped: {self.skipped}"
        kind = "full read" if self.full else "read"
        odd = f", {self.quarantined} quarantined" if self.quarantined else ""
        return f"{kind} of {self.read}, {len(self.proposals)} proposed{odd}"


@dataclass(frozen=True, slots=True)
class _Merged:
    """What this job proposes, how many states were new to us, and which other jobs would propose something about these."""

    wishes: list[Wish]
    news: int
    others: tuple[Job, ...]


class Detector:
    """Runs jobs. Holds no state between runs."""

    def __init__(
        self, sessions: Sessions, calendars: Calendars, *, horizon: Horizon | None = None, brake: Brake | None = None
    ) -> None:
        self._sessions = sessions
        self._calendars = calendars
        self._horizon = horizon or Horizon()
        self._brake = brake or Brake()

    def run(self, job: Job, calendar_id: CalendarId) -> Report:
        """Read, store, propose, move the cursor.

        Raises:
            NotFound: no such calendar.
            Transient, NeedsHuman, Permanent: as the reader says; nothing was stored and the cursor stands.
        """
        claim = self._claim(job, calendar_id)
        if isinstance(claim, Report):
            return claim
        cross(Boundary.JOB_CLAIMED)
        try:
            read = self._read(claim)
            cross(Boundary.JOB_READ)
            return self._store(claim, read)
        except BaseException:
            self._release(claim)
            raise

    def preview(self, job: Job, calendar_id: CalendarId) -> Report:
        """What ``run`` would propose now. Writes nothing and leaves cursor and lease alone.

        Raises:
            As ``run``.
        """
        with transaction(self._sessions) as session:
            claim = self._look(_find(session, calendar_id), job, session.get(Cursor, (calendar_id, job.value)))
        read = self._read(claim)
        with self._sessions() as session:  # no commit: what is stored to judge by is rolled back
            wishes = self._merge(session, claim, read).wishes
            session.rollback()
        return Report(job, calendar_id, None, len(read.changes), read.full, len(read.unparsed), tuple(wishes))

    def _look(self, found: _Found, job: Job, row: Cursor | None) -> Claim:
        calendar, agent, now = found
        may_lose = row is not None and row.may_lose
        claim = Claim(
            job, calendar_ref(calendar, agent), agent.id, 0, None, self._horizon.window(now), now, now, may_lose
        )
        if row is None or row.value is None or row.opened_at is None or now - row.opened_at > self._horizon.reopen:
            return claim
        if row.window_start is None or row.window_end is None:
            return claim
        return replace(
            claim, cursor=row.value, window=Interval(row.window_start, row.window_end), opened_at=row.opened_at
        )

    def _claim(self, job: Job, calendar_id: CalendarId) -> Claim | Report:
        with transaction(self._sessions) as session:
            found = _find(session, calendar_id)
            if stopped := found[0].stopped_code:
                return Report(job, calendar_id, skipped=f"stopped by {stopped}")
            row = _lock_cursor(session, job, calendar_id)
            claim = self._look(found, job, row)
            if row.leased_until is not None and row.leased_until > claim.now:
                return Report(job, calendar_id, skipped="the run before still works")
            row.lease += 1
            row.leased_until = claim.now + timedelta(seconds=LEASE_SECONDS)
            hinted_at, row.hinted_at = row.hinted_at, None
            return replace(claim, lease=row.lease, hinted_at=hinted_at, read_before=row.read_at)

    def _release(self, claim: Claim) -> None:
        """The hint for which nothing came of this run stays."""
        with transaction(self._sessions) as session:
            row = session.get(Cursor, (claim.ref.id, claim.job.value), with_for_update=True)
            if row is not None and row.lease == claim.lease:
                row.leased_until = None
                row.hinted_at = claim.hinted_at or row.hinted_at

    def _read(self, claim: Claim) -> Read:
        fresh = self._horizon.window(claim.now)
        reader = self._calendars.reader(claim.ref)
        return read_calendar(self._sessions, reader, claim, fresh_window=fresh, brake=self._brake)

    def _store(self, claim: Claim, read: Read) -> Report:
        with transaction(self._sessions) as session:
            row = session.scalars(_CURSOR, {"calendar": claim.ref.id, "job": claim.job.value}).one_or_none()
            if row is None or row.lease != claim.lease:
                message = f"calendar {claim.ref.id}: the lease of this {claim.job} run was taken over"
                raise Contention(message)
            merged = self._merge(session, claim, read)
            cross(Boundary.JOB_STORING)
            inserted = insert_wishes(session, merged.wishes, ref=claim.ref, agent_id=claim.agent_id)
            again = row.hinted_at is not None
            row.value, row.leased_until, row.read_at = read.cursor, None, claim.now
            row.failures, row.not_before, row.may_lose = 0, None, False
            # A full read shows what is old as well, and another job may have stored the news before this one.
            if merged.news or merged.wishes or (read.changes and not read.full):
                row.changed_at = claim.now
            row.window_start, row.window_end, row.opened_at = read.window.start, read.window.end, read.opened_at
            resolve_alert(session, f"{claim.job}:{claim.ref.id}")
            if merged.news and not read.full and claim.hinted_at is None and claim.read_before is not None:
                count_unannounced(session, claim.ref.id, since=claim.read_before)
            session.flush()
            cross(Boundary.JOB_CURSOR)
        cross(Boundary.JOB_STORED)
        proposals = tuple(proposal for proposal in inserted if proposal is not None)
        about = f"{claim.ref.agent} via {claim.ref.provider} {claim.ref.role}"
        numbers = (len(read.changes), read.full, len(read.unparsed))
        wishes = tuple(merged.wishes)
        return Report(claim.job, claim.ref.id, None, *numbers, wishes, proposals, about, again, merged.others)

    def _merge(self, session: Session, claim: Claim, read: Read) -> _Merged:
        """Store the newest states and the unreadable records. Most reads find nothing, and are done with at once."""
        if not (read.full or read.changes or read.unparsed):
            return _Merged([], 0, ())
        lock_calendar(session, claim.ref.id)
        quarantine(session, claim.ref.id, read.unparsed)
        merged, news = merge_changes(session, claim.ref.id, read.changes)
        batch = [*merged, *_unshown(session, claim, read)]
        known = load_known(session, claim.ref.id, batch)

        def plan(job: Job, of: list[Seen]) -> list[Wish]:
            return plan_proposals(job, of, known, calendar_id=claim.ref.id, now=claim.now)

        # Whose affair a change is, only who has read it knows: an update may free the time, which CancellationSync proposes.
        fresh = [seen for seen in batch if claim.hinted_at is not None and seen.remote_id in news]
        others = tuple(job for job in Job if job is not claim.job and plan(job, fresh))
        return _Merged(plan(claim.job, batch), len(news), others)


def _find(session: Session, calendar_id: CalendarId) -> _Found:
    found = session.execute(_CALENDAR, {"calendar": calendar_id}).one_or_none()
    if found is None:
        message = f"no calendar {calendar_id}"
        raise NotFound(message)
    calendar, agent, now = found
    return calendar, agent, now


def _lock_cursor(session: Session, job: Job, calendar_id: CalendarId) -> Cursor:
    """This job's cursor, made at its first run."""
    named = {"calendar": calendar_id, "job": job.value}
    found = session.scalars(_CURSOR, named).one_or_none()
    if found is None:
        session.execute(insert(Cursor).values(calendar_id=calendar_id, job=job.value).on_conflict_do_nothing())
        found = session.scalars(_CURSOR, named).one()
    return found


def _unshown(session: Session, claim: Claim, read: Read) -> list[Seen]:
    """What a full read cannot show, and another job's may have found first: events that are gone or left the window."""
    if not read.full:
        return []
    linked = list_linked_after(session, claim.ref.id, read.window.start)
    inside = or_(Sighting.ends_at > read.window.start, is_among(Sighting.remote_id, linked))
    return list_seen(session, claim.ref.id, where=(inside, ~is_among(Sighting.remote_id, read.changes)))
