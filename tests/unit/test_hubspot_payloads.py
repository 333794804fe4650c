"""HubSpot's meetings at the edge: what is understood, and what is refused with which field and reason."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.hubspot.answers import classify
from providers.hubspot.asking import OVERLAP, Place, ask_changes, has_changed_hands
from providers.hubspot.payloads import (
    dump_new,
    dump_patch,
    id_of,
    is_cancelled,
    owner_of,
    parse_change,
    parse_event,
    tag_of,
)
from sync.domain import (
    CANCELLED_PREFIX,
    REFUSED_PREFIX,
    EventDraft,
    Interval,
    Job,
    RemoteEvent,
    RemoteId,
    Removal,
    Unparsed,
    WriteKey,
)
from sync.errors import (
    Contention,
    CursorExpired,
    Malformed,
    NoSuchRight,
    ProviderUnavailable,
    RateLimited,
    WatertightError,
)

ODDITIES = json.loads((Path(__file__).parents[1] / "fixtures" / "hubspot" / "oddities.json").read_text())
# The same examples in every run, and no deadline: a loaded machine is not a failure.
steady = settings(deadline=None, derandomize=True, max_examples=200)

ABSENT = "(absent)"


def meeting(*, outside: dict[str, Any] | None = None, **properties: object) -> dict[str, Any]:
    """A plain meeting with ``properties`` in place, and ``outside`` them; ``(absent)`` leaves one out."""
    plain = {
        "hs_meeting_title": "Viewing",
        "hs_meeting_start_time": "2027-03-08T15:00:00.000Z",
        "hs_meeting_end_time": "2027-03-08T16:00:00Z",
        "hs_timestamp": "2027-03-08T15:00:00.000Z",
        "hs_meeting_outcome": "SCHEDULED",
        "hs_internal_meeting_notes": None,
        "hs_meeting_external_url": None,
        "hubspot_owner_id": "70110001",
        "hubspot_owner_assigneddate": "2027-03-01T10:00:00.000Z",
        "hs_createdate": "2027-03-01T10:00:00.000Z",
        "hs_lastmodifieddate": "2027-03-01T10:00:00.123Z",
        "hs_object_id": "401",
    }
    record = {
        "id": "401",
        "properties": {name: value for name, value in (plain | properties).items() if value != ABSENT},
        "createdAt": "2027-03-01T10:00:00.000Z",
        "updatedAt": "2027-03-01T10:00:00.456Z",
        "archived": False,
    }
    return {name: value for name, value in (record | (outside or {})).items() if value != ABSENT}


def parsed(**properties: object) -> RemoteEvent:
    return parse_event(meeting(outside=None, **properties))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def hour(start: int = 15, end: int = 16) -> Interval:
    return Interval(utc(f"2027-03-08T{start}:00:00+00:00"), utc(f"2027-03-08T{end}:00:00+00:00"))


def test_a_plain_meeting() -> None:
    assert parsed() == RemoteEvent(
        remote_id=RemoteId("401"),
        version="1803895200123.1803895200456",
        updated=utc("2027-03-01T10:00:00.123+00:00"),
        interval=hour(),
        blocks=True,
        title="Viewing",
    )


@pytest.mark.parametrize(
    "start", ["2027-03-08T15:00:00Z", "2027-03-08T16:00:00.000+01:00", "1804518000000", "2027-03-08T15:00:00.0000000Z"]
)
def test_times_in_every_spelling_are_one_instant(start: str) -> None:
    assert parsed(hs_meeting_start_time=start).interval == hour()


@pytest.mark.parametrize("oddity", ODDITIES, ids=lambda oddity: str(oddity["case"]))
def test_an_oddity_is_refused_by_field_and_reason_and_kept_raw(oddity: dict[str, Any]) -> None:
    raw = meeting(outside=oddity.get("outside"), **oddity.get("properties", {}))
    with pytest.raises(Malformed) as caught:
        parse_event(raw)
    assert caught.value.field == oddity["field"]
    assert oddity["reason"] in caught.value.reason
    change = parse_change(raw)
    assert isinstance(change, Unparsed)
    assert (change.field, change.raw) == (oddity["field"], raw)


@pytest.mark.parametrize("row", [None, 7, "text", ["list"]])
def test_a_row_that_is_no_object_is_kept_as_text(row: object) -> None:
    assert parse_change(row) == Unparsed(None, "results", "is not an object", str(row))
    assert (id_of(row), owner_of(row)) == (None, None)


@pytest.mark.parametrize(
    ("outcome", "blocks"),
    [
        ("SCHEDULED", True),
        ("COMPLETED", True),
        ("NO_SHOW", True),
        ("RESCHEDULED", True),
        ("WALKED_IN", True),
        ("", True),
        (None, True),
        (ABSENT, True),
        ("CANCELED", False),
    ],
)
def test_what_takes_time(outcome: str | None, *, blocks: bool) -> None:
    assert parsed(hs_meeting_outcome=outcome).blocks is blocks


def test_cancelled_by_its_owner_is_a_removal_whatever_else_is_odd() -> None:
    raw = meeting(hs_meeting_outcome="CANCELED", hs_meeting_end_time=None, hs_meeting_title=None)
    assert parse_change(raw) == Removal(RemoteId("401"), utc("2027-03-01T10:00:00.123+00:00"))


@pytest.mark.parametrize("prefix", [REFUSED_PREFIX, CANCELLED_PREFIX])
@pytest.mark.parametrize("title", ["Viewing", ""])
def test_what_we_marked_stays_a_live_record_that_takes_no_time(prefix: str, title: str) -> None:
    for shown in (prefix + title, (prefix + title).rstrip()):  # a vendor may trim
        change = parse_change(meeting(hs_meeting_outcome="CANCELED", hs_meeting_title=shown))
        assert isinstance(change, RemoteEvent)
        assert not change.blocks


def test_a_mark_does_not_keep_an_archived_meeting_alive() -> None:
    raw = meeting(
        outside={"archived": True, "archivedAt": "2027-03-02T00:00:00Z"},
        hs_meeting_title=f"{REFUSED_PREFIX}x",
        hs_meeting_outcome="CANCELED",
    )
    assert is_cancelled(raw)
    assert parse_change(raw) == Removal(RemoteId("401"), utc("2027-03-02T00:00:00+00:00"))


@pytest.mark.parametrize("archived_at", [None, 7, "then", ABSENT])
def test_an_archived_meeting_is_gone_even_if_nobody_can_say_since_when(archived_at: object) -> None:
    change = parse_change(meeting(outside={"archived": True, "archivedAt": archived_at}))
    assert change == Removal(RemoteId("401"), utc("2027-03-01T10:00:00.123+00:00"))


def test_the_key_is_read_from_the_tag_and_from_nothing_else() -> None:
    key = WriteKey("a/b c")
    assert parsed(hs_meeting_external_url=tag_of(key)).key == key
    assert parsed(hs_meeting_external_url="https://calendar.example/1").key is None


# Writing


def draft(**fields: Any) -> EventDraft:  # noqa: ANN401 - the fields of a draft
    plain: dict[str, Any] = {"interval": hour(), "title": "Viewing"}
    return EventDraft(**{**plain, **fields})


def test_what_is_written_is_what_is_read() -> None:
    for wish in (draft(), draft(blocks=False, title=f"{REFUSED_PREFIX}x"), draft(title="")):
        written = dump_new(wish, key=WriteKey("k"), owner="70110001")["properties"]
        event = parsed(**written)
        assert wish.is_shown_by(event)
        assert event.key == "k"
        assert all(isinstance(value, str) for value in written.values())
        assert written["hs_timestamp"] == written["hs_meeting_start_time"]


@pytest.mark.parametrize(
    ("wish", "notes", "names"),
    [
        (draft(), "", []),
        (draft(title="Tour"), "", ["hs_meeting_title"]),
        (draft(interval=hour(17, 18)), "", ["hs_meeting_end_time", "hs_meeting_start_time", "hs_timestamp"]),
        (draft(blocks=False), "", ["hs_meeting_outcome"]),
        (draft(note="Taken."), "Mine", ["hs_internal_meeting_notes"]),
        (draft(note="Taken."), "Taken.\n\nMine", []),
        (draft(note="Taken."), "<p>Taken.</p>Mine", []),
        (draft(body="Keys"), "", ["hs_meeting_body"]),
    ],
)
def test_only_what_differs_is_written(wish: EventDraft, notes: str, names: list[str]) -> None:
    assert sorted(dump_patch(wish, event=parsed(), notes=notes)["properties"]) == names


# Any record at all


junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(max_size=30),
    st.sampled_from(["0", "-1", "99999999999999999999", "2027-03-08", "2027-03-08T25:00:00Z", "\x00", "\ud800", "٣"]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@steady
@given(
    st.dictionaries(st.sampled_from(sorted(meeting()["properties"])), junk, max_size=4),
    st.dictionaries(st.sampled_from(["id", "properties", "updatedAt", "archived", "archivedAt"]), junk, max_size=2),
)
def test_whatever_comes_is_understood_or_set_aside(properties: dict[str, Any], outside: dict[str, Any]) -> None:
    raw = meeting(outside=outside, **properties)
    change = parse_change(raw)
    assert isinstance(change, RemoteEvent | Removal | Unparsed)
    if isinstance(change, RemoteEvent):
        assert change.interval.start < change.interval.end
        assert change.remote_id == raw["id"]
    if isinstance(change, Unparsed):
        texts = [value for value in properties.values() if isinstance(value, str) and len(value) > 12]
        assert not any(text in change.reason for text in texts)  # a value may be personal


# Cursors


@steady
@given(st.datetimes(datetime(1970, 1, 1), datetime(2199, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC)))  # noqa: DTZ001
def test_a_cursor_is_read_as_written(moment: datetime) -> None:
    whole = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    assert Place.of(Place(whole).dump()) == Place(whole)


@steady
@given(
    st.text(max_size=40)
    | st.builds(json.dumps, junk)
    | st.builds(lambda value: json.dumps({"v": 1, "since": value}), junk)
)
def test_any_other_cursor_is_expired(cursor: str) -> None:
    try:
        assert Place.of(cursor).since >= datetime(1970, 1, 1, tzinfo=UTC)
    except CursorExpired:
        return
    assert isinstance(json.loads(cursor)["since"], int)


def test_a_place_never_goes_back_and_never_past_the_vendors_clock() -> None:
    at = datetime(2027, 3, 1, tzinfo=UTC)
    hours = [at + timedelta(hours=number) for number in range(4)]
    place = Place(hours[1])
    assert place.after([], clock=hours[3]) == place
    assert place.after([hours[0]], clock=hours[3]) == place
    assert place.after([hours[2], hours[0]], clock=None) == Place(hours[2])
    assert place.after([hours[3]], clock=hours[2]) == Place(hours[2])
    assert place.after([hours[3]], clock=hours[0]) == place
    assert place.from_then == hours[1] - OVERLAP
    assert Place.at(None, clock=at).from_then == datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("job", [*Job, None])
def test_every_group_of_filters_names_the_owner_and_a_beginning(job: Job | None) -> None:
    groups = ask_changes("7", job, then=datetime(2027, 3, 1, tzinfo=UTC))
    assert len(groups) <= 5
    for group in groups:
        assert len(group) <= 6
        assert group[0]["propertyName"] == "hubspot_owner_id"
        assert any((part["operator"], part.get("value")) == ("GTE", "1803859200000") for part in group)


@pytest.mark.parametrize(
    ("assigned", "created", "changed"),
    [
        ("2027-03-01T10:00:00Z", "2027-03-01T10:00:00Z", False),
        ("2027-03-01T10:00:30Z", "2027-03-01T10:00:00Z", False),
        ("2027-03-02T10:00:00Z", "2027-03-01T10:00:00Z", True),
        ("2027-03-02T10:00:00Z", None, True),
        (None, "2027-03-01T10:00:00Z", False),
    ],
)
def test_a_meeting_has_changed_hands_if_it_was_assigned_after_it_was_made(
    assigned: str | None, created: str | None, *, changed: bool
) -> None:
    raw = meeting(hubspot_owner_assigneddate=assigned, hs_createdate=created)
    assert has_changed_hands(raw) is changed


# Refusals


@pytest.mark.parametrize(
    ("status", "headers", "body", "error", "wait"),
    [
        (200, {}, {"results": []}, None, None),
        (200, {}, {"results": [], "errors": []}, None, None),
        (200, {}, {"status": "error", "message": "x"}, ProviderUnavailable, None),
        (200, {}, {"status": "COMPLETE", "numErrors": 1, "errors": [{}]}, ProviderUnavailable, None),
        (207, {}, {"status": "COMPLETE", "results": []}, ProviderUnavailable, None),
        (403, {}, {"category": "MISSING_SCOPES"}, NoSuchRight, None),
        (403, {}, {}, None, None),
        (409, {}, {"category": "CONFLICT"}, Contention, None),
        (423, {}, {}, RateLimited, 2),
        (423, {"Retry-After": "5"}, {}, RateLimited, 5),
        (477, {}, {}, RateLimited, 3600),
        (477, {"Retry-After": "86400"}, {}, RateLimited, 86400),
        (429, {}, {}, RateLimited, None),
        (429, {"Retry-After": "3"}, {}, RateLimited, 3),
        (429, {}, {"policyName": "SECONDLY"}, RateLimited, 1),
        (429, {}, {"policyName": "TEN_SECONDLY_ROLLING"}, RateLimited, 10),
        (429, {"Retry-After": "1"}, {"policyName": "DAILY"}, RateLimited, 3600),
        (429, {}, {"message": "You have reached your ten_secondly_rolling limit."}, RateLimited, 10),
        (429, {}, {"message": "You have reached your secondly limit."}, RateLimited, 1),
        (429, {}, {"message": "You have reached your daily limit."}, RateLimited, 3600),
        (429, {}, {"policyName": ["?"], "message": None}, RateLimited, None),
        (404, {}, {}, None, None),
        (500, {}, {}, None, None),
    ],
)
def test_answers_are_read_into_the_tree(
    status: int,
    headers: dict[str, str],
    body: dict[str, Any],
    error: type[WatertightError] | None,
    *,
    wait: float | None,
) -> None:
    found = classify(status, headers, body)
    assert found is None if error is None else type(found) is error
    assert getattr(found, "retry_after", None) == wait


def test_what_an_answer_says_of_people_is_not_repeated() -> None:
    assert "ann@example.com" not in str(
        classify(409, {}, {"category": "ann@example.com", "message": "ann@example.com"})
    )
