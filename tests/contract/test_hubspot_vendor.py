"""The HubSpot emulator judged by HubSpot's own client library, and by the models that are generated from its description."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import jsonschema
import pytest
import requests
from hubspot import HubSpot
from hubspot.crm.objects import meetings as vendor
from hubspot.crm.objects.meetings.exceptions import ApiException
from hubspot.utils.objects import fetch_all

from providers.emulation import HumanEvent
from providers.hubspot.emulated_limits import Limits
from tests.fixtures.hubspot.serving import MORNING, OTHER, OWNER, TOKEN, Stage, World, stage

JSON = dict[str, Any]

TIMED = {
    "hs_timestamp": "2027-03-08T15:00:00Z",
    "hs_meeting_title": "Viewing",
    "hs_meeting_start_time": "1804518000000",
    "hs_meeting_end_time": "2027-03-08T16:00:00+00:00",
    "hubspot_owner_id": OWNER,
}


@pytest.fixture(scope="module")
def server() -> Iterator[Stage]:
    with stage() as running:
        yield running


@pytest.fixture
def hubspot(server: Stage) -> World:
    return server.world()


@pytest.fixture
def client(hubspot: World) -> HubSpot:
    return HubSpot(access_token=TOKEN, host=hubspot.url, base_url=hubspot.url)


def asked(**more: Any) -> vendor.PublicObjectSearchRequest:  # noqa: ANN401 - as the library takes them
    filters = [vendor.Filter(property_name="hubspot_owner_id", operator="EQ", value=OWNER)]
    return vendor.PublicObjectSearchRequest(
        **{"filter_groups": [vendor.FilterGroup(filters=filters)], "properties": ["hs_meeting_title"], "limit": 2}
        | more
    )


# The vendor's client


def test_the_vendors_client_creates_reads_changes_and_archives(client: HubSpot) -> None:
    api = client.crm.objects.meetings.basic_api
    made = api.create(vendor.SimplePublicObjectInputForCreate(properties=TIMED, associations=[]))
    assert made.properties["hs_meeting_start_time"] == "2027-03-08T15:00:00.000Z"
    assert made.archived is False
    names = ["hs_meeting_title", "hs_meeting_end_time", "hs_meeting_outcome"]
    read = api.get_by_id(made.id, properties=names)
    assert [read.properties[name] for name in names] == ["Viewing", "2027-03-08T16:00:00.000Z", None]
    changed = api.update(made.id, vendor.SimplePublicObjectInput(properties={"hs_meeting_outcome": "CANCELED"}))
    assert changed.updated_at > made.updated_at
    assert changed.properties["hs_meeting_outcome"] == "CANCELED"
    api.archive(made.id)
    with pytest.raises(ApiException) as caught:
        api.get_by_id(made.id)
    assert caught.value.status == 404
    assert json.loads(caught.value.body)["category"] == "OBJECT_NOT_FOUND"
    assert api.get_by_id(made.id, archived=True).archived_at is not None
    (listed,) = api.get_page(archived=True, limit=100).results
    assert listed.id == made.id
    assert api.get_page(limit=100).results == []


def test_the_vendors_client_pages_lists_and_searches(client: HubSpot, hubspot: World) -> None:
    made = [hubspot.human_creates(number, number + 1) for number in range(5)]
    hubspot.human_creates(owner=OTHER)
    assert len(fetch_all(client.crm.objects.meetings.basic_api)) == 6
    found: list[str] = []
    page = client.crm.objects.meetings.search_api.do_search(asked())
    while page.paging is not None:
        assert page.total == 5
        found += [row.id for row in page.results]
        page = client.crm.objects.meetings.search_api.do_search(asked(after=page.paging.next.after))
    assert [*found, *(row.id for row in page.results)] == made


@pytest.mark.parametrize(
    ("operator", "values", "count"),
    [
        ("EQ", {"value": "Beta"}, 1),
        ("NEQ", {"value": "Beta"}, 2),
        ("IN", {"values": ["alpha", "gamma"]}, 2),
        ("NOT_IN", {"values": ["alpha"]}, 2),
        ("HAS_PROPERTY", {}, 3),
        ("NOT_HAS_PROPERTY", {}, 0),
        ("CONTAINS_TOKEN", {"value": "beta"}, 1),
        ("NOT_CONTAINS_TOKEN", {"value": "beta"}, 2),
        ("GT", {"value": "beta"}, 1),
    ],
)
def test_the_operators_of_the_search(client: HubSpot, hubspot: World, operator: str, values: JSON, count: int) -> None:
    for title in ("alpha", "Beta", "gamma"):
        hubspot.human_creates(title=title)
    filters = [vendor.Filter(property_name="hs_meeting_title", operator=operator, **values)]
    groups = [vendor.FilterGroup(filters=filters)]
    assert client.crm.objects.meetings.search_api.do_search(asked(filter_groups=groups)).total == count


@pytest.mark.parametrize(
    ("operator", "bounds", "count"),
    [("GTE", (0,), 2), ("GT", (0,), 1), ("LT", (0,), 1), ("LTE", (0,), 2), ("BETWEEN", (-1, 0), 2)],
)
def test_times_are_compared_as_times(
    client: HubSpot, hubspot: World, operator: str, bounds: tuple[int, ...], count: int
) -> None:
    for start in (-1, 0, 1):
        hubspot.human_creates(start, start + 1)
    shown = [str(int((MORNING.timestamp() + hour * 3600) * 1000)) for hour in bounds]
    values = dict(zip(("value", "high_value"), shown, strict=False))
    filters = [vendor.Filter(property_name="hs_meeting_start_time", operator=operator, **values)]
    groups = [vendor.FilterGroup(filters=filters)]
    assert client.crm.objects.meetings.search_api.do_search(asked(filter_groups=groups)).total == count


def test_the_vendors_client_reads_a_batch_that_is_partly_there(client: HubSpot, hubspot: World) -> None:
    event_id = hubspot.human_creates()
    inputs = [vendor.SimplePublicObjectId(id=number) for number in (event_id, "1")]
    body = vendor.BatchReadInputSimplePublicObjectId(properties_with_history=[], properties=[], inputs=inputs)
    answer = client.crm.objects.meetings.batch_api.read(body)
    assert isinstance(answer, vendor.BatchResponseSimplePublicObjectWithErrors)
    assert (answer.status, answer.num_errors, [row.id for row in answer.results]) == ("COMPLETE", 1, [event_id])
    assert answer.errors[0].context == {"ids": ["1"]}


def test_both_spellings_are_one_store(client: HubSpot, hubspot: World) -> None:
    event_id = hubspot.human_creates()
    body = {"filterGroups": [], "limit": 5}
    answer = client.api_request({"method": "POST", "path": "/crm/objects/2026-09/meetings/search", "body": body})
    assert [row["id"] for row in answer.json()["results"]] == [event_id]
    assert client.crm.objects.meetings.basic_api.get_by_id(event_id).id == event_id


@pytest.mark.parametrize(
    ("properties", "code"),
    [
        ({"hs_meeting_title": "x"}, "REQUIRED_PROPERTY_MISSING"),
        ({**TIMED, "hs_meeting_end_time": "soon"}, "INVALID_DATE"),
        ({**TIMED, "hs_meeting_outcome": "PERHAPS"}, "INVALID_OPTION"),
        ({**TIMED, "hubspot_owner_id": "me"}, "INVALID_INTEGER"),
        ({**TIMED, "watertight": "x"}, "PROPERTY_DOESNT_EXIST"),
        ({**TIMED, "hs_lastmodifieddate": "0"}, "READ_ONLY_VALUE"),
    ],
)
def test_the_vendors_client_is_refused_bad_meetings(client: HubSpot, properties: JSON, code: str) -> None:
    with pytest.raises(ApiException) as caught:
        client.crm.objects.meetings.basic_api.create(
            vendor.SimplePublicObjectInputForCreate(properties=properties, associations=[])
        )
    assert caught.value.status == 400
    body = json.loads(caught.value.body)
    assert (body["category"], body["errors"][0]["code"]) == ("VALIDATION_ERROR", code)


@pytest.mark.parametrize(
    "more",
    [
        {"limit": 201},
        {"limit": 200, "after": "9900"},
        {"sorts": ["hs_createdate", "hs_object_id"]},
        {"filter_groups": [vendor.FilterGroup(filters=[])] * 6},
        {
            "filter_groups": [
                vendor.FilterGroup(filters=[vendor.Filter(property_name="no_such", operator="EQ", value="1")])
            ]
        },
    ],
)
def test_the_search_refuses_what_is_too_much(client: HubSpot, more: JSON) -> None:
    with pytest.raises(ApiException) as caught:
        client.crm.objects.meetings.search_api.do_search(asked(**more))
    assert caught.value.status == 400


@pytest.mark.parametrize("token", ["", "wrong"])
def test_a_bad_token_is_an_auth_error(hubspot: World, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    answer = requests.get(f"{hubspot.url}/crm/v3/objects/meetings", headers=headers, timeout=5)
    assert (answer.status_code, answer.json()["category"]) == (401, "INVALID_AUTHENTICATION")


# Limits


def test_the_limit_of_searches(client: HubSpot, hubspot: World) -> None:
    search = client.crm.objects.meetings.search_api
    hubspot.emulator.limits.searches = 2
    assert [search.do_search(asked()).total for _ in range(2)] == [0, 0]
    with pytest.raises(ApiException) as caught:
        search.do_search(asked())
    body = json.loads(caught.value.body)
    assert (caught.value.status, body["errorType"], body["policyName"]) == (429, "RATE_LIMIT", "SECONDLY")
    assert body["message"] == "You have reached your secondly limit."
    assert not any(name.startswith("X-HubSpot-RateLimit") for name in caught.value.headers)
    assert hubspot.emulator.books.limits_exceeded == {"SECONDLY": 1}


def test_the_limit_of_all_requests_is_told_in_headers(hubspot: World) -> None:
    hubspot.emulator.limits.burst = 2
    answers = [
        requests.get(f"{hubspot.url}/crm/v3/objects/meetings", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=5)
        for _ in range(3)
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers.get("X-HubSpot-RateLimit-Remaining") for answer in answers] == ["1", "0", None]
    assert answers[2].json()["policyName"] == "TEN_SECONDLY_ROLLING"


def test_windows_of_limits_pass_and_days_do_not() -> None:
    clock = itertools.count(0, 4)
    limits = Limits(now=lambda: float(next(clock)))
    limits.burst, limits.daily = 2, 4
    told = [limits.exceeded(searching=False) for _ in range(8)]
    assert told == [None, None, "TEN_SECONDLY_ROLLING", None, None, "DAILY", "DAILY", "DAILY"]


# The models that the vendor generates from its description


MODELS = {name: model for name, model in vars(vendor).items() if hasattr(model, "openapi_types")}
SCALARS: dict[str, JSON] = {
    "str": {"type": ["string", "null"]},
    "int": {"type": "integer"},
    "bool": {"type": "boolean"},
    "object": {},
    "datetime": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"},
}


@cache
def schema_of(name: str) -> str:
    """The model as a JSON schema, with every field that it does not name refused."""
    defined = {model: defined_as(kind) for model, kind in MODELS.items()}
    return json.dumps({"$ref": f"#/$defs/{name}", "$defs": defined})


def defined_as(model: Any) -> JSON:  # noqa: ANN401 - a generated class
    fields = {model.attribute_map[name]: typed(kind) for name, kind in model.openapi_types.items()}
    return {"type": "object", "properties": fields, "additionalProperties": False}


def typed(kind: str) -> JSON:
    if listed := re.fullmatch(r"list\[(.+)\]", kind):
        return {"type": "array", "items": typed(listed[1])}
    if mapped := re.fullmatch(r"dict\[str, (.+)\]", kind):
        return {"type": "object", "additionalProperties": typed(mapped[1])}
    return SCALARS.get(kind, {"$ref": f"#/$defs/{kind}"})


def must_be(name: str, answer: JSON) -> None:
    jsonschema.validate(answer, json.loads(schema_of(name)))


class Caller:
    """Bare requests with a good token."""

    def __init__(self, hubspot: World) -> None:
        self._base = f"{hubspot.url}/crm/objects/2026-09/meetings"

    def __call__(self, method: str, path: str = "", **how: Any) -> JSON:  # noqa: ANN401 - passed on to requests
        headers = {"Authorization": f"Bearer {TOKEN}"}
        answer = requests.request(method, f"{self._base}{path}", headers=headers, timeout=5, **how)
        body: JSON = answer.json()
        return body


def test_answers_are_as_published(hubspot: World) -> None:
    call = Caller(hubspot)
    made = call("POST", json={"properties": TIMED})
    must_be("SimplePublicObject", made)
    for path in (f"/{made['id']}", f"/{made['id']}?properties=hs_meeting_title,hs_meeting_outcome,nonsense"):
        must_be("SimplePublicObjectWithAssociations", call("GET", path))
    must_be("SimplePublicObject", call("PATCH", f"/{made['id']}", json={"properties": {"hs_meeting_title": ""}}))
    hubspot.human_creates()
    for page in (call("GET", "?limit=1"), call("GET", "?limit=100")):
        must_be("CollectionResponseSimplePublicObjectWithAssociationsForwardPaging", page)
    for limit in (1, 200):
        page = call("POST", "/search", json={"limit": limit})
        must_be("CollectionResponseWithTotalSimplePublicObjectForwardPaging", page)
    batch = call("POST", "/batch/read", json={"inputs": [{"id": made["id"]}]})
    must_be("BatchResponseSimplePublicObject", batch)


def test_what_people_do_is_as_published(hubspot: World) -> None:
    event_id = hubspot.human_creates()
    hubspot.human_changes(event_id, HumanEvent(title="Surgeon", busy=False))
    must_be("SimplePublicObjectWithAssociations", Caller(hubspot)("GET", f"/{event_id}"))
    hubspot.human_deletes(event_id)
    must_be("SimplePublicObjectWithAssociations", Caller(hubspot)("GET", f"/{event_id}?archived=true"))
    state = requests.get(f"{hubspot.url}/_control/state", timeout=5).json()
    assert state == {"provider": "hubspot", "calendars": {OWNER: []}}


def test_refusals_are_as_published(hubspot: World) -> None:
    call = Caller(hubspot)
    for refused in (call("GET", "/1"), call("POST", json={"properties": {"x": "y"}}), call("GET", "?limit=0")):
        assert refused.pop("status") == "error"
        must_be("Error", refused)


def test_unasked_properties_are_absent_and_asked_ones_null(hubspot: World) -> None:
    shown = Caller(hubspot)("GET", f"/{hubspot.human_creates()}?properties=hs_meeting_body")["properties"]
    assert set(shown) == {"hs_createdate", "hs_lastmodifieddate", "hs_object_id", "hs_meeting_body"}
    assert shown["hs_meeting_body"] is None


def test_the_index_is_late_and_finds_a_record_by_what_it_was(hubspot: World) -> None:
    call = Caller(hubspot)
    event_id = hubspot.human_creates(title="alpha")
    hubspot.arm("late_in_search", seconds=10)
    hubspot.human_changes(event_id, HumanEvent(title="beta"))
    asked_for = {
        "filterGroups": [{"filters": [{"propertyName": "hs_meeting_title", "operator": "EQ", "value": "alpha"}]}]
    }
    (row,) = call("POST", "/search", json={**asked_for, "properties": ["hs_meeting_title"]})["results"]
    assert row["properties"]["hs_meeting_title"] == "beta"
    hubspot.monotonic += 11
    assert call("POST", "/search", json=asked_for)["total"] == 0
