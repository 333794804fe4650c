"""Schemathesis against our own description of the API: whatever it sends, no 5xx, and every answer is as described."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.integration.desk import Desk, open_desk
from workers.embedded import EmbeddedPostgres, EmbeddedValkey

AGREED = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
LONGEST_WAIT = 0.05


@pytest.fixture(scope="module")
def desk(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with (
        EmbeddedValkey(tmp_path_factory.mktemp("valkey")) as valkey,
        open_desk(
            postgres, tmp_path_factory.mktemp("web"), name="openapi", WATERTIGHT_BROKER_URL=valkey.url()
        ) as opened,
    ):
        yield opened


@pytest.fixture(scope="module")
def description(desk: Desk) -> dict[str, Any]:
    described: dict[str, Any] = requests.get(f"{desk.web.url}/openapi.json", timeout=20).json()
    described["paths"] = {
        path: methods
        for path, methods in described["paths"].items()
        if path.startswith(("/api/", "/healthz", "/readyz"))
    }
    return described


def examine(desk: Desk, description: dict[str, Any], *, mode: GenerationMode, examples: int, token: str | None) -> int:
    """Send ``examples`` requests to every operation and hold the answers against the description; how many were sent."""
    described = schemathesis.openapi.from_dict(description)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    sent = 0

    def hold_against(case: Case[Any]) -> None:
        nonlocal sent
        sent += 1
        case.call_and_validate(base_url=desk.web.url, headers=headers, checks=AGREED, timeout=20)

    for found in described.include(path_regex="^/api/" if mode is GenerationMode.NEGATIVE else "").get_all_operations():
        assert isinstance(found, Ok), found
        cases = found.ok().as_strategy(generation_mode=mode).map(_answerable)
        run = settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            verbosity=Verbosity.quiet,
            suppress_health_check=list(HealthCheck),
        )
        run(seed(20_270_308)(given(cases)(hold_against)))()
    return sent


def _answerable(case: Case[Any]) -> Case[Any]:
    """Nobody has half a minute for each, and most agents are nobody: these are dana."""
    if isinstance(case.query.get("wait"), float | int):
        case.query["wait"] = min(case.query["wait"], LONGEST_WAIT)
    if isinstance(case.body, dict) and isinstance(case.body.get("agent"), str):
        case.body["agent"] = "dana"
    if isinstance(case.path_parameters.get("slug"), str):
        case.path_parameters["slug"] = "dana"
    return case


def test_requests_as_described_are_answered_as_described(desk: Desk, description: dict[str, Any]) -> None:
    with desk.deciding():
        assert examine(desk, description, mode=GenerationMode.POSITIVE, examples=10, token=desk.token) >= 80


def test_requests_that_are_not_as_described_are_answered_as_described(desk: Desk, description: dict[str, Any]) -> None:
    assert examine(desk, description, mode=GenerationMode.NEGATIVE, examples=10, token=desk.token) >= 80


def test_without_a_token_all_is_refused_as_described(desk: Desk, description: dict[str, Any]) -> None:
    assert examine(desk, description, mode=GenerationMode.POSITIVE, examples=3, token=None) > 20
    assert "Traceback" not in desk.web.log.read_text()


def test_a_description_that_is_not_true_is_found_out(desk: Desk, description: dict[str, Any]) -> None:
    lying = json.loads(json.dumps(description))
    del lying["paths"]["/api/proposals"]["get"]["responses"]["401"]
    with pytest.raises(FailureGroup):
        examine(desk, lying, mode=GenerationMode.POSITIVE, examples=1, token=None)


def test_every_request_and_answer_has_an_example(description: dict[str, Any]) -> None:
    missing = [
        f"{where}: {json.dumps(media)[:200]}"
        for where, media in _contents(description)
        if not _has_example(media, description)
    ]
    assert missing == []


def _contents(description: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What goes in and out, and where."""
    for path, methods in description["paths"].items():
        for method, operation in methods.items() if path.startswith("/api/") else ():
            parts = [operation.get("requestBody", {}), *operation["responses"].values()]
            yield from ((f"{method} {path}", media) for part in parts for media in part.get("content", {}).values())


def _has_example(media: dict[str, Any], description: dict[str, Any]) -> bool:
    schemas = [media.get("schema", {}), *media.get("schema", {}).get("anyOf", [])]
    named = [description["components"]["schemas"][one["$ref"].rpartition("/")[2]] for one in schemas if "$ref" in one]
    return "example" in media or any("examples" in schema for schema in named)


def test_every_route_of_the_api_names_its_security_and_its_refusals(description: dict[str, Any]) -> None:
    assert description["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    for path, methods in description["paths"].items():
        for operation in methods.values() if path.startswith("/api/") else ():
            assert operation["security"] == [{"HTTPBearer": []}]
            assert {"401", "403", "422", "429", "503"} <= set(operation["responses"]), path
            problems = {status: answer for status, answer in operation["responses"].items() if status >= "400"}
            assert {tuple(answer["content"]) for answer in problems.values()} == {("application/problem+json",)}
