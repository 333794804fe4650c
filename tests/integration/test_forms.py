"""Web forms over real HTTP: an emulated tool posts to the application, which keeps what is proven and understood."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from providers.emulation import build_app
from providers.webform.emulator import WebformEmulator
from providers.webform.payloads import Submission
from sync.domain import Attendee
from sync.intake import receive
from tests.fixtures.google.serving import serving
from tests.integration.served import Web, migrated, serve
from tests.integration.world import World, at
from workers.embedded import EmbeddedPostgres
from workers.web.forms import wish_of

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "forms"
PAYLOADS = ROOT / "tests" / "fixtures" / "webform"
SECRET = "correct-horse-battery"
TOOLS = {
    "typeform": "TYPEFORM",
    "tally": "TALLY",
    "jotform": "JOTFORM",
    "gravity-forms": "GRAVITY",
    "hubspot": "HUBSPOT",
    "html": "",
}
PRIVATE = ("Ann Onymous", "ann@prospect.example", "Wooden boats", SECRET)
PLAIN = {"open": True, "agent": "dana", "start": "start", "minutes": 30, "title": "Demo", "id": "id"}
numbers = itertools.count(1)


@dataclass
class Stage:
    web: Web
    database: str
    emulator: str

    def address(self, form: str) -> str:
        return f"{self.web.url}/webhooks/forms/{form}"

    def arm(self, form: str, kind: str, **details: object) -> None:
        body = {"kind": kind, "calendar": form, **details}
        assert requests.post(f"{self.emulator}/_control/faults", json=body, timeout=20).ok

    def submit(self, form: str, **action: object) -> list[dict[str, Any]]:
        """Somebody submits the form; what was answered to each attempt of the tool to post it."""
        number = next(numbers)
        start = at(9).start + timedelta(hours=number)
        event = {"start": start.isoformat(), "title": "Wooden boats", "zone": "Europe/Berlin"}
        body = {"action": "create", "calendar": form, "event": event} | action
        answer = requests.post(f"{self.emulator}/_control/events", json=body, timeout=20)
        assert answer.ok, answer.text
        return self.deliveries(form, answer.json()["id"])

    def deliveries(self, form: str, submission: str) -> list[dict[str, Any]]:
        """All answers, once the tool has stopped trying."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            rows = requests.get(f"{self.emulator}/forms/{form}/submissions", timeout=20).json()
            found = next(row for row in rows if row["id"] == submission)
            if found["waiting"] == 0:
                return list(found["deliveries"])
            time.sleep(0.02)
        raise AssertionError("the tool never stops trying")

    def post(self, form: str, body: bytes, **headers: str) -> requests.Response:
        sent = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
        return requests.post(self.address(form), data=body, headers=sent, timeout=20)

    def proposals(self, origin: str) -> list[Any]:
        engine = create_engine(self.database, poolclass=NullPool)
        with engine.connect() as connection:
            query = text("SELECT id, key, title, starts_at, ends_at, state FROM proposals WHERE origin = :origin")
            return list(connection.execute(query, {"origin": origin}))


def write_forms(folder: Path) -> dict[str, str]:
    """The shipped examples, and some of this test's own; the answer is the environment with their secrets."""
    for file in EXAMPLES.glob("*.yaml"):
        mapping = yaml.safe_load(file.read_text())
        if "names" in mapping["agent"]:
            mapping["agent"]["names"]["nobody"] = "nobody"
        mapping.pop("wait", None)  # nothing is decided here: tests/integration/test_form_outcomes.py
        (folder / file.name).write_text(yaml.safe_dump(mapping))
    (folder / "plain.yaml").write_text(yaml.safe_dump(PLAIN))
    (folder / "broken.yaml").write_text(yaml.safe_dump(PLAIN | {"colour": "red"}))
    secrets = {f"WATERTIGHT_FORM_{name}": SECRET for name in TOOLS.values() if name}
    return {"WATERTIGHT_FORMS_DIR": str(folder)} | secrets


