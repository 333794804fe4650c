"""Booking: one appointment stands on every calendar, or nothing does and the reason is kept."""

from __future__ import annotations

import pytest

from sync.domain import RemoteId
from sync.errors import (
    CredentialRevoked,
    Forbidden,
    Malformed,
    NotFound,
    ProviderUnavailable,
    RateLimited,
    WatertightError,
    WriteOutcomeUnknown,
)
from tests.integration.world import World, at, shown

DOWN = ProviderUnavailable("down")


def test_a_booking_stands_on_master_and_mirror(world: World) -> None:
    proposal = world.ask(at(10))
    world.settle()
    assert world.reason(proposal) == "accepted"
    assert [event.interval for event in world.master.events()] == [at(10)]
    world.assert_in_step()


def test_of_two_for_one_hour_the_second_is_refused_with_evidence(world: World) -> None:
    first, second = world.ask(at(10)), world.ask(at(10.5))
    world.settle()
    assert (world.reason(first), world.reason(second)) == ("accepted", "slot_taken")
    taken = world.story(second).evidence["slots"][0]
    assert taken["appointment"] == world.story(first).appointment_id
    world.assert_in_step()


def test_a_busy_master_refuses_with_the_event_that_was_in_the_way(world: World) -> None:
    lunch = world.master.put(at(10.5), "Lunch")
    proposal = world.ask(at(10))
    world.settle()
    story = world.story(proposal)
    assert (story.reason, story.evidence["step"]) == ("master_busy", "check")
    assert story.evidence["events"] == [
        {"remote_id": lunch.remote_id, "version": lunch.version, "interval": str(at(10.5))}
    ]
    assert story.evidence["read_at"]
    assert "Lunch" not in str(story.evidence)
    assert world.slots("held", "booked") == []
    assert world.mirror.events() == []


def test_an_event_shown_as_free_is_in_nobodys_way(world: World) -> None:
    world.master.put(at(10), "Reminder", blocks=False)
    proposal = world.ask(at(10))
    world.settle()
    assert world.reason(proposal) == "accepted"


def test_intervals_that_touch_are_both_booked(world: World) -> None:
    world.master.put(at(12))
    proposals = [world.ask(at(10)), world.ask(at(11)), world.ask(at(9))]
    world.quiesce()
    assert {world.reason(proposal) for proposal in proposals} == {"accepted"}
    world.assert_in_step()


@pytest.mark.parametrize("hour", [9, 11])
@pytest.mark.parametrize(("before", "after"), [(30, 0), (0, 30)])
def test_the_buffer_of_either_appointment_keeps_them_apart(world: World, hour: float, before: int, after: int) -> None:
    world.add_agent("ben", before=before, after=after)
    first, second = world.ask(at(10), agent="ben"), world.ask(at(hour), agent="ben")
    apart = world.ask(at(hour + (0.5 if hour > 10 else -0.5)), agent="ben")
    world.settle()
    assert [world.reason(proposal) for proposal in (first, second, apart)] == ["accepted", "slot_taken", "accepted"]


def test_a_buffer_holds_against_what_people_put_on_the_master(world: World) -> None:
    world.add_agent("ben", before=30)
    world.calendars.of("ben-master").put(at(9))
    proposals = [world.ask(at(10), agent="ben"), world.ask(at(10.5), agent="ben")]
    world.settle()
    assert [world.reason(proposal) for proposal in proposals] == ["master_busy", "accepted"]


def test_of_two_who_saw_one_version_the_second_is_told_what_is_there_now(world: World) -> None:
    first, second = (world.ask(at(10), slot_version=0) for _ in range(2))
    world.settle()
    assert (world.reason(first), world.reason(second)) == ("accepted", "slot_taken")
    evidence = world.story(second).evidence
    assert (evidence["version_seen"], evidence["state_now"]) == (0, "booked")
    assert evidence["version_now"] == evidence["slots"][0]["version"] > 0


def test_a_slot_version_that_moved_on_is_stale_and_says_both(world: World) -> None:
    fresh = world.ask(at(10), slot_version=0)
    world.settle()
    late = world.ask(at(11), slot_version=3)
    world.settle()
    assert (world.reason(fresh), world.reason(late)) == ("accepted", "stale")
    assert world.story(late).evidence == {"step": "claim", "version_seen": 3, "version_now": 0, "state_now": "free"}


def test_a_version_grows_with_every_use_of_the_slot(world: World) -> None:
    lunch = world.master.put(at(10))
    refused = world.ask(at(10), slot_version=0)
    world.settle()
    world.master.remove(lunch.remote_id)
    stale, seen = world.ask(at(10), slot_version=0), world.ask(at(10), slot_version=2)
    world.settle()
    assert [world.reason(p) for p in (refused, stale, seen)] == ["master_busy", "stale", "accepted"]


def test_an_unreadable_master_is_tried_again_and_then_not_free(world: World) -> None:
    for _ in range(6):
        world.master.fail("read_window", DOWN)
    proposal = world.ask(at(10))
    world.settle()
    assert world.reason(proposal) == "master_unreadable"
    assert world.story(proposal).evidence == {"step": "check", "code": "provider_unavailable", "attempts": 6}
    assert world.slots("held", "booked") == []
    assert world.alerts() == [("provider_unavailable", "warning")]


def test_a_short_outage_only_delays(world: World) -> None:
    for error in (DOWN, RateLimited("slow down", retry_after=7.0), DOWN):
        world.master.fail("read_window", error)
    proposal = world.ask(at(10))
    world.settle()
    assert world.reason(proposal) == "accepted"
    assert world.alerts() == []


