"""The first page: is anything wrong, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from models.console import AgentNow, HourFigure, JobLag, get_last_hour, list_agents, list_lags
from models.console_lists import (
    AlertGroup,
    DriftNow,
    count_dead_letters,
    list_alert_groups,
    list_drift,
)
from models.session import database_now, transaction
from sync.schedule import ScheduledJob, list_jobs
from workers.app import runtime, settings
from workers.web.console.door import HOME, SEEING
from workers.web.console.queues import find_lengths
from workers.web.console.showing import page

MOST_AGENTS = 50

router = APIRouter(include_in_schema=False, route_class=SEEING)


@dataclass(frozen=True, slots=True)
class Now:
    """Everything that the first page shows, read in one transaction."""

    agents: Sequence[AgentNow]
    lags: Sequence[JobLag]
    hour: HourFigure
    alerts: Sequence[AlertGroup]
    dead: dict[str, int]
    drift: Sequence[DriftNow]
    beat: Sequence[ScheduledJob]

    @property
    def critical(self) -> int:
        return sum(group.number for group in self.alerts if group.severity == "critical")

    @property
    def drifted(self) -> int:
        return sum(1 for one in self.drift if one.audit is not None and one.audit.state == "drift")

    @property
    def unreadable(self) -> int:
        return sum(1 for one in self.drift if one.audit is not None and one.audit.state == "unreadable")

    @property
    def audited_at(self) -> datetime | None:
        return min((one.audit.audited_at for one in self.drift if one.audit is not None), default=None)

    @property
    def paused(self) -> list[str]:
        return [job.name for job in self.beat if not job.enabled]


@router.get(HOME)
def show_now(request: Request) -> Response:
    """How everything stands."""
    everybody = "all" in request.query_params
    with transaction(runtime().sessions) as session:
        now = database_now(session)
        found = Now(
            agents=list_agents(session, now=now),
            lags=list_lags(session),
            hour=get_last_hour(session),
            alerts=list_alert_groups(session),
            dead=count_dead_letters(session),
            drift=list_drift(session),
            beat=list_jobs(session),
        )
    shown = found.agents if everybody else found.agents[:MOST_AGENTS]
    return page(
        request,
        "now.html",
        now=now,
        section="now",
        found=found,
        shown=shown,
        queues=find_lengths(),
        old=settings().picture_seconds,
    )


@router.get(f"{HOME}/find")
def find(q: str = "") -> Response:
    """What somebody typed into the field on top: the number of a proposal, or an agent."""
    asked = q.strip().lstrip("#")
    place = f"proposals/{asked}" if asked.isdecimal() else f"agents/{quote(asked, safe='')}" if asked else ""
    return RedirectResponse(f"{HOME}/{place}".rstrip("/"), HTTPStatus.SEE_OTHER)
