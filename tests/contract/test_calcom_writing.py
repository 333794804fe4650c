"""The Cal.com client's writes against the emulator, over real HTTP: nothing twice, nothing believed unread."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime

import pytest
import tenacity

from providers.calcom.client import CalcomCredentials, CalcomService
from sync.domain import CANCELLED_PREFIX, REFUSED_PREFIX, Attendee, EventDraft, RemoteEvent, WriteKey
from sync.errors import (
    CredentialReadOnly,
    CredentialRevoked,
    Malformed,
    NotFound,
    ProviderUnavailable,
    Rejected,
    StaleVersion,
    WriteOutcomeUnknown,
)
from tests.fixtures.calcom.serving import KEY, PERSON, WINDOW, Stage, World, calendar_ref, draft, hours, stage

LOST_ANSWERS = [
    "commit_then_timeout", "commit_then_error", "commit_then_unavailable", "empty_body", "html", "truncated",
    "error_in_ok",
]  # fmt: skip
NOTE = "Not booked: Dana has another appointment then."


@pytest.fixture(scope="module")
def server() -> Iterator[Stage]:
    with stage() as running:
        yield running


@pytest.fixture
def calcom(server: Stage, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("providers.transport._JITTER", tenacity.wait_none())
    return server.world()


def new_key() -> WriteKey:
    return WriteKey(uuid.uuid4().hex)


def booked(calcom: World, start: float = 0, end: float = 1) -> RemoteEvent:
    uid = calcom.books(start, end)
    event = calcom.calendar.find_event(uid)
    assert event is not None
    return event


def refusal(start: float = 0, end: float = 1) -> EventDraft:
    return draft(start, end, title=f"{REFUSED_PREFIX}Viewing", blocks=False, note=NOTE)


# Moving


def test_a_new_time_is_a_new_booking_that_replaces_the_old_one(calcom: World) -> None:
    event = booked(calcom)
    moved = calcom.calendar.update(event.remote_id, draft(4, 5), version=event.version)
    assert (moved.interval, moved.replaces, moved.blocks) == (hours(4, 5), event.remote_id, True)
    assert calcom.live() == [moved.remote_id]
    assert calcom.data(event.remote_id)["rescheduledToUid"] == moved.remote_id
    assert calcom.calendar.find_event(event.remote_id) == moved


def test_the_host_is_named_as_the_one_who_moves(calcom: World) -> None:
    event = booked(calcom)
    moved = calcom.calendar.update(event.remote_id, draft(4, 5, note=NOTE), version=event.version)
    data = calcom.data(moved.remote_id)
    assert (data["rescheduledByEmail"], data["reschedulingReason"]) == (PERSON, NOTE)


def test_nothing_to_change_writes_nothing(calcom: World) -> None:
    event = booked(calcom)
    same = calcom.calendar.update(event.remote_id, draft(0, 1, title="Another title"), version="an old one")
    assert same == event
    assert calcom.calls("POST") == 0


def test_an_old_version_is_stale_and_writes_nothing(calcom: World) -> None:
    event = booked(calcom)
    calcom.changes(event.remote_id, title="By hand")
    for wish in (draft(4, 5), refusal()):
        with pytest.raises(StaleVersion):
            calcom.calendar.update(event.remote_id, wish, version=event.version)
    with pytest.raises(StaleVersion):
        calcom.calendar.delete(event.remote_id, version=event.version)
    assert calcom.calls("POST") == 0


@pytest.mark.parametrize("kind", LOST_ANSWERS)
def test_a_move_whose_answer_is_lost_happens_once(calcom: World, kind: str) -> None:
    event = booked(calcom)
    calcom.arm(kind, match="POST")
    with pytest.raises(WriteOutcomeUnknown):
        calcom.calendar.update(event.remote_id, draft(4, 5), version=event.version)
    moved = calcom.calendar.update(event.remote_id, draft(4, 5), version=event.version)
    assert moved.interval == hours(4, 5)
    assert calcom.live() == [moved.remote_id]
    assert calcom.calls("POST") == 1


@pytest.mark.parametrize("lie", ["reschedule_without_successor", "successor_without_origin"])
@pytest.mark.parametrize("lost", [False, True])
def test_a_move_is_known_by_one_link(calcom: World, lie: str, lost: bool) -> None:  # noqa: FBT001 - a parametrised case
    event = booked(calcom)
    calcom.arm(lie)
    if lost:
        calcom.arm("commit_then_timeout", match="POST")
        with pytest.raises(WriteOutcomeUnknown):
            calcom.calendar.update(event.remote_id, draft(4, 5), version=event.version)
    moved = calcom.calendar.update(event.remote_id, draft(4, 5), version=event.version)
    assert moved.interval == hours(4, 5)
    assert calcom.live() == [moved.remote_id]
    assert calcom.calls("POST") == 1


@pytest.mark.parametrize("shape", ["older_shape"])
def test_a_write_answered_in_an_older_shape_is_of_unknown_outcome(calcom: World, shape: str) -> None:
    event = booked(calcom)
    calcom.arm(shape, match="POST")
    with pytest.raises(WriteOutcomeUnknown):
        calcom.calendar.update(event.remote_id, draft(4, 5), version=event.version)
    assert calcom.calendar.update(event.remote_id, draft(4, 5), version=event.version).interval == hours(4, 5)


def test_a_taken_time_is_refused_and_changes_nothing(calcom: World) -> None:
    event = booked(calcom)
    calcom.books(4, 5)
    with pytest.raises(Rejected, match="taken"):
        calcom.calendar.update(event.remote_id, draft(4, 5), version=event.version)
    assert calcom.calendar.find_event(event.remote_id) == event


def test_a_success_that_did_nothing_is_not_believed(calcom: World) -> None:
    event = booked(calcom)
    calcom.arm("write_without_effect", times=None)
    with pytest.raises(WriteOutcomeUnknown):
        calcom.calendar.update(event.remote_id, refusal(), version=event.version)
    with pytest.raises(WriteOutcomeUnknown):
        calcom.calendar.delete(event.remote_id, version=event.version)
    with pytest.raises(WriteOutcomeUnknown):
        calcom.calendar.update(event.remote_id, draft(4, 5), version=event.version)
    assert calcom.live() == [event.remote_id]


def test_another_length_is_refused_before_anything_is_written(calcom: World) -> None:
    event = booked(calcom)
    with pytest.raises(Rejected, match="length"):
        calcom.calendar.update(event.remote_id, draft(0, 2), version=event.version)
    assert calcom.calls("POST") == 0


def test_what_the_guest_has_moved_meanwhile_is_stale(calcom: World) -> None:
    event = booked(calcom)
    calcom.moves(event.remote_id, 8, 9)
    for wish in (draft(4, 5), refusal()):
        with pytest.raises(StaleVersion):
            calcom.calendar.update(event.remote_id, wish, version=event.version)
    with pytest.raises(StaleVersion):
        calcom.calendar.delete(event.remote_id, version=event.version)
    assert calcom.calls("POST") == 0


def test_moving_what_went_to_another_host_is_not_found(calcom: World) -> None:
    event = booked(calcom)
    ben = {"id": 2, "name": "Ben", "email": "ben@example.com", "username": "ben"}
    calcom.changes(event.remote_id, hosts=[ben])
    with pytest.raises(NotFound):
        calcom.calendar.update(event.remote_id, draft(4, 5), version=event.version)


# Saying no


@pytest.mark.parametrize("prefix", [REFUSED_PREFIX, CANCELLED_PREFIX])
def test_a_no_cancels_the_booking_with_the_reason(calcom: World, prefix: str) -> None:
    event = booked(calcom)
    wish = draft(title=f"{prefix}Viewing", blocks=False, note=NOTE)
    refused = calcom.calendar.update(event.remote_id, wish, version=event.version)
    assert (refused.remote_id, refused.blocks) == (event.remote_id, False)
    assert refused.version != event.version
    assert calcom.data(event.remote_id)["cancellationReason"] == NOTE
    assert calcom.calendar.read_window(WINDOW) == []
    assert calcom.calendar.update(event.remote_id, wish, version=refused.version) == refused
    assert calcom.calls("POST") == 1


def test_a_request_that_waits_is_cancelled_too(calcom: World) -> None:
    uid = calcom.books(busy=False)
    event = calcom.calendar.find_event(uid)
    assert event is not None
    assert not calcom.calendar.update(uid, refusal(), version=event.version).blocks
    assert calcom.live() == []


@pytest.mark.parametrize("kind", LOST_ANSWERS)
def test_a_no_whose_answer_is_lost_is_said_once(calcom: World, kind: str) -> None:
    event = booked(calcom)
    calcom.arm(kind, match="POST")
    with pytest.raises(WriteOutcomeUnknown):
        calcom.calendar.update(event.remote_id, refusal(), version=event.version)
    assert not calcom.calendar.update(event.remote_id, refusal(), version=event.version).blocks
    assert calcom.calls("POST") == 1


def test_an_occurrence_is_cancelled_alone(calcom: World) -> None:
    one, two = (calcom.books(n, n + 1, raw={"recurringBookingUid": "series1"}) for n in (0, 2))
    event = calcom.calendar.find_event(one)
    assert event is not None
    calcom.calendar.update(one, refusal(), version=event.version)
    assert calcom.live() == [two]


# Creating


def test_create_books_once_for_a_key(calcom: World) -> None:
    key = new_key()
    assert calcom.calendar.find_by_key(key) is None
    created = calcom.calendar.create(draft(), key=key)
    assert (created.interval, created.key, created.blocks) == (hours(0, 1), key, True)
    assert created.attendees == (Attendee("Ann", "ann+1@example.com"),)
    assert calcom.calendar.create(draft(), key=key) == created
    assert calcom.calendar.find_by_key(key) == created
    assert calcom.live() == [created.remote_id]


@pytest.mark.parametrize("kind", [*LOST_ANSWERS, "older_shape"])
def test_a_create_whose_answer_is_lost_happens_once(calcom: World, kind: str) -> None:
    key = new_key()
    calcom.arm(kind, match="POST")
    with pytest.raises(WriteOutcomeUnknown):
        calcom.calendar.create(draft(), key=key)
    assert calcom.calendar.create(draft(), key=key).key == key
    assert len(calcom.live()) == 1
    assert calcom.calls("POST") == 1


def test_a_creation_that_is_answered_with_another_booking_is_not_believed(calcom: World) -> None:
    """Else undoing it would cancel somebody else's."""
    key, other = new_key(), calcom.books(4, 5)
    calcom.arm("other_event")
    with pytest.raises(WriteOutcomeUnknown):
        calcom.calendar.create(draft(), key=key)
    assert calcom.calendar.create(draft(), key=key).remote_id != other
    assert len(calcom.live()) == 2


