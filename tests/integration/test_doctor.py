"""``watertight doctor`` tries every account for real and says what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from providers.emulation import Fault
from tests.integration.commands import Answer, typed
from tests.integration.office import Office, open_office


@pytest.fixture
def office(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, owner_engine: Engine
) -> Iterator[Office]:
    with (
        typed(monkeypatch, capsys, state_dir=tmp_path) as watertight,
        open_office(watertight, tmp_path, owner_engine) as one,
    ):
        yield one


def ill(answer: Answer) -> list[dict[str, Any]]:
    return [row for row in json.loads(answer.out) if not row["ok"]]


def examined(office: Office, **settings: str) -> Answer:
    return office.watertight("doctor", "--json", **settings)


def test_all_is_well(office: Office) -> None:
    answer = examined(office)
    assert (answer.code, ill(answer)) == (0, [])
    assert [row["what"] for row in json.loads(answer.out)] == [
        "calendar 1 (dana, outlook master) with the credentials of jobs",
        "calendar 2 (dana, google mirror) with the credentials of jobs",
        "clock against google",
        "clock against outlook",
        "webhooks",
    ]
    assert "readable, 0 events in the next hour" in office.watertight("doctor").out


@pytest.mark.parametrize(
    ("vendor", "kind", "code", "advice"),
    [
        ("outlook", "revoked_secret", "credential_revoked", "make a new secret"),
        ("google", "invalid_grant", "credential_revoked", "make a new secret"),
        ("google", "hidden_calendar", "forbidden", "grant it to the app"),
        ("outlook", "server_error", "provider_unavailable", "status page"),
    ],
)
def test_what_is_wrong_is_named_with_what_to_do(office: Office, vendor: str, kind: str, code: str, advice: str) -> None:
    getattr(office, vendor).faults.arm(Fault(kind=kind, times=None))
    answer = examined(office)
    (row,) = ill(answer)
    assert (answer.code, vendor in row["what"]) == (1, True)
    assert row["found"].startswith(f"{code}: ")
    assert advice in row["advice"]


def test_the_commit_set_is_tried_as_well(office: Office) -> None:
    settings = {"OUTLOOK_COMMIT_CLIENT_ID": "watertight", "OUTLOOK_COMMIT_CLIENT_SECRET": "s"}
    rows = json.loads(examined(office, **settings).out)
    assert sum("credentials of commit" in row["what"] for row in rows) == 2


def test_a_vendor_that_is_not_there(office: Office) -> None:
    rows = ill(examined(office, GOOGLE_BASE_URL="http://127.0.0.1:1/calendar/v3"))
    assert [row["what"].split()[0] for row in rows] == ["calendar", "clock"]


def test_an_address_that_nobody_can_push_to(office: Office) -> None:
    (row,) = ill(examined(office, PUBLIC_URL="http://watertight.example"))
    assert (row["what"], row["found"]) == ("webhooks", "PUBLIC_URL is not https")
    (row,) = ill(examined(office, PUBLIC_URL="https://127.0.0.2:1"))
    assert "does not answer" in row["advice"]


def test_without_calendars_it_says_where_to_begin(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, owner_engine: Engine
) -> None:
    with typed(monkeypatch, capsys, state_dir=tmp_path) as watertight:
        url = owner_engine.url.set(username="watertight_app").render_as_string()
        answer = watertight("doctor", "--json", DATABASE_URL=url, BROKER_URL="redis://127.0.0.1:1/0")
    assert answer.code == 1
    assert "watertight agents import FILE" in ill(answer)[0]["advice"]
