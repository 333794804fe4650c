"""Runs that gave up: what was tried, and having them run again once what was wrong has been put right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from sqlalchemy.orm import Session

from models.letters import find_dead_letter, list_dead_letters
from models.session import database_now, transaction
from sync.errors import NotFound
from workers.app import runtime
from workers.replay import Replay, carry_out, plan_replay
from workers.web.console.door import DOING, HOME, SEEING, form_of, visit_of
from workers.web.console.showing import page

PLACE = f"{HOME}/failures"
BIGGEST = 2**63 - 1  # of a bigint
AT_ONCE = 100  # replays by one press: each is a transaction and a message, and somebody waits

Code = Annotated[str, Query(max_length=100, pattern=r"^[a-z_]*$")]
Number = Annotated[int | None, Query(ge=1, le=BIGGEST)]

seeing = APIRouter(include_in_schema=False, route_class=SEEING)
doing = APIRouter(include_in_schema=False, route_class=DOING)


@seeing.get(PLACE)
def failures(request: Request, code: Code = "", closed: Annotated[str, Query(max_length=1)] = "") -> Response:
    """Open dead letters, newest first; with ``closed`` those too that were replayed or solved themselves."""
    with transaction(runtime().sessions) as session:
        now = database_now(session)
        found = list_dead_letters(session, closed=bool(closed), code=code or None)
    codes = Counter(letter.code for letter in found if letter.state == "open")
    told = {"found": found, "codes": codes, "code": code, "closed": bool(closed)}
    return page(request, "failures.html", now=now, section="failures", **told)


@seeing.get(f"{PLACE}/replay")
def plan(request: Request, code: Code = "", letter: Number = None) -> Response:
    """What a replay would do. Nothing is done yet."""
    with transaction(runtime().sessions) as session:
        now, found = database_now(session), _plan(session, code=code, letter=letter)
    told = {"plan": found[:AT_ONCE], "number": len(found), "code": code, "letter": letter}
    return page(request, "replay.html", now=now, section="failures", **told)


@seeing.get(f"{PLACE}/{{number}}")
def failure(request: Request, number: Annotated[int, Path(ge=1, le=BIGGEST)]) -> Response:
    """One, with every try that is still known.

    Raises:
        NotFound: there is no such dead letter.
    """
    with transaction(runtime().sessions) as session:
        now, found = database_now(session), find_dead_letter(session, number)
    if found is None:
        raise NotFound(f"no dead letter {number}")
    return page(request, "failure.html", now=now, section="failures", letter=found)


@doing.post(f"{PLACE}/replay")
def replay(request: Request) -> Response:
    """Do what the plan said: none that came after it. Twice is once."""
    form, sessions = form_of(request), runtime().sessions
    code, letter, newest = form.get("code", ""), _number(form.get("letter")), _number(form.get("newest"))
    with transaction(sessions) as session:
        now = database_now(session)
        found = [one for one in _plan(session, code=code, letter=letter) if newest is None or one.id <= newest]
    done = carry_out(sessions, found[:AT_ONCE], by=visit_of(request).actor)
    return page(request, "replayed.html", now=now, section="failures", replayed=done)


def _plan(session: Session, *, code: str, letter: int | None) -> Sequence[Replay]:
    """One, all of a code, or all."""
    if letter is not None:
        return plan_replay(session, ids=[letter])
    return plan_replay(session, code=code or None)


def _number(typed: str | None) -> int | None:
    """Raises NotFound: it is none that a dead letter could have."""
    if not typed:
        return None
    if not (typed.isdecimal() and 1 <= int(typed[:20]) <= BIGGEST):
        raise NotFound("no such dead letter")
    return int(typed[:20])
