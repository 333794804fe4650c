"""``watertight sync`` as a program: real PostgreSQL, the vendors' emulators over HTTP, no broker."""

from __future__ import annotations

import json

import pytest

from providers.emulation import Fault, HumanAction
from tests.integration.office import MAILBOX, Office


def test_a_dry_run_tells_and_writes_nothing_a_run_proposes_once(office: Office) -> None:
    event = office.types()
    before = office.rows()
    told = office.watertight.program("sync", "NewAppointmentSync", "--dry-run", "--calendar", "2")
    assert (told.code, [line for line in told.err.splitlines() if "limiter.away" not in line]) == (0, [])
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
