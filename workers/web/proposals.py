"""``/api``: wishes to book, hold, move and cancel, from people and their systems, and what became of them (design §7)."""

from __future__ import annotations

from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Path, Response

from models.queries import ProposalRecord, find_proposal
from models.session import transaction
from sync import intake
from sync.domain import Kind
from sync.errors import NotFound
from workers.app import runtime
from workers.nudge import nudge
from workers.web import problems
from workers.web.bodies import BIGGEST, CancelBody, HoldBody, MoveBody, ProposalAnswer, ProposalBody

Key = Annotated[str, Header(alias="idempotency-key", min_length=1, max_length=200)]
Number = Annotated[int, Path(ge=1, le=BIGGEST)]
Hold = Annotated[str, Path(min_length=1, max_length=64)]

router = APIRouter(prefix="/api", responses=problems.documented(404, 422, 503))


@router.post("/proposals", status_code=HTTPStatus.ACCEPTED)
def propose(body: ProposalBody, response: Response, key: Key) -> ProposalAnswer:
    """Store the wish and wake the commit task. The same key again gives the same proposal."""
    request = intake.Request(
        key=key,
        agent=body.agent,
        interval=body.interval(),
        title=body.title,
        attendees=body.people(),
        slot_version=body.slot_version,
        hold=body.hold,
    )
    return _receive(request, response)


@router.post("/holds", status_code=HTTPStatus.ACCEPTED)
def hold(body: HoldBody, response: Response, key: Key) -> ProposalAnswer:
    """Keep a time for a while. Only whoever knows the secret in the answer can book it meanwhile, or give it back."""
    request = intake.Request(
        key=key,
        kind=Kind.HOLD,
        agent=body.agent,
        interval=body.interval(),
        slot_version=body.slot_version,
        hold_seconds=body.seconds,
    )
    return _receive(request, response)


@router.delete("/holds/{hold}", status_code=HTTPStatus.ACCEPTED)
def release(hold: Hold, response: Response) -> ProposalAnswer:
    """Give a hold back before its time."""
    return _receive(intake.Request(key=f"release:{hold}", kind=Kind.CANCEL, hold=hold), response)


@router.post("/appointments/{appointment_id}/move", status_code=HTTPStatus.ACCEPTED)
def move(appointment_id: Number, body: MoveBody, response: Response, key: Key) -> ProposalAnswer:
    """Move an appointment, or hand it to another agent."""
    request = intake.Request(
        key=key,
        kind=Kind.MOVE,
        appointment=appointment_id,
        agent=body.agent,
        interval=body.interval(),
        title=body.title,
        slot_version=body.slot_version,
    )
    return _receive(request, response)


@router.post("/appointments/{appointment_id}/cancel", status_code=HTTPStatus.ACCEPTED)
def cancel(appointment_id: Number, response: Response, key: Key, body: CancelBody | None = None) -> ProposalAnswer:
    """Cancel an appointment."""
    seen = body.slot_version if body is not None else None
    return _receive(intake.Request(key=key, kind=Kind.CANCEL, appointment=appointment_id, slot_version=seen), response)


def _receive(request: intake.Request, response: Response) -> ProposalAnswer:
    received = intake.receive(runtime().sessions, request)
    found = _find(received.id)
    if received.created:
        nudge([f"proposal:{received.id}"], about=f"{found.agent} via api")
    response.headers["Location"] = f"/api/proposals/{received.id}"
    answer = _answer(found)
    return answer.model_copy(update={"hold": received.hold}) if request.kind is Kind.HOLD else answer


@router.get("/proposals/{proposal_id}")
def show(proposal_id: Number) -> ProposalAnswer:
    """The proposal as it stands, with the decision's evidence."""
    return _answer(_find(proposal_id))


def _find(proposal_id: int) -> ProposalRecord:
    with transaction(runtime().sessions) as session:
        found = find_proposal(session, proposal_id)
    if found is None:
        message = f"no proposal {proposal_id}"
        raise NotFound(message)
    return found


def _answer(record: ProposalRecord) -> ProposalAnswer:
    story = asdict(record)
    return ProposalAnswer(
        id=record.id,
        state=record.state,
        reason=record.reason,
        appointment=record.appointment_id,
        evidence=story["evidence"] or None,
        held_until=record.held_until,
    )
