"""One agent: a week as a picture, and how its calendars are being read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Path, Query, Request, Response

from models.agents import Calendar
from models.console import JOBS, AgentRecord, find_agent
from models.session import database_now, transaction
from models.weeks import WeekRecord, find_week
from sync.actions import record_action
from sync.errors import NotFound
from sync.patience import release_calendar
from workers.app import runtime
from workers.web.console.door import DOING, HOME, SEEING, form_of, visit_of
from workers.web.console.showing import back, page
from workers.web.console.week import DAYS, SLOTS, Box, Lane, Mark, Week, list_marks, monday_of, place
from workers.web.wishes import AGENT

EARLIEST, LATEST = date(2000, 1, 1), date(2100, 1, 1)
BIGGEST = 2**31 - 1
WRONG = ("conflict", "drift")

Slug = Annotated[str, Path(pattern=AGENT)]

seeing = APIRouter(prefix=f"{HOME}/agents", include_in_schema=False, route_class=SEEING)
doing = APIRouter(prefix=f"{HOME}/agents", include_in_schema=False, route_class=DOING)


@dataclass(frozen=True, slots=True)
class Asked:
    """Which week, and in which zone: UTC, the agent's (``agent``), or one by its name."""

    zone_name: str
    week: Week

    def link(self, slug: str, *, first: date | None = None, zone: str | None = None) -> str:
        return f"{HOME}/agents/{slug}?week={first or self.week.first}&zone={zone or self.zone_name}"


@dataclass(frozen=True, slots=True)
class Picture:
    """What is drawn: a lane for each calendar, the marks in them, and how many of them are wrong."""

    lanes: list[Lane]
    marks: list[Mark]
    boxes: list[Box]
    wrong: dict[str, int]


@seeing.get("/{slug}")
def agent(
    request: Request,
    slug: Slug,
    week: Annotated[str, Query(max_length=10)] = "",
    zone: Annotated[str, Query(max_length=64)] = "UTC",
) -> Response:
    """The agent's week: what the ledger has, what each calendar shows, and where they differ.

    Raises:
        NotFound: there is no such agent.
    """
    with transaction(runtime().sessions) as session:
        now = database_now(session)
        who = find_agent(session, slug, now=now)
        if who is None:
            raise NotFound(f"no agent {slug}")
        asked = _asked(week, zone, home=who.zone, now=now)
        record = find_week(session, slug, start=asked.week.start, end=asked.week.end)
    picture = _picture(who, record, week=asked.week)
    told: dict[str, Any] = {"who": who, "asked": asked, "jobs": list(JOBS), "picture": picture}
    return page(request, "agent.html", now=now, section="", turn=timedelta(days=DAYS), **told)


def _picture(who: AgentRecord, record: WeekRecord, *, week: Week) -> Picture:
    lanes = [Lane(SLOTS, "slots", "ledger"), *(Lane(one.id, one.provider, one.role) for one in who.calendars)]
    marks = list_marks(record, lanes)
    wrong = Counter(mark.kind for mark in marks if mark.kind in WRONG)
    return Picture(lanes, marks, place(marks, week, lanes), dict(wrong))


@doing.post("/{slug}/release")
def release(request: Request, slug: Slug) -> Response:
    """Let the jobs go on with a calendar that was stopped, or that they leave alone because it kept failing.

    Raises:
        NotFound: the agent has no such calendar.
    """
    number = form_of(request).get("calendar", "")
    with transaction(runtime().sessions) as session:
        known = number.isdecimal() and int(number) <= BIGGEST
        calendar = session.get(Calendar, int(number), with_for_update=True) if known else None
        if calendar is None or calendar.agent.slug != slug:
            raise NotFound("no such calendar")
        before = {"stopped": calendar.stopped_code}
        release_calendar(session, calendar)
        actor = visit_of(request).actor
        record_action(session, actor, "calendars.release", about=f"calendar:{calendar.id}", before=before)
    return back(f"{HOME}/agents/{slug}", done="released")


def _asked(week: str, zone: str, *, home: str, now: datetime) -> Asked:
    """What cannot be understood is this week in UTC."""
    name, found = _zone(zone, home=home)
    try:
        day = date.fromisoformat(week)
    except ValueError:
        day = now.astimezone(found).date()
    return Asked(name, Week(monday_of(min(max(day, EARLIEST), LATEST)), found))


def _zone(name: str, *, home: str) -> tuple[str, tzinfo]:
    if name == "UTC":
        return name, UTC
    try:
        return name, ZoneInfo(home if name == "agent" else name)
    except (ValueError, OSError, LookupError):
        return "UTC", UTC
