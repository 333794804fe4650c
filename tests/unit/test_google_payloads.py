"""Google's events at the edge: what is understood, and what is refused with which field and reason."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.google.answers import classify
from providers.google.payloads import dump_draft, dump_patch, event_id, parse_change, parse_event
from sync.domain import Attendee, EventDraft, Interval, RemoteEvent, RemoteId, Removal, Unparsed, WriteKey
from sync.errors import CursorExpired, Malformed, ProviderUnavailable, RateLimited, Rejected, WatertightError

ODDITIES = json.loads((Path(__file__).parents[1] / "fixtures" / "google" / "oddities.json").read_text())
# The same examples in every run, and no deadline: a loaded machine is not a failure.
steady = settings(deadline=None, derandomize=True, max_examples=60)

ZONE = "America/Chicago"


def event(**fields: object) -> dict[str, Any]:
    """A plain event with ``fields`` in place; ``...`` leaves one out."""
    plain = {
        "kind": "calendar#event",
        "id": "abc12345",
        "etag": '"1"',
        "status": "confirmed",
        "updated": "2027-03-01T10:00:00.000Z",
        "summary": "Viewing",
        "start": {"dateTime": "2027-03-08T15:00:00Z"},
        "end": {"dateTime": "2027-03-08T16:00:00Z"},
    }
    return {name: value for name, value in (plain | fields).items() if value is not ...}


def parsed(**fields: object) -> RemoteEvent:
    return parse_event(event(**fields), zone=ZONE)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def test_a_plain_event() -> None:
    assert parsed() == RemoteEvent(
        remote_id=RemoteId("abc12345"),
        version='"1"',
        updated=utc("2027-03-01T10:00:00+00:00"),
        interval=Interval(utc("2027-03-08T15:00:00+00:00"), utc("2027-03-08T16:00:00+00:00")),
        blocks=True,
        title="Viewing",
    )


@pytest.mark.parametrize("oddity", ODDITIES, ids=lambda oddity: str(oddity["case"]))
def test_an_oddity_is_refused_by_field_and_reason(oddity: dict[str, Any]) -> None:
    fields = {name: ... if value == "(absent)" else value for name, value in oddity["fields"].items()}
    with pytest.raises(Malformed) as caught:
        parsed(**fields)
    assert caught.value.field == oddity["field"]
    assert oddity["reason"] in caught.value.reason


@pytest.mark.parametrize("oddity", ODDITIES, ids=lambda oddity: str(oddity["case"]))
def test_an_oddity_in_a_batch_is_kept_raw(oddity: dict[str, Any]) -> None:
    raw = event(**{name: ... if value == "(absent)" else value for name, value in oddity["fields"].items()})
    change = parse_change(raw, zone=ZONE)
    assert isinstance(change, Unparsed)
    assert (change.field, change.raw) == (oddity["field"], raw)


@pytest.mark.parametrize("row", [None, 7, "text", ["list"]])
def test_a_row_that_is_no_object_is_kept_as_text(row: object) -> None:
    assert parse_change(row, zone=ZONE) == Unparsed(None, "items", "is not an object", str(row))


def test_cancelled_is_asked_before_anything_else() -> None:
    assert parse_change({"id": "abc12345", "status": "cancelled"}, zone=ZONE) == Removal(RemoteId("abc12345"))
    odd = event(status="cancelled", start=None, summary=7)
    assert parse_change(odd, zone=ZONE) == Removal(RemoteId("abc12345"), utc("2027-03-01T10:00:00+00:00"))


def test_a_removal_without_an_id_is_set_aside() -> None:
    assert parse_change({"status": "cancelled"}, zone=ZONE) == Unparsed(
        None, "id", "is missing", {"status": "cancelled"}
    )


@pytest.mark.parametrize(
    ("fields", "blocks"),
    [
        ({}, True),
        ({"transparency": "opaque"}, True),
        ({"transparency": "transparent"}, False),
        ({"status": "tentative"}, True),
        ({"eventType": "workingLocation"}, False),
        ({"eventType": "birthday"}, False),
        ({"eventType": "outOfOffice"}, True),
        ({"eventType": "focusTime"}, True),
        ({"eventType": "fromGmail"}, True),
        ({"eventType": "somethingNew"}, True),
        ({"attendees": [{"email": "d@example.com", "self": True, "responseStatus": "declined"}]}, False),
        ({"attendees": [{"email": "d@example.com", "self": True, "responseStatus": "tentative"}]}, True),
        ({"attendees": [{"email": "d@example.com", "self": True, "responseStatus": "needsAction"}]}, True),
        ({"attendees": [{"email": "a@example.com", "responseStatus": "declined"}]}, True),
    ],
)
def test_which_events_take_time(fields: dict[str, object], *, blocks: bool) -> None:
    assert parsed(**fields).blocks is blocks


def test_attendees_are_the_other_people() -> None:
    guests = [
        {"email": "d@example.com", "self": True},
        {"email": "room@example.com", "resource": True},
        {"displayName": "hidden"},
        {"email": "a@example.com", "displayName": "Ann"},
        {"email": "b@example.com"},
    ]
    assert parsed(attendees=guests).attendees == (Attendee("Ann", "a@example.com"), Attendee("", "b@example.com"))


@pytest.mark.parametrize(
    ("start", "instant"),
    [
        ({"dateTime": "2027-03-08T09:00:00-06:00"}, "2027-03-08T15:00:00+00:00"),
        ({"dateTime": "2027-03-08T20:45:00+05:45", "timeZone": "Asia/Kathmandu"}, "2027-03-08T15:00:00+00:00"),
        ({"dateTime": "2027-03-08T09:00:00", "timeZone": "America/Chicago"}, "2027-03-08T15:00:00+00:00"),
        ({"dateTime": "2027-03-08T09:00:00-06:00", "timeZone": "Custom/Zone"}, "2027-03-08T15:00:00+00:00"),
        ({"dateTime": "2027-03-08t15:00:00.123456789z"}, "2027-03-08T15:00:00.123456+00:00"),
        ({"dateTime": "2026-11-01T01:30:00-05:00", "timeZone": "America/Chicago"}, "2026-11-01T06:30:00+00:00"),
        ({"dateTime": "2026-11-01T01:30:00-06:00", "timeZone": "America/Chicago"}, "2026-11-01T07:30:00+00:00"),
    ],
)
def test_every_spelling_of_a_time_is_an_instant_in_utc(start: dict[str, str], instant: str) -> None:
    read = parsed(start=start, end={"dateTime": "2027-04-08T16:00:00Z"}).interval.start
    assert read == utc(instant)
    assert read.tzinfo is UTC


@pytest.mark.parametrize(
    ("zone", "day", "start", "length"),
    [
        ("America/Chicago", "2027-03-14", "2027-03-14T06:00:00+00:00", 23),
        ("America/Chicago", "2026-11-01", "2026-11-01T05:00:00+00:00", 25),
        ("Europe/Berlin", "2027-03-28", "2027-03-27T23:00:00+00:00", 23),
        ("Asia/Kathmandu", "2027-03-14", "2027-03-13T18:15:00+00:00", 24),
        ("America/Havana", "2027-03-14", "2027-03-14T05:00:00+00:00", 23),  # midnight itself does not exist
        ("America/Havana", "2026-11-01", "2026-11-01T04:00:00+00:00", 25),  # 00:30 happens twice
    ],
)
def test_a_day_is_midnight_to_midnight_of_the_agent(zone: str, day: str, start: str, length: int) -> None:
    after = (datetime.fromisoformat(day) + timedelta(days=1)).date().isoformat()
    read = parse_event(event(start={"date": day}, end={"date": after}), zone=zone).interval
    assert read == Interval(utc(start), utc(start) + timedelta(hours=length))


@steady
@given(
    first=st.dates(date(2020, 1, 1), date(2035, 1, 1)),
    zone=st.sampled_from(
        ["America/Chicago", "America/Havana", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe", "Africa/Cairo"]
    ),
)
def test_days_touch_and_never_overlap(first: date, zone: str) -> None:
    days = [first + timedelta(days=n) for n in range(3)]
    one, two = (
        parse_event(event(start={"date": str(day)}, end={"date": str(after)}), zone=zone).interval
        for day, after in pairwise(days)
    )
    assert one.end == two.start


def test_an_unspecified_end_is_the_end_that_google_gives() -> None:
    assert parsed(endTimeUnspecified=True).interval == parsed().interval


def test_the_key_is_read_from_the_tag_or_from_our_form_of_id() -> None:
    tag = {"private": {"watertightKey": "k1"}}
    assert parsed(extendedProperties=tag).key == "k1"
    assert parsed(id="0" * 32).key == "0" * 32
    assert parsed(id="0" * 32, extendedProperties=tag).key == "k1"
    assert parsed().key is None
    assert parsed(extendedProperties={"shared": {"watertightKey": "k1"}}).key is None


def test_an_occurrence_of_a_series_is_not_the_event_that_we_wrote() -> None:
    tag = {"private": {"watertightKey": "k1"}}
    occurrence = parsed(id="k1_20270308T150000Z", recurringEventId="k1", extendedProperties=tag)
    assert occurrence.key is None
    assert occurrence.series_id == "k1"


addresses = st.text("abcxyz.+é", min_size=1, max_size=8).map(lambda name: f"{name}@example.com")
instants = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the zone follows
drafts = st.builds(
    EventDraft,
    interval=st.builds(
        lambda start, length: Interval(start, start + length),
        instants,
        st.timedeltas(timedelta(seconds=1), timedelta(days=40)),
    ),
    title=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    body=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    blocks=st.booleans(),
    attendees=st.lists(
        st.builds(Attendee, st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")), addresses),
        max_size=3,
    ).map(tuple),
)


@steady
@given(
    draft=drafts, key=st.uuids().map(lambda value: WriteKey(value.hex)), zone=st.sampled_from([ZONE, "Asia/Kathmandu"])
)
def test_what_is_written_is_read_back(draft: EventDraft, key: WriteKey, zone: str) -> None:
    echo = {"etag": '"1"', "updated": "2027-03-01T10:00:00Z", "kind": "calendar#event", "creator": {"self": True}}
    sent = json.loads(json.dumps(dump_draft(draft, key=key)))
    read = parse_event(sent | echo, zone=zone)
    assert (read.interval, read.title, read.blocks) == (draft.interval, draft.title, draft.blocks)
    assert (read.attendees, read.key, read.remote_id) == (draft.attendees, key, RemoteId(key))


@steady
@given(draft=drafts)
def test_a_patch_names_only_what_a_draft_holds(draft: EventDraft) -> None:
    patch = dump_patch(draft)
    assert patch.keys() - {"attendees"} == {"summary", "description", "transparency", "start", "end"}
    assert ("attendees" in patch) is bool(draft.attendees)


@steady
@given(key=st.text(min_size=1))
def test_every_key_has_an_id_in_googles_alphabet(key: str) -> None:
    chosen = event_id(WriteKey(key))
    assert set(chosen) <= set("0123456789abcdefghijklmnopqrstuv")
    assert 5 <= len(chosen) <= 1024


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8), inner, max_size=3
        )
    ),
    max_leaves=6,
)
names = st.sampled_from(
    ["id", "etag", "status", "updated", "start", "end", "attendees", "extendedProperties", "summary"]
)


@steady
@given(fields=st.dictionaries(names, json_values))
def test_no_record_breaks_the_batch(fields: dict[str, Any]) -> None:
    assert isinstance(parse_change(event(**fields), zone=ZONE), RemoteEvent | Removal | Unparsed)


def refusal(reason: str, *, location: str = "", message: str = "") -> dict[str, Any]:
    return {"error": {"errors": [{"reason": reason, "location": location}], "message": message}}


@pytest.mark.parametrize(
    ("status", "body", "branch"),
    [
        (200, {"items": []}, None),
        (200, {"error": {}}, ProviderUnavailable),
        (403, refusal("rateLimitExceeded"), RateLimited),
        (403, refusal("userRateLimitExceeded"), RateLimited),
        (403, refusal("quotaExceeded"), RateLimited),
        (403, refusal("calendarUsageLimits"), RateLimited),
        (429, refusal("rateLimitExceeded"), RateLimited),
        (403, refusal("forbiddenForNonOrganizer"), None),
        (403, {}, None),
        (400, refusal("invalid", location="syncToken"), CursorExpired),
        (400, refusal("invalid", message="Sync token is no good"), CursorExpired),
        (400, refusal("timeRangeEmpty"), None),
        (410, refusal("fullSyncRequired"), CursorExpired),
        (410, refusal("updatedMinTooLongAgo"), CursorExpired),
        (410, refusal("deleted"), None),
        (409, refusal("duplicate"), Rejected),
        (409, refusal("conflict"), ProviderUnavailable),
        (412, refusal("conditionNotMet"), None),
        (400, {"error": "invalid_grant"}, None),
        (400, {"error": {"errors": ["odd"]}}, None),
        (400, {"error": {"errors": [{"reason": 7}]}}, None),
    ],
)
def test_how_google_refuses(status: int, body: dict[str, Any], branch: type[WatertightError] | None) -> None:
    error = classify(status, {}, body)
    assert error is None if branch is None else isinstance(error, branch)


def test_a_refusal_never_quotes_free_text() -> None:
    error = classify(409, {}, refusal("dana@example.com is busy", message="dana@example.com"))
    assert "dana" not in str(error)
