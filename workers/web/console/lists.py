"""Pages that are one list each: open alerts, and who did what."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from models.console_lists import list_actions, list_alert_groups, list_open_alerts
from models.session import database_now, transaction
from workers.app import runtime
from workers.web.console.door import HOME, SEEING
from workers.web.console.showing import page

ACTIONS = 100
BIGGEST = 2**63 - 1  # of a bigint

router = APIRouter(prefix=HOME, include_in_schema=False, route_class=SEEING)


@router.get("/alerts")
def alerts(request: Request, code: Annotated[str, Query(max_length=100, pattern=r"^[a-z_]*$")] = "") -> Response:
    """What somebody must know now, and what to do about it."""
    with transaction(runtime().sessions) as session:
        now = database_now(session)
        groups, found = list_alert_groups(session), list_open_alerts(session, code=code or None)
    return page(request, "alerts.html", now=now, section="alerts", groups=groups, found=found, code=code)


@router.get("/actions")
def actions(request: Request, before: Annotated[int | None, Query(ge=1, le=BIGGEST)] = None) -> Response:
    """Who did what to the running system."""
    with transaction(runtime().sessions) as session:
        now, found = database_now(session), list_actions(session, before=before, limit=ACTIONS)
    older = found[-1].id if len(found) == ACTIONS else None
    return page(request, "actions.html", now=now, section="actions", found=found, older=older)
