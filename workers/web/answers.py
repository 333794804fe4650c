"""What the API answers. Nothing that people typed comes back: of a decision's evidence only what is listed here."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from models.decisions import DecisionRecord
from sync.availability import Opening
from workers.web.problems import Problem

EVENT = {"remote_id": "AAMkAGI1", "version": 'W/"3"', "interval": "2027-03-08T15:00Z/2027-03-08T16:00Z"}
EVIDENCE = {
    "step": "check",
    "read_at": "2027-03-01T10:15:02.120Z",
    "window": "2027-03-08T15:00Z/2027-03-08T15:30Z",
    "events": [EVENT],
}
OPENING = {"start": "2027-03-08T16:00:00Z", "end": "2027-03-08T16:30:00Z", "version": 0}
PENDING = {"id": 41, "state": "pending", "reason": None, "appointment": None, "evidence": None}
PENDING |= {"alternatives": None, "hold": None, "held_until": None}
BOOKED = PENDING | {"state": "settled", "reason": "accepted", "appointment": 12, "evidence": EVIDENCE | {"events": []}}
REFUSED = PENDING | {"state": "refused", "reason": "master_busy", "evidence": EVIDENCE, "alternatives": [OPENING]}
HELD = PENDING | {
    "state": "settled",
    "reason": "accepted",
    "evidence": EVIDENCE | {"events": []},
    "hold": "Zr3v0u2mN0a3b9cQ1xkPpA",
    "held_until": "2027-03-01T10:20:02Z",
}
REASONS = {
    "slot_taken": "somebody else has this time",
    "master_busy": "the master calendar shows something at this time",
    "master_unreadable": "the master calendar could not be read, and what cannot be read is not free",
    "master_changed": "the event on the master calendar was changed meanwhile",
    "stale": "what the caller saw is no longer so",
    "gone": "what was to be changed is not there any more",
    "malformed": "the wish could not be understood",
    "rejected": "the master calendar's vendor refused",
}


def example(**values: Any) -> ConfigDict:  # noqa: ANN401 - JSON
    return ConfigDict(json_schema_extra={"examples": [values]})


class EventEvidence(BaseModel):
    """An event on the master, by its id there."""

    remote_id: str
    version: str | None = None
    interval: str | None = None


class SlotEvidence(BaseModel):
    """A time that was taken, or is not as the caller saw it."""

    slot: int
    version: int | None = None
    state: str | None = None
    interval: str | None = None
    held_until: str | None = None
    appointment: int | None = None


class Evidence(BaseModel):
    """What a decision was made on: ids, versions, intervals, instants and codes. Whatever else there is, is left out.

    Only what this decision has is set, and goes out.
    """

    step: str | None = None
    code: str | None = None
    attempts: int | None = None
    read_at: str | None = None
    window: str | None = None
    version_seen: int | None = None
    version_now: int | None = None
    state_now: str | None = None
    events: list[EventEvidence] | None = None
    slots: list[SlotEvidence] | None = None


class OpeningAnswer(BaseModel):
    """A time that can be offered, and the version of its slot to name when booking it."""

    model_config = example(**OPENING)

    start: datetime
    end: datetime
    version: int


class ProposalAnswer(BaseModel):
    """The proposal as it stands.

    ``hold`` is told to whoever asked for the hold: it proves whose hold it is. ``alternatives`` come with a refusal for
    want of time, to whoever asked.
    """

    model_config = example(**BOOKED)

    id: int
    state: str
    reason: str | None = None
    appointment: int | None = None
    evidence: Evidence | None = None
    alternatives: list[OpeningAnswer] | None = None
    hold: str | None = None
    held_until: datetime | None = None


class Refusal(Problem):
    """A refusal as a problem, with what ``ProposalAnswer`` says of it."""

    id: int
    state: str
    reason: str | None = None
    appointment: int | None = None
    evidence: Evidence | None = None
    alternatives: list[OpeningAnswer] | None = None


class ProposalsAnswer(BaseModel):
    """A page of proposals, newest first. ``next`` is the address of the page after it, and null on the last."""

    model_config = example(proposals=[BOOKED], next="/api/proposals?limit=1&after=41")

    proposals: list[ProposalAnswer]
    next: str | None


class AvailabilityAnswer(BaseModel):
    """What can be offered. The picture of the master was ``age_seconds`` old; null if it was never read completely.

    ``stopped`` says why nobody reads it at present.
    """

    model_config = example(
        agent="dana",
        zone="America/Chicago",
        minutes=30,
        read_at="2027-03-01T10:14:40Z",
        age_seconds=22.4,
        stopped=None,
        slots=[OPENING],
    )

    agent: str
    zone: str
    minutes: int
    read_at: datetime | None
    age_seconds: float | None
    stopped: str | None
    slots: list[OpeningAnswer]


class AgentAnswer(BaseModel):
    """Who can be booked, and for how many minutes where nothing else is asked for."""

    slug: str
    name: str
    zone: str
    minutes: int


class AgentsAnswer(BaseModel):
    model_config = example(agents=[{"slug": "dana", "name": "Dana", "zone": "America/Chicago", "minutes": 30}])

    agents: list[AgentAnswer]


def answer_of(record: DecisionRecord, alternatives: Iterable[Opening] | None = None) -> ProposalAnswer:
    return ProposalAnswer(
        id=record.id,
        state=record.state,
        reason=record.reason,
        appointment=record.appointment_id,
        evidence=_evidence(record.evidence) if record.evidence else None,
        alternatives=None if alternatives is None else [opening_of(one) for one in alternatives],
        hold=None,
        held_until=record.held_until,
    )


def opening_of(opening: Opening) -> OpeningAnswer:
    return OpeningAnswer(start=opening.interval.start, end=opening.interval.end, version=opening.version)


def refusal_of(answer: ProposalAnswer) -> Refusal:
    """The refusal of a proposal, as it goes out with status 409."""
    reason = answer.reason or "refused"
    return Refusal(
        type=f"urn:watertight:{reason}",
        title=reason.replace("_", " "),
        status=409,
        detail=REASONS.get(reason, "the proposal was refused"),
        **answer.model_dump(exclude={"hold", "held_until"}, exclude_unset=True),
    )


def _evidence(kept: dict[str, Any]) -> Evidence:
    events = [{"remote_id": one} if isinstance(one, str) else one for one in kept.get("events", ())]
    return Evidence.model_validate({**kept, "events": events} if "events" in kept else kept)
