"""What AuditDrift found, and having it put right: by the commit task, within the mass-change brake."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from models.console_lists import list_drift
from models.session import database_now, transaction
from sync.audits import Audited, find_audited
from sync.errors import Malformed, NotFound
from workers.app import runtime
from workers.audits import repair_by_hand
from workers.web.console.door import DOING, HOME, SEEING, form_of, message, visit_of
from workers.web.console.showing import back, page

PLACE = f"{HOME}/drift"
BIGGEST = 2**63 - 1  # of a bigint
MOST = 10_000  # repairs that a person may ask for at once

seeing = APIRouter(include_in_schema=False, route_class=SEEING)
doing = APIRouter(include_in_schema=False, route_class=DOING)


@seeing.get(PLACE)
def drift(request: Request) -> Response:
    """What the newest comparison of ledger and calendars found, agent by agent."""
    with transaction(runtime().sessions) as session:
        now, found = database_now(session), list_drift(session)
    return page(request, "drift.html", now=now, section="drift", found=found)


@doing.post(f"{PLACE}/{{number}}/repair")
def repair(request: Request, number: Annotated[int, Path(ge=1, le=BIGGEST)]) -> Response:
    """Have what this audit confirmed put right; pressed twice is once.

    Raises:
        Malformed: another audit has been made since, or the number typed is none.
        NotFound: there is no such audit.
    """
    found, at_most = _find(number), _read_number(form_of(request).get("at_most", ""))
    if not found.drift:
        return back(PLACE, done="nothing")
    repaired = repair_by_hand(runtime(), found, actor=visit_of(request).actor, at_most=at_most)
    if repaired.braked is not None:
        detail = f"{repaired.braked[:1].upper()}{repaired.braked[1:]} (At most, beside the button)"
        return message(request, "wrong", status=HTTPStatus.CONFLICT, detail=detail)
    return back(PLACE, done="repair" if repaired.asked else "nothing")


def _find(number: int) -> Audited:
    with transaction(runtime().sessions) as session:
        found, is_newest = find_audited(session, number)
    if found is None:
        raise NotFound(f"no audit {number}")
    if not is_newest:
        raise Malformed("audit", "is not the newest any more: look at the page again")
    return found


def _read_number(typed: str) -> int | None:
    """How many at most; None where nobody said.

    Raises:
        Malformed: it is no such number.
    """
    if not typed.strip():
        return None
    if not (typed.strip().isdecimal() and 1 <= int(typed.strip()[:9]) <= MOST):
        raise Malformed("at_most", f"is not a number from 1 to {MOST}")
    return int(typed.strip()[:9])
