"""A bad day is lost by a broken promise alone: not by an alert, and not by a calendar that waited for a while."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from models.figures import ProposalFigure
from sync.audit import Drift, Finding
from sync.domain import CalendarId, Interval
from tests.badday.cast import agents
from tests.badday.outcome import Outcome, Toll, table_of
from workers.diary import Diary
from workers.quiet import Quiet
from workers.verdict import Verdict

NINE, TEN = datetime(2027, 3, 8, 9, tzinfo=UTC), datetime(2027, 3, 8, 10, tzinfo=UTC)
FIGURE = ProposalFigure(
    id=1, key="request:a", agent="dana", zone="UTC", kind="book", origin="api", calendar_id=None, remote_id=None,
    remote_version=None, state="settled", title="", starts_at=NINE, ends_at=TEN, created_at=NINE, decided_at=NINE,
    accepted=True, reason="accepted", evidence={}, shown_at=NINE,
)  # fmt: skip
REFUSED = replace(FIGURE, id=2, state="refused", accepted=False, reason="slot_taken")
GOOD = Verdict(
    seed=1, seconds=60.0, proposals=[FIGURE, REFUSED], unrecorded=[], drift=Drift(), diary=Diary(), race=None,
    quiet=Quiet(reached=True, seconds=9.0), api_calls={}, limits_exceeded={},
)  # fmt: skip


def book(**more: object) -> dict[str, Any]:
    day = {"profile": None, "requests": 9, "hits": 2, "by_kind": {"html": 2}}
    return {"total": 9, "by_status": {}, "limits_exceeded": {}, "most_at_once": 4, "bad_day": day, **more}


def outcome(*, verdict: Verdict = GOOD, stopped: tuple[str, ...] = (), **books: dict[str, Any]) -> Outcome:
    toll = Toll({"malformed": 2}, {"malformed": 1}, {"rate_limited": 1}, list(stopped))
    return Outcome(
        verdict, {"outlook": book(), "google": book(most_at_once=9), **books}, toll, [40.0], 0, {"share": 0.1}
    )


def test_alerts_and_waits_break_nothing() -> None:
    good = outcome()
    assert good.broken == []
    assert good.as_dict()["decisions_by_reason"] == {"accepted": 1, "slot_taken": 1}
    assert table_of(good.as_dict()).row_count > 20


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (outcome(outlook=book(most_at_once=5)), "outlook: 5 at once"),
        (outcome(google=book(limits_exceeded={"per_minute": 1})), "google: limit per_minute exceeded"),
        (outcome(stopped=("dana google: mass_change",)), "waits for a person: dana google: mass_change"),
        (outcome(verdict=replace(GOOD, quiet=Quiet(reached=False, seconds=9.0))), "not quiet after 9 s"),
    ],
)
def test_each_broken_promise_is_named(bad: Outcome, sentence: str) -> None:
    assert bad.broken == [sentence]


def test_drift_breaks_a_promise() -> None:
    finding = Finding("overlap", CalendarId(1), Interval(NINE, TEN))
    assert len(outcome(verdict=replace(GOOD, drift=Drift(overlaps_on_master=(finding,)))).broken) == 1


def test_every_agent_has_a_master_a_mirror_and_two_sources() -> None:
    cast = agents(20).agents
    assert len({agent.slug for agent in cast}) == 20
    assert {len(agent.calendars) for agent in cast} == {4}
    assert len({agent.zone for agent in cast}) == 20
