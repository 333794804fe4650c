"""The HTTP application over real HTTP, as a process of its own: every refusal is a problem that names the field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.integration.served import Web, keys, migrated, serve
from tests.integration.world import at
from workers.embedded import EmbeddedPostgres

HOUR = at(9)
GOOD: dict[str, Any] = {
    "agent": "dana",
    "start": HOUR.start.isoformat(),
    "end": HOUR.end.isoformat(),
    "title": "Secret cellar",
    "attendees": [{"name": "Ann Onymous", "email": "ann@prospect.example"}],
}
PRIVATE = ("Secret cellar", "Ann Onymous", "ann@prospect.example")


@pytest.fixture(scope="module")
def web(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """Starting one takes seconds, so one serves all tests here; each uses keys of its own."""
    with migrated(postgres, "web") as url, serve(tmp_path_factory.mktemp("web"), database_url=url) as served:
        yield served


def fields(answer: requests.Response, status: int = 422) -> set[str]:
    problem = answer.json()
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json"), answer.text
    assert problem["status"] == status
    assert problem["type"].startswith("urn:watertight:")
    assert problem["detail"]
    return {one["field"] for one in problem.get("errors", [])}


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in GOOD.items() if key != name}


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        *[(without(name), {name}) for name in ("agent", "start", "end", "title")],
        *[(GOOD | {name: None}, {name}) for name in ("agent", "start", "end", "title", "attendees")],
        (GOOD | {"start": "2027-03-08T15:00:00"}, {"start"}),
        (GOOD | {"start": "2027-03-08"}, {"start"}),
        (GOOD | {"start": "next Monday"}, {"start"}),
        (GOOD | {"start": 1804518000}, {"start"}),
        (GOOD | {"start": "1804518000"}, {"start"}),
        (GOOD | {"start": "2027-02-30T15:00:00Z"}, {"start"}),
        (GOOD | {"start": "0001-01-01T00:00:00+14:00"}, {"start"}),
        (GOOD | {"end": "9999-12-31T23:59:00-05:00"}, {"end"}),
        (GOOD | {"end": HOUR.start.isoformat()}, {"end"}),
        (GOOD | {"start": HOUR.end.isoformat(), "end": HOUR.start.isoformat()}, {"end"}),
        (GOOD | {"end": HOUR.end.replace(year=HOUR.end.year + 1).isoformat()}, {"end"}),
        (GOOD | {"title": ""}, {"title"}),
        (GOOD | {"title": "x" * 301}, {"title"}),
        (GOOD | {"title": "a\0b"}, {"title"}),
        (GOOD | {"title": 7}, {"title"}),
        (GOOD | {"agent": "dana\0"}, {"agent"}),
        (GOOD | {"slot_version": -1}, {"slot_version"}),
        (GOOD | {"slot_version": 2**63}, {"slot_version"}),
        (GOOD | {"slot_version": "new"}, {"slot_version"}),
        (GOOD | {"attendees": [{"name": "Ann", "email": None}]}, {"attendees.0.email"}),
        (GOOD | {"attendees": [{"name": "Ann", "email": "ann"}]}, {"attendees.0.email"}),
        (GOOD | {"attendees": [{"name": "Ann"}]}, {"attendees.0.email"}),
        (GOOD | {"attendees": "ann@example.test"}, {"attendees"}),
        (GOOD | {"colour": "red"}, {"colour"}),
        ({}, {"agent", "start", "end", "title"}),
        ([], {"body"}),
        (None, {"body"}),
        ("dana", {"body"}),
    ],
)
def test_a_wrong_proposal_is_refused_by_field(web: Web, body: object, wrong: set[str]) -> None:
    assert fields(web.post(body)) == wrong


def test_what_is_no_json_is_said_so(web: Web) -> None:
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
    for content in ("{", "", "\x00"):
        assert fields(requests.post(f"{web.url}/api/proposals", data=content, headers=headers, timeout=20)) == {"body"}


@pytest.mark.parametrize("key", [None, "", "x" * 201])
def test_a_key_is_required(web: Web, key: str | None) -> None:
    headers = {} if key is None else {"Idempotency-Key": key}
    answer = requests.post(f"{web.url}/api/proposals", json=GOOD, headers=headers, timeout=20)
    assert fields(answer) == {"idempotency-key"}


def test_the_same_key_gives_the_same_proposal(web: Web) -> None:
    first, second = (web.post(GOOD, key="twice") for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json() == second.json()
    assert first.headers["Location"] == second.headers["Location"] == f"/api/proposals/{first.json()['id']}"
    shifted = {"start": HOUR.start.isoformat().replace("+00:00", "Z"), "slot_version": None}
    assert web.post(GOOD | shifted, key="twice").json()["id"] == first.json()["id"], (
        "the same instant, spelled otherwise"
    )


def test_the_same_key_for_something_else_is_refused(web: Web) -> None:
    web.post(GOOD, key="other")
    changes: tuple[dict[str, Any], ...] = (
        {"title": "Attic"},
        {"attendees": []},
        {"end": at(9, 90).end.isoformat()},
        {"slot_version": 3},
    )
    for change in changes:
        assert fields(web.post(GOOD | change, key="other")) == {"idempotency-key"}


def test_what_does_not_exist_is_a_problem_too(web: Web) -> None:
    assert fields(web.post(GOOD | {"agent": "nobody"}), 404) == set()
    for path in ("/api/proposals/999999", "/nowhere"):
        assert fields(requests.get(f"{web.url}{path}", timeout=20), 404) == set()
    assert fields(requests.delete(f"{web.url}/api/proposals", timeout=20), 405) == set()
    for number in ("x", "0", "-1", "9" * 30):
        assert fields(requests.get(f"{web.url}/api/proposals/{number}", timeout=20)) == {"proposal_id"}


def test_a_proposal_is_shown_without_what_was_typed(web: Web) -> None:
    location = web.post(GOOD).headers["Location"]
    shown = requests.get(f"{web.url}{location}", timeout=20)
    assert shown.json()["state"] == "pending"
    assert not [word for word in PRIVATE if word in shown.text]


def test_the_description_says_what_is_answered(web: Web) -> None:
    paths = requests.get(f"{web.url}/openapi.json", timeout=20).json()["paths"]
    refusals = paths["/api/proposals"]["post"]["responses"]["422"]["content"]
    assert list(refusals) == ["application/problem+json"]
    assert {"type", "title", "status", "detail", "errors"} == set(
        refusals["application/problem+json"]["schema"]["properties"]
    )


def test_no_log_carries_what_was_typed(web: Web) -> None:
    web.post(GOOD)
    assert [word for word in PRIVATE if word in web.log.read_text()] == []


@pytest.fixture(scope="module")
def cut_off(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    url = "postgresql+psycopg://app:swordfish@127.0.0.1:1/watertight"
    with serve(tmp_path_factory.mktemp("cut-off"), database_url=url) as served:
        yield served


def test_without_a_database_it_asks_to_come_again(cut_off: Web) -> None:
    assert requests.get(f"{cut_off.url}/healthz", timeout=20).json() == {"status": "ok"}
    assert fields(requests.get(f"{cut_off.url}/readyz", timeout=20), 503) == set()
    answer = cut_off.post(GOOD)
    assert fields(answer, 503) == set()
    assert answer.headers["Retry-After"].isdigit()
    log = cut_off.log.read_text()
    assert "web.database_error" in log
    assert [word for word in (*PRIVATE, "swordfish") if word in log] == []


def ask(web: Web, path: str, body: object = None, *, key: str | None = None) -> requests.Response:
    headers = {"Idempotency-Key": key or f"key-{next(keys)}"}
    return requests.post(f"{web.url}/api/{path}", json=body, headers=headers, timeout=20)


TIME = {"start": GOOD["start"], "end": GOOD["end"]}


def test_a_hold_is_answered_with_a_secret_that_nobody_else_is_shown(web: Web) -> None:
    answer = ask(web, "holds", {"agent": "dana", **TIME, "seconds": 60})
    assert (answer.status_code, answer.json()["state"]) == (202, "pending"), answer.text
    secret = answer.json()["hold"]
    shown = requests.get(web.url + answer.headers["Location"], timeout=20)
    assert (len(secret) > 20, secret in shown.text) == (True, False)
    released = requests.delete(f"{web.url}/api/holds/{secret}", timeout=20)
    again = requests.delete(f"{web.url}/api/holds/{secret}", timeout=20)
    assert (released.status_code, again.json()["id"]) == (202, released.json()["id"])


def test_the_same_hold_asked_for_again_is_the_same_with_the_same_secret(web: Web) -> None:
    body = {"agent": "dana", **TIME}
    first, second = (ask(web, "holds", body, key="hold-twice").json() for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("path", "body", "status", "at_fault"),
    [
        ("holds", {"agent": "nobody", **TIME}, 404, None),
        ("holds", {"agent": "dana", **TIME, "seconds": 0}, 422, "seconds"),
        ("holds", {"agent": "dana", "start": TIME["start"]}, 422, "end"),
        ("appointments/99/move", TIME, 404, None),
        ("appointments/0/move", TIME, 422, "appointment_id"),
        ("appointments/99/move", {**TIME, "start": "2027-03-08T15:00:00"}, 422, "start"),
        ("appointments/99/cancel", None, 404, None),
        ("appointments/99/cancel", {"slot_version": -1}, 422, "slot_version"),
    ],
)
def test_a_wish_that_cannot_be_is_a_problem_that_says_why(
    web: Web, path: str, body: object, status: int, at_fault: str | None
) -> None:
    answer = ask(web, path, body)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json"), answer.text
    if at_fault is not None:
        assert at_fault in str(answer.json()["errors"])


def test_a_hold_that_nobody_has_cannot_be_given_back(web: Web) -> None:
    assert requests.delete(f"{web.url}/api/holds/guessed", timeout=20).status_code == 404
