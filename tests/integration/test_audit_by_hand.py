"""``watertight audit`` as a program, and AuditDrift as beat runs it: real PostgreSQL, the vendors' emulators over HTTP."""

from __future__ import annotations

import json

from providers.emulation import Fault
from tests.integration.office import Office
from workers.audits import audit_due
from workers.terminal import runtime


def test_a_person_finds_drift_and_has_it_repaired(office: Office) -> None:
    clean = office.watertight("audit", "--json")
    assert (clean.code, [row["state"] for row in json.loads(clean.out)]) == (0, ["clean"]), clean
    office.types()
    (suspect,) = json.loads(office.watertight("audit", "--json").out)
    assert (suspect["state"], suspect["suspects"], suspect["repairs"]) == ("suspect", 1, 0)

    told = office.watertight("audit", "--repair", "--confirm-after", "0", "--json")
    (drift,) = json.loads(told.out)
    assert (told.code, drift["state"], drift["drift"], drift["repairs"]) == (1, "drift", 1, 1), told
    assert "unnoticed on calendar 2" in drift["what"][0]
    assert "Secret cellar" not in told.out + told.err
    rows = office.rows()
    assert (rows["proposals"], rows["actions"], rows["audits"]) == (1, 1, 3)


def test_nobody_is_audited_by_a_wrong_name(office: Office) -> None:
    answer = office.watertight("audit", "--agent", "nobody")
    assert (answer.code, answer.err.strip()) == (1, "watertight: no agent 'nobody'")


def test_a_calendar_that_cannot_be_read_fails_the_command_and_says_why(office: Office) -> None:
    office.google.faults.arm(Fault(kind="invalid_grant", times=None))
    answer = office.watertight("audit", "--json")
    assert (answer.code, json.loads(answer.out)[0]["state"]) == (1, "unreadable: credential_revoked")


def test_beat_audits_whoever_is_due_within_its_budget(office: Office) -> None:
    office.watertight("agents", "list")  # this process now has the settings of this office
    assert audit_due(runtime()) == "1 agents audited"
    assert audit_due(runtime()) == "0 agents audited"
    assert office.rows()["audits"] == 1


def test_by_policy_drift_is_put_right_without_anybody_asking(office: Office) -> None:
    office.types()
    office.watertight("agents", "list", AUDIT_REPAIR="always", AUDIT_CONFIRM_SECONDS="0")
    assert audit_due(runtime()) == "1 agents audited, 1 drift"
    assert office.rows()["proposals"] == 1