def test_a_booking_after_an_outage_closes_its_alert(world: World) -> None:
    world.master.fail("read_window", CredentialRevoked("no"))
    refused, accepted = world.ask(at(10)), world.ask(at(11))
    assert world.decide(refused)
    assert world.alerts() == [("credential_revoked", "critical")]
    world.settle()
    assert world.reason(accepted) == "accepted"
    assert world.alerts() == []


@pytest.mark.parametrize(
    ("error", "severity"),
    [(CredentialRevoked("no"), "critical"), (Forbidden("no"), "warning"), (Malformed("start", "is odd"), "warning")],
)
def test_what_cannot_be_read_is_never_free(world: World, error: WatertightError, severity: str) -> None:
    world.master.fail("read_window", error)
    proposal = world.ask(at(10))
    world.settle()
    assert world.reason(proposal) == "master_unreadable"
    assert world.slots("held", "booked") == []
    assert world.master.events() == []
    assert world.alerts() == [(error.code, severity)]
    assert world.sql("SELECT reference, code, state FROM dead_letters") == [
        (f"proposal:{proposal}", error.code, "open")
    ]


def test_an_event_that_lands_between_check_and_write_wins(world: World) -> None:
    world.master.on("create", lambda: world.master.put(at(10.5), "Human"))
    assert_ours_yielded(world)


def test_an_event_that_lands_between_write_and_verify_wins(world: World) -> None:
    world.master.on("create", lambda: world.master.put(at(10.5), "Human"), after="after")
    assert_ours_yielded(world)


def assert_ours_yielded(world: World) -> None:
    proposal = world.ask(at(10))
    world.settle()
    story = world.story(proposal)
    assert (story.reason, story.evidence["step"]) == ("master_busy", "verify")
    assert shown(world.master) == [at(10.5)]
    assert world.mirror.calls == []
    world.quiesce()
    world.assert_in_step()


@pytest.mark.parametrize("after", ["before", "after"])
def test_a_write_without_an_answer_leaves_one_event(world: World, after: str) -> None:
    world.master.fail("create", WriteOutcomeUnknown("no answer"), after=after)
    world.mirror.fail("create", WriteOutcomeUnknown("no answer"), after=after)
    proposal = world.ask(at(10))
    world.quiesce()
    assert world.reason(proposal) == "accepted"
    world.assert_in_step()


def test_an_undo_that_is_interrupted_is_finished_and_never_becomes_a_yes(world: World) -> None:
    world.master.on("create", lambda: world.master.put(at(10), "Human", remote_id="human"), after="after")
    world.master.fail("delete", DOWN)
    proposal = world.ask(at(10))
    world.decide(proposal)
    assert world.story(proposal).state == "undone"
    world.master.remove(RemoteId("human"))
    world.settle()
    assert (world.reason(proposal), world.master.events()) == ("master_busy", [])
    assert world.slots("held", "booked") == []


def test_a_vendor_that_refuses_the_write_frees_the_time(world: World) -> None:
    world.master.fail("create", Forbidden("read only"))
    proposal = world.ask(at(10))
    world.settle()
    assert world.reason(proposal) == "rejected"
    assert world.slots("held", "booked") == []
    assert world.alerts() == [("forbidden", "warning")]


def test_an_error_after_an_unanswered_write_frees_nothing(world: World) -> None:
    world.master.fail("create", WriteOutcomeUnknown("no answer"), after="after")
    proposal = world.ask(at(10))
    world.decide(proposal)
    world.master.fail("read_window", Forbidden("for a moment"))
    world.hurry()
    world.decide(proposal)
    assert world.slots("held") == [at(10)]
    world.settle()
    assert world.reason(proposal) == "accepted"
    world.assert_in_step()


def test_our_event_deleted_before_it_was_verified_is_a_no(world: World) -> None:
    world.mirror.put(at(10), "Mine")
    world.master.on("create", lambda: world.master.remove(world.master.events()[0].remote_id), after="after")
    world.quiesce()
    assert world.reasons()[0] == ("book", "gone")
    assert [event.title for event in world.mirror.events()] == ["[not booked] Mine"]
    world.assert_in_step()


def test_an_edit_before_the_booking_was_settled_is_not_lost(world: World) -> None:
    def edit() -> None:
        world.master.put(at(14), "Demo", remote_id=world.master.events()[0].remote_id)
        world.detect_all()  # every job is past the edit before the ledger knows whose event it is

    world.master.on("create", edit, after="after")
    world.ask(at(10))
    world.settle()
    assert world.booked() == [at(14)]
    world.assert_in_step()


def test_our_event_shown_as_free_before_the_booking_was_settled_cancels_it(world: World) -> None:
    def free() -> None:
        world.master.put(at(10), "Demo", remote_id=world.master.events()[0].remote_id, blocks=False)
        world.detect_all()

    world.master.on("create", free, after="after")
    world.ask(at(10))
    world.settle()
    assert (world.booked(), world.slots("held", "booked")) == ([], [])
    world.assert_in_step()


def test_an_unknown_reference_is_an_error(world: World) -> None:
    with pytest.raises(NotFound):
        world.engine.commit("proposal:404")
    with pytest.raises(NotFound):
        world.engine.commit("write:404")
    with pytest.raises(Malformed):
        world.engine.commit("slot:1")


def test_a_decided_proposal_is_left_alone(world: World) -> None:
    proposal = world.ask(at(10))
    world.settle()
    calls = list(world.master.calls)
    world.decide(proposal)
    assert world.master.calls == calls
    assert len(world.sql("SELECT 1 FROM decisions")) == 1
