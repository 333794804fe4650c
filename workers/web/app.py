"""The HTTP application: health, and proposals from people and their systems (design §7).

It has no authentication yet and is therefore served on loopback only.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import FastAPI, Header, HTTPException, Path, Response
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from models.queries import ProposalRecord, find_proposal
from models.session import Sessions, transaction
from sync import intake
from sync.domain import Attendee, Interval
from sync.errors import Malformed, NotFound
from workers import observability
from workers.app import runtime, settings
from workers.nudge import nudge
from workers.walls import forbid_engine, reporter
from workers.web import problems

BIGGEST = 2**63 - 1  # of a bigint
YEARS = range(2000, 2100)  # anything else is a slip of the hand, and near the ends of time arithmetic fails
LONGEST = timedelta(days=31)
STARTS_LIKE_AN_INSTANT = re.compile(r"\d{4}-\d\d-\d\d")


def _spelled_out(value: object) -> object:
    """Seconds since 1970 would be understood, but nobody can say in which zone they were meant."""
    if not isinstance(value, str) or not STARTS_LIKE_AN_INSTANT.match(value):
        raise ValueError("must be text with date, time and offset, such as 2027-03-08T15:00:00Z")
    return value


def _plausible(value: datetime) -> datetime:
    if value.year not in YEARS:
        raise ValueError(f"lies outside the years {YEARS[0]} to {YEARS[-1]}")
    return value


def _storable(value: str) -> str:
    if "\0" in value:
        raise ValueError("holds the character U+0000, which cannot be stored")
    return value


Instant = Annotated[AwareDatetime, BeforeValidator(_spelled_out), AfterValidator(_plausible)]
Text = Annotated[str, AfterValidator(_storable)]


class AttendeeBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Text = Field(max_length=200)
    email: Text = Field(max_length=320, pattern="^[^@\\s]+@[^@\\s]+$")


class ProposalBody(BaseModel):
    """A wish to book. Times carry an offset, which becomes UTC; a time without one is refused."""

    model_config = ConfigDict(extra="forbid")

    agent: Text = Field(max_length=63)
    start: Instant
    end: Instant
    title: Text = Field(min_length=1, max_length=300)
    attendees: list[AttendeeBody] = Field(default_factory=list, max_length=50)
    slot_version: int | None = Field(default=None, ge=0, le=BIGGEST)


class ProposalAnswer(BaseModel):
    id: int
    state: str
    reason: str | None = None
    appointment: int | None = None
    evidence: dict[str, Any] | None = None


def serve() -> FastAPI:
    """What the web server runs: the application, and its logs like everybody else's."""
    observability.configure(settings().log_level)
    forbid_engine(reporter(_sessions()))
    return create_app()


def create_app() -> FastAPI:
    """The application for this process's settings; connects at the first request."""
    app = FastAPI(title="watertight", docs_url=None, redoc_url=None)
    problems.install(app)
    app.get("/healthz")(healthz)
    app.get("/readyz", responses=problems.documented(503))(readyz)
    app.post("/api/proposals", status_code=202, responses=problems.documented(404, 422, 503))(propose)
    app.get("/api/proposals/{proposal_id}", responses=problems.documented(404, 422, 503))(show)
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
    received = intake.receive(_sessions(), _request(body, idempotency_key))
    if received.created:
        nudge([f"proposal:{received.id}"], about=f"{body.agent} via api")
    response.headers["Location"] = f"/api/proposals/{received.id}"
    return _answer(_find(received.id))


def show(proposal_id: Annotated[int, Path(ge=1, le=BIGGEST)]) -> ProposalAnswer:
    """The proposal as it stands, with the decision's evidence."""
    return _answer(_find(proposal_id))


def _request(body: ProposalBody, key: str) -> intake.Request:
    interval = Interval(body.start, body.end)
    if interval.end - interval.start > LONGEST:
        raise Malformed("end", f"is more than {LONGEST.days} days after start")
    return intake.Request(
        key=key,
        agent=body.agent,
        interval=interval,
        title=body.title,
        attendees=tuple(Attendee(attendee.name, attendee.email) for attendee in body.attendees),
        slot_version=body.slot_version,
    )


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
