"""Cal.com's bookings at the edge: what is understood, and what is refused with which field and reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.calcom.answers import SlotTaken, classify
from providers.calcom.cursor import OVERLAP, dump_cursor, parse_cursor
from providers.calcom.payloads import (
    dump_draft,
    dump_reschedule,
    is_gone,
    is_hosted_by,
    is_of_another_version,
    parse_change,
    parse_event,
    parse_removal,
)
from sync.domain import (
    Attendee,
    BusyPolicy,
    CalendarId,
    CalendarRef,
    EventDraft,
    Interval,
    RemoteEvent,
    RemoteId,
    Removal,
    Role,
    Unparsed,
    WriteKey,
)
from sync.errors import (
    CredentialRevoked,
    CursorExpired,
    Malformed,
    NoSuchRight,
    ProviderUnavailable,
    RateLimited,
    WatertightError,
)

# The same examples in every run, and no deadline: a loaded machine is not a failure.
steady = settings(deadline=None, derandomize=True, max_examples=150)

REF = CalendarRef(CalendarId(1), "dana", "calcom", "dana@example.com", Role.SOURCE, zone="America/Chicago")
HOST = {"id": 7, "name": "Dana", "email": "dana@example.com", "displayEmail": "dana@example.com", "username": "dana"}


def booking(**fields: object) -> dict[str, Any]:
    """A plain booking with ``fields`` in place; ``...`` leaves one out."""
    plain = {
        "id": 5,
        "uid": "abc123",
        "title": "Viewing",
        "hosts": [HOST],
        "status": "accepted",
        "start": "2027-03-08T15:00:00.000Z",
        "end": "2027-03-08T16:00:00.000Z",
        "createdAt": "2027-03-01T09:00:00.000Z",
        "updatedAt": "2027-03-01T10:00:00.000Z",
        "metadata": {},
        "attendees": [{"name": "Ann", "email": "ann@example.com", "timeZone": "UTC", "absent": False}],
    }
    return {name: value for name, value in (plain | fields).items() if value is not ...}


def parsed(**fields: object) -> RemoteEvent:
    return parse_event(booking(**fields), ref=REF)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def test_a_plain_booking() -> None:
    event = parsed()
    assert replace(event, version="v") == RemoteEvent(
        remote_id=RemoteId("abc123"),
        version="v",
        updated=utc("2027-03-01T10:00:00+00:00"),
        interval=Interval(utc("2027-03-08T15:00:00+00:00"), utc("2027-03-08T16:00:00+00:00")),
        blocks=True,
        title="Viewing",
        attendees=(Attendee("Ann", "ann@example.com"),),
    )


@pytest.mark.parametrize(
    "spelling",
    ["2027-03-08T15:00:00Z", "2027-03-08T15:00:00+00:00", "2027-03-08T15:00:00.000Z", "2027-03-08T09:00:00-06:00"],
)
def test_every_spelling_of_a_time_is_the_same_instant_and_version(spelling: str) -> None:
    assert parsed(start=spelling) == parsed()


@pytest.mark.parametrize(
    ("status", "tentative", "blocks"),
    [
        ("accepted", True, True),
        ("ACCEPTED", False, True),
        ("pending", True, True),
        ("pending", False, False),
        ("awaiting_host", True, True),
        ("awaiting_host", False, False),
        ("cancelled", True, False),
        ("rejected", True, False),
    ],
)
def test_what_blocks(status: str, tentative: bool, blocks: bool) -> None:  # noqa: FBT001 - a table
    ref = replace(REF, busy=BusyPolicy(tentative=tentative))
    assert parse_event(booking(status=status), ref=ref).blocks is blocks


@pytest.mark.parametrize("status", ["cancelled", "CANCELLED", "rejected"])
def test_what_is_over_is_a_removal_however_odd_the_rest(status: str) -> None:
    raw = booking(status=status, start=None, end="soon", title=7, id=...)
    assert is_gone(raw)
    assert parse_change(raw, ref=REF) == Removal(RemoteId("abc123"), utc("2027-03-01T10:00:00+00:00"))


@pytest.mark.parametrize(("origin", "replaces"), [("old1", "old1"), (None, None), ("x" * 2000, None), (7, None)])
def test_a_removal_names_what_the_booking_took_over_from(origin: object, replaces: str | None) -> None:
    """A chain of bookings must not break at one that ended; and an odd link is no reason to miss that it did."""
    removal = parse_change(booking(status="cancelled", rescheduledFromUid=origin), ref=REF)
    assert isinstance(removal, Removal)
    assert (removal.remote_id, removal.replaces) == ("abc123", replaces)


def test_a_booking_never_changed_has_the_time_of_its_creation() -> None:
    assert parsed(updatedAt=None).updated == parsed(updatedAt=...).updated == utc("2027-03-01T09:00:00+00:00")
    assert parse_removal(booking(updatedAt=None)).updated == utc("2027-03-01T09:00:00+00:00")


ODDITIES: list[tuple[dict[str, Any], str, str]] = [
    ({"uid": ...}, "uid", "is missing"),
    ({"uid": None}, "uid", "is null"),
    ({"uid": ""}, "uid", "is not valid"),
    ({"uid": 7}, "uid", "is not valid"),
    ({"uid": "a\x00"}, "remote_id", "no database"),
    ({"status": "perhaps"}, "status", "is not valid"),
    ({"status": None}, "status", "is null"),
    ({"start": None}, "start", "is null"),
    ({"start": "2027-03-08T15:00:00"}, "start", "neither zone nor offset"),
    ({"end": "2027-02-30T15:00:00Z"}, "end", "that exists"),
    ({"end": "2027-03-08T14:00:00Z"}, "end", "is not after start"),
    ({"hosts": None}, "hosts", "is null"),
    ({"hosts": []}, "hosts", "is not valid"),
    ({"hosts": "dana"}, "hosts", "is not valid"),
    ({"title": None}, "title", "is null"),
    ({"updatedAt": "yesterday"}, "updatedAt", "RFC 3339"),
    ({"createdAt": None}, "createdAt", "is null"),
    ({"attendees": None}, "attendees", "is null"),
    ({"attendees": [{"email": 7}]}, "attendees.0.email", "is not valid"),
    ({"metadata": []}, "metadata", "is not valid"),
]


@pytest.mark.parametrize(("fields", "field", "reason"), ODDITIES)
def test_an_oddity_is_kept_raw_with_field_and_reason(fields: dict[str, Any], field: str, reason: str) -> None:
    change = parse_change(booking(**fields), ref=REF)
    assert isinstance(change, Unparsed)
    assert (change.field, change.raw) == (field, booking(**fields))
    assert reason in change.reason


@pytest.mark.parametrize("row", [None, 7, "text", ["list"]])
def test_a_row_that_is_no_object_is_kept_as_text(row: object) -> None:
    assert parse_change(row, ref=REF) == Unparsed(None, "data", "is not an object", str(row))


@pytest.mark.parametrize("remote", ["dana@example.com", "DANA@Example.com", "dana", "Dana"])
def test_a_host_is_named_in_any_case(remote: str) -> None:
    assert is_hosted_by(booking(), remote)
    assert not is_hosted_by(booking(), f"x{remote}")


def test_one_of_several_hosts_is_a_host() -> None:
    ben = {"id": "unknown", "email": "ben@example.com", "username": "unknown"}
    assert is_hosted_by(booking(hosts=[ben, HOST]), "dana")
    assert parse_change(booking(hosts=[ben], start=None), ref=REF) is None


def test_guests_without_an_address_and_hosts_are_no_attendees() -> None:
    guests = [
        {"name": "Seat"},
        {"name": "Tel", "email": None},
        {"email": "DANA@example.com"},
        {"email": "bo@example.com"},
    ]
    assert parsed(attendees=guests).attendees == (Attendee("", "bo@example.com"),)


def test_the_key_is_read_from_the_metadata_and_never_from_an_occurrence() -> None:
    tag = {"watertightKey": "k1", "other": 7}
    assert parsed(metadata=tag).key == "k1"
    assert parsed(metadata=tag, recurringBookingUid="series").key is None
    assert parsed(metadata=None).key is None
    assert parsed(metadata={"watertightKey": 7}).key is None


def test_links_and_series() -> None:
    event = parsed(rescheduledFromUid="old1", recurringBookingUid="series")
    assert (event.replaces, event.series_id) == ("old1", "series")
    assert parsed(rescheduledFromUid=None, rescheduledToUid=None).replaces is None


@pytest.mark.parametrize(
    "change",
    [
        {"title": "Other"},
        {"status": "pending"},
        {"start": "2027-03-08T15:30:00Z"},
        {"end": "2027-03-08T15:30:00Z"},
        {"updatedAt": "2027-03-01T10:00:00.001Z"},
    ],
)
def test_the_version_changes_with_whatever_matters(change: dict[str, Any]) -> None:
    assert parsed(**change).version != parsed().version
    assert parsed(attendees=[]).version == parsed().version


def test_an_older_shape_is_told_from_a_broken_row() -> None:
    assert is_of_another_version({"startTime": "2027-03-08T15:00:00Z"})
    assert not is_of_another_version(booking())
    assert not is_of_another_version(booking(start=None))


# Writing


def test_a_draft_becomes_the_body_of_a_booking() -> None:
    interval = Interval(utc("2027-03-08T15:00:00+00:00"), utc("2027-03-08T15:45:00+00:00"))
    guests = (Attendee("", "ann@example.com"), Attendee("Bo", "bo@example.com"))
    body = dump_draft(EventDraft(interval, "Viewing", attendees=guests), key=WriteKey("k1"), event_type=7, zone="UTC")
    assert body == {
        "start": "2027-03-08T15:00:00Z",
        "lengthInMinutes": 45,
        "eventTypeId": 7,
        "attendee": {"name": "ann@example.com", "email": "ann@example.com", "timeZone": "UTC"},
        "guests": ["bo@example.com"],
        "metadata": {"watertightKey": "k1"},
    }


@pytest.mark.parametrize(("seconds", "key", "field"), [(90, "k1", "interval"), (60, "k" * 501, "key")])
def test_what_cannot_be_booked_is_refused_by_field(seconds: int, key: str, field: str) -> None:
    start = utc("2027-03-08T15:00:00+00:00")
    wish = EventDraft(
        Interval(start, start + timedelta(seconds=seconds)), "x", attendees=(Attendee("A", "a@example.com"),)
    )
    with pytest.raises(Malformed) as caught:
        dump_draft(wish, key=WriteKey(key), event_type=7, zone="UTC")
    assert caught.value.field == field


def test_a_move_names_who_and_why() -> None:
    interval = Interval(utc("2027-03-08T15:00:00+00:00"), utc("2027-03-08T15:45:00+00:00"))
    assert dump_reschedule(EventDraft(interval, "x"), host=None) == {"start": "2027-03-08T15:00:00Z"}
    assert dump_reschedule(EventDraft(interval, "x", note="Why"), host="d@example.com") == {
        "start": "2027-03-08T15:00:00Z",
        "rescheduledBy": "d@example.com",
        "reschedulingReason": "Why",
    }


# Whatever comes

text = st.text(max_size=8)  # halves of pairs and NUL as well
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
plausible = st.sampled_from(
    ["2027-03-08T15:00:00Z", "0001-01-01T00:00:00Z", "cancelled", "pending", [HOST], [{}], {"watertightKey": "k"}]
)
names = st.sampled_from([*booking(), "rescheduledFromUid", "rescheduledToUid", "recurringBookingUid"])


@steady
@given(fields=st.dictionaries(names, json_values | plausible))
def test_no_record_breaks_the_batch(fields: dict[str, Any]) -> None:
    raw = booking(**fields)
    assert isinstance(parse_change(raw, ref=REF), RemoteEvent | Removal | Unparsed | None)
    told = [value for value in fields.values() if isinstance(value, str) and len(value) > 3]
    try:
        message = parse_event(raw, ref=REF).version
    except Malformed as error:
        message = str(error)
    assert [value for value in told if value in message] == []


@steady
@given(cursor=text | json_values.map(repr))
def test_no_cursor_breaks_the_reader(cursor: str) -> None:
    with pytest.raises(CursorExpired):
        parse_cursor(cursor)


def test_a_cursor_goes_on_before_where_it_ended() -> None:
    mark = utc("2026-03-08T15:00:00+00:00")
    assert parse_cursor(dump_cursor(mark)) == mark - OVERLAP


# Errors


def refusal(code: str, message: str = "") -> dict[str, Any]:
    return {"status": "error", "error": {"code": code, "message": message}}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, refusal("InternalServerErrorException"), ProviderUnavailable),
        (200, {"error": None}, ProviderUnavailable),
        (
            400,
            refusal("BadRequestException", "One of the hosts either already has booking at this time or …"),
            SlotTaken,
        ),
        (403, refusal("ForbiddenException", "PermissionsGuard - lacks BOOKING_WRITE"), NoSuchRight),
        (429, refusal("ThrottlerException"), RateLimited),
        (498, {}, CredentialRevoked),
        (498, refusal("TokenExpiredException"), CredentialRevoked),
    ],
)
def test_the_vendors_errors(status: int, body: dict[str, Any], kind: type[WatertightError]) -> None:
    error = classify(status, {}, body)
    assert type(error) is kind


@pytest.mark.parametrize("status", [200, 201, 400, 401, 403, 404, 409, 500, 503])
def test_what_the_status_says_is_left_to_it(status: int) -> None:
    assert classify(status, {}, {} if status < 300 else refusal("X", "something else")) is None


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ({"Retry-After": "7"}, 7, 7),
        ({"X-RateLimit-Reset-Default": "1000000000"}, 0, 0),
        ({"X-RateLimit-Reset-Default": "99999999999"}, 3600, 3600),
    ],
)
def test_the_delay_is_read_from_either_header(headers: dict[str, str], least: float, most: float) -> None:
    error = classify(429, headers, {})
    assert isinstance(error, RateLimited)
    assert error.retry_after is not None
    assert least <= error.retry_after <= most


@pytest.mark.parametrize("headers", [{}, {"X-RateLimit-Reset-Default": "soon"}, {"Retry-After": "-1"}])
def test_a_delay_that_is_not_told_is_unknown(headers: dict[str, str]) -> None:
    error = classify(429, headers, {})
    assert isinstance(error, RateLimited)
    assert error.retry_after is None


def test_no_message_of_the_vendor_is_repeated() -> None:
    message = "User either already has booking at this time: dana@example.com"
    assert "dana" not in str(classify(400, {}, refusal("BadRequestException", message)))
    assert "dana" not in str(classify(429, {}, refusal("dana@example.com", "")))
