"""What the watch looks for: each check says what is wrong at this moment, and what it does not find any more is over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from kombu.connection import Connection
from sqlalchemy.orm import Session

from models.endings import OldPicture, find_oldest_due, list_old_pictures
from models.listings import list_broken
from models.queries import list_due
from models.session import database_now
from sync.alarms import Alarm
from sync.catalogue import entry_of
from sync.failures import list_open_causes
from workers.app import app
from workers.dead_letters import COMMIT
from workers.queues import lengths
from workers.settings import Settings
from workers.silence import SILENT, patience_with, silent_jobs

SOON = 900.0  # what becomes critical within these seconds needs no second alert about what follows from it
DUE_LOOKED_AT = 50
MADE_UP = timedelta(minutes=15)  # after an outage: by then whatever is due has run, however long its period
ASK_SECONDS = 3
PATIENCE = {"socket_timeout": ASK_SECONDS, "socket_connect_timeout": ASK_SECONDS, "max_retries": 1}
BROKEN_SECONDS = 86_400.0
ROLES = {"master": "picture_old"}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Broker:
    """How many messages wait in each queue; None while nobody answers."""

    waiting: Mapping[str, int] | None


@dataclass(frozen=True, slots=True)
class Look:
    """What a check may know beside the database. ``broker`` is None where there is none.

    Since ``since`` this watch has looked without a break, and database and broker have answered it.
    """

    settings: Settings
    since: datetime
    broker: Broker | None


@dataclass(frozen=True, slots=True)
class Check:
    """``prefixes`` begin the causes of its alarms, and nobody else's."""

    prefixes: tuple[str, ...]
    find: Callable[[Session, Look], list[Alarm]]


def look_at_broker(settings: Settings) -> Broker | None:
    """Ask for the lengths of all queues; seconds at most."""
    if settings.broker_url is None and "broker_url" not in settings.running:
        return None
    connection = Connection(settings.broker(), connect_timeout=ASK_SECONDS, transport_options=PATIENCE)
    return Broker(lengths(connection, sorted(app.amqp.queues), seconds=ASK_SECONDS))


def old_pictures(session: Session, look: Look) -> list[Alarm]:
    """Calendars that nobody has read for too long, unless an alert that is as urgent says already why."""
    found = list_old_pictures(session, limit_seconds=look.settings.picture_seconds)
    return [
        Alarm(
            f"picture:{one.calendar_id}",
            ROLES.get(one.role, "picture_old_mirror"),
            calendar_id=one.calendar_id,
            detail={"calendar": one.calendar_id, "read_at": None if one.read_at is None else one.read_at.isoformat()},
        )
        for one in found
        if not _is_told(one)
    ]


def _is_told(picture: OldPicture) -> bool:
    entries = [entry_of(code) for code in picture.troubles]
    return any(
        entry.severity == "critical" or (entry.escalates_after is not None and entry.escalates_after <= SOON)
        for entry in entries
    )


def full_queues(session: Session, look: Look) -> list[Alarm]:
    """Queues with too many messages, and decisions that have been due for too long."""
    waiting = (look.broker and look.broker.waiting) or {}
    alarms = [
        Alarm(f"queue:{name}", "queue_full", detail={"queue": name, "messages": number})
        for name, number in sorted(waiting.items())
        if number > look.settings.queue_messages
    ]
    broken = list_broken(session, COMMIT, within_seconds=BROKEN_SECONDS)  # these wait for a person
    due = [reference for reference in list_due(session, limit=DUE_LOOKED_AT) if reference not in broken]
    seconds = find_oldest_due(session, due)
    if seconds > look.settings.queue_seconds:
        alarms.append(Alarm("queue:due", "queue_full", detail={"queue": "commit", "oldest_seconds": round(seconds)}))
    return alarms


def away_broker(session: Session, look: Look) -> list[Alarm]:  # noqa: ARG001 - as every check has it
    """No answer from the broker."""
    gone = look.broker is not None and look.broker.waiting is None
    return [Alarm("broker:away", "broker_away")] if gone else []


def silences(session: Session, look: Look) -> list[Alarm]:
    """Jobs that have not run for three periods, and pauses that somebody may have forgotten.

    Without database and broker no job can run, and people are told of these: so nobody is newly called silent before all have
    had the time for three periods, or for the one run that makes up for all that beat has missed. What has been told stays
    until the job runs.
    """
    found = silent_jobs(session, look.settings, watching_since=look.since)
    told, had = list_open_causes(session, "silent:"), database_now(session) - look.since
    return [
        one
        for one in found
        if one.code != SILENT or one.cause in told or had > min(patience_with(one.detail["every"]), MADE_UP)
    ]


CHECKS = (
    Check(("picture:",), old_pictures),
    Check(("queue:",), full_queues),
    Check(("broker:",), away_broker),
    Check(("silent:", "paused:"), silences),
)
