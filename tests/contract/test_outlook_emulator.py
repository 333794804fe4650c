"""The Outlook emulator is held to Microsoft's own client library: it works, and knows every field that it is shown."""

from __future__ import annotations

import asyncio
import re
import warnings
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import jsonschema
import pytest
import requests

from providers.outlook.auth import ClientCredentialFlow
from tests.contract.outlook_schema import schema_of
from tests.contract.outlook_world import NINE, WINDOW, Desk, World, draft, key, open_desk, served

with warnings.catch_warnings():
    # Both libraries warn of classes of their own while they define them.
    warnings.filterwarnings("ignore", "GetQueryParameters is deprecated", DeprecationWarning)
    warnings.filterwarnings("ignore", "This class is deprecated. Please use the generic", DeprecationWarning)
    from kiota_abstractions.authentication import AnonymousAuthenticationProvider
    from kiota_abstractions.base_request_configuration import RequestConfiguration
    from kiota_abstractions.request_option import RequestOption
    from kiota_http.kiota_client_factory import KiotaClientFactory
    from kiota_http.middleware.options import RetryHandlerOption
    from msgraph.generated.models.date_time_time_zone import DateTimeTimeZone
    from msgraph.generated.models.event import Event
    from msgraph.generated.models.o_data_errors.o_data_error import ODataError
    from msgraph.generated.models.subscription import Subscription
    from msgraph.generated.users.item.calendar_view.delta.delta_request_builder import DeltaRequestBuilder
    from msgraph.graph_request_adapter import GraphRequestAdapter
    from msgraph.graph_service_client import GraphServiceClient

START, END = "2027-03-07T00:00:00Z", "2027-03-11T00:00:00Z"
Call = Callable[..., requests.Response]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with served() as world:
        yield world


@pytest.fixture
def desk(world: World) -> Iterator[Desk]:
    yield open_desk(world)
    world.emulator.faults.clear()


@pytest.fixture
def call(world: World, desk: Desk) -> Call:
    token = ClientCredentialFlow(world.credentials()).token()

    def send(method: str, path: str, **more: Any) -> requests.Response:  # noqa: ANN401 - requests' own
        headers = {"Authorization": f"Bearer {token}", **more.pop("headers", {})}
        url = f"{world.url}/v1.0{path.format(user=desk.ref.remote)}"
        return requests.request(method, url, headers=headers, timeout=10, **more)

    return send


# The library imports further modules of its own when a path is first used.
@pytest.mark.filterwarnings("ignore:This class is deprecated. Please use the generic:DeprecationWarning")
class TestMicrosoftsClient:
    def test_creates_reads_changes_and_deletes(self, world: World, desk: Desk) -> None:
        async def scenario(graph: GraphServiceClient) -> None:
            events = graph.users.by_user_id(desk.ref.remote).events
            made = await events.post(_sdk_event("Showing"))
            assert made is not None
            assert made.start is not None
            assert (made.subject, made.start.date_time) == ("Showing", "2027-03-08T15:00:00.0000000")
            one = events.by_event_id(str(made.id))
            read = await one.get()
            assert read is not None
            assert read.last_modified_date_time == made.last_modified_date_time
            fresh = RequestConfiguration[Any]()
            fresh.headers.add("If-Match", str(made.additional_data["@odata.etag"]))
            changed = await one.patch(Event(subject="Later"), request_configuration=fresh)
            assert changed is not None
            assert changed.subject == "Later"
            with pytest.raises(ODataError) as stale:
                await one.patch(Event(subject="Too late"), request_configuration=fresh)
            assert stale.value.response_status_code == 412
            assert stale.value.error is not None
            assert stale.value.error.code == "ErrorIrresolvableConflict"
            await one.delete()
            with pytest.raises(ODataError) as gone:
                await one.get()
            assert gone.value.response_status_code == 404

        _with_sdk(world, scenario)

    def test_reads_the_delta_page_by_page_and_goes_on_from_its_link(self, world: World, desk: Desk) -> None:
        planted = {desk.types(title=f"Visit {each}") for each in range(3)}

        async def scenario(graph: GraphServiceClient) -> None:
            delta = graph.users.by_user_id(desk.ref.remote).calendar_view.delta
            query = DeltaRequestBuilder.DeltaRequestBuilderGetQueryParameters(start_date_time=START, end_date_time=END)
            asked = RequestConfiguration(query_parameters=query)
            asked.headers.add("Prefer", "odata.maxpagesize=2")
            first = await delta.get(request_configuration=asked)
            assert first is not None
            assert first.odata_delta_link is None
            second = await delta.with_url(str(first.odata_next_link)).get()
            assert second is not None
            assert {event.id for event in [*(first.value or []), *(second.value or [])]} == planted
            desk.act("delete", id=min(planted))
            third = await delta.with_url(str(second.odata_delta_link)).get()
            assert third is not None
            (removed,) = third.value or []
            assert removed.additional_data["@removed"] == {"reason": "deleted"}

        _with_sdk(world, scenario)


