"""A vendor that stores a write and does not say so, or says something else: one event, never two, never none.

The engine over PostgreSQL, with the real clients, against emulators over HTTP.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import tenacity

from models.session import Sessions
from sync.domain import Interval, Job
from sync.ports import Calendars
from tests.integration.vendors import HANG_SECONDS, Vendors, VendorWorld, serving_both
from tests.integration.world import at

STORED = (
    "commit_then_timeout",
    "commit_then_error",
    "commit_then_unavailable",
    "commit_then_limited",
    "error_in_ok",
    "empty_body",
    "html",
    "truncated",
)
NOT_STORED = ("server_error", "unavailable", "rate_limited", "unauthorized")
DUPLICATES = (
    (),
    ("duplicate_transaction_400",),
    ("duplicate_transaction_409",),
    ("duplicate_transaction_without_id",),
    ("duplicate_transaction_400", "duplicate_transaction_without_id"),
    ("duplicate_transaction_echo",),
)
LONG_SECONDS = 30  # a Retry-After that no thread sleeps through


@pytest.fixture(scope="module")
def vendors() -> Iterator[Vendors]:
    with serving_both() as vendors:
        yield vendors


@pytest.fixture(scope="module")
def connected(vendors: Vendors) -> Calendars:
    return vendors.connect()


@pytest.fixture
def world(
    vendors: Vendors,
    connected: Calendars,
    app_sessions: Sessions,
    commit_sessions: Sessions,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[VendorWorld]:
    monkeypatch.setattr("providers.transport._JITTER", tenacity.wait_none())  # only the waiting, not the retrying
    monkeypatch.setattr("providers.outlook.client.LOOK_AGAIN_SECONDS", 0)
    world = VendorWorld(app_sessions, commit_sessions, connected=connected)
    world.employ(vendors)
    yield world
    vendors.outlook.emulator.faults.clear()
    vendors.google.faults.clear()


def recover(world: VendorWorld) -> None:
    """Every wait is over, the commit task has done what is due, and the jobs have seen what came of it."""
    world.settle()
    if world.detect_all():
        world.quiesce()


def book(world: VendorWorld) -> None:
    proposal = world.ask(at(10))
    recover(world)
    assert (world.reason(proposal), world.booked()) == ("accepted", [at(10)])
    world.assert_in_step()


def move(world: VendorWorld, to: Interval) -> None:
    """A person drags the copy; the appointment, its slot and the master go with it."""
    world.on_mirror.drag(world.on_mirror.only(), to)
    (proposal,) = world.detect(Job.UPDATE, "dana-mirror").proposals
    recover(world)
    assert (world.reason(proposal), world.booked()) == ("accepted", [to])
    world.assert_in_step()


def move_on_master(world: VendorWorld, to: Interval) -> None:
    """A person drags the event on the master; the copy goes with it."""
    world.on_master.drag(world.on_master.only(), to)
    world.detect(Job.UPDATE, "dana-master")
    recover(world)
    assert world.booked() == [to]
    world.assert_in_step()


def cancel(world: VendorWorld) -> None:
    world.on_mirror.remove(world.on_mirror.only())
    (proposal,) = world.detect(Job.CANCEL, "dana-mirror").proposals
    recover(world)
    assert (world.reason(proposal), world.booked()) == ("accepted", [])
    world.assert_in_step()


def cancel_on_master(world: VendorWorld) -> None:
    world.on_master.remove(world.on_master.only())
    world.detect(Job.CANCEL, "dana-master")
    recover(world)
    assert world.booked() == []
    world.assert_in_step()


def live_through(world: VendorWorld, kind: str, *, times: int, seconds: float = LONG_SECONDS) -> None:
    """Every write that there is, on master and mirror, each with the fault."""
    for hands in world.hands.values():
        hands.arm(kind, match="POST", times=times, seconds=seconds)
    book(world)
    world.on_master.arm(kind, match="PATCH", seconds=seconds)
    move(world, at(10.5))
    world.on_mirror.arm(kind, match="PATCH", seconds=seconds)
    move_on_master(world, at(12))
    world.on_master.arm(kind, match="DELETE", seconds=seconds)
    cancel(world)


@pytest.mark.parametrize("kind", [*STORED, *NOT_STORED])
def test_every_write_happens_once_whatever_is_answered(world: VendorWorld, kind: str) -> None:
    live_through(world, kind, times=3)  # as often as the client repeats a keyed write within one call


@pytest.mark.parametrize("kind", STORED)
def test_a_lost_answer_to_a_creation_is_cleared_up_within_the_call(world: VendorWorld, kind: str) -> None:
    """And a copy whose deletion is not confirmed is gone."""
    for hands in world.hands.values():
        hands.arm(kind, match="POST", seconds=LONG_SECONDS)
    book(world)
    world.on_mirror.arm(kind, match="DELETE", seconds=LONG_SECONDS)
    cancel_on_master(world)


def test_every_write_happens_once_though_the_vendor_hangs(world: VendorWorld, vendors: Vendors) -> None:
    world.connected = vendors.connect_impatiently()
    live_through(world, "commit_then_hang", times=1, seconds=HANG_SECONDS)


@pytest.mark.parametrize("shape", DUPLICATES)
def test_every_report_of_a_used_key_leads_to_one_event(world: VendorWorld, shape: tuple[str, ...]) -> None:
    for kind in shape:
        world.on_master.arm(kind)
    for hands in world.hands.values():
        hands.arm("commit_then_timeout", match="POST")
    book(world)


@pytest.mark.parametrize("times", [1, 4])
def test_a_clash_that_passes_is_no_used_key(world: VendorWorld, times: int) -> None:
    world.on_mirror.arm("conflict", match="POST", times=times)
    book(world)


def unheard_booking(world: VendorWorld) -> int:
    """The vendor has the event, and nobody knows."""
    world.on_master.arm("commit_then_timeout", match="POST", times=3)
    proposal = world.ask(at(10))
    world.decide(proposal)
    assert (world.story(proposal).state, world.on_master.only().interval) == ("checked", at(10))
    return proposal


def test_a_booking_that_a_person_deletes_before_we_heard_of_it_is_refused(world: VendorWorld) -> None:
    proposal = unheard_booking(world)
    world.on_master.remove(world.on_master.only())
    recover(world)
    assert (world.reason(proposal), world.booked()) == ("rejected", [])
    world.assert_in_step()


def test_a_copy_that_a_person_deletes_before_we_heard_of_it_is_made_under_a_fresh_key(world: VendorWorld) -> None:
    world.on_mirror.arm("commit_then_timeout", match="POST", times=3)
    world.ask(at(10))
    world.work(rounds=2)
    world.on_mirror.remove(world.on_mirror.only())
    recover(world)
    assert world.booked() == [at(10)]
    world.assert_in_step()


def test_a_booking_whose_time_was_taken_before_we_heard_of_it_is_undone(world: VendorWorld) -> None:
    proposal = unheard_booking(world)
    world.on_master.put(at(10.5))
    recover(world)
    assert (world.reason(proposal), world.booked()) == ("master_busy", [at(10.5)])
    assert world.on_master.only().title == "Human"


@pytest.mark.parametrize("times", [1, 3])
def test_a_failed_precondition_is_read_again(world: VendorWorld, times: int) -> None:
    book(world)
    world.on_master.arm("transient_412", times=times)
    move(world, at(15))
    world.on_mirror.arm("transient_412", times=times)
    move_on_master(world, at(12))
    world.on_master.arm("transient_412", times=times)
    cancel(world)


def by_id(world: VendorWorld, name: str, method: str = "GET") -> str:
    """Requests for one event by its id."""
    root = {"dana-master": "/v1.0/users", "dana-mirror": "/calendar/v3/calendars"}[name]
    return f"{method} {root}/{world.hands[name].mailbox}/events/"


def hide(world: VendorWorld, name: str, *, lists: int | None, ids: int | None) -> None:
    """Lists leave the newest event out, and reads by id find nothing, that often; for ever if None."""
    for kind, times, match in (("late_in_lists", lists, "GET"), ("missing", ids, by_id(world, name))):
        if times != 0:
            world.hands[name].arm(kind, match=match, times=times)


@pytest.mark.parametrize(("lists", "ids"), [(2, 0), (None, 0), (0, 3), (3, 2), (4, 3)])
def test_an_event_that_shows_late_is_waited_for(world: VendorWorld, lists: int | None, ids: int) -> None:
    hide(world, "dana-master", lists=lists, ids=ids)
    proposal = world.ask(at(10))
    world.settle()
    world.on_master.emulator.faults.clear()
    assert world.reason(proposal) == "accepted"
    recover(world)
    world.assert_in_step()


def test_an_event_that_does_not_show_at_all_is_refused_and_removed_when_it_does(world: VendorWorld) -> None:
    hide(world, "dana-master", lists=None, ids=None)
    proposal = world.ask(at(10))
    world.settle()
    assert (world.reason(proposal), world.slots("held", "booked")) == ("gone", [])
    assert world.on_master.only().interval == at(10)
    world.on_master.emulator.faults.clear()
    recover(world)
    world.assert_in_step()


@pytest.mark.parametrize(("lists", "ids"), [(9, 3), (2, 2), (0, 4)])
def test_a_used_key_whose_event_does_not_show_yet_is_no_deleted_event(world: VendorWorld, lists: int, ids: int) -> None:
    world.on_master.arm("commit_then_timeout", match="POST")
    hide(world, "dana-master", lists=lists, ids=ids)
    proposal = world.ask(at(10))
    world.settle()
    world.on_master.emulator.faults.clear()
    assert (world.reason(proposal), world.sql("SELECT code FROM dead_letters")) == ("accepted", [])
    recover(world)
    world.assert_in_step()


@pytest.mark.parametrize("ids", [1, 3])
def test_a_copy_that_does_not_show_yet_is_made_once(world: VendorWorld, ids: int) -> None:
    world.on_mirror.arm("commit_then_timeout", match="POST")
    hide(world, "dana-mirror", lists=0, ids=ids)
    book(world)


@pytest.mark.parametrize("ids", [1, 2, 5])
def test_a_fresh_id_that_is_not_found_frees_and_loses_nothing(world: VendorWorld, ids: int) -> None:
    """Reads by id find nothing while the lists show the event: it is there (P6)."""
    book(world)
    hide(world, "dana-master", lists=0, ids=ids)
    move(world, at(15))
    hide(world, "dana-master", lists=0, ids=ids)
    cancel(world)


@pytest.mark.parametrize("name", ["dana-master", "dana-mirror"])
def test_a_fresh_id_that_cannot_be_written_yet_is_written_later(world: VendorWorld, name: str) -> None:
    book(world)
    world.hands[name].arm("missing", match=by_id(world, name, "PATCH"))
    if name == "dana-master":
        move(world, at(15))
        world.on_master.arm("missing", match=by_id(world, name, "DELETE"))
        cancel(world)
    else:
        move_on_master(world, at(15))


@pytest.mark.parametrize("ids", [1, 2])
def test_an_event_that_must_be_undone_is_undone_though_its_id_is_not_found(world: VendorWorld, ids: int) -> None:
    proposal = unheard_booking(world)
    world.on_master.put(at(10.5))
    hide(world, "dana-master", lists=0, ids=ids)
    world.settle()
    assert (world.reason(proposal), world.on_master.only().title) == ("master_busy", "Human")
