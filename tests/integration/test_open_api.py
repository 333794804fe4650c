"""The API without tokens: open to this machine by decision only, and to nobody that a browser brings along."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.integration.served import ROOT, Web, migrated, serve
from workers.embedded import EmbeddedPostgres

NOWHERE = "postgresql+psycopg://app:swordfish@127.0.0.1:1/watertight"


@pytest.fixture(scope="module")
def web(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with migrated(postgres, "open") as url, serve(tmp_path_factory.mktemp("open"), database_url=url) as served:
        yield served


def test_a_program_of_this_machine_needs_no_token(web: Web) -> None:
    assert requests.get(f"{web.url}/api/proposals", timeout=20).json() == {"proposals": [], "next": None}


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "rebound.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"X-Forwarded-For": "192.0.2.7"},
        {"Authorization": f"Bearer wt_{'x' * 43}"},
        {"Authorization": ""},
    ],
)
def test_whoever_comes_from_elsewhere_does_and_so_does_who_shows_a_wrong_one(web: Web, headers: dict[str, str]) -> None:
    answer = requests.get(f"{web.url}/api/proposals", headers=headers, timeout=20)
    assert (answer.status_code, answer.headers["Content-Type"]) == (401, "application/problem+json")


def test_a_key_that_looks_like_a_tokens_is_refused(web: Web) -> None:
    body = {"agent": "dana", "start": "2027-03-08T15:00:00Z", "end": "2027-03-08T15:30:00Z", "title": "Demo"}
    for key in ("t1:order", "form:x:y"):
        answer = web.post(body, key=key)
        assert [one["field"] for one in answer.json()["errors"]] == ["idempotency-key"]


def test_nobody_waits_for_a_broker_that_is_away(web: Web) -> None:
    body = {"agent": "dana", "start": "2027-03-08T15:00:00Z", "end": "2027-03-08T15:30:00Z", "title": "Demo"}
    began = time.monotonic()
    answers = [web.post(body | {"title": f"Demo {number}"}) for number in range(8)]
    assert {answer.status_code for answer in answers} == {202}
    assert time.monotonic() - began < 20, "one nudge alone takes six seconds to give up"


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """Nobody decided so, and the database is away."""
    settings = {"WATERTIGHT_API_OPEN": "false", "WATERTIGHT_PUBLIC_URL": "https://book.example"}
    with serve(tmp_path_factory.mktemp("closed"), database_url=NOWHERE, **settings) as served:
        yield served


def test_without_the_decision_a_token_is_needed_here_too(closed: Web) -> None:
    answer = requests.get(f"{closed.url}/api/proposals", timeout=20)
    assert answer.status_code == 401
    assert answer.headers["Strict-Transport-Security"].startswith("max-age="), "the public address is https"


def test_garbage_for_a_token_asks_nobody(closed: Web) -> None:
    def ask(token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        return requests.get(f"{closed.url}/api/proposals", headers=headers, timeout=20).status_code

    assert {ask(token) for token in ("x", "wt_short", f"wt_{'x' * 44}", f"wt_{'.' * 43}")} == {401}
    assert ask(f"wt_{'x' * 43}") == 503, "only what is written like a token is looked up"


def test_an_open_api_is_not_served_to_others(tmp_path: Path) -> None:
    told = {"DATABASE_URL": NOWHERE, "STATE_DIR": str(tmp_path), "API_OPEN": "true"}
    env = os.environ | {f"WATERTIGHT_{name}": value for name, value in told.items()}
    everybody = "0.0.0.0"  # noqa: S104 - which is to be refused
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "--factory",
        "workers.web.app:serve",
        "--port",
        "0",
        "--host",
        everybody,
    ]
    ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode != 0
    assert "WATERTIGHT_API_OPEN: only on loopback" in ended.stderr
