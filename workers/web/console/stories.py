"""One proposal from wish to decision, and what it changed: what ``watertight explain`` tells, without what people typed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from models.history import Change, list_changes
from models.queries import find_proposal
from models.session import database_now, transaction
from sync.errors import NotFound
from workers.app import runtime
from workers.web.answers import REASONS
from workers.web.console.door import HOME, SEEING
from workers.web.console.showing import page
from workers.web.console.wording import PRIVATE, value

BIGGEST = 2**63 - 1  # of a bigint
UNSHOWN = PRIVATE | {"id"}

router = APIRouter(prefix=HOME, include_in_schema=False, route_class=SEEING)


@dataclass(frozen=True, slots=True)
class Line:
    """One change of a slot or an appointment: each field with what it was and what it is."""

    at: datetime
    what: str
    actor: str
    fields: list[tuple[str, str, str]]


@router.get("/proposals/{number}")
def proposal(request: Request, number: Annotated[int, Path(ge=1, le=BIGGEST)]) -> Response:
    """Its story.

    Raises:
        NotFound: there is no such proposal.
    """
    with transaction(runtime().sessions) as session:
        now, story = database_now(session), find_proposal(session, number)
        changes = list_changes(session, f"proposal:{number}", f"hold:{number}")
    if story is None:
        raise NotFound(f"no proposal {number}")
    lines = [_line(change) for change in changes]
    told: dict[str, Any] = {"story": story, "lines": lines, "meaning": REASONS.get(story.reason or "", "")}
    return page(request, "proposal.html", now=now, section="", **told)


def _line(change: Change) -> Line:
    fields = [
        (name, value(change.before.get(name)), value(after))
        for name, after in change.after.items()
        if name not in UNSHOWN
    ]
    return Line(change.at, f"{change.subject} {change.subject_id}", change.actor, fields)
