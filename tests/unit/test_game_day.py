"""The pure parts of a game day: what was told, what the runbook says, and what counts as passed."""

from __future__ import annotations

from pathlib import Path

import pytest

from sync.catalogue import CATALOGUE
from tests.gameday.drills import list_drills
from tests.gameday.game_day import told_of
from tests.gameday.inbox import Message, render
from tests.gameday.outcome import Outcome, Told, figures_of, markdown_of
from tests.gameday.runbook import read_advice

RUNBOOK = (Path(__file__).parents[2] / "docs" / "runbook.md").read_text(encoding="utf-8")


def message(title: str, at: float, code: str = "broker_away") -> Message:
    return Message(title, f"What happened: <it>.\n\nRunbook: docs/runbook.md#{code}", at, "03:12:07")


def outcome(told: list[Told], *, missing: tuple[str, ...] = (), broken: tuple[str, ...] = ()) -> Outcome:
    advice = [read_advice(RUNBOOK, "broker_away")]
    return Outcome("broker", "Valkey is killed", 45.0, told, missing, advice, "", 30.0, broken)


def test_every_drill_s_codes_have_advice_in_the_runbook() -> None:
    drills = list_drills(outage_seconds=300)
    assert len(drills) == 7
    for code in {code for drill in drills for code in (*drill.codes, *drill.replayed)}:
        advice = read_advice(RUNBOOK, code)
        assert (advice.title, advice.command.split()[0]) == (CATALOGUE[code].title, "watertight")
    with pytest.raises(LookupError):
        read_advice(RUNBOOK, "no_such_code")


def test_what_was_told_is_timed_from_the_fault_and_its_end() -> None:
    got = [
        message("[critical] The broker does not answer", 110),
        message("[critical] still: The broker does not answer", 120),
        message("[warning] A task ended (Commit), 3 at once", 130, "bug"),
        message("[resolved] over: The broker does not answer", 175),
    ]
    first, second = told_of(got, ("broker_away",), began=100, ended=145)
    assert (first.code, first.severity, first.after, first.over_after, first.expected) == (
        *("broker_away", "critical", 10, 30),
        True,
    )
    assert (second.name, second.over_after, second.expected) == ("bug (Commit)", None, False)


def test_a_drill_passes_only_if_all_of_it_went_well() -> None:
    told = Told("broker_away", "", "critical", 10.0, 30.0, expected=True)
    lasting = Told("bug", "Commit", "warning", 10.0, None, expected=False)
    good = outcome([told])
    bad = [outcome([told, lasting]), outcome([], missing=("broker_away",)), outcome([told], broken=("a stray",))]
    assert (good.passed, good.verdict) == (True, "clean")
    assert [one.verdict for one in bad] == ["bug (Commit) was never resolved", "no alert broker_away", "a stray"]
    assert not any(one.passed for one in bad)
    assert figures_of([good], settings={})["passed"]
    assert not figures_of([good, bad[0]], settings={})["passed"]
    [_, _, row] = markdown_of([good]).splitlines()
    assert row.count(" | ") == markdown_of([good]).splitlines()[0].count(" | ")
    assert "critical broker_away after 10 s" in row


def test_a_delivered_message_is_shown_as_it_was_posted_and_nothing_in_it_is_markup() -> None:
    page = render([message("[critical] A & B", 1)])
    assert 'class="post critical"' in page
    assert "[critical] A &amp; B" in page
    assert "What happened: &lt;it&gt;." in page
