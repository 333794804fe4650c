"""The booking page's own addresses: ``/book/{agent}/…``, JSON for the page's script (the page itself: ``pages``).

They are no public API, which is why no document lists them; the truth that they tell is ``visits``.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from models.proposals import FINAL_STATES
from sync.domain import Interval
from workers.app import settings
from workers.web import pages, rendering, visits
from workers.web.bodies import Instant
from workers.web.outcome import find, outcome
from workers.web.visitors import admit, kept, read_json
from workers.web.visits import Answer, Offer
from workers.web.wishes import AGENT, SECRET, BookingWish, HoldWish

HOLD_WAIT_SECONDS = 2.0
BOOKING_WAIT_SECONDS = 1.0

Agent = Annotated[str, Path(pattern=AGENT)]
Hold = Annotated[str, Path(pattern=SECRET)]
Visitor = Annotated[str, Depends(admit)]

STATUSES = {"held": HTTPStatus.CREATED, "booked": HTTPStatus.CREATED, "refused": HTTPStatus.CONFLICT}

router = APIRouter(include_in_schema=False)


@router.get("/book/{agent}/openings")
def openings(
    agent: Agent, first: Annotated[Instant, Query(alias="from")], to: Annotated[Instant, Query()], response: Response
) -> dict[str, object]:
    """What is free now, and whether the calendar is being read at all."""
    found = visits.look(agent, Interval(first, to))
    response.headers["Cache-Control"] = "no-store"
    if not visits.is_current(found):
        return {"checking": True, "openings": []}
    return {"checking": False, "openings": [Offer.of(one) for one in found.openings]}


@router.post("/book/{agent}/holds")
async def hold(agent: Agent, request: Request, visitor: Visitor) -> Response:
    """Keep a time for the visitor."""
    kept.refuse_more(visitor)
    wish = await read_json(request, HoldWish)
    wanted = wish.interval()
    received = await run_in_threadpool(visits.ask_hold, agent, wanted, version=wish.version, key=wish.key)
    if received is None or received.hold is None:
        return _said(await run_in_threadpool(visits.refused, agent, wanted))
    record = await visits.decided(request, agent, received, seconds=HOLD_WAIT_SECONDS)
    answer = await run_in_threadpool(visits.tell_hold, agent, received.hold, record)
    if answer.hold is not None:
        kept.keep(visitor, answer.hold, settings().booking_hold_seconds)
    return _said(answer)


@router.get("/book/{agent}/holds/{secret}")
def hold_now(agent: Agent, secret: Hold) -> Response:
    """What became of a hold that was being checked."""
    record = find(visits.get_hold(agent, secret).proposal_id)
    return _said(visits.tell_hold(agent, secret, record), HTTPStatus.OK)


@router.delete("/book/{agent}/holds/{secret}", status_code=HTTPStatus.NO_CONTENT)
async def give_back(agent: Agent, secret: Hold, request: Request, _: Visitor) -> None:
    """The visitor wants another time, or left."""
    await visits.decided(request, agent, await run_in_threadpool(visits.give_back, agent, secret), seconds=0)
    kept.forget(secret)


@router.post("/book/{agent}/bookings")
async def book(agent: Agent, request: Request, _: Visitor) -> Response:
    """Book the time; twice with one hold is once. A hold that is being checked itself comes first: ask again."""
    wish = await read_json(request, BookingWish)
    wanted = wish.interval()
    held = await run_in_threadpool(visits.get_hold, agent, wish.hold)
    waited = await outcome(request, held.proposal_id, wait=BOOKING_WAIT_SECONDS)
    if waited.state not in FINAL_STATES:  # its own hold would stand in its way
        return _said(Answer(state="checking", reason="hold"))
    asked = await run_in_threadpool(visits.ask_booking, agent, wanted, wish.guest(), secret=wish.hold)
    if asked is None:
        return _said(await run_in_threadpool(visits.refused, agent, wanted))
    record = await visits.decided(request, agent, asked, seconds=BOOKING_WAIT_SECONDS)
    kept.forget(wish.hold)
    return _said(await run_in_threadpool(visits.tell_booking, agent, record))


@router.get("/book/{agent}/bookings/{secret}")
def booking_now(agent: Agent, secret: Hold) -> Response:
    """What became of a booking that was being checked."""
    record = find(visits.get_booking(agent, secret))
    return _said(visits.tell_booking(agent, record), HTTPStatus.OK)


@router.get("/book/{agent}/bookings/{secret}/meeting.ics")
def meeting(agent: Agent, secret: Hold) -> Response:
    """The booking for the visitor's own calendar; not found until it is certain."""
    content = visits.dump_meeting(agent, find(visits.get_booking(agent, secret)))
    headers = {"Cache-Control": "no-store", "Content-Disposition": 'attachment; filename="meeting.ics"'}
    return Response(content, media_type="text/calendar", headers=headers)


def _said(answer: Answer, status: int | None = None) -> Response:
    status = status or STATUSES.get(answer.state, HTTPStatus.ACCEPTED)
    return JSONResponse(answer.model_dump(exclude_none=True), status, {"Cache-Control": "no-store"})


router.include_router(pages.router)
router.include_router(rendering.router)
