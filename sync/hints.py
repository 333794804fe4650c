"""From pushes to jobs: every delivery is kept once, and what is new in it wakes the jobs that should look (design §5.1).

A hint is a time in a cursor. It stays until a run of that job begins: a storm of pushes is one message, and a message that
got lost is sent again by upkeep.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import RowMapping, func, or_, select, text, update
from sqlalchemy.orm import Session

from models.agents import Agent, Calendar
from models.feeds import Cursor, Sighting
from models.push import Channel
from models.session import Sessions, transaction
from sync.domain import CalendarId, Job
from sync.errors import NotFound
from sync.pushes import Notice, Push

LOST_SECONDS = 30.0  # after so long a message about a hint has not arrived, or its run was killed
LIMIT = 500

Wanted = Collection[tuple[CalendarId, Job]]
Aim = tuple[Push, CalendarId]

# Plain SQL, since every push passes here. Rows are locked in one order, so that two deliveries never wait for each other;
# and who finds nothing to write locks none.
_CHANNELS = text("""
    SELECT channels.calendar_id, channels.remote_id,
        CASE WHEN channels.previous_until > clock_timestamp() THEN channels.previous_id END AS previous_id
    FROM channels JOIN calendars ON calendars.id = channels.calendar_id
    WHERE channels.calendar_id = ANY(:calendars) AND channels.remote_id IS NOT NULL AND calendars.provider = :provider
""")
_KEEP = text("""
    INSERT INTO deliveries (provider, key) SELECT :provider, key FROM unnest(CAST(:keys AS text[])) AS new (key)
    ON CONFLICT DO NOTHING RETURNING key
""")
_CURSORS = text("""
    INSERT INTO cursors (calendar_id, job)
    SELECT calendar_id, job FROM unnest(CAST(:calendars AS int[]), CAST(:jobs AS text[])) AS wanted (calendar_id, job)
    WHERE NOT EXISTS (SELECT FROM cursors WHERE (cursors.calendar_id, cursors.job) = (wanted.calendar_id, wanted.job))
    ON CONFLICT DO NOTHING
""")
_HINT = text("""
    WITH due AS (
        SELECT cursors.calendar_id, cursors.job FROM cursors
        JOIN unnest(CAST(:calendars AS int[]), CAST(:jobs AS text[])) AS wanted (calendar_id, job) USING (calendar_id, job)
        WHERE cursors.hinted_at IS NULL ORDER BY 1, 2 FOR UPDATE OF cursors
    )
    UPDATE cursors SET hinted_at = clock_timestamp()
    FROM due, calendars, agents
    WHERE cursors.calendar_id = due.calendar_id AND cursors.job = due.job
        AND calendars.id = due.calendar_id AND agents.id = calendars.agent_id
    RETURNING cursors.calendar_id, cursors.job, agents.slug, calendars.provider, calendars.role,
        calendars.stopped_code IS NULL AND coalesce(cursors.not_before <= clock_timestamp(), true) AS awake
""")
# In a storm once a second, since one row is not to be written for every push; but always if somebody has read since.
_HEARD = text("""
    WITH heard AS (
        SELECT calendar_id FROM channels
        WHERE calendar_id = ANY(:calendars)
            AND (unannounced > 0 OR coalesce(last_hint_at < greatest(clock_timestamp() - interval '1 second',
                (SELECT max(read_at) FROM cursors WHERE cursors.calendar_id = channels.calendar_id)), true))
        ORDER BY 1 FOR UPDATE
    )
    UPDATE channels SET last_hint_at = clock_timestamp(), unannounced = 0
    FROM heard WHERE channels.calendar_id = heard.calendar_id
""")


@dataclass(frozen=True, slots=True)
class Nudge:
    """A job that is to look at a calendar now. ``about`` (agent and calendar) is for Flower's eyes only."""

    job: Job
    calendar_id: CalendarId
    about: str


