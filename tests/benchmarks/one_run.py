"""A process that runs one job on one calendar and says what it cost: ``python -m tests.benchmarks.one_run JOB CALENDAR WARM``.

Settings are those of every process. WARM is a calendar of the same vendor that is read first, so that imports, the token flow
and the connection pool are not counted.
"""

from __future__ import annotations

import json
import sys

from sqlalchemy import event

from sync.domain import CalendarId, Job
from tests.benchmarks.expense import measured
from workers.settings import load
from workers.wiring import build


def main(job: str, calendar: str, warm: str) -> None:
    runtime = build(load())
    detector = runtime.detector()
    detector.run(Job(job), CalendarId(int(warm)))
    statements: list[None] = []
    event.listen(runtime.sessions.kw["bind"], "before_cursor_execute", lambda *_: statements.append(None))
    with measured() as expense:
        report = detector.run(Job(job), CalendarId(int(calendar)))
    told = {"read": report.read, "full": report.full, "proposed": len(report.proposals), "statements": len(statements)}
    print(json.dumps(told | vars(expense)))  # noqa: T201 - who started this reads it


if __name__ == "__main__":
    main(*sys.argv[1:])
