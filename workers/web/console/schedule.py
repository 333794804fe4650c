"""When beat runs what: seen by all, changed by operators."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from models.session import database_now, transaction
from sync.errors import Malformed
from sync.schedule import list_changes, list_jobs, pause, resume, set_period
from workers.app import runtime
from workers.web.console.door import DOING, HOME, SEEING, form_of, visit_of
from workers.web.console.showing import back, page

PLACE = f"{HOME}/schedule"
UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
LENGTH = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)\s*(s|min|m|h|)")
CHANGES = 10

Name = Annotated[str, Path(max_length=100)]

seeing = APIRouter(include_in_schema=False, route_class=SEEING)
doing = APIRouter(prefix=PLACE, include_in_schema=False, route_class=DOING)


@seeing.get(PLACE)
def schedule(request: Request) -> Response:
    """Every job: how often, when last, when next."""
    with transaction(runtime().sessions) as session:
        now, jobs, changes = database_now(session), list_jobs(session), list_changes(session, limit=CHANGES)
    return page(request, "schedule.html", now=now, section="schedule", jobs=jobs, changes=changes)


@doing.post("/{name}/period")
def change_period(request: Request, name: Name) -> Response:
    """Every so often from now on."""
    every = _read_length(form_of(request).get("every", ""))
    with transaction(runtime().sessions) as session:
        set_period(session, name, every=every, by=visit_of(request).actor)
    return back(PLACE, done="period")


@doing.post("/{name}/pause")
def pause_job(request: Request, name: Name) -> Response:
    """Not any more."""
    with transaction(runtime().sessions) as session:
        pause(session, name, by=visit_of(request).actor)
    return back(PLACE, done="paused")


@doing.post("/{name}/resume")
def resume_job(request: Request, name: Name) -> Response:
    """Again."""
    with transaction(runtime().sessions) as session:
        resume(session, name, by=visit_of(request).actor)
    return back(PLACE, done="resumed")


def _read_length(typed: str) -> float:
    """Seconds, from what a person typed: 90, 90s, 5m, 1h.

    Raises:
        Malformed: it is no length of time.
    """
    found = LENGTH.fullmatch(typed.strip())
    if found is None:
        raise Malformed("every", "is not a length of time such as 90, 90s, 5m or 1h")
    return float(found[1]) * UNITS[found[2]]
