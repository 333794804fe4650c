"""What goes out of a decision's evidence: what is listed, and nothing that anybody typed."""

from __future__ import annotations

from typing import Any

import pytest

from models.decisions import DecisionRecord
from workers.web.answers import answer_of, refusal_of

SECRET = "Secret cellar of Ann Onymous"


def record(evidence: dict[str, Any], reason: str | None = "master_busy") -> DecisionRecord:
    return DecisionRecord(
        id=1,
        agent="dana",
        kind="book",
        state="refused",
        starts_at=None,
        ends_at=None,
        reason=reason,
        evidence=evidence,
        appointment_id=None,
        held_until=None,
    )


def test_what_is_not_listed_is_left_out_at_every_depth() -> None:
    event = {"remote_id": "e1", "version": "3", "interval": "a/b", "title": SECRET, "attendees": [SECRET]}
    slot = {"slot": 7, "version": 2, "state": "held", "interval": "a/b", "appointment": None, "title": SECRET}
    kept = {"step": "check", "events": [event], "slots": [slot], "title": SECRET, "hold": SECRET}
    shown = answer_of(record(kept)).model_dump(mode="json", exclude_unset=True)
    assert shown["evidence"] == {
        "step": "check",
        "events": [{"remote_id": "e1", "version": "3", "interval": "a/b"}],
        "slots": [{"slot": 7, "version": 2, "state": "held", "interval": "a/b", "appointment": None}],
    }
    assert SECRET not in refusal_of(answer_of(record(kept))).model_dump_json()


@pytest.mark.parametrize(
    "kept",
    [
        {"step": "check", "read_at": "2027-03-01T10:15:02+00:00", "events": ["e1"]},
        {"step": "check", "code": "provider_timeout", "attempts": 6},
        {"step": "claim", "version_seen": 1, "version_now": 2, "state_now": "free"},
        {"step": "follow"},
    ],
)
def test_every_kind_of_evidence_can_be_shown(kept: dict[str, Any]) -> None:
    shown = answer_of(record(kept)).model_dump(mode="json", exclude_unset=True)["evidence"]
    assert shown == kept | ({"events": [{"remote_id": "e1"}]} if "events" in kept else {})


def test_without_a_decision_there_is_no_evidence() -> None:
    assert answer_of(record({}, reason=None)).evidence is None
