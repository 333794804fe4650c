"""``watertight sync`` as a program: real PostgreSQL, the vendors' emulators over HTTP, no broker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from models.base import Base
from providers.emulation import Fault, HumanAction, HumanEvent, build_app
from providers.google.emulator import GoogleEmulator
from providers.outlook.emulator import OutlookEmulator
from tests.fixtures.google.serving import service_account, serving
from tests.integration.commands import Commands, typed
from tests.integration.test_agents_file import GOOD

MAILBOX = "dana@example.test"
START = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(days=2)


@dataclass
class Office:
    watertight: Commands
    outlook: OutlookEmulator
    google: GoogleEmulator
    owner: Engine

    def types(self, *, title: str = "Secret cellar") -> str:
        event = HumanEvent(start=START, end=START + timedelta(hours=1), title=title)
        return str(self.google.act(HumanAction(action="create", calendar=MAILBOX, event=event))["id"])

    def rows(self) -> dict[str, int]:
        with self.owner.connect() as connection:
            return {
                name: connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one()  # noqa: S608
                for name in Base.metadata.tables
            }


@pytest.fixture
def watertight(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Commands]:
    with typed(monkeypatch, capsys, state_dir=tmp_path) as commands:
        yield commands


@pytest.fixture
def office(watertight: Commands, tmp_path: Path, owner_engine: Engine) -> Iterator[Office]:
    outlook, google = OutlookEmulator(), GoogleEmulator()
    (tmp_path / "key.json").write_text(json.dumps(service_account()))
    (tmp_path / "agents.yaml").write_text(GOOD)
    with ExitStack() as stack:
        at_outlook, at_google = (stack.enter_context(serving(build_app(one))) for one in (outlook, google))
        watertight.env |= {
            "DATABASE_URL": owner_engine.url.set(username="watertight_app").render_as_string(),
            "BROKER_URL": "redis://127.0.0.1:1/0",
            "OUTLOOK_TENANT_ID": "t",
            "OUTLOOK_CLIENT_ID": "c",
            "OUTLOOK_CLIENT_SECRET": "s",
            "OUTLOOK_BASE_URL": f"{at_outlook}/v1.0",
            "OUTLOOK_LOGIN_URL": at_outlook,
            "GOOGLE_SERVICE_ACCOUNT_FILE": str(tmp_path / "key.json"),
            "GOOGLE_BASE_URL": f"{at_google}/calendar/v3",
            "GOOGLE_TOKEN_URI": f"{at_google}/token",
        }
        assert watertight("agents", "import", str(tmp_path / "agents.yaml")).out.endswith("1 agents added, 0 updated\n")
        yield Office(watertight, outlook, google, owner_engine)


def test_a_dry_run_tells_and_writes_nothing_a_run_proposes_once(office: Office) -> None:
    event = office.types()
    before = office.rows()
    told = office.watertight.program("sync", "NewAppointmentSync", "--dry-run", "--calendar", "2")
    assert (told.code, told.err) == (0, "")
    assert "would propose 1" in told.out
    assert event in told.out
    assert office.rows() == before

    run = office.watertight.program("sync", "NewAppointmentSync", "--json")
    assert run.code == 0, run  # the broker is away: the rows are the truth
    assert [row["result"] for row in json.loads(run.out)] == [
        "full read of 0, 0 proposed",
        "full read of 1, 1 proposed",
    ]
    assert office.rows()["proposals"] == before["proposals"] + 1
    assert "Secret cellar" not in run.out + run.err + told.out

    again = office.watertight.program("sync", "NewAppointmentSync", "--json")
    assert [row["proposals"] for row in json.loads(again.out)] == [[], []]
    assert office.rows()["proposals"] == 1


def test_a_dry_run_leaves_the_cursor_of_an_earlier_run_where_it_is(office: Office) -> None:
    assert office.watertight("sync", "CancellationSync").code == 0
    before = office.rows()
    office.types()
    for job in ("NewAppointmentSync", "CancellationSync", "UpdateSync"):
        assert office.watertight("sync", job, "--dry-run").code == 0
    assert office.rows() == before


@pytest.mark.parametrize(("vendor", "kind"), [("outlook", "revoked_secret"), ("google", "invalid_grant")])
def test_wrong_credentials_are_named_and_the_other_calendar_is_read(office: Office, vendor: str, kind: str) -> None:
    getattr(office, vendor).faults.arm(Fault(kind=kind, times=None))
    answer = office.watertight("sync", "UpdateSync", "--json")
    rows = {("outlook" if row["calendar"] == 1 else "google"): row for row in json.loads(answer.out)}
    failed, read = rows.pop(vendor), rows.popitem()[1]
    assert (answer.code, failed["result"]) == (1, None)
    assert failed["error"].startswith("credential_revoked: ")
    assert (read["error"], read["result"]) == (None, "full read of 0, 0 proposed")


def test_a_vendor_that_cannot_be_reached_is_one_row(office: Office) -> None:
    answer = office.watertight(
        "sync", "UpdateSync", "--calendar", "2", GOOGLE_BASE_URL="http://127.0.0.1:1/calendar/v3"
    )
    assert (answer.code, "provider_unavailable" in answer.out, "Traceback" in answer.err) == (1, True, False)


def test_a_record_that_cannot_be_understood_is_kept_and_the_rest_goes_on(office: Office) -> None:
    office.types()
    raw = {"id": "odd1", "status": "confirmed", "start": {"dateTime": None}, "end": None}
    office.google.act(HumanAction(action="create", calendar=MAILBOX, raw=raw))
    answer = office.watertight("sync", "NewAppointmentSync", "--calendar", "2")
    assert (answer.code, "1 proposed, 1 quarantined" in answer.out) == (0, True), answer
    assert office.rows()["quarantine"] == 1
