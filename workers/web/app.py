"""The HTTP application: health, and proposals from people, their systems and their web forms (design §7).

It has no authentication yet and is therefore served on loopback only.
"""

from __future__ import annotations

import functools
from dataclasses import asdict
from typing import Annotated

from fastapi import FastAPI, Header, HTTPException, Path, Response
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from models.queries import ProposalRecord, find_proposal
from models.session import Sessions, transaction
from sync import intake
from sync.domain import Kind
from sync.errors import NotFound
from workers import observability
from workers.app import runtime, settings
from workers.nudge import nudge
from workers.walls import forbid_engine, reporter
from workers.web import booking, forms, problems
from workers.web.bodies import BIGGEST, CancelBody, HoldBody, MoveBody, ProposalAnswer, ProposalBody

Key = Annotated[str, Header(alias="idempotency-key", min_length=1, max_length=200)]
Number = Annotated[int, Path(ge=1, le=BIGGEST)]
Hold = Annotated[str, Path(min_length=1, max_length=64)]


def serve() -> FastAPI:
    """What the web server runs: the application, and its logs like everybody else's."""
    observability.configure(settings().log_level)
    forbid_engine(reporter(_sessions()))
    forms.connected()  # says now, not at the first submission, which mapping files are wrong
    return create_app()


def create_app() -> FastAPI:
    """The application for this process's settings; connects at the first request."""
    app = FastAPI(title="watertight", docs_url=None, redoc_url=None)
    problems.install(app)
    app.get("/healthz")(healthz)
    app.get("/readyz", responses=problems.documented(503))(readyz)
    refusals = problems.documented(404, 422, 503)
    app.get("/api/proposals/{proposal_id}", responses=refusals)(show)
    app.delete("/api/holds/{hold}", status_code=202, responses=refusals)(release)
    accepted = functools.partial(app.post, status_code=202, responses=refusals)
    accepted("/api/proposals")(propose)
    accepted("/api/holds")(hold)
    accepted("/api/appointments/{appointment_id}/move")(move)
    accepted("/api/appointments/{appointment_id}/cancel")(cancel)
    app.include_router(booking.router)
    app.include_router(forms.router)
    return app


def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


def readyz() -> dict[str, str]:
    """The database answers too."""
    try:
        with transaction(_sessions()) as session:
            session.execute(text("SELECT 1"))
    except SQLAlchemyError:
        raise HTTPException(503, "the database does not answer") from None
    return {"status": "ready"}


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


def release(hold: Hold, response: Response) -> ProposalAnswer:
    """Give a hold back before its time."""
    return _receive(intake.Request(key=f"release:{hold}", kind=Kind.CANCEL, hold=hold), response)


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


def cancel(appointment_id: Number, response: Response, key: Key, body: CancelBody | None = None) -> ProposalAnswer:
    """Cancel an appointment."""
    seen = body.slot_version if body is not None else None
    return _receive(intake.Request(key=key, kind=Kind.CANCEL, appointment=appointment_id, slot_version=seen), response)


def _receive(request: intake.Request, response: Response) -> ProposalAnswer:
    received = intake.receive(_sessions(), request)
    found = _find(received.id)
    if received.created:
        nudge([f"proposal:{received.id}"], about=f"{found.agent} via api")
    response.headers["Location"] = f"/api/proposals/{received.id}"
    answer = _answer(found)
    return answer.model_copy(update={"hold": received.hold}) if request.kind is Kind.HOLD else answer


def show(proposal_id: Number) -> ProposalAnswer:
    """The proposal as it stands, with the decision's evidence."""
    return _answer(_find(proposal_id))


def _find(proposal_id: int) -> ProposalRecord:
    with transaction(_sessions()) as session:
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


def _sessions() -> Sessions:
    return runtime().sessions
