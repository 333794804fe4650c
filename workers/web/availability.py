"""``GET /api/agents`` and ``/api/agents/{slug}/availability``: who can be booked, and when. An offer is no promise: only the commit task decides."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query, Security
from pydantic import BeforeValidator
from sqlalchemy import select

from models.agents import Agent
from models.session import transaction
from sync.availability import LONGEST_MINUTES, SHORTEST_MINUTES, find_openings
from sync.domain import Interval
from sync.errors import Malformed
from sync.tokens import Scope
from workers.app import runtime
from workers.web import documented
from workers.web.answers import AgentAnswer, AgentsAnswer, AvailabilityAnswer, opening_of
from workers.web.auth import bearer, guarded
from workers.web.bodies import Instant, Text

USUAL_WINDOW = timedelta(days=7)
LOST_PLUS = re.compile(r"(T\d\d:\d\d\S*) (\d\d:?\d\d)")

router = APIRouter(prefix="/api", route_class=guarded(Scope.READ), dependencies=[Security(bearer)])


def _with_plus(value: object) -> object:
    """In an address a plus sign means a space, so an offset east of Greenwich arrives without its sign."""
    return LOST_PLUS.sub(r"\1+\2", value) if isinstance(value, str) else value


Asked = Annotated[Instant, BeforeValidator(_with_plus)]


@router.get("/agents", **documented.reading())
def agents() -> AgentsAnswer:
    """Everybody who can be booked, by slug."""
    with transaction(runtime().sessions) as session:
        rows = session.scalars(select(Agent).order_by(Agent.slug)).all()
    return AgentsAnswer(
        agents=[
            AgentAnswer(slug=row.slug, name=row.name or row.slug, zone=row.zone, minutes=row.appointment_minutes)
            for row in rows
        ]
    )


@router.get("/agents/{slug}/availability", **documented.reading(404))
def availability(
    slug: Annotated[Text, Path(max_length=63, examples=["dana"])],
    start: Annotated[Asked | None, Query(alias="from", examples=["2027-03-08T00:00:00Z"])] = None,
    end: Annotated[Asked | None, Query(alias="to", examples=["2027-03-15T00:00:00Z"])] = None,
    minutes: Annotated[int | None, Query(ge=SHORTEST_MINUTES, le=LONGEST_MINUTES, examples=[30])] = None,
) -> AvailabilityAnswer:
    """Openings that begin between ``from`` (without it now) and ``to`` (a week later), at most 62 days."""
    found = find_openings(runtime().sessions, slug, _window(start, end), minutes=minutes)
    return AvailabilityAnswer(
        agent=found.agent,
        zone=found.zone,
        minutes=found.minutes,
        read_at=found.read_at,
        age_seconds=None if found.read_at is None else max(0.0, (found.now - found.read_at).total_seconds()),
        stopped=found.stopped,
        slots=[opening_of(one) for one in found.openings],
    )


def _window(start: datetime | None, end: datetime | None) -> Interval:
    start = start or datetime.now(UTC)
    try:
        return Interval(start, end or start + USUAL_WINDOW)
    except Malformed:
        raise Malformed("to", "is not after from") from None
