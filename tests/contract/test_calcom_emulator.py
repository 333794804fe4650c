"""The emulator held to Cal.com's own output types, and to what its code says of lists, writes, keys and limits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from providers.calcom.emulator import CalcomEmulator
from sync.domain import Job, WriteKey
from tests.contract.calcom_schema import ERROR, ONE, PAGE, SERIES, must_be
from tests.fixtures.calcom.serving import KEY, PERSON, WINDOW, Stage, World, draft, stage

BODY: dict[str, Any] = {
    "start": "2027-03-08T15:00:00Z",
    "eventTypeId": 7,
    "lengthInMinutes": 60,
    "attendee": {"name": "Ann", "email": "ann+1@example.com", "timeZone": "UTC"},
    "metadata": {"ours": "k1"},
}
EVERY = "upcoming,recurring,past,cancelled,unconfirmed"


@pytest.fixture(scope="module")
def server() -> Iterator[Stage]:
    with stage() as running:
        yield running


@pytest.fixture
def calcom(server: Stage) -> World:
    return server.world()


def ask(
    calcom: World,
    method: str,
    path: str = "",
    *,
    key: str = KEY,
    version: str | None = "2024-08-13",
    **options: Any,  # noqa: ANN401
) -> requests.Response:
    headers = {"Authorization": f"Bearer {key}"} | ({"cal-api-version": version} if version else {})
    return requests.request(method, f"{calcom.url}/v2/bookings{path}", headers=headers, timeout=5, **options)


def one(response: requests.Response, status: int = 200) -> dict[str, Any]:
    assert response.status_code == status, response.text
    must_be(ONE, response.json())
    data: dict[str, Any] = response.json()["data"]
    return data


def page(calcom: World, query: str = f"status={EVERY}") -> dict[str, Any]:
    response = ask(calcom, "GET", f"?{query}")
    assert response.status_code == 200, response.text
    must_be(PAGE, response.json())
    body: dict[str, Any] = response.json()
    return body


def uids(calcom: World, query: str) -> list[str]:
    return [row["uid"] for row in page(calcom, query)["data"]]


def refused(response: requests.Response) -> tuple[int, str]:
    must_be(ERROR, response.json())
    assert response.json()["status"] == "error"
    return response.status_code, response.json()["error"]["code"]


# Bookings


def test_a_booking_lives_and_ends_as_the_vendor_shows_it(calcom: World) -> None:
    made = one(ask(calcom, "POST", json=BODY), 201)
    assert (made["status"], made["start"], made["end"]) == (
        "accepted",
        "2027-03-08T15:00:00.000Z",
        "2027-03-08T16:00:00.000Z",
    )
    assert made["metadata"] == {"ours": "k1"}
    assert one(ask(calcom, "GET", f"/{made['uid']}")) == made

    new = one(ask(calcom, "POST", f"/{made['uid']}/reschedule", json={"start": "2027-03-09T15:00:00Z"}), 201)
    old = one(ask(calcom, "GET", f"/{made['uid']}"))
    assert (old["status"], old["rescheduledToUid"]) == ("cancelled", new["uid"])
    assert (new["rescheduledFromUid"], new["metadata"], new["duration"]) == (old["uid"], made["metadata"], 60)
    assert new["id"] != old["id"]

    over = one(ask(calcom, "POST", f"/{new['uid']}/cancel", json={"cancellationReason": "Ill"}))
    assert (over["status"], over["cancellationReason"]) == ("cancelled", "Ill")
    assert [row["uid"] for row in page(calcom)["data"]] == [old["uid"], new["uid"]]


def test_what_waits_is_confirmed_or_declined(calcom: World) -> None:
    yes, no = (calcom.books(n, n + 1, busy=False) for n in (0, 2))
    assert one(ask(calcom, "POST", f"/{yes}/confirm"))["status"] == "accepted"
    assert one(ask(calcom, "POST", f"/{no}/decline", json={"reason": "No"}))["status"] == "rejected"
    assert refused(ask(calcom, "POST", f"/{yes}/decline")) == (400, "BadRequestException")


def test_a_series_answers_with_its_bookings(calcom: World) -> None:
    booked = [calcom.books(n, n + 1, raw={"recurringBookingUid": "series1"}) for n in (0, 2)]
    body = ask(calcom, "GET", "/series1").json()
    must_be(SERIES, body)
    assert [row["uid"] for row in body["data"]] == booked


@pytest.mark.parametrize("version", [None, "2024-06-14", "nonsense"])
def test_without_the_version_everything_comes_in_an_older_shape(calcom: World, version: str | None) -> None:
    uid = calcom.books()
    single = ask(calcom, "GET", f"/{uid}", version=version).json()["data"]
    assert "startTime" in single
    assert "start" not in single
    listed = ask(calcom, "GET", f"?status={EVERY}", version=version).json()["data"]
    assert listed["bookings"] == [single]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {**BODY, "start": "soon"},
        {**BODY, "start": "2027-03-08T15:00:00"},
        {**BODY, "attendee": {"name": "Ann"}},
        {**BODY, "metadata": {"k" * 41: "v"}},
        {**BODY, "metadata": {"k": "v" * 501}},
        {**BODY, "metadata": {str(n): "v" for n in range(51)}},
    ],
)
def test_bad_bookings_are_refused(calcom: World, body: dict[str, Any]) -> None:
    assert refused(ask(calcom, "POST", json=body)) == (400, "BadRequestException")
    assert calcom.live() == []


def test_a_taken_time_is_a_400(calcom: World) -> None:
    uid, other = calcom.books(0, 1), calcom.books(4, 5)
    answer = ask(calcom, "POST", json={**BODY, "start": "2027-03-08T15:30:00Z"})
    assert refused(answer) == (400, "BadRequestException")
    assert "already has booking at this time" in answer.json()["error"]["message"]
    assert refused(ask(calcom, "POST", f"/{uid}/reschedule", json={"start": "2027-03-08T19:30:00Z"}))[0] == 400
    one(
        ask(calcom, "POST", f"/{other}/reschedule", json={"start": "2027-03-08T19:30:00Z"}), 201
    )  # not its own obstacle


def test_what_is_cancelled_is_neither_moved_nor_cancelled(calcom: World) -> None:
    uid = calcom.books()
    assert refused(ask(calcom, "POST", f"/{uid}/cancel", json={})) == (400, "BadRequestException")
    calcom.cancels(uid)
    assert refused(ask(calcom, "POST", f"/{uid}/reschedule", json={"start": BODY["start"]}))[0] == 400
    assert refused(ask(calcom, "POST", f"/{uid}/cancel", json={"cancellationReason": "x"}))[0] == 400
    assert refused(ask(calcom, "GET", "/never")) == (404, "NotFoundException")


# Lists


def test_views_are_not_states(calcom: World) -> None:
    ahead, waiting, over = calcom.books(0, 1), calcom.books(2, 3, busy=False), calcom.books(4, 5)
    declined, past = calcom.books(6, 7, raw={"status": "rejected"}), calcom.books(-9999, -9998)
    series = calcom.books(8, 9, raw={"recurringBookingUid": "s", "status": "pending"})
    calcom.cancels(over)
    assert uids(calcom, "status=upcoming") == [ahead, waiting]
    assert uids(calcom, "status=unconfirmed") == [waiting, series]
    assert uids(calcom, "status=recurring") == [series]
    assert uids(calcom, "status=past") == [past]
    assert uids(calcom, "status=cancelled") == [over, declined]
    assert len(uids(calcom, f"status={EVERY}")) == 6


def test_pages_and_order(calcom: World) -> None:
    booked = [calcom.books(-n, -n + 1) for n in range(5)]
    assert uids(calcom, f"status={EVERY}") == booked[::-1]
    assert uids(calcom, f"status={EVERY}&sortStart=desc") == booked
    calcom.changes(booked[0], title="Last changed")
    assert uids(calcom, f"status={EVERY}&sortUpdatedAt=asc") == [*booked[1:], booked[0]]
    assert uids(calcom, f"status={EVERY}&sortCreated=asc&take=2&skip=2") == booked[2:4]
    pagination = page(calcom, f"status={EVERY}&take=2&skip=2")["pagination"]
    assert pagination == {
        "returnedItems": 2,
        "totalItems": 5,
        "itemsPerPage": 2,
        "remainingItems": 1,
        "currentPage": 2,
        "totalPages": 3,
        "hasNextPage": True,
        "hasPreviousPage": True,
    }


@pytest.mark.parametrize("query", ["take=251", "take=0", "take=x", "skip=-1", "status=accepted", "afterStart=soon"])
def test_bad_queries_are_refused(calcom: World, query: str) -> None:
    assert refused(ask(calcom, "GET", f"?{query}")) == (400, "BadRequestException")


def test_filters(calcom: World) -> None:
    one_uid, other = calcom.books(0, 1, attendees=["ann+1@example.com"]), calcom.books(2, 3)
    assert uids(calcom, f"status={EVERY}&afterStart=2027-03-08T15:30:00Z") == [other]
    assert uids(calcom, f"status={EVERY}&beforeEnd=2027-03-08T16:00:00Z") == [one_uid]
    assert uids(calcom, f"status={EVERY}&bookingUid={other}") == [other]
    for spelling in ("ann%2B1@example.com", "ann+1@example.com", "ANN%201@example.com"):
        assert uids(calcom, f"status={EVERY}&attendeeEmail={spelling}") == [one_uid]


def test_totals_are_counted_before_the_filters_on_change(calcom: World) -> None:
    calcom.books(0, 1)
    since = calcom.data(calcom.books(2, 3))["updatedAt"]
    body = page(calcom, f"status={EVERY}&afterUpdatedAt={since}")
    assert (len(body["data"]), body["pagination"]["totalItems"]) == (1, 2)


def test_what_was_never_changed_is_in_no_list_of_changes(calcom: World) -> None:
    calcom.arm("null_updated")
    uid = calcom.books()
    assert uids(calcom, f"status={EVERY}&afterUpdatedAt=2000-01-01T00:00:00Z") == []
    assert uids(calcom, f"status={EVERY}&afterCreatedAt=2000-01-01T00:00:00Z") == [uid]


# Keys and limits


def test_keys_see_and_do_what_they_may(calcom: World) -> None:
    uid = calcom.books()
    assert refused(ask(calcom, "GET", key="nonsense")) == (401, "UnauthorizedException")
    assert ask(calcom, "GET", key="cal_test_ben@example.com").json()["data"] == []
    assert len(ask(calcom, "GET", key="cal_admin").json()["data"]) == 1
    reader = f"{KEY}-reader"
    assert len(ask(calcom, "GET", key=reader).json()["data"]) == 1
    for path in ("", f"/{uid}/reschedule", f"/{uid}/cancel", f"/{uid}/confirm", f"/{uid}/decline"):
        assert refused(ask(calcom, "POST", path, key=reader, json=BODY)) == (403, "ForbiddenException")
    calcom.arm("expired_key")
    assert refused(ask(calcom, "GET")) == (498, "TokenExpiredException")


def test_an_event_type_belongs_to_its_owner(calcom: World) -> None:
    assert refused(ask(calcom, "POST", key="cal_admin", json=BODY)) == (404, "NotFoundException")
    calcom.emulator.event_types[7] = "ben@example.com"
    made = one(ask(calcom, "POST", key="cal_admin", json=BODY), 201)
    assert made["hosts"][0]["username"] == "ben"


def test_too_many_requests_of_one_key(calcom: World) -> None:
    calcom.emulator.requests_per_minute = 1
    ask(calcom, "GET")
    answer = ask(calcom, "GET")
    assert refused(answer) == (429, "ThrottlerException")
    assert answer.headers["X-RateLimit-Remaining-Default"] == "0"
    resets = int(answer.headers["X-RateLimit-Reset-Default"]) - datetime.now(UTC).timestamp()
    assert 50 < resets <= 62
    assert ask(calcom, "GET", key="cal_other").status_code == 200


# As a person, and across a restart


def test_people_and_faults_reach_the_emulator_over_http(calcom: World) -> None:
    control = f"{calcom.url}/_control"
    event = {"start": "2027-03-08T09:00:00-06:00", "end": "2027-03-08T10:00:00-06:00", "title": "Viewing"}
    wish = {"action": "create", "calendar": PERSON.upper(), "event": event}
    shown = requests.post(f"{control}/events", json=wish, timeout=5).json()
    state = requests.get(f"{control}/state", timeout=5).json()
    assert state == {"provider": "calcom", "calendars": {PERSON: [{**shown, "created_by": "human"}]}}
    later = {"start": "2027-03-08T16:00:00Z"}
    change = {"action": "change", "calendar": PERSON, "id": shown["uid"], "event": later}
    moved = requests.post(f"{control}/events", json=change, timeout=5).json()
    assert (moved["rescheduledFromUid"], moved["end"]) == (shown["uid"], "2027-03-08T17:00:00.000Z")
    assert requests.post(f"{control}/events", json=change, timeout=5).status_code == 404
    gone = {"action": "delete", "calendar": PERSON, "id": moved["uid"]}
    assert requests.post(f"{control}/events", json=gone, timeout=5).json()["status"] == "cancelled"
    requests.post(f"{control}/faults", json={"kind": "older_shape", "calendar": PERSON}, timeout=5)
    assert "bookings" in ask(calcom, "GET").json()["data"]
    assert requests.get(f"{control}/requests", timeout=5).json()["by_route"] == {"GET /v2/bookings": 1}


def test_the_emulator_remembers_across_a_restart(server: Stage, tmp_path: Path) -> None:
    with remembering(tmp_path) as emulator:
        before = server.world(emulator).calendar
        created = before.create(draft(), key=WriteKey("k1"))
        cursor = before.read_changes(None, window=WINDOW).cursor
    with remembering(tmp_path) as emulator:
        after = server.world(emulator).calendar
        assert after.find_by_key(WriteKey("k1")) == created
        moved = after.update(created.remote_id, draft(5, 6), version=created.version)
        assert moved.updated > created.updated
        assert after.read_changes(cursor, window=WINDOW).changes[0] == moved


@contextmanager
def remembering(folder: Path) -> Iterator[CalcomEmulator]:
    emulator = CalcomEmulator(journal=folder / "calcom.jsonl")
    yield emulator
    assert emulator.store._journal is not None
    emulator.store._journal.close()


# What it costs (docs/providers/calcom.md)

CALLS: dict[str, int] = {
    "first read": 1, "idle, new": 2, "idle, update": 1, "idle, cancel": 1, "one new booking, new": 2,
    "one move, update": 1, "one cancellation, cancel": 2, "check of a window": 1, "one event": 1, "move": 3, "no": 3,
    "create": 3,
}  # fmt: skip


def test_calls_per_job_are_those_of_the_document(calcom: World) -> None:
    assert _counted(calcom) == CALLS
    text = (Path(__file__).parents[2] / "docs" / "providers" / "calcom.md").read_text(encoding="utf-8")
    missing = [name for name, calls in CALLS.items() if f"| {name} | {calls} |" not in text]
    assert missing == []


def _counted(calcom: World) -> dict[str, int]:
    """Books, moves and cancels one thing after the other, and counts what each step of ours asks for."""
    calendar, counted = calcom.calendar, dict[str, int]()

    def count(name: str, before: int) -> None:
        counted[name] = calcom.emulator.books.by_route.total() - before

    def changes(name: str, cursor: str | None, job: Job | None) -> str:
        before = calcom.emulator.books.by_route.total()
        found = calendar.read_changes(cursor, window=WINDOW, job=job).cursor
        count(name, before)
        return found

    cursor = changes("first read", None, Job.NEW)
    for job in (Job.NEW, Job.UPDATE, Job.CANCEL):
        changes(f"idle, {job}", cursor, job)
    uid = calcom.books()
    changes("one new booking, new", cursor, Job.NEW)
    uid = calcom.moves(uid, 4, 5)
    changes("one move, update", cursor, Job.UPDATE)
    other = calcom.books(10, 11)
    calcom.cancels(other)
    changes("one cancellation, cancel", cursor, Job.CANCEL)
    _count_the_rest(calcom, uid, count)
    return counted


def _count_the_rest(calcom: World, uid: Any, count: Any) -> None:  # noqa: ANN401 - of the one test above
    calendar, books = calcom.calendar, calcom.emulator.books
    before = books.by_route.total()
    calendar.read_window(WINDOW)
    count("check of a window", before)
    before = books.by_route.total()
    event = calendar.find_event(uid)
    count("one event", before)
    assert event is not None
    before = books.by_route.total()
    moved = calendar.update(event.remote_id, draft(6, 7), version=event.version)
    count("move", before)
    before = books.by_route.total()
    calendar.update(moved.remote_id, draft(6, 7, blocks=False, note="No"), version=moved.version)
    count("no", before)
    before = books.by_route.total()
    calendar.create(draft(8, 9), key=WriteKey("k2"))
    count("create", before)
