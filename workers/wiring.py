"""The one place where settings become connected parts. Nothing connects at import."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass

from models.session import Sessions, make_engine, make_sessions, refuse_inside_transaction, transaction
from providers.registry import Registry, connect
from sync.detect import Detector
from sync.domain import CalendarRef, EventDraft, RemoteEvent, RemoteId, WriteKey
from sync.errors import MasterCheckBypassed
from sync.failures import open_alert
from sync.ports import CalendarReader, Calendars, CalendarWriter
from workers.settings import Settings, as_it_runs

APP_ROLE = "watertight_app"
COMMIT_ROLE = "watertight_commit"


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a process works with."""

    settings: Settings
    sessions: Sessions
    calendars: Calendars

    def detector(self) -> Detector:
        return Detector(self.sessions, self.calendars, horizon=self.settings.horizon)


def build(settings: Settings) -> Runtime:
    """For every process but the commit worker: reads vendors, inserts proposals, and cannot write to a calendar (P3)."""
    engine = make_engine(settings.database(), role=APP_ROLE, pool_size=settings.job_threads)
    sessions = make_sessions(engine)
    registry = connect(as_it_runs(settings).reading_credentials(), guard=refuse_inside_transaction)
    return Runtime(settings, sessions, ReadOnly(registry, report=_alert(sessions)))


def build_committing(settings: Settings) -> Runtime:
    """For the commit worker alone: the role that may write the ledger, and the credentials that may write calendars."""
    engine = make_engine(settings.commit_database(), role=COMMIT_ROLE, pool_size=2)
    registry = connect(as_it_runs(settings).writing_credentials(), guard=refuse_inside_transaction)
    return Runtime(settings, make_sessions(engine), registry)


def rand() -> float:
    """Uniform in [0, 1), seeded by the operating system, so that forked children do not draw alike."""
    return random.SystemRandom().random()


class ReadOnly:
    """Calendars of which nobody gets a working writer."""

    def __init__(self, registry: Registry, *, report: Callable[[str, CalendarRef], None]) -> None:
        self._registry = registry
        self._report = report

    def reader(self, calendar: CalendarRef) -> CalendarReader:
        return self._registry.reader(calendar)

    def writer(self, calendar: CalendarRef) -> CalendarWriter:
        return RefusingWriter(calendar, report=self._report)


class RefusingWriter:
    """Stands where a writer would: every call fails loudly and opens a critical alert (P3)."""

    def __init__(self, calendar: CalendarRef, *, report: Callable[[str, CalendarRef], None]) -> None:
        self._calendar = calendar
        self._report = report

    def create(self, draft: EventDraft, *, key: WriteKey) -> RemoteEvent:  # noqa: ARG002 - the port's shape
        raise self._refusal("create")

    def update(self, remote_id: RemoteId, draft: EventDraft, *, version: str) -> RemoteEvent:  # noqa: ARG002
        raise self._refusal("update")

    def delete(self, remote_id: RemoteId, *, version: str) -> None:  # noqa: ARG002
        raise self._refusal("delete")

    def _refusal(self, call: str) -> MasterCheckBypassed:
        self._report(call, self._calendar)
        return MasterCheckBypassed(f"{call} on calendar {self._calendar.id} outside the commit task")


def _alert(sessions: Sessions) -> Callable[[str, CalendarRef], None]:
    def report(call: str, calendar: CalendarRef) -> None:
        with transaction(sessions) as session:
            open_alert(
                session,
                f"bypass:{call}:{calendar.id}",
                code=MasterCheckBypassed.code,
                severity="critical",
                detail={"call": call, "calendar": calendar.id, "process": os.getpid()},
            )

    return report
