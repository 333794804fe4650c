"""The one place where settings become connected parts. Nothing connects at import."""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass
from datetime import timedelta

from models.session import Sessions, make_engine, make_sessions, refuse_inside_transaction
from providers.limits import FleetLimits
from providers.registry import Registry, connect
from sync.channels import Channels
from sync.detect import Detector
from sync.domain import CalendarRef
from sync.ports import CalendarReader, Calendars, CalendarWriter, Subscribers
from workers.doors import door_of
from workers.settings import Settings, as_it_runs
from workers.walls import RefusingWriter, Report, reporter, watch_database

APP_ROLE = "watertight_app"
COMMIT_ROLE = "watertight_commit"


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a process works with."""

    settings: Settings
    sessions: Sessions
    calendars: Calendars
    subscribers: Subscribers

    def detector(self) -> Detector:
        return Detector(self.sessions, self.calendars, horizon=self.settings.horizon, brake=self.settings.brake)

    def channels(self) -> Channels:
        life = timedelta(days=self.settings.push_days)
        door = functools.partial(door_of, as_it_runs(self.settings))
        return Channels(self.sessions, self.subscribers, door=door, life=life, rand=rand)


def build(settings: Settings) -> Runtime:
    """For every process but the commit worker: reads vendors, inserts proposals, and cannot write to a calendar (P3)."""
    engine = make_engine(settings.database(), role=APP_ROLE, pool_size=settings.job_threads)
    sessions = make_sessions(engine)
    report = reporter(sessions)
    watch_database(engine, report)
    credentials = as_it_runs(settings).reading_credentials()
    registry = connect(credentials, guard=refuse_inside_transaction, refused=report, limits=fleet_limits(settings))
    return Runtime(settings, sessions, ReadOnly(registry, report=report), registry)


def build_committing(settings: Settings) -> Runtime:
    """For the commit worker alone: the role that may write the ledger, and the credentials that may write calendars."""
    engine = make_engine(settings.commit_database(), role=COMMIT_ROLE, pool_size=2)
    registry = connect(
        as_it_runs(settings).writing_credentials(), guard=refuse_inside_transaction, limits=fleet_limits(settings)
    )
    return Runtime(settings, make_sessions(engine), registry, registry)


def fleet_limits(settings: Settings) -> FleetLimits:
    """The limiter that this process shares with all who have the same broker; without one it keeps to a small share."""
    return FleetLimits(settings.counters(), rules=settings.limits())


def rand() -> float:
    """Uniform in [0, 1), seeded by the operating system, so that forked children do not draw alike."""
    return random.SystemRandom().random()


class ReadOnly:
    """Calendars of which nobody gets a working writer."""

    def __init__(self, registry: Registry, *, report: Report) -> None:
        self._registry = registry
        self._report = report

    def reader(self, calendar: CalendarRef) -> CalendarReader:
        return self._registry.reader(calendar)

    def writer(self, calendar: CalendarRef) -> CalendarWriter:
        return RefusingWriter(calendar, report=self._report)
