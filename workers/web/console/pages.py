"""All of the console: ``/console/…``."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from workers.web.console import agents, drift, failures, lists, now, schedule, sign_in, stories
from workers.web.console.door import HOME, SEEING, message

elsewhere = APIRouter(include_in_schema=False, route_class=SEEING)


@elsewhere.get(f"{HOME}/{{path:path}}")
def nothing(request: Request, path: str) -> Response:
    """A page too, and only for who has signed in: nobody else learns what there is."""
    del path
    return message(request, "missing", status=HTTPStatus.NOT_FOUND)


PARTS = (
    sign_in.entering,
    sign_in.leaving,
    now.router,
    agents.seeing,
    agents.doing,
    stories.router,
    failures.seeing,
    failures.doing,
    schedule.seeing,
    schedule.doing,
    drift.seeing,
    drift.doing,
    lists.router,
    elsewhere,
)
router = APIRouter(include_in_schema=False)
for part in PARTS:
    router.include_router(part)