@dataclass(frozen=True, slots=True)
class Received:
    """A delivery of one vendor: what it tells."""

    provider: str
    pushes: tuple[Push, ...]


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a delivery: how many of its pushes are new, who is to look, and whether a channel needs care."""

    new: int
    nudges: tuple[Nudge, ...] = ()
    renew: bool = False


def take_all(sessions: Sessions, received: Sequence[Received]) -> list[Taken | NotFound]:
    """Keep what is new in one transaction, and hint. The first delivery with something new names everybody to wake.

    NotFound is for one of which nothing came through a channel of ours; nothing of it is kept.
    """
    with transaction(sessions) as session:
        aims = _aims(session, received)
        fresh = {provider: _keep(session, provider, keys) for provider, keys in _keys(received, aims).items()}
        new = [_claim(fresh[one.provider], found) for one, found in zip(received, aims, strict=True)]
        every = [aim for found in new for aim in found]
        nudges = _spread(session, every) if every else ()
    told: list[Taken | NotFound] = []
    for found, claimed in zip(aims, new, strict=True):
        if not found:
            told.append(NotFound("no such channel"))
            continue
        renew = any(push.notice in (Notice.REMOVED, Notice.RENEW) for push, _ in claimed)
        told.append(Taken(len({push.key for push, _ in claimed}), nudges if claimed else (), renew))
        nudges = () if claimed else nudges
    return told


def _keys(received: Sequence[Received], aims: Sequence[Sequence[Aim]]) -> dict[str, set[str]]:
    """What they are about, by provider."""
    keys: dict[str, set[str]] = {}
    for one, found in zip(received, aims, strict=True):
        keys.setdefault(one.provider, set()).update(push.key for push, _ in found)
    return keys


def _claim(fresh: set[str], found: Sequence[Aim]) -> list[Aim]:
    """What is new in a delivery: of two with the same push only the first has it."""
    new = [(push, calendar_id) for push, calendar_id in found if push.key in fresh]
    fresh -= {push.key for push, _ in new}
    return new


def _spread(session: Session, new: Sequence[Aim]) -> tuple[Nudge, ...]:
    """Obey what is said about channels, and mark what is to be read."""
    _obey(session, new)
    nudges = hint(session, {(calendar_id, job) for push, calendar_id in new for job in push.jobs})
    session.connection().execute(_HEARD, {"calendars": sorted({calendar_id for _, calendar_id in new})})
    return nudges


def hint(session: Session, wanted: Wanted) -> tuple[Nudge, ...]:
    """Mark the cursors; the answer is whom to send a message.

    Nobody who has been hinted at and not begun yet; and nobody who was stopped or put off: the mark stays for later.
    """
    if not wanted:
        return ()
    ordered = sorted(wanted)
    rows = {"calendars": [calendar_id for calendar_id, _ in ordered], "jobs": [job.value for _, job in ordered]}
    connection = session.connection()
    connection.execute(_CURSORS, rows)
    marked = connection.execute(_HINT, rows).mappings()
    return tuple(_nudge(row) for row in marked if row["awake"])


def pass_on(sessions: Sessions, calendar_id: CalendarId, jobs: Iterable[Job]) -> tuple[Nudge, ...]:
    """A run has seen what is another job's affair."""
    with transaction(sessions) as session:
        return hint(session, {(calendar_id, job) for job in jobs})


def list_lost(session: Session) -> list[Nudge]:
    """Hints whose message has not arrived, or whose run was killed: they are to be sent again."""
    now = func.clock_timestamp()
    rows = session.execute(
        select(Cursor.calendar_id, Cursor.job, Agent.slug, Calendar.provider, Calendar.role)
        .join(Calendar, Calendar.id == Cursor.calendar_id)
        .join(Agent)
        .where(
            Cursor.hinted_at < now - timedelta(seconds=LOST_SECONDS),
            Calendar.stopped_code.is_(None),
            or_(Cursor.not_before.is_(None), Cursor.not_before <= now),
            or_(Cursor.leased_until.is_(None), Cursor.leased_until <= now),
        )
        .order_by(Cursor.hinted_at)
        .limit(LIMIT)
    )
    return [_nudge(row) for row in rows.mappings()]