class TestShapes:
    def test_events_have_only_fields_and_values_that_graph_has(self, desk: Desk, call: Call) -> None:
        desk.client.create(draft(), key=key())
        desk.types(attendees=["pat@example.com"], zone="Europe/Berlin")
        desk.types(
            start=datetime.fromisoformat("2027-03-09T00:00Z"),
            end=datetime.fromisoformat("2027-03-10T00:00Z"),
            all_day=True,
        )
        view = call("GET", f"/users/{{user}}/calendarView?startDateTime={START}&endDateTime={END}").json()["value"]
        delta = call("GET", f"/users/{{user}}/calendarView/delta?startDateTime={START}&endDateTime={END}").json()[
            "value"
        ]
        schema = schema_of(Event)
        assert len(view) == len(delta) == 3
        for event in [*view, *delta]:
            jsonschema.validate(event, schema)
            assert re.fullmatch(r'W/"[A-Za-z0-9+/=]+"', event["@odata.etag"])
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}", event["start"]["dateTime"])
            assert re.fullmatch(r".+\.\d{7}Z", event["lastModifiedDateTime"])

    def test_series_have_only_fields_and_values_that_graph_has(self, desk: Desk, call: Call) -> None:
        pattern, bounds = {"type": "daily", "interval": 1}, {"type": "noEnd", "startDate": "2027-03-08"}
        series = desk.types(raw={"recurrence": {"pattern": pattern, "range": bounds}})
        window = f"startDateTime={START}&endDateTime={END}"
        first = call("GET", f"/users/{{user}}/calendarView?{window}").json()["value"][0]
        call("PATCH", f"/users/{{user}}/events/{first['id']}", json={"subject": "Only this"})
        paths = (
            f"calendarView?{window}",
            f"calendarView/delta?{window}",
            f"events/{series}/instances?{window}",
            "events",
        )
        rows = [row for path in paths for row in call("GET", f"/users/{{user}}/{path}").json()["value"]]
        assert {row["type"] for row in rows} == {"seriesMaster", "occurrence", "exception"}
        for row in rows:
            jsonschema.validate(row, schema_of(Event))

    def test_the_check_bites(self) -> None:
        schema = schema_of(Event)
        for odd in ({"summary": "x"}, {"showAs": "opaque"}, {"start": {"date": "2027-03-08"}}, {"isAllDay": "no"}):
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate(odd, schema)

    def test_subscriptions_have_only_fields_that_graph_has(self, world: World, desk: Desk, call: Call) -> None:
        sent = {"resource": f"/users/{desk.ref.remote}/events", "changeType": "created", "notificationUrl": "https://x"}
        world.emulator._subscriptions.add(
            {**sent, "expirationDateTime": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}
        )
        (subscription,) = call("GET", "/subscriptions").json()["value"]
        jsonschema.validate(subscription, schema_of(Subscription))

    def test_errors_have_graphs_envelope(self, call: Call) -> None:
        error = call("GET", "/users/{user}/events/none").json()["error"]
        assert error["code"] == "ErrorItemNotFound"
        assert {"date", "request-id"} <= error["innerError"].keys()

    def test_times_are_shown_in_the_zone_that_is_preferred(self, desk: Desk, call: Call) -> None:
        event = desk.types()
        headers = {"Prefer": 'outlook.timezone="W. Europe Standard Time"'}
        shown = call("GET", f"/users/{{user}}/events/{event}", headers=headers).json()
        assert shown["start"] == {"dateTime": "2027-03-08T16:00:00.0000000", "timeZone": "W. Europe Standard Time"}
        odd = call("GET", f"/users/{{user}}/events/{event}", headers={"Prefer": 'outlook.timezone="Mars"'})
        assert odd.json()["error"]["code"] == "TimeZoneNotSupportedException"


