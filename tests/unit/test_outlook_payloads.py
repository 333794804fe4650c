"""Graph's event JSON becomes domain values, or an error that names Graph's own field."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.moments import parse_instant
from providers.outlook import payloads
from sync.domain import Attendee, EventDraft, Interval, RemoteEvent, RemoteId, Removal, Unparsed, WriteKey
from sync.errors import Malformed

CHICAGO = "America/Chicago"
FIXTURES = Path(__file__).parents[1] / "fixtures" / "outlook"
ODDITIES: dict[str, dict[str, Any]] = json.loads((FIXTURES / "oddities.json").read_text(encoding="utf-8"))
EVENT: dict[str, Any] = json.loads((FIXTURES / "event.json").read_text(encoding="utf-8"))


def test_whole_event() -> None:
    assert payloads.parse_event(EVENT, zone=CHICAGO) == RemoteEvent(
        remote_id=RemoteId("AAMkAGI1AAAoZCfHAAA="),
        version='W/"ZlnW4RIAV06KYYwlrfNZvQAAKGWwbw=="',
        updated=datetime(2027, 2, 1, 9, 30, 15, 123456, tzinfo=UTC),
        interval=Interval(datetime(2027, 3, 8, 15, tzinfo=UTC), datetime(2027, 3, 8, 16, tzinfo=UTC)),
        blocks=True,
        title="Showing of the corner flat",
        attendees=(Attendee("Pat Example", "pat@example.com"),),
        key=WriteKey("write-17"),
    )


@pytest.mark.parametrize("name", sorted(ODDITIES))
def test_oddity(name: str) -> None:
    """Each case of the corpus changes the whole event and says what must come of it."""
    case = ODDITIES[name]
    raw = _changed(EVENT, case)
    zone = case.get("zone", CHICAGO)
    if "field" in case:
        with pytest.raises(Malformed) as caught:
            payloads.parse_event(raw, zone=zone)
        assert (caught.value.field, caught.value.reason) == (case["field"], case["reason"])
        return
    event = payloads.parse_event(raw, zone=zone)
    found = {"interval": str(event.interval), "blocks": event.blocks, "title": event.title, "key": event.key}
    assert {each: found[each] for each in case["gives"]} == case["gives"]


@pytest.mark.parametrize("raw", [None, [], "text", 7])
def test_what_is_no_object_is_malformed(raw: object) -> None:
    with pytest.raises(Malformed):
        payloads.parse_event(raw, zone=CHICAGO)
    change = payloads.parse_change(raw, zone=CHICAGO)
    assert isinstance(change, Unparsed)
    assert (change.remote_id, change.raw) == (None, json.dumps(raw))


@pytest.mark.parametrize("modified", ["0001-01-01T00:00:00Z", None, "yesterday"])
def test_cancelled_row_needs_nothing_but_an_id(modified: object) -> None:
    raw = {"id": "x", "isCancelled": True, "lastModifiedDateTime": modified}
    assert payloads.parse_change(raw, zone=CHICAGO) == Removal(RemoteId("x"))


@pytest.mark.parametrize(
    ("day", "hours"), [("2027-03-14", 23), ("2027-11-07", 25), ("2027-06-01", 24)], ids=["spring", "autumn", "summer"]
)
def test_whole_day_is_as_long_as_the_agents_day(day: str, hours: int) -> None:
    start = datetime.fromisoformat(day)
    raw = {**EVENT, "isAllDay": True, "start": _midnight(start), "end": _midnight(start + timedelta(days=1))}
    interval = payloads.parse_event(raw, zone=CHICAGO).interval
    assert interval.end - interval.start == timedelta(hours=hours)
    assert interval.start.astimezone(ZoneInfo(CHICAGO)).date().isoformat() == day


@pytest.mark.parametrize("odd", ["naive", "2027-03-08T15:00:00", 7, None])
def test_instant_without_offset_is_malformed(odd: object) -> None:
    with pytest.raises(Malformed):
        parse_instant(odd, field="expirationDateTime")


instants = st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2190, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
drafts = st.builds(
    lambda start, length, title, body, blocks: EventDraft(Interval(start, start + length), title, body, blocks),
    instants,
    st.timedeltas(min_value=timedelta(microseconds=1), max_value=timedelta(days=40)),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    st.booleans(),
)


@settings(deadline=None)
@given(draft=drafts)
def test_what_is_dumped_is_parsed_as_it_was(draft: EventDraft) -> None:
    raw = json.loads(json.dumps({**payloads.dump_draft(draft, key=WriteKey("k")), **_server_fields()}))
    event = payloads.parse_event(raw, zone=CHICAGO)
    assert (event.interval, event.title, event.blocks, event.key) == (draft.interval, draft.title, draft.blocks, "k")


@settings(deadline=None)
@given(raw=st.recursive(st.none() | st.booleans() | st.floats() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")), lambda deeper: st.dictionaries(
    st.sampled_from(["id", "@odata.etag", "start", "end", "dateTime", "timeZone", "isAllDay", "showAs", "attendees"]), deeper
) | st.lists(deeper)))  # fmt: skip
def test_nothing_but_malformed_is_ever_raised(raw: object) -> None:
    laid_over = {**EVENT, **raw} if isinstance(raw, dict) else raw
    assert payloads.parse_change(laid_over, zone=CHICAGO) is not None


def _changed(event: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    changed: dict[str, Any] = json.loads(json.dumps(event))
    for path, value in case.get("set", {}).items():
        *parents, last = path.split("/")
        target = changed
        for parent in parents:
            target = target[parent]
        target[last] = value
    for name in case.get("drop", []):
        del changed[name]
    return changed


def _midnight(at: datetime) -> dict[str, str]:
    return {"dateTime": f"{at:%Y-%m-%d}T00:00:00.0000000", "timeZone": "UTC"}


def _server_fields() -> dict[str, str]:
    return {"id": "x", "@odata.etag": 'W/"1"', "lastModifiedDateTime": "2027-01-01T00:00:00.0000000Z"}
