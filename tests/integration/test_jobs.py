"""One run of a job's task: what a failure of the vendor leaves behind for the next run and for people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery.result import EagerResult
from sqlalchemy import Engine, text

from providers.emulation import Fault
from sync.detect import Report
from sync.domain import CalendarId, Job
from tests.integration.commands import typed
from tests.integration.office import Office, open_office
from workers import app as celery
from workers import jobs
from workers.new_appointments import sync_calendar
from workers.upkeep import renew_subscriptions

GOOGLE = 2


@pytest.fixture
def office(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, owner_engine: Engine
) -> Iterator[Office]:
    with (
        typed(monkeypatch, capsys, state_dir=tmp_path) as watertight,
        open_office(watertight, tmp_path, owner_engine) as one,
    ):
        for name, value in watertight.env.items():
            monkeypatch.setenv(f"WATERTIGHT_{name}", value)
        for cached in (celery.settings, celery._runtime):
            cached.cache_clear()
        yield one
        celery.runtime().sessions.kw["bind"].dispose()
        for cached in (celery.settings, celery._runtime):
            cached.cache_clear()


def run() -> EagerResult:
    return sync_calendar.apply(args=[GOOGLE])


def rows(office: Office, query: str) -> list[tuple[object, ...]]:
    with office.owner.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def test_a_vendor_that_asks_to_wait_is_left_alone_and_nobody_is_called(office: Office) -> None:
    assert run().result == "full read of 0, 0 proposed"
    office.google.faults.arm(Fault(kind="rate_limited", seconds=3600, times=None))
    assert run().result == "left alone for 3600 s, as the vendor asked"
    assert rows(office, "SELECT failures, not_before > now() + interval '59 min' FROM cursors WHERE job = 'new'") == [
        (1, True)
    ]
    assert rows(office, "SELECT code FROM dead_letters") == rows(office, "SELECT code FROM alerts") == []


def test_one_that_asks_again_and_again_is_somebody_s_affair(office: Office) -> None:
    run()
    office.google.faults.arm(Fault(kind="rate_limited", seconds=3600, times=None))
    results = [run() for _ in range(3)]
    assert [result.successful() for result in results] == [True, True, False]
    assert rows(office, "SELECT code FROM alerts WHERE resolved_at IS NULL") == [("rate_limited",)]
    office.google.faults.clear()
    celery._runtime.cache_clear()  # as if the hour were over, for which everybody keeps away
    assert run().successful()
    assert rows(office, "SELECT failures, not_before FROM cursors WHERE job = 'new'") == [(0, None)]
    assert rows(office, "SELECT code FROM alerts WHERE resolved_at IS NULL") == []


def test_a_calendar_that_cannot_be_read_is_put_off(office: Office) -> None:
    run()
    office.google.faults.arm(Fault(kind="forbidden", times=None))
    assert not run().successful()
    assert rows(office, "SELECT failures, not_before > now() FROM cursors WHERE job = 'new'") == [(1, True)]
    assert rows(office, "SELECT code FROM dead_letters") == [("forbidden",)]
    assert rows(office, "SELECT stopped_code FROM calendars ORDER BY id") == [(None,), (None,)]


def test_a_revoked_credential_stops_the_calendar(office: Office) -> None:
    office.google.faults.arm(Fault(kind="invalid_grant", times=None))
    assert not run().successful()
    assert rows(office, "SELECT stopped_code FROM calendars ORDER BY id") == [(None,), ("credential_revoked",)]
    assert run().result == "skipped: stopped by credential_revoked"


def test_while_a_run_keeps_trying_no_other_begins_beside_it(office: Office) -> None:
    run()
    office.google.faults.arm(Fault(kind="server_error", times=3))  # the first attempt, with its quick retries
    assert run().successful()
    assert rows(office, "SELECT failures, not_before FROM cursors WHERE job = 'new'") == [(0, None)]
    office.google.faults.arm(Fault(kind="server_error", times=None))
    assert not run().successful()
    assert rows(office, "SELECT failures, not_before > now() FROM cursors WHERE job = 'new'") == [(1, True)]
    tries = rows(office, "SELECT reference, number, code FROM attempts WHERE id > 1 ORDER BY id")
    assert tries == [(str(GOOGLE), number, "provider_unavailable") for number in range(1, 6)]
    assert rows(office, "SELECT attempts, times FROM dead_letters") == [(5, 1)]


def test_channels_are_kept_and_shown(office: Office) -> None:
    """Nobody answers Graph's question at this address, so that subscription is refused; Google asks nothing."""
    office.watertight.env |= {"WEBHOOK_KEY": "k" * 32, "PUBLIC_URL": "http://127.0.0.1:1"}
    assert {row["push"] for row in listed(office)} == {None}
    set_up(office)
    assert renew_subscriptions.apply().result == "1 channels opened or renewed, 1 failed"
    outlook, google = (row["push"] for row in listed(office))
    assert (outlook["healthy"], outlook["trouble"], outlook["expires_at"]) == (False, "rejected", None)
    assert (google["healthy"], google["trouble"], google["lag"]) == (True, None, None)
    shown = office.watertight("calendars", "list").out
    assert "poll (rejected)" in shown
    assert "push" in shown


def test_a_lost_hint_is_sent_again_and_its_age_is_the_lag(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, list[int]]] = []
    monkeypatch.setattr(celery.app, "send_task", lambda name, *, args, **_: sent.append((name, args)))
    office.watertight.env |= {"WEBHOOK_KEY": "k" * 32, "PUBLIC_URL": "http://127.0.0.1:1"}
    set_up(office)
    renew_subscriptions.apply()
    run()
    with office.owner.begin() as connection:
        connection.execute(text("UPDATE cursors SET hinted_at = clock_timestamp() - interval '40 seconds'"))
    assert [round(row["push"]["lag"], -1) for row in listed(office) if row["provider"] == "google"] == [40]
    assert "1 hints sent again" in renew_subscriptions.apply().result
    assert sent == [("NewAppointmentSync.calendar", [GOOGLE])]


def test_a_run_sends_on_what_was_announced_meanwhile(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, list[int]]] = []
    monkeypatch.setattr(celery.app, "send_task", lambda name, *, args, **_: sent.append((name, args)))
    report = Report(Job.NEW, CalendarId(GOOGLE), about="dana via google mirror", again=True, others=(Job.CANCEL,))
    jobs._pass_on(report)
    assert sent == [("NewAppointmentSync.calendar", [GOOGLE]), ("CancellationSync.calendar", [GOOGLE])]
    assert rows(office, "SELECT job FROM cursors WHERE hinted_at IS NOT NULL") == [("cancel",)]


def set_up(office: Office) -> None:
    """Let the tasks of this process know the newest settings."""
    for name, value in office.watertight.env.items():
        office.watertight.monkeypatch.setenv(f"WATERTIGHT_{name}", value)
    for cached in (celery.settings, celery._runtime):
        cached.cache_clear()


def listed(office: Office) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(office.watertight("calendars", "list", "--json").out)
    return sorted(found, key=lambda row: int(row["id"]))
