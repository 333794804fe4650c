"""The walls around the commit task, at run time (P3): whoever runs into one is stopped, and an alert says who and how.

There are four. The import contract is held by the linter, and here for code that nobody linted; a writer outside the
commit task refuses; the database refuses its role; the vendor refuses its credential. Each opens one critical alert that
names the process and the call.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import structlog
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import SQLAlchemyError

from models.session import Sessions, transaction
from sync.domain import CalendarRef, EventDraft, RemoteEvent, RemoteId, WriteKey
from sync.errors import MasterCheckBypassed
from sync.failures import open_alert

ENGINE = "sync.commit"
LONGEST_NAME = 120

Report = Callable[[str], None]
"""Says which call ran into a wall: ``delete on calendar 7``."""

log = structlog.get_logger(__name__)


def process_name() -> str:
    """The program and its arguments, as an operator would look for it in a list of processes."""
    program, *arguments = sys.argv or ["python"]
    path = Path(program)
    name = path.parent.name if path.stem == "__main__" else path.stem
    return " ".join([name, *arguments])[:LONGEST_NAME]


def reporter(sessions: Sessions) -> Report:
    """Opens one critical alert per process and call. A database that is away must not turn a refusal into a permission."""

    def report(call: str) -> None:
        process = process_name()
        log.error("bypass.refused", call=call, process=process)
        try:
            with transaction(sessions) as session:
                open_alert(
                    session,
                    f"bypass:{process}:{call}",
                    code=MasterCheckBypassed.code,
                    detail={"call": call, "process": process, "pid": os.getpid()},
                )
        except SQLAlchemyError as error:
            log.error("bypass.not_kept", error=type(error).__name__)  # noqa: TRY400 - its text may quote rows

    return report


class ImportWall(MetaPathFinder):
    """Refuses to load the commit engine in a process that is not the commit worker."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - Python's interface
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        if fullname == ENGINE or fullname.startswith(f"{ENGINE}."):
            self._report(f"import {fullname}")
            raise MasterCheckBypassed(f"import of {fullname} outside the commit worker")
        return None


def forbid_engine(report: Report) -> None:
    """From now on this process cannot load the commit engine.

    Raises:
        MasterCheckBypassed: it has done so already.
    """
    if ENGINE in sys.modules:
        report(f"import {ENGINE}")
        raise MasterCheckBypassed(f"{ENGINE} was imported outside the commit worker")
    sys.meta_path.insert(0, ImportWall(report))


class RefusingWriter:
    """Stands where a writer would: every call fails loudly."""

    def __init__(self, calendar: CalendarRef, *, report: Report) -> None:
        self._calendar = calendar
        self._report = report

    def create(self, draft: EventDraft, *, key: WriteKey) -> RemoteEvent:  # noqa: ARG002 - the port's shape
        raise self._refusal("create")

    def update(self, remote_id: RemoteId, draft: EventDraft, *, version: str) -> RemoteEvent:  # noqa: ARG002
        raise self._refusal("update")

    def delete(self, remote_id: RemoteId, *, version: str) -> None:  # noqa: ARG002
        raise self._refusal("delete")

    def _refusal(self, call: str) -> MasterCheckBypassed:
        self._report(f"{call} on calendar {self._calendar.id}")
        return MasterCheckBypassed(f"{call} on calendar {self._calendar.id} outside the commit task")


def watch_database(engine: Engine, report: Report) -> None:
    """Report what the database refuses this role: the statement's verb and the table, never its values."""

    def refused(context: ExceptionContext) -> None:
        error = context.original_exception
        if isinstance(error, InsufficientPrivilege):
            verb = (context.statement or "").split(maxsplit=1)[:1]
            report(" ".join([*verb, f"({error.diag.message_primary})"]))

    event.listen(engine, "handle_error", refused)
