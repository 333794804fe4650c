"""The whole stack as processes, some of which are killed (P1, P9, P11): what was promised holds, the rest goes on."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

import pytest

from tests.e2e.stack import Stack, mailbox, wait_for

pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.timeout(300)]

BURST = 20


def test_a_killed_commit_worker_leaves_at_most_what_it_had_in_hand(stack: Stack) -> None:
    """That waits for its lease, 90 seconds: the last test looks at it again."""
    first = stack.free_hour() + timedelta(days=2)
    for number in range(BURST):
        stack.burst.append(stack.propose(f"Burst {number}", start=first + timedelta(hours=number // 2)))
        if number == BURST // 3:
            wait_for(lambda: any(map(stack.is_decided, stack.burst)), "first decision")
            killed = stack.kill("commit")
    stack.revived("commit", instead_of=killed)
    wait_for(
        lambda: sum(not stack.is_decided(one) for one in stack.burst) <= 2, "decisions of all that was not in hand"
    )


def test_a_killed_job_worker_stops_no_other_job(stack: Stack) -> None:
    killed = stack.kill("new")
    before = {job: stack.reads(job) for job in ("cancel", "update")}
    for job, at in before.items():
        wait_for(lambda job=job, at=at: stack.reads(job) > at, f"read by {job}")  # type: ignore[misc]
    stack.revived("new", instead_of=killed)
    now = stack.reads("new")
    wait_for(lambda: stack.reads("new") > now, "read by the new worker")


def test_a_frozen_job_worker_stops_no_other_job(stack: Stack) -> None:
    with stack.frozen("update"):
        before = {job: stack.reads(job) for job in ("cancel", "new")}
        for job, at in before.items():
            wait_for(lambda job=job, at=at: stack.reads(job) > at, f"read by {job}")  # type: ignore[misc]
        at_rest = stack.reads("update")
        again = stack.reads("new")
        wait_for(lambda: stack.reads("new") > again, "another read by new")
        assert stack.reads("update") == at_rest
    wait_for(lambda: stack.reads("update") > at_rest, "read by update after it was thawed")


@pytest.mark.parametrize("server", ["valkey", "postgres"])
def test_a_killed_server_is_revived_and_work_flows_again(stack: Stack, server: str) -> None:
    killed = stack.kill(server)
    stack.revived(server, instead_of=killed)
    start = stack.free_hour()
    number = wait_for(lambda: attempt(stack, f"After {server}", start=start), "accepted request")
    wait_for(lambda: stack.is_decided(number), "decision", seconds=90)
    assert stack.proposal(number)["reason"] == "accepted"
    wait_for(lambda: (f"After {server}", start) in stack.shown("google"), "copy on the mirror", seconds=90)


def attempt(stack: Stack, title: str, *, start: datetime) -> int | None:
    """The same key each time, as a caller should."""
    try:
        return stack.propose(title, start=start)
    except (AssertionError, OSError):
        return None


def test_a_run_that_gives_up_leaves_one_dead_letter_and_one_alert(stack: Stack) -> None:
    stack.control("google", "faults", {"kind": "hidden_calendar", "calendar": mailbox("ben"), "times": None})
    letters = wait_for(lambda: [one for one in stack.dead_letters() if one["code"] == "not_found"], "dead letter")
    wait_for(lambda: [one for one in stack.dead_letters() if one["times"] > 1], "second run of the same")
    stack.heal("google")
    alerts = [one for one in stack.alerts() if one["code"] == "not_found"]
    causes = Counter(one["cause"] for one in alerts)
    assert set(causes.values()) == {1}
    assert letters[0]["task"].endswith(".calendar")
    listed = stack.command("failures", "list")
    assert (listed.returncode, "not_found" in listed.stdout) == (0, True), listed


def test_a_revoked_credential_stops_one_calendar_until_somebody_releases_it(stack: Stack) -> None:
    stack.control("google", "faults", {"kind": "invalid_grant", "calendar": mailbox("asha"), "times": None})
    alert = wait_for(lambda: [one for one in stack.alerts() if one["cause"].startswith("stopped:")], "alert")[0]
    assert (alert["code"], alert["severity"]) == ("credential_revoked", "critical")
    stack.heal("google")
    released = stack.command("calendars", "release", str(alert["detail"]["calendar"]))
    assert released.returncode == 0, released
    assert not [one for one in stack.alerts() if one["cause"] == alert["cause"]]
    at = stack.reads("new")
    wait_for(lambda: stack.reads("new") > at, "read of every calendar again")