@pytest.fixture(scope="module")
def stage(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    settings = write_forms(tmp_path_factory.mktemp("mappings"))
    with (
        migrated(postgres, "forms") as database,
        serve(tmp_path_factory.mktemp("forms"), database_url=database, **settings) as web,
        serving(build_app(WebformEmulator())) as emulator,
    ):
        found = Stage(web, database, emulator)
        for tool in TOOLS:
            url = found.address(tool) + (f"?token={SECRET}" if tool == "jotform" else "")
            connection = {"tool": tool, "url": url, "secret": SECRET}
            requests.put(f"{emulator}/forms/{tool}/webhook", json=connection, timeout=20).raise_for_status()
        yield found


def at_fault(answer: requests.Response | dict[str, Any], status: int) -> list[str]:
    """The fields of a problem."""
    told, body = (
        (answer.status_code, answer.text)
        if isinstance(answer, requests.Response)
        else (answer["status"], answer["body"])
    )
    assert told == status, body
    problem = json.loads(body)
    assert problem["type"].startswith("urn:watertight:")
    return [one["field"] for one in problem.get("errors", [])]


def statuses(answers: list[dict[str, Any]]) -> list[int]:
    return [answer["status"] for answer in answers]


@pytest.mark.parametrize("tool", TOOLS)
def test_a_submission_becomes_a_proposal(stage: Stage, tool: str) -> None:
    before = len(stage.proposals(f"form:{tool}"))
    (answer,) = stage.submit(tool)
    found = stage.proposals(f"form:{tool}")
    assert len(found) == before + 1
    assert "Ann Onymous" in found[-1].title
    if tool == "html":
        assert (answer["status"], answer["location"]) == (303, "https://www.example.com/thank-you")
    else:
        assert (answer["status"], json.loads(answer["body"])) == (202, {"id": found[-1].id, "state": "pending"})


@pytest.mark.parametrize("tool", ["typeform", "hubspot"])
def test_the_same_submission_again_is_the_same_proposal(stage: Stage, tool: str) -> None:
    before = len(stage.proposals(f"form:{tool}"))
    stage.arm(tool, "duplicate_push")
    first, second = stage.submit(tool)
    assert (first["status"], second["status"]) == (202, 200)
    assert json.loads(first["body"])["id"] == json.loads(second["body"])["id"]
    assert len(stage.proposals(f"form:{tool}")) == before + 1


def test_an_edited_submission_with_its_old_id_is_refused_and_changes_nothing(stage: Stage) -> None:
    (first,) = stage.submit("tally")
    number = json.loads(first["body"])["id"]
    row = next(row for row in stage.proposals("form:tally") if row.id == number)
    event = {"start": (row.starts_at + timedelta(hours=1)).isoformat(), "zone": "Europe/Berlin"}
    old_id = row.key.rpartition(":")[2]
    again = stage.submit("tally", action="change", id=old_id, event=event)
    assert at_fault(again[-1], 422) == ["id"]
    assert next(after for after in stage.proposals("form:tally") if after.id == number) == row


@pytest.mark.parametrize("tool", [tool for tool in TOOLS if tool not in {"html", "jotform"}])
@pytest.mark.parametrize("fault", ["unsigned", "wrong_signature"])
def test_what_is_not_proven_is_refused_and_not_stored(stage: Stage, tool: str, fault: str) -> None:
    before = stage.proposals(f"form:{tool}")
    stage.arm(tool, fault)
    answers = stage.submit(tool)
    assert statuses(answers) == [401, 401, 401], "the tool tries again, in vain"
    assert at_fault(answers[0], 401) == []
    assert stage.proposals(f"form:{tool}") == before


def test_a_token_in_the_address_is_needed(stage: Stage) -> None:
    fields = json.loads((PAYLOADS / "jotform.json").read_text())
    for query in ("", "?token=", "?token=wrong", f"?token={SECRET}x", "?token=%C3%A4"):
        answer = requests.post(stage.address("jotform") + query, files={"a": (None, "b")}, data=fields, timeout=20)
        assert at_fault(answer, 401) == []


def test_a_signature_is_for_its_own_body_address_and_time(stage: Stage) -> None:
    body = (PAYLOADS / "hubspot.json").read_bytes()
    url, now = stage.address("hubspot"), time.time()

    def sent(body_sent: bytes = body, url_signed: str = url, *, age: float = 0, shown: float | None = None) -> int:
        stamp = str(int((now - age) * 1000))
        content = b"POST" + url_signed.encode() + body + stamp.encode()
        mac = base64.b64encode(hmac.new(SECRET.encode(), content, hashlib.sha256).digest()).decode()
        told = stamp if shown is None else str(int((now - shown) * 1000))
        headers = {"X-HubSpot-Signature-v3": mac, "X-HubSpot-Request-Timestamp": told}
        return stage.post("hubspot", body_sent, **headers).status_code

    assert sent(body + b" ") == 401
    assert sent(url_signed=url + "x") == 401
    assert sent(age=400) == 401
    assert sent(age=-400) == 401
    assert sent(age=400, shown=0) == 401
    assert sent() == 202
    assert sent() == 200, "replayed within the window: the same proposal"
    assert sent(age=200) == 200


def test_a_replay_after_the_window_is_refused(stage: Stage) -> None:
    stage.arm("hubspot", "old_timestamp")
    assert set(statuses(stage.submit("hubspot"))) == {401}


@pytest.mark.parametrize(
    ("tool", "field"),
    [
        ("typeform", "start.date"),
        ("tally", "agent"),
        ("jotform", "agent"),
        ("gravity-forms", "agent"),
        ("hubspot", "agent"),
        ("html", "agent"),
    ],
)
def test_what_cannot_be_understood_is_refused_by_field(stage: Stage, tool: str, field: str) -> None:
    stage.arm(tool, "malformed_row")
    answers = stage.submit(tool)
    assert at_fault(answers[-1], 422) == [field]
    log = stage.web.log.read_text()
    assert "forms.unreadable" in log
    assert [word for word in PRIVATE if word in log] == []


def test_an_agent_that_nobody_is_is_refused(stage: Stage) -> None:
    body = {"submission": "x", "agent": "nobody", "when": "2027-03-08T15:30", "timezone": "UTC", "minutes": "30"}
    fields = body | {"email": "ann@prospect.example"}
    assert at_fault(requests.post(stage.address("html"), data=fields, timeout=20), 422) == ["agent"]


@pytest.mark.parametrize(
    ("when", "word"), [("2027-03-28T02:30", "skips"), ("2027-10-31T02:30", "twice"), ("", "date and time")]
)
def test_a_time_that_nobody_can_keep_is_refused_with_the_reason(stage: Stage, when: str, word: str) -> None:
    fields = {"submission": "x", "agent": "dana", "when": when, "timezone": "Europe/Berlin", "minutes": "30"}
    answer = requests.post(stage.address("html"), data=fields | {"email": "a@b.example"}, timeout=20)
    assert at_fault(answer, 422) == ["start"]
    assert word in answer.json()["detail"]


def test_half_a_body_is_not_read(stage: Stage) -> None:
    stage.arm("tally", "truncated_push")
    assert at_fault(stage.submit("tally")[-1], 422) == ["body"]


def test_too_much_is_not_read(stage: Stage) -> None:
    stage.arm("tally", "oversized_push")
    assert set(statuses(stage.submit("tally"))) <= {413, 0}, "0: the tool was still sending when it was told"
    assert at_fault(stage.post("plain", b" " * (64 * 1024 + 1)), 413) == []
    assert at_fault(stage.post("plain", b" " * (64 * 1024)), 422) == ["body"]


def test_too_much_in_pieces_is_not_read_either(stage: Stage) -> None:
    chunks = (b" " * 1024 for _ in range(65))
    answer = requests.post(
        stage.address("plain"), data=chunks, headers={"Content-Type": "application/json"}, timeout=20
    )
    assert at_fault(answer, 413) == []


def test_a_length_that_is_a_lie_is_not_believed(stage: Stage) -> None:
    host, _, port = stage.web.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as raw:
        head = "POST /webhooks/forms/plain HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        raw.sendall(f"{head}Content-Length: {'9' * 18}\r\n\r\n".encode())
        assert b" 413 " in raw.recv(4096).splitlines()[0]


@pytest.mark.parametrize("content_type", ["text/plain", "", "application/x-www-form-urlencoded", "application/jsonp"])
def test_a_wrong_content_type_is_refused(stage: Stage, content_type: str) -> None:
    assert at_fault(stage.post("plain", b"{}", Content_Type=content_type), 415) == []


def test_the_tool_hears_of_its_wrong_content_type(stage: Stage) -> None:
    stage.arm("tally", "wrong_content_type")
    assert set(statuses(stage.submit("tally"))) == {415}


@pytest.mark.parametrize("form", ["nobody", "..%2F..%2Fetc", "PLAIN", "x" * 300, "plain.yaml"])
def test_an_unknown_form_is_not_found(stage: Stage, form: str) -> None:
    assert at_fault(stage.post(form, b"{}"), 404) == []
    assert requests.get(stage.address("plain"), timeout=20).status_code == 405


def test_a_broken_mapping_asks_to_come_again_and_harms_no_other(stage: Stage) -> None:
    answer = stage.post("broken", b"{}")
    assert at_fault(answer, HTTPStatus.SERVICE_UNAVAILABLE) == []
    assert answer.headers["Retry-After"].isdigit()
    assert "broken.yaml: colour" in stage.web.log.read_text()
    good = {"id": "one", "start": at(200).start.isoformat()}
    assert stage.post("plain", json.dumps(good).encode()).status_code == 202


def test_a_submission_that_was_lost_on_its_way_leaves_no_trace(stage: Stage) -> None:
    before = stage.proposals("form:gravity-forms")
    stage.arm("gravity-forms", "lost_push")
    body = {"action": "create", "calendar": "gravity-forms"}
    assert requests.post(f"{stage.emulator}/_control/events", json=body, timeout=20).ok
    assert stage.proposals("form:gravity-forms") == before


def test_a_submission_is_booked_like_any_other_wish(world: World) -> None:
    wishes = [
        wish_of(Submission("html", key, "dana", at(15), "Visit", (Attendee("Ann Onymous", "ann@prospect.example"),)))
        for key in ("first", "second")
    ]
    first, second = (receive(world.app, wish).id for wish in wishes)
    world.quiesce()
    assert [world.reason(first), world.reason(second)] == ["accepted", "slot_taken"]
    world.assert_in_step()


@pytest.fixture(scope="module")
def cut_off(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    settings = write_forms(tmp_path_factory.mktemp("mappings"))
    url = "postgresql+psycopg://app:swordfish@127.0.0.1:1/watertight"
    with serve(tmp_path_factory.mktemp("cut-off"), database_url=url, **settings) as served:
        yield served


def test_the_database_is_asked_only_when_everything_else_is_right(cut_off: Web) -> None:
    def posted(body: bytes, secret: str = SECRET) -> requests.Response:
        mac = base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()
        headers = {"Content-Type": "application/json", "Tally-Signature": mac}
        return requests.post(f"{cut_off.url}/webhooks/forms/tally", data=body, headers=headers, timeout=20)

    body = (PAYLOADS / "tally.json").read_bytes()
    assert at_fault(posted(body, "not the secret"), 401) == []
    assert at_fault(posted(b"{}"), 503) == []  # nothing could keep it, so the tool is to send it again
    answer = posted(body)
    assert at_fault(answer, 503) == []
    assert answer.headers["Retry-After"].isdigit()
    assert [word for word in (*PRIVATE, "swordfish") if word in cut_off.log.read_text()] == []