def count_unannounced(session: Session, calendar_id: CalendarId, *, since: datetime) -> None:
    """A poll has found something, and nothing had been announced since the one before (``since``).

    Only what a channel could have told counts against it: it was open all the time. A hint takes the count away.
    """
    session.execute(
        update(Channel)
        .where(
            Channel.calendar_id == calendar_id,
            Channel.remote_id.is_not(None),
            Channel.opened_at < since,
            or_(Channel.last_hint_at.is_(None), Channel.last_hint_at < since),
        )
        .values(unannounced=Channel.unannounced + 1)
    )


def _nudge(row: RowMapping) -> Nudge:
    return Nudge(Job(row["job"]), CalendarId(row["calendar_id"]), f"{row['slug']} via {row['provider']} {row['role']}")


def _aims(session: Session, received: Sequence[Received]) -> list[list[Aim]]:
    """Which calendar each push is about, asked once for each vendor, however many deliveries come together."""
    told: dict[str, list[Push]] = {}
    for one in received:
        told.setdefault(one.provider, []).extend(one.pushes)
    found = {provider: _found(session, provider, pushes) for provider, pushes in told.items()}
    return [
        [(push, calendar_id) for push in one.pushes for calendar_id in found[one.provider].get(push, ())]
        for one in received
    ]


def _found(session: Session, provider: str, pushes: Iterable[Push]) -> dict[Push, list[CalendarId]]:
    """Those of a channel that is not ours, or not any more, are about none."""
    each = dict.fromkeys(pushes)
    named = [push for push in each if push.calendar_id is not None]
    unnamed = [push for push in each if push.calendar_id is None]
    aims = _through_channels(session, provider, named) if named else []
    aims += _by_event(session, provider, unnamed) if unnamed else []
    calendars: dict[Push, list[CalendarId]] = {}
    for push, calendar_id in aims:
        calendars.setdefault(push, []).append(calendar_id)
    return calendars


def _through_channels(session: Session, provider: str, pushes: Sequence[Push]) -> list[Aim]:
    calendars = sorted({push.calendar_id for push in pushes if push.calendar_id is not None})
    rows = session.connection().execute(_CHANNELS, {"calendars": calendars, "provider": provider})
    # A push that names no channel came through whichever there is.
    open_ids = {calendar_id: {None, remote_id, previous_id} for calendar_id, remote_id, previous_id in rows}
    return [
        (push, push.calendar_id)
        for push in pushes
        if push.calendar_id is not None and push.channel in open_ids.get(push.calendar_id, ())
    ]


def _by_event(session: Session, provider: str, pushes: Sequence[Push]) -> list[Aim]:
    """Where the event was seen, and whose it is said to be; for an event that nobody has seen, everywhere."""
    calendars = {
        row.remote: CalendarId(row.id) for row in session.scalars(select(Calendar).filter_by(provider=provider))
    }
    seen = session.execute(
        select(Sighting.remote_id, Sighting.calendar_id).where(
            Sighting.calendar_id.in_(calendars.values()), Sighting.remote_id.in_({push.event for push in pushes})
        )
    ).all()
    aims: list[Aim] = []
    for push in pushes:
        places = {CalendarId(calendar_id) for remote_id, calendar_id in seen if remote_id == push.event}
        if push.owner in calendars:
            places.add(calendars[push.owner])
        aims += [(push, calendar_id) for calendar_id in sorted(places or calendars.values())]
    return aims


def _keep(session: Session, provider: str, keys: Collection[str]) -> set[str]:
    """Which of the keys were never here before."""
    if not keys:
        return set()
    return set(session.connection().execute(_KEEP, {"provider": provider, "keys": sorted(keys)}).scalars())


def _obey(session: Session, new: Sequence[Aim]) -> None:
    """What the vendor says about its own channel: it is gone, or will be without a renewal."""
    for push, calendar_id in new:
        channel = update(Channel).where(Channel.calendar_id == calendar_id, Channel.remote_id == push.channel)
        if push.notice is Notice.REMOVED:
            session.execute(channel.values(remote_id=None, not_before=None))
        elif push.notice is Notice.RENEW:
            session.execute(channel.values(expires_at=func.clock_timestamp(), not_before=None))
