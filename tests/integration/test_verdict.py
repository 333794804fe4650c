"""The demo's judgement over a real database: figures, the comparison, quiet, and what the verdict says of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from models.figures import (
    ProposalFigure,
    count_work,
    get_newest_proposal,
    list_bookings,
    list_proposals,
    list_unfinished,
    list_wished_times,
)
from models.session import transaction
from sync.audit import Drift
from sync.detect import Horizon
from sync.domain import RemoteId
from tests.integration.world import World, at
from workers.diary import Diary
from workers.quiet import Quiet, await_quiet
from workers.race import Racer, RaceResult
from workers.verdict import Verdict, find_drift, list_run, list_unrecorded, percentiles, window_of


def drift_of(world: World) -> Drift:
    made = {
        ("memory", remote, row.state.remote_id)
        for remote in world.ids
        for row in world.calendars.of(remote).rows.values()
        if row.created_by == "api"
    }
    return find_drift(world.app, world.calendars, window=window_of(Horizon()), made=made)


def judge(
    world: World, *, diary: Diary | None = None, drift: Drift | None = None, quiet: Quiet | None = None
) -> Verdict:
    diary, proposals = diary or Diary(), list_run(world.app, after=0)
    return Verdict(
        seed=1,
        seconds=60.0,
        proposals=proposals,
        unrecorded=list_unrecorded(diary, proposals),
        drift=drift or drift_of(world),
        diary=diary,
        race=None,
        quiet=quiet or Quiet(reached=True, seconds=1.0),
        api_calls={},
        limits_exceeded={},
    )


def figure(world: World, proposal_id: int) -> ProposalFigure:
    with transaction(world.app) as session:
        return list_proposals(session, after=proposal_id - 1)[-1]


def test_a_world_in_step_gets_a_clean_verdict(world: World) -> None:
    world.ask(at(9))
    world.ask(at(9.5))
    world.mirror.put(at(12), "From the mirror")
    world.quiesce()
    world.mirror.put(at(9), "Taken already")
    world.master.put(at(15), "By hand")
    world.quiesce()
    verdict = judge(world)
    assert verdict.broken == []
    found = verdict.as_dict()
    assert (found["proposals"], found["booked"], found["refused"]) == (5, 3, {"slot_taken": 2})
    assert [found[name] for name in ("overlaps_on_master", "lost", "mirrors_out_of_step", "strays")] == [0, 0, 0, 0]


def test_what_vanished_from_the_master_unnoticed_is_lost(world: World) -> None:
    world.ask(at(9))
    world.quiesce()
    world.master.remove(world.master.events()[0].remote_id)
    assert [finding.what for finding in drift_of(world).lost] == ["missing"]


def test_a_wish_that_no_job_has_read_is_lost(world: World) -> None:
    world.mirror.put(at(9), "Nobody looks")
    verdict = judge(world)
    assert verdict.lost == 1
    assert "unnoticed" in verdict.broken[0]


def test_a_copy_that_somebody_moved_unnoticed_is_out_of_step(world: World) -> None:
    world.ask(at(9))
    world.quiesce()
    world.mirror.put(at(20), "Demo", remote_id=world.mirror.events()[0].remote_id)
    assert [finding.what for finding in drift_of(world).mirrors_out_of_step] == ["elsewhere"]


def test_an_event_that_we_made_and_nobody_knows_is_found(world: World) -> None:
    world.mirror.put(at(9), "Copy", created_by="api")
    world.master.put(at(12), "Booking", created_by="api")
    drift = drift_of(world)
    assert [finding.what for finding in drift.mirrors_out_of_step] == ["stray"]
    assert [finding.what for finding in drift.strays] == ["stray"]


def test_what_a_person_puts_on_a_booking_is_theirs(world: World) -> None:
    world.ask(at(9))
    world.quiesce()
    world.master.put(at(9.5), "By hand, later")
    world.quiesce()
    drift = drift_of(world)
    assert len(drift.overlaps_made_by_people) == 1
    assert drift.broken == ()


def test_a_booking_that_a_person_moved_onto_their_own_event_is_theirs(world: World) -> None:
    world.ask(at(9))
    world.quiesce()
    world.master.put(at(12), "By hand")
    world.quiesce()
    ours = next(event.remote_id for event in world.master.events() if event.interval == at(9))
    world.master.put(at(12), "Demo", remote_id=ours)
    world.quiesce()
    with transaction(world.app) as session:
        moved = next(row for row in list_bookings(session, start=at(0).start, end=at(24).end) if row.holds_slot)
    assert (moved.starts_at, moved.placed_by) == (at(12).start, "master")
    drift = drift_of(world)
    assert len(drift.overlaps_made_by_people) == 1
    assert drift.broken == ()


def test_what_lies_outside_of_the_window_is_not_compared(world: World) -> None:
    world.mirror.put(at(24 * 59.5), "Too far ahead")
    assert drift_of(world).broken == ()


def test_an_undecided_proposal_and_a_request_without_a_row_are_lost(world: World) -> None:
    diary = Diary()
    proposal = world.ask(at(9))
    diary.asked(f"key-{world.requests}", proposal_id=proposal, moment=datetime.now(UTC))
    diary.asked("answered, and gone", proposal_id=99, moment=datetime.now(UTC))
    verdict = judge(world, diary=diary)
    assert (verdict.lost, verdict.undecided) == (2, [proposal])
    assert {f"proposal {proposal} is undecided", "proposal 99 was taken on and is not there"} <= set(verdict.broken)


def test_a_stack_that_does_not_settle_breaks_its_promise(world: World) -> None:
    verdict = judge(world, quiet=Quiet(reached=False, seconds=60.0, open=("write:7 copy",)))
    assert {"not quiet after 60 s", "write:7 copy", "not both outcomes were seen"} <= set(verdict.broken)


def test_times_run_from_the_persons_act_to_the_last_copy(world: World) -> None:
    diary, before = Diary(), datetime.now(UTC) - timedelta(seconds=30)
    proposal = world.ask(at(9))
    diary.asked(f"key-{world.requests}", proposal_id=proposal, moment=before)
    made = world.mirror.put(at(12), "From the mirror")
    diary.changed(made.remote_id, moment=before, version=made.version)
    world.quiesce()
    row = figure(world, proposal)
    assert row.decided_at is not None
    assert row.shown_at is not None
    assert row.shown_at > row.decided_at
    found = judge(world, diary=diary).as_dict()
    assert found["time_to_decide_seconds"]["of"] == found["time_to_reflect_seconds"]["of"] == 2
    assert 30 < found["time_to_decide_seconds"]["p50"] <= found["time_to_reflect_seconds"]["p99"] < 60


def test_a_proposal_whose_copy_is_due_is_not_shown_yet(world: World) -> None:
    proposal = world.ask(at(9))
    world.decide(proposal)
    assert figure(world, proposal).decided_at is not None
    assert figure(world, proposal).shown_at is None
    with transaction(world.app) as session:
        assert [line.split(",")[0] for line in list_unfinished(session, limit=5)] == ["write:2 copy"]


def test_a_diary_finds_the_change_behind_a_proposal(world: World) -> None:
    diary, now = Diary(), datetime.now(UTC)
    first = world.mirror.put(at(9), "Wish")
    diary.changed(first.remote_id, moment=now - timedelta(seconds=9), version=first.version)
    proposal = world.detect_all()[0]
    second = world.mirror.put(at(10), "Wish", remote_id=first.remote_id)
    diary.changed(second.remote_id, moment=now - timedelta(seconds=3), version=second.version)
    diary.changed(RemoteId("another"), moment=now, version=None)
    assert diary.moment_of(figure(world, proposal)) == now - timedelta(seconds=9)


def test_times_ever_wished_for_are_known(world: World) -> None:
    world.ask(at(9))
    world.ask(at(9))
    with transaction(world.app) as session:
        assert list_wished_times(session, "dana", start=at(0).start) == [(at(9).start, at(9).end)]
        assert list_wished_times(session, "nobody", start=at(0).start) == []
        assert get_newest_proposal(session) == 2


def test_percentiles_are_figures_that_were_measured() -> None:
    assert percentiles([]) == {"p50": None, "p99": None, "of": 0}
    assert percentiles([3.0, 1.0, 2.0]) == {"p50": 2.0, "p99": 3.0, "of": 3}
    assert percentiles([float(number) for number in range(1, 201)]) == {"p50": 100.0, "p99": 198.0, "of": 200}


@contextmanager
def stack_of(world: World) -> Iterator[None]:
    """Jobs and commit task at work in a thread of their own."""
    done = threading.Event()

    def work() -> None:
        while not done.wait(0.02):
            world.detect_all()
            world.settle()

    thread = threading.Thread(target=work)
    thread.start()
    yield
    done.set()
    thread.join()


def test_a_stack_at_work_becomes_quiet(world: World) -> None:
    world.ask(at(9))
    with stack_of(world):
        quiet = await_quiet(world.app, standstill=20, at_most=40)
    assert quiet.reached
    assert drift_of(world).broken == ()
    with transaction(world.app) as session:
        work = count_work(session)
    assert (work.proposals, work.decisions) == (1, 1)


def test_a_stack_that_stands_still_says_what_is_open(world: World) -> None:
    proposal = world.ask(at(9))
    quiet = await_quiet(world.app, standstill=0.5, at_most=5)
    assert not quiet.reached
    assert quiet.open[0] == f"proposal:{proposal} book pending, attempt 0"
    assert any(line.startswith("new has not read dana memory") for line in quiet.open)


EVIDENCE = {"step": "claim"}
WON: dict[str, Any] = {"accepted": True, "reason": "accepted", "evidence": EVIDENCE}
LOST: dict[str, Any] = {"accepted": False, "reason": "slot_taken", "evidence": EVIDENCE}


@pytest.mark.parametrize(
    ("london", "san_francisco", "fair"),
    [
        (WON, LOST, True),
        (LOST, WON, True),
        (LOST | {"reason": "master_busy"}, WON, True),
        (LOST | {"reason": "master_unreadable"}, WON, False),
        (LOST | {"evidence": {}}, WON, False),
        (WON, WON, False),
        (LOST, LOST, False),
        ({}, WON, False),
    ],
)
def test_a_race_has_one_winner_and_one_loser_with_evidence(
    london: dict[str, Any], san_francisco: dict[str, Any], *, fair: bool
) -> None:
    racers = (Racer("London", "google", "", 1, **london), Racer("San Francisco", "api", "", 2, **san_francisco))
    race = RaceResult(0, at(9).start, 0.0, *racers)
    assert race.is_fair is fair
    assert (race.as_dict()["winner"] is None) == (race.winner is None)
