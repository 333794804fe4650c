"""The emulated form tools: what they remember, show and post."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from providers.emulation import build_app
from providers.webform.emulator import WebformEmulator
from tests.fixtures.google.serving import serving

SECRET = "correct-horse-battery"
HEADS = {
    "typeform": "Typeform-Signature",
    "tally": "Tally-Signature",
    "jotform": None,
    "gravity-forms": "X-Form-Token",
    "hubspot": "X-HubSpot-Signature-v3",
    "html": None,
}


@contextmanager
def receiver(*statuses: int) -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """An address and what arrives there; ``statuses`` are given first, 200 afterwards."""
    arrived: list[tuple[dict[str, str], bytes]] = []
    planned = list(statuses)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            arrived.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(planned.pop(0) if planned else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}/hook", arrived
        http.shutdown()
        thread.join()


def connect(emulator: str, tool: str, url: str) -> requests.Response:
    connection = {"tool": tool, "url": url, "secret": SECRET}
    return requests.put(f"{emulator}/forms/demo/webhook", json=connection, timeout=20)


def act(emulator: str, action: str = "create", **details: object) -> requests.Response:
    body = {"action": action, "calendar": "demo", **details}
    return requests.post(f"{emulator}/_control/events", json=body, timeout=20)


def settled(emulator: str) -> list[dict[str, Any]]:
    """The submissions, once nothing waits to be posted."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        rows: list[dict[str, Any]] = requests.get(f"{emulator}/forms/demo/submissions", timeout=20).json()
        if not any(row["waiting"] for row in rows):
            return rows
        time.sleep(0.02)
    raise AssertionError("something is still on its way")


@pytest.mark.parametrize("tool", HEADS)
def test_a_submission_is_posted_with_the_tools_own_proof(tool: str) -> None:
    with receiver() as (url, arrived), serving(build_app(WebformEmulator())) as emulator:
        connect(emulator, tool, url)
        submission = act(emulator).json()["id"]
        settled(emulator)
        ((headers, body),) = arrived
        assert submission.encode() in body
        proof = HEADS[tool]
        assert (proof in headers) == (proof is not None)


def test_a_refused_post_is_tried_again() -> None:
    with receiver(500, 422) as (url, arrived), serving(build_app(WebformEmulator())) as emulator:
        connect(emulator, "tally", url)
        act(emulator)
        (row,) = settled(emulator)
        assert [one["status"] for one in row["deliveries"]] == [500, 422, 200]
        assert len({body for _, body in arrived}) == 1


def test_a_restart_remembers_who_listens(tmp_path: Path) -> None:
    journal = tmp_path / "webform.jsonl"
    with receiver() as (url, arrived):
        with serving(build_app(WebformEmulator(journal=journal))) as emulator:
            connect(emulator, "typeform", url)
        with serving(build_app(WebformEmulator(journal=journal))) as emulator:
            act(emulator)
            settled(emulator)
            state = requests.get(f"{emulator}/_control/state", timeout=20)
    assert len(arrived) == 1
    assert SECRET not in state.text
    assert set(state.json()["calendars"]) == {"connections", "demo"}


def test_a_late_post_arrives_later_and_an_edited_one_with_its_old_id() -> None:
    with receiver() as (url, arrived), serving(build_app(WebformEmulator())) as emulator:
        connect(emulator, "html", url)
        fault = {"kind": "late_push", "calendar": "demo", "seconds": 0.3}
        requests.post(f"{emulator}/_control/faults", json=fault, timeout=20)
        submission = act(emulator).json()["id"]
        assert arrived == []
        act(emulator, "change", id=submission, event={"start": "2027-03-08T15:30:00Z"})
        settled(emulator)
        assert [submission.encode() in body for _, body in arrived] == [True, True]
        assert act(emulator, "delete", id=submission).ok
        assert settled(emulator) == []


def test_what_is_not_connected_is_not_found() -> None:
    with serving(build_app(WebformEmulator())) as emulator:
        assert act(emulator).status_code == 404
        assert connect(emulator, "fax", "http://127.0.0.1:1").status_code == 422
        connect(emulator, "html", "http://127.0.0.1:1")
        assert act(emulator, "change", id="nobody").status_code == 404
        act(emulator)
        (row,) = settled(emulator)
        assert {one["status"] for one in row["deliveries"]} == {0}
