"""From a wish to its answer: stored, nudged, awaited if somebody waits, and told as it stands by then."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from models.decisions import DecisionRecord, find_decision
from models.session import transaction
from sync import intake
from sync.availability import Opening, find_alternatives
from sync.domain import Interval, Kind, Reason
from sync.errors import Malformed, NotFound
from workers.app import runtime
from workers.web import problems
from workers.web.answers import ProposalAnswer, answer_of, refusal_of
from workers.web.nudges import nudge_soon
from workers.web.waiting import await_decision

LONGEST_WAIT_SECONDS = 30.0
WANT_OF_TIME = (Reason.SLOT_TAKEN, Reason.MASTER_BUSY, Reason.STALE)


async def take(request: Request, wish: intake.Request, *, wait: float) -> JSONResponse:
    """Store the wish, wake the commit task, and answer: 201 done (200 for a hold given back), 202 undecided, 409 refused.

    Raises:
        Malformed, NotFound: as ``sync.intake.receive``.
    """
    received = await run_in_threadpool(_receive, wish)
    record = await run_in_threadpool(find, received.id)
    if received.created:
        nudge_soon(request, record.id, about=f"{record.agent} via api")
    if wait and record.reason is None:
        record = await outcome(request, received.id, wait=wait)
    answer = answer_of(record, await run_in_threadpool(alternatives_of, record))
    headers = {"Location": f"/api/proposals/{received.id}"}
    if record.state == "refused":
        content = refusal_of(answer).model_dump(mode="json", exclude_unset=True)
        return JSONResponse(content, HTTPStatus.CONFLICT, headers, media_type=problems.MEDIA_TYPE)
    if wish.kind is Kind.HOLD:
        answer = answer.model_copy(update={"hold": received.hold})
    return JSONResponse(answer.model_dump(mode="json", exclude_unset=True), _status(wish, answer), headers)


def _status(wish: intake.Request, answer: ProposalAnswer) -> HTTPStatus:
    if answer.state != "settled":
        return HTTPStatus.ACCEPTED
    return HTTPStatus.OK if wish.hold is not None and wish.kind is Kind.CANCEL else HTTPStatus.CREATED


async def outcome(request: Request, proposal_id: int, *, wait: float) -> DecisionRecord:
    """The proposal as it stands when it is decided, or after ``wait`` seconds.

    Raises:
        NotFound: no such proposal.
    """
    record = await run_in_threadpool(find, proposal_id)
    if not wait or record.reason is not None:
        return record
    await await_decision(request, proposal_id, wait)
    return await run_in_threadpool(find, proposal_id)


def _receive(wish: intake.Request) -> intake.Received:
    try:
        return intake.receive(runtime().sessions, wish)
    except Malformed as error:
        raise Malformed("idempotency-key" if error.field == "key" else error.field, error.reason) from None


def find(proposal_id: int) -> DecisionRecord:
    """Raises: NotFound if there is no such proposal."""
    with transaction(runtime().sessions) as session:
        found = find_decision(session, proposal_id)
    if found is None:
        message = f"no proposal {proposal_id}"
        raise NotFound(message)
    return found


def alternatives_of(record: DecisionRecord) -> tuple[Opening, ...] | None:
    """What is free instead, for who was refused for want of time; None for everybody else.

    A time that the live master refused may still look free in our picture of it, and is not offered again.
    """
    if record.reason not in WANT_OF_TIME or record.starts_at is None or record.ends_at is None:
        return None
    wanted = Interval(record.starts_at, record.ends_at)
    avoid = () if record.reason == Reason.STALE else (wanted,)
    return find_alternatives(runtime().sessions, record.agent, wanted, avoid=avoid)
