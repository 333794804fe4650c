"""Google's own library and Google's own schema judge the emulator."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
import requests
from google.oauth2 import service_account as google_accounts
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError

from providers.emulation import HumanAction, HumanEvent
from tests.fixtures.google.serving import MORNING, PERSON, Stage, World, service_account, stage

TIMED = {"start": {"dateTime": "2027-03-08T15:00:00Z"}, "end": {"dateTime": "2027-03-08T16:00:00Z"}}
JSON = dict[str, Any]


@pytest.fixture(scope="module")
def server() -> Iterator[Stage]:
    with stage() as running:
        yield running


@pytest.fixture
def google(server: Stage) -> World:
    return server.world()


# Google's own library


@pytest.fixture
def events(google: World) -> Iterator[Any]:
    key = {**service_account(), "token_uri": f"{google.url}/token"}
    load: Callable[..., object] = google_accounts.Credentials.from_service_account_info
    credentials = load(key, scopes=["https://www.googleapis.com/auth/calendar"], subject=PERSON)
    endpoint = {"api_endpoint": f"{google.url}/calendar/v3/"}
    service = build("calendar", "v3", credentials=credentials, client_options=endpoint, static_discovery=True)
    yield service.events()
    service.close()


def test_the_vendors_client_inserts_and_lists(events: Any) -> None:  # noqa: ANN401 - built at run time
    inserted = events.insert(calendarId=PERSON, body={"summary": "Viewing", **TIMED}, sendUpdates="none").execute()
    assert inserted["status"] == "confirmed"
    listed = events.list(calendarId=PERSON, singleEvents=True).execute()
    assert listed["items"] == [inserted]
    assert events.get(calendarId="primary", eventId=inserted["id"]).execute() == inserted


def test_the_vendors_client_pages_and_follows_a_sync_token(events: Any) -> None:  # noqa: ANN401 - built at run time
    ids = [events.insert(calendarId=PERSON, body=TIMED).execute()["id"] for _ in range(5)]
    request, seen, page = events.list(calendarId=PERSON, maxResults=2), [], {}
    while request is not None:
        page = request.execute()
        seen += [row["id"] for row in page["items"]]
        assert ("nextPageToken" in page) is not ("nextSyncToken" in page)
        request = events.list_next(request, page)
    assert seen == ids

    events.delete(calendarId=PERSON, eventId=ids[0]).execute()
    changes = events.list(calendarId=PERSON, maxResults=2, syncToken=page["nextSyncToken"]).execute()
    assert [(row["id"], row["status"]) for row in changes["items"]] == [(ids[0], "cancelled")]
    assert "summary" not in changes["items"][0]


def test_the_vendors_client_patches_only_the_newest(events: Any) -> None:  # noqa: ANN401 - built at run time
    inserted = events.insert(calendarId=PERSON, body=TIMED).execute()
    patch = events.patch(calendarId=PERSON, eventId=inserted["id"], body={"summary": "Moved"})
    patch.headers["If-Match"] = inserted["etag"]
    patched = patch.execute()
    assert patched["summary"] == "Moved"
    assert patched["etag"] != inserted["etag"]
    again = events.patch(calendarId=PERSON, eventId=inserted["id"], body={"summary": "Lost"})
    again.headers["If-Match"] = inserted["etag"]
    assert refused(again) == (412, "conditionNotMet")


def test_the_vendors_client_reads_our_refusals(events: Any) -> None:  # noqa: ANN401 - built at run time
    key = uuid.uuid4().hex
    events.insert(calendarId=PERSON, body={"id": key, **TIMED}).execute()
    assert refused(events.insert(calendarId=PERSON, body={"id": key, **TIMED})) == (409, "duplicate")
    events.delete(calendarId=PERSON, eventId=key).execute()
    assert refused(events.insert(calendarId=PERSON, body={"id": key, **TIMED})) == (409, "duplicate")
    assert refused(events.delete(calendarId=PERSON, eventId=key)) == (410, "deleted")
    assert events.get(calendarId=PERSON, eventId=key).execute()["status"] == "cancelled"
    assert refused(events.patch(calendarId=PERSON, eventId=key, body={"summary": "x"})) == (403, "forbidden")
    assert refused(events.get(calendarId=PERSON, eventId="neverexisted")) == (404, "notFound")
    assert refused(events.list(calendarId="ben@example.com")) == (404, "notFound")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "required"),
        ({**TIMED, "id": "UPPER-case"}, "invalid"),
        ({**TIMED, "end": {"date": "2027-03-09"}}, "invalid"),
        ({**TIMED, "end": {"dateTime": "2027-03-08T16:00:00"}}, "invalid"),
        ({**TIMED, "end": {"dateTime": "2027-03-08T14:00:00Z"}}, "timeRangeEmpty"),
    ],
)
def test_the_vendors_client_is_refused_bad_events(events: Any, body: JSON, reason: str) -> None:  # noqa: ANN401 - built at run time
    assert refused(events.insert(calendarId=PERSON, body=body)) == (400, reason)


@pytest.mark.parametrize(
    "also",
    [
        {"timeMin": "2027-01-01T00:00:00Z"},
        {"orderBy": "updated"},
        {"q": "x"},
        {"showDeleted": False},
        {"maxResults": 3},
    ],
)
def test_a_sync_token_stands_no_other_parameters(events: Any, also: JSON) -> None:  # noqa: ANN401 - built at run time
    token = events.list(calendarId=PERSON).execute()["nextSyncToken"]
    assert refused(events.list(calendarId=PERSON, syncToken=token, **also)) == (400, "invalid")


def refused(request: Any) -> tuple[int, str]:  # noqa: ANN401 - built at run time
    with pytest.raises(HttpError) as caught:
        request.execute()
    return int(caught.value.status_code), str(caught.value.error_details[0]["reason"])


# Google's own schema


@cache
def schema_of(name: str) -> JSON:
    """The published schema, with every field that it does not name refused."""
    path = files("googleapiclient") / "discovery_cache" / "documents" / "calendar.v3.json"
    published = json.loads(path.read_text(encoding="utf-8"))["schemas"]
    return {"$ref": f"#/$defs/{name}", "$defs": {key: closed(value) for key, value in published.items()}}


def closed(schema: JSON) -> JSON:
    if "$ref" in schema:
        return {"$ref": f"#/$defs/{schema['$ref']}"}
    kept: JSON = {} if schema["type"] == "any" else {"type": schema["type"]}
    if "items" in schema:
        kept["items"] = closed(schema["items"])
    if schema.get("type") == "object":
        kept["properties"] = {name: closed(value) for name, value in schema.get("properties", {}).items()}
        kept["additionalProperties"] = (
            closed(schema["additionalProperties"]) if "additionalProperties" in schema else False
        )
    if schema.get("format") == "date-time":
        kept["pattern"] = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"
    return kept


class Caller:
    """Bare requests with a good token."""

    def __init__(self, google: World) -> None:
        self._base = f"{google.url}/calendar/v3"
        self._token = google.calendar._transport._auth.token()

    def __call__(self, method: str, path: str, **how: Any) -> requests.Response:  # noqa: ANN401 - passed on to requests
        headers = {"Authorization": f"Bearer {self._token}", **how.pop("headers", {})}
        return requests.request(method, f"{self._base}{path}", headers=headers, timeout=5, **how)


@pytest.fixture
def call(google: World) -> Caller:
    return Caller(google)


EVENTS = f"/calendars/{PERSON}/events"
RICH = {
    **TIMED,
    "summary": "Viewing",
    "description": "Keys",
    "location": "Main Street 1",
    "transparency": "transparent",
    "attendees": [{"email": "a@example.com", "displayName": "Ann"}, {"email": PERSON}],
    "extendedProperties": {"private": {"watertightKey": "k"}},
    "reminders": {"useDefault": False, "overrides": [{"method": "popup", "minutes": 5}]},
    "nonsense": "ignored as Google does",
}


def test_events_are_as_published(call: Caller) -> None:
    inserted = call("POST", EVENTS, json=RICH).json()
    path = f"{EVENTS}/{inserted['id']}"
    answers = [
        inserted,
        call("GET", path).json(),
        call("PATCH", path, json={"summary": "Moved", "location": None}).json(),
        call("PUT", path, json=TIMED).json(),
    ]
    for answer in answers:
        jsonschema.validate(answer, schema_of("Event"))
        assert answer["kind"] == "calendar#event"
        assert answer["etag"].startswith('"')
    assert [answer["updated"] for answer in answers] == sorted(answer["updated"] for answer in answers)
    assert "location" not in answers[2]
    assert "summary" not in answers[3]
    assert call("DELETE", path).content == b""
    jsonschema.validate(call("GET", path).json(), schema_of("Event"))


def test_recurring_events_and_their_instances_are_as_published(call: Caller) -> None:
    zoned = {side: {**moment, "timeZone": "America/Chicago"} for side, moment in TIMED.items()}
    series = call("POST", EVENTS, json={**RICH, **zoned, "recurrence": ["RRULE:FREQ=DAILY;COUNT=3"]}).json()
    listed = call("GET", EVENTS, params={"singleEvents": "true"}).json()["items"]
    assert len(listed) == 3
    changed = call("PATCH", f"{EVENTS}/{listed[0]['id']}", json={"summary": "Only this"}).json()
    replaced = call("PUT", f"{EVENTS}/{listed[1]['id']}", json=TIMED).json()
    assert changed["recurringEventId"] == replaced["recurringEventId"] == series["id"]
    call("DELETE", f"{EVENTS}/{listed[2]['id']}")
    shown = call("GET", f"{EVENTS}/{series['id']}/instances").json()
    jsonschema.validate(shown, schema_of("Events"))
    assert [row["id"] for row in shown["items"]] == [row["id"] for row in listed[:2]]
    for answer in (series, changed, replaced, *listed):
        jsonschema.validate(answer, schema_of("Event"))
    call("DELETE", f"{EVENTS}/{series['id']}")
    page = call("GET", EVENTS, params={"singleEvents": "true", "showDeleted": "true"}).json()
    jsonschema.validate(page, schema_of("Events"))
    assert {row["status"] for row in page["items"]} == {"cancelled"}
    assert {row["recurringEventId"] for row in page["items"]} == {series["id"]}


def test_what_people_type_is_as_published(google: World) -> None:
    for event in (
        HumanEvent(start=MORNING, end=MORNING + timedelta(hours=1), title="x", busy=False, attendees=["a@example.com"]),
        HumanEvent(start=MORNING, end=MORNING + timedelta(days=1), all_day=True),
        HumanEvent(start=MORNING, end=MORNING + timedelta(hours=1), zone="Asia/Kathmandu"),
    ):
        shown = google.emulator.act(HumanAction(action="create", calendar=PERSON, event=event))
        jsonschema.validate(shown, schema_of("Event"))


@pytest.mark.parametrize("params", [{}, {"maxResults": "2"}, {"showDeleted": "true"}, {"orderBy": "updated"}])
def test_lists_are_as_published(google: World, call: Caller, params: dict[str, str]) -> None:
    ids = [google.human_creates(n, n + 1) for n in range(4)]
    google.human_deletes(ids[0])
    page = call("GET", EVENTS, params=params).json()
    jsonschema.validate(page, schema_of("Events"))
    assert page["kind"] == "calendar#events"


def test_channels_are_as_published(call: Caller) -> None:
    body = {"id": "c1", "type": "web_hook", "address": "http://127.0.0.1:9/hook", "token": "s"}
    channel = call("POST", f"{EVENTS}/watch", json=body).json()
    jsonschema.validate(channel, schema_of("Channel"))
    assert channel["kind"] == "api#channel"
    assert call("POST", f"{EVENTS}/watch", json=body).json()["error"]["errors"][0]["reason"] == "channelIdNotUnique"
    stopped = call("POST", "/channels/stop", json={"id": "c1", "resourceId": channel["resourceId"]})
    assert (stopped.status_code, stopped.content) == (204, b"")


def test_free_busy_is_as_published_and_tells_errors_inside_200(google: World, call: Caller) -> None:
    google.human_creates(0, 1)
    google.human_creates(0.5, 2)
    google.human_creates(3, 4, raw={"transparency": "transparent"})
    asked = {
        "timeMin": MORNING.isoformat(),
        "timeMax": (MORNING + timedelta(hours=1.5)).isoformat(),
        "items": [{"id": PERSON}, {"id": "ben@example.com"}],
    }
    answer = call("POST", "/freeBusy", json=asked).json()
    jsonschema.validate(answer, schema_of("FreeBusyResponse"))
    assert answer["calendars"][PERSON] == {"busy": [{"start": "2027-03-08T15:00:00Z", "end": "2027-03-08T16:30:00Z"}]}
    assert answer["calendars"]["ben@example.com"]["errors"][0]["reason"] == "notFound"
    google.arm("freebusy_error")
    broken = call("POST", "/freeBusy", json=asked)
    assert broken.status_code == 200
    assert broken.json()["calendars"][PERSON]["errors"][0]["reason"] == "internalError"


def test_an_etag_answers_not_modified(google: World, call: Caller) -> None:
    event_id = google.human_creates()
    event = call("GET", f"{EVENTS}/{event_id}")
    assert event.headers["ETag"] == event.json()["etag"]
    again = call("GET", f"{EVENTS}/{event_id}", headers={"If-None-Match": event.json()["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize("header", ["", "Bearer wrong", "Basic x"])
def test_a_bad_token_is_an_auth_error(google: World, header: str) -> None:
    answer = requests.get(f"{google.url}/calendar/v3{EVENTS}", headers={"Authorization": header}, timeout=5)
    assert answer.status_code == 401
    assert answer.json()["error"]["errors"][0]["reason"] == "authError"


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({}, "unsupported_grant_type"),
        ({"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer"}, "invalid_grant"),
        ({"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": "a.b.c"}, "invalid_grant"),
    ],
)
def test_a_bad_grant_is_refused_as_oauth_says(google: World, form: dict[str, str], error: str) -> None:
    answer = requests.post(f"{google.url}/token", data=form, timeout=5)
    assert (answer.status_code, answer.json()["error"]) == (400, error)