def test_a_taken_time_is_not_booked(calcom: World) -> None:
    calcom.books()
    with pytest.raises(Rejected, match="taken"):
        calcom.calendar.create(draft(), key=new_key())


def test_a_booking_of_ours_is_known_after_it_moved(calcom: World) -> None:
    key = new_key()
    created = calcom.calendar.create(draft(), key=key)
    moved = calcom.moves(created.remote_id, 4, 5)
    found = calcom.calendar.find_by_key(key)
    assert found is not None
    assert found.remote_id == moved


def test_a_spent_key_is_refused(calcom: World) -> None:
    key = new_key()
    created = calcom.calendar.create(draft(), key=key)
    calcom.cancels(created.remote_id)
    with pytest.raises(Rejected, match="cancelled"):
        calcom.calendar.create(draft(), key=key)
    assert calcom.calendar.find_by_key(key) is None


@pytest.mark.parametrize(("wish", "field"), [(draft(blocks=False), "blocks"), (draft(attendees=()), "attendees")])
def test_what_cannot_be_booked_is_named(calcom: World, wish: EventDraft, field: str) -> None:
    with pytest.raises(Malformed) as caught:
        calcom.calendar.create(wish, key=new_key())
    assert caught.value.field == field


def test_without_an_event_type_nothing_is_created(calcom: World) -> None:
    credentials = CalcomCredentials(KEY, base_url=f"{calcom.url}/v2")
    with pytest.raises(Rejected, match="event type"):
        CalcomService(credentials).calendar(calendar_ref()).create(draft(), key=new_key())