class TestRequests:
    @pytest.mark.parametrize(
        "path",
        [
            "/users/{user}/calendarView/delta",
            "/users/{user}/calendarview/delta()",
            "/Users/{user}/calendar/calendarView/microsoft.graph.delta",
            "/users/{user}/CalendarView/Microsoft.Graph.Delta()",
        ],
    )
    @pytest.mark.parametrize("names", [("startDateTime", "endDateTime"), ("startdatetime", "enddatetime")])
    def test_every_spelling_of_delta_is_understood(
        self, desk: Desk, call: Call, path: str, names: tuple[str, str]
    ) -> None:
        event = desk.types()
        body = call("GET", f"{path}?{urlencode(dict(zip(names, (START, END), strict=True)))}").json()
        assert [row["id"] for row in body["value"]] == [event]
        assert "$deltatoken=" in body["@odata.deltaLink"]

    def test_lost_token_names_a_new_start(self, desk: Desk, call: Call) -> None:
        desk.fault("expired_cursor")
        path = f"/users/{{user}}/calendarView/delta?startDateTime={START}&endDateTime={END}"
        link = call("GET", path).json()["@odata.deltaLink"]
        lost = call("GET", link.partition("/v1.0")[2])
        assert lost.status_code == 410
        assert "startDateTime=" in lost.headers["Location"]

    @pytest.mark.parametrize(
        ("method", "path", "body", "status", "code"),
        [
            ("GET", "/users/{user}/calendarView", None, 400, "ErrorInvalidParameter"),
            (
                "GET",
                f"/users/{{user}}/calendarView?startDateTime={END}&endDateTime={START}",
                None,
                400,
                "ErrorInvalidParameter",
            ),
            ("GET", "/users/{user}/events?$filter=transactionId eq 'x'", None, 400, "ErrorInvalidUrlQueryFilter"),
            ("GET", "/users/{user}/events?$top=many", None, 400, "BadRequest"),
            ("POST", "/users/{user}/events", [], 400, "BadRequest"),
            ("POST", "/users/{user}/events", {"subject": "no times"}, 400, "ErrorInvalidRequest"),
            ("POST", "/users/{user}/events", {"summary": "not Graph's"}, 400, "ErrorInvalidRequest"),
            ("PATCH", "/users/{user}/events/none", {}, 404, "ErrorItemNotFound"),
            ("DELETE", "/users/{user}/events/none", None, 404, "ErrorItemNotFound"),
            ("GET", "/subscriptions/none", None, 404, "ResourceNotFound"),
            ("POST", "/subscriptions", {}, 400, "InvalidRequest"),
        ],
    )
    def test_refusals(  # noqa: PLR0917 - one row of the table
        self, call: Call, method: str, path: str, body: object, status: int, code: str
    ) -> None:
        answer = call(method, path, json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)

    def test_nobody_enters_without_a_token(self, call: Call) -> None:
        answer = call("GET", "/users/{user}/events", headers={"Authorization": "Bearer made-up"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "InvalidAuthenticationToken")

    def test_cancelled_by_its_organizer_is_gone(self, desk: Desk, call: Call) -> None:
        event = desk.types()
        answer = call("POST", f"/users/{{user}}/events/{event}/cancel", json={"Comment": "sorry"})
        assert (answer.status_code, answer.content) == (202, b"")
        assert desk.client.read_window(WINDOW) == []

    def test_deletion_can_go_unreported(self, desk: Desk) -> None:
        event = desk.types()
        cursor = desk.client.read_changes(None, window=WINDOW).cursor
        desk.act("delete", id=event)
        desk.fault("drop_deletion")
        assert desk.client.read_changes(cursor, window=WINDOW).changes == ()


def _sdk_event(subject: str) -> Event:
    start = DateTimeTimeZone(date_time=f"{NINE:%Y-%m-%dT%H:%M:%S}", time_zone="UTC")
    end = DateTimeTimeZone(date_time=f"{NINE:%Y-%m-%dT}16:00:00", time_zone="UTC")
    return Event(subject=subject, start=start, end=end)


def _with_sdk(world: World, scenario: Callable[[GraphServiceClient], Coroutine[Any, Any, None]]) -> None:
    """Run ``scenario`` with Microsoft's client, which is told not to repeat requests by itself."""
    token = ClientCredentialFlow(world.credentials()).token()

    async def run() -> None:
        options: dict[str, RequestOption] = {RetryHandlerOption.get_key(): RetryHandlerOption(should_retry=False)}
        async with KiotaClientFactory.create_with_default_middleware(options=options) as http:
            http.headers["Authorization"] = f"Bearer {token}"
            adapter = GraphRequestAdapter(AnonymousAuthenticationProvider(), client=http)
            adapter.base_url = f"{world.url}/v1.0"
            await scenario(GraphServiceClient(request_adapter=adapter))

    asyncio.run(run())
