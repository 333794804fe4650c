"""``/api``: wishes to book, hold, move and cancel, from people and their systems, and what became of them (design §7)."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Header, Path, Query, Request, Response, Security

from models.decisions import find_agent, list_decisions
from models.session import transaction
from sync import intake
from sync.domain import Kind
from sync.errors import NotFound
from sync.tokens import Scope
from workers.app import runtime
from workers.web import documented
from workers.web.answers import ProposalAnswer, ProposalsAnswer, answer_of
from workers.web.auth import CallerOf, bearer, guarded
from workers.web.bodies import BIGGEST, CancelBody, HoldBody, MoveBody, ProposalBody, Text
from workers.web.outcome import LONGEST_WAIT_SECONDS, outcome, take

Key = Annotated[Text, Header(alias="idempotency-key", min_length=1, max_length=200, examples=["7d3a0f5e-order-12"])]
Number = Annotated[int, Path(ge=1, le=BIGGEST, examples=[12])]
Hold = Annotated[Text, Path(min_length=1, max_length=64, examples=["Zr3v0u2mN0a3b9cQ1xkPpA"])]
Wait = Annotated[
    float,
    Query(
        ge=0, le=LONGEST_WAIT_SECONDS, allow_inf_nan=False, description="seconds to wait for the decision", examples=[2]
    ),
]
State = Literal["pending", "claimed", "checked", "written", "verified", "undone", "settled", "refused"]

reading = APIRouter(prefix="/api", route_class=guarded(Scope.READ), dependencies=[Security(bearer)])
booking = APIRouter(prefix="/api", route_class=guarded(Scope.BOOK), dependencies=[Security(bearer)])
changing = APIRouter(prefix="/api", route_class=guarded(Scope.CHANGE), dependencies=[Security(bearer)])


@booking.post("/proposals", **documented.wish(documented.BOOKING))
async def propose(request: Request, body: ProposalBody, key: Key, caller: CallerOf, wait: Wait = 0.0) -> Response:
    """Ask for an appointment. The same key again is the same proposal, answered as it stands by then."""
    wish = intake.Request(
        key=caller.key(key),
        agent=body.agent,
        interval=body.interval(),
        title=body.title,
        attendees=body.people(),
        slot_version=body.slot_version,
        hold=body.hold,
    )
    return await take(request, wish, wait=wait)


@booking.post("/holds", **documented.wish(documented.HOLDING))
async def hold(request: Request, body: HoldBody, key: Key, caller: CallerOf, wait: Wait = 0.0) -> Response:
    """Keep a time for a while. Only whoever knows the secret in the answer can book it meanwhile, or give it back."""
    wish = intake.Request(
        key=caller.key(key),
        kind=Kind.HOLD,
        agent=body.agent,
        interval=body.interval(),
        slot_version=body.slot_version,
        hold_seconds=body.seconds,
    )
    return await take(request, wish, wait=wait)


@booking.delete("/holds/{hold}", **documented.wish(documented.RELEASING))
async def release(request: Request, hold: Hold, wait: Wait = 0.0) -> Response:
    """Give a hold back before its time."""
    return await take(request, intake.Request(key=f"release:{hold}", kind=Kind.CANCEL, hold=hold), wait=wait)


@changing.post("/appointments/{appointment_id}/move", **documented.wish(documented.MOVING))
async def move(
    request: Request, appointment_id: Number, body: MoveBody, *, key: Key, caller: CallerOf, wait: Wait = 0.0
) -> Response:
    """Move an appointment, or hand it to another agent."""
    wish = intake.Request(
        key=caller.key(key),
        kind=Kind.MOVE,
        appointment=appointment_id,
        agent=body.agent,
        interval=body.interval(),
        title=body.title,
        slot_version=body.slot_version,
    )
    return await take(request, wish, wait=wait)


@changing.post("/appointments/{appointment_id}/cancel", **documented.wish(documented.CANCELLING))
async def cancel(
    request: Request,
    appointment_id: Number,
    *,
    key: Key,
    caller: CallerOf,
    body: CancelBody | None = None,
    wait: Wait = 0.0,
) -> Response:
    """Cancel an appointment."""
    seen = body.slot_version if body is not None else None
    wish = intake.Request(key=caller.key(key), kind=Kind.CANCEL, appointment=appointment_id, slot_version=seen)
    return await take(request, wish, wait=wait)


@reading.get("/proposals/{proposal_id}", **documented.reading(404))
async def show(request: Request, proposal_id: Number, wait: Wait = 0.0) -> ProposalAnswer:
    """The proposal as it stands, with the decision's evidence."""
    return answer_of(await outcome(request, proposal_id, wait=wait))


@reading.get("/proposals", **documented.reading(404))
def page(
    agent: Annotated[Text | None, Query(max_length=63, examples=["dana"])] = None,
    state: Annotated[State | None, Query(examples=["settled"])] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    after: Annotated[int | None, Query(ge=1, le=BIGGEST, description="the last proposal of the page before")] = None,
) -> ProposalsAnswer:
    """Proposals, newest first, page by page."""
    with transaction(runtime().sessions) as session:
        if agent is not None and find_agent(session, agent) is None:
            raise NotFound(f"no agent {agent!r}")
        records = list_decisions(session, limit=limit + 1, before=after, agent=agent, state=state)
    shown = records[:limit]
    if len(records) == len(shown):
        return ProposalsAnswer(proposals=[answer_of(one) for one in shown], next=None)
    asked = {"agent": agent, "state": state, "limit": limit, "after": shown[-1].id}
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    return ProposalsAnswer(proposals=[answer_of(one) for one in shown], next=f"/api/proposals?{query}")