# Keys


def test_a_reading_key_cannot_write_and_somebody_hears_of_it(calcom: World) -> None:
    heard: list[str] = []
    event = booked(calcom)
    service = CalcomService(calcom.credentials(f"{KEY}-reader"), refused=heard.append)
    calendar = service.calendar(calendar_ref())
    assert calendar.find_event(event.remote_id) == event
    with pytest.raises(CredentialReadOnly):
        calendar.update(event.remote_id, draft(4, 5), version=event.version)
    assert heard == ["POST /v2/bookings/{uid}/reschedule at calcom"]
    assert calcom.live() == [event.remote_id]


def test_a_key_that_has_run_out_stops_a_write(calcom: World) -> None:
    event = booked(calcom)
    calcom.arm("expired_key", match="POST", times=None)
    with pytest.raises(CredentialRevoked):
        calcom.calendar.update(event.remote_id, draft(4, 5), version=event.version)


@pytest.mark.parametrize("kind", ["older_shape", "html", "server_error"])
def test_what_cannot_be_read_is_not_written_over(calcom: World, kind: str) -> None:
    event = booked(calcom)
    calcom.arm(kind, match="GET", times=None)
    with pytest.raises(ProviderUnavailable):
        calcom.calendar.update(event.remote_id, draft(4, 5), version=event.version)
    assert calcom.calls("POST") == 0


def test_versions_of_list_and_single_reads_agree(calcom: World) -> None:
    event = booked(calcom)
    (listed,) = calcom.calendar.read_window(WINDOW)
    assert listed == event
    calcom.changes(event.remote_id, title="By hand")
    (changed,) = calcom.calendar.read_window(WINDOW)
    assert changed.version != event.version
    assert isinstance(changed.updated, datetime)
    assert changed.updated > event.updated
