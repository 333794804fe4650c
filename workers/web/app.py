"""The HTTP application: health, and proposals from people and their systems (design §7).

It has no authentication yet and is therefore served on loopback only.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import FastAPI, Header, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from models.queries import ProposalRecord, find_proposal
from models.session import Sessions, transaction
from sync import intake
from sync.domain import Attendee, Interval
from sync.errors import Malformed, NotFound
from workers.app import runtime
from workers.nudge import nudge


class AttendeeBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=200)
    email: str = Field(max_length=320, pattern="^[^@\\s]+@[^@\\s]+$")


class ProposalBody(BaseModel):
    """A wish to book. Times carry an offset, which becomes UTC; a time without one is refused."""

    model_config = ConfigDict(extra="forbid")

    agent: str = Field(max_length=63)
    start: AwareDatetime
    end: AwareDatetime
    title: str = Field(min_length=1, max_length=300)
    attendees: list[AttendeeBody] = Field(default_factory=list, max_length=50)
    slot_version: int | None = Field(default=None, ge=0)


class ProposalAnswer(BaseModel):
    id: int
    state: str
    reason: str | None = None
    appointment: int | None = None
    evidence: dict[str, Any] | None = None


def create_app() -> FastAPI:
    """The application for this process's settings; connects at the first request."""
    app = FastAPI(title="watertight", docs_url=None, redoc_url=None)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Malformed, _malformed)
    app.add_exception_handler(NotFound, _not_found)
    app.get("/healthz")(healthz)
    app.get("/readyz")(readyz)
    app.post("/api/proposals", status_code=202)(propose)
    app.get("/api/proposals/{proposal_id}")(show)
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


def propose(
    body: ProposalBody, response: Response, idempotency_key: Annotated[str, Header(min_length=1, max_length=200)]
) -> ProposalAnswer:
    """Store the wish and wake the commit task. The same key again gives the same proposal."""
    request = intake.Request(
        key=idempotency_key,
        agent=body.agent,
        interval=Interval(body.start, body.end),
        title=body.title,
        attendees=tuple(Attendee(attendee.name, attendee.email) for attendee in body.attendees),
        slot_version=body.slot_version,
    )
    received = intake.receive(_sessions(), request)
    if received.created:
        nudge([f"proposal:{received.id}"], about=f"{body.agent} via api")
    response.headers["Location"] = f"/api/proposals/{received.id}"
    return _answer(_find(received.id))


def show(proposal_id: int) -> ProposalAnswer:
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
    )


def _sessions() -> Sessions:
    return runtime().sessions


def _problem(status: int, *, code: str, detail: str) -> JSONResponse:
    """An error as RFC 9457 wants it."""
    body = {"type": f"urn:watertight:{code}", "title": code.replace("_", " "), "status": status, "detail": detail}
    return JSONResponse(body, status_code=status, media_type="application/problem+json")


async def _invalid(_: Request, error: Exception) -> Response:
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    detail = "; ".join(f"{'.'.join(str(part) for part in item['loc'][1:])}: {item['msg']}" for item in problems)
    return _problem(422, code="malformed", detail=detail)


async def _malformed(_: Request, error: Exception) -> Response:
    return _problem(422, code="malformed", detail=str(error))


async def _not_found(_: Request, error: Exception) -> Response:
    return _problem(404, code="not_found", detail=str(error))
