"""The whole stack as processes, some of which are killed (P1, P9, P11): what was promised holds, the rest goes on."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from sync.actions import Actor
from sync.schedule import list_jobs, reset
from tests.e2e.stack import Stack, mailbox, wait_for

pytestmark = pytest.mark.timeout(300)

BURST = 20


def test_every_job_runs_and_follows_an_operator(stack: Stack) -> None:
    """What beat fires a worker runs, which is kept; and a change by command is followed by the beat that runs."""
    wait_for(lambda: all(job.ran_at for job in stack.look(list_jobs) if job.every < 60), "runs of all jobs")
    answer = stack.command("schedule", "set", "Prune", "1s")
    assert (answer.returncode, "Prune runs every 1 s" in answer.stdout) == (0, True), answer
    wait_for(lambda: [job for job in stack.look(list_jobs) if job.name == "Prune" and job.ran_at], "run of Prune")
    stack.look(lambda session: reset(session, "Prune", every=3_600, by=Actor("a test", "cli")))


def test_a_killed_commit_worker_leaves_at_most_what_it_had_in_hand(stack: Stack) -> None:
    """That waits for its lease, 30 seconds: the last test looks at it again."""
    first = stack.free_hour() + timedelta(days=2)
    killed = 0
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


def test_a_run_that_gives_up_leaves_one_dead_letter_and_one_alert(stack: Stack) -> None:
    stack.control("google", "faults", {"kind": "hidden_calendar", "calendar": mailbox("ben"), "times": None})
    calendar = wait_for(lambda: refused(stack.dead_letters()), "first run")[0]["reference"]
    release(stack, calendar)  # or the job would leave it alone for a minute
    wait_for(lambda: [one for one in refused(stack.dead_letters()) if one["times"] > 1], "second run of the same")
    causes = Counter(one["cause"] for one in refused(stack.alerts()))
    assert causes
    assert set(causes.values()) == {1}
    assert {one["task"].partition(".")[2] for one in refused(stack.dead_letters())} == {"calendar"}
    listed = stack.command("failures", "list")
    assert (listed.returncode, "forbidden" in listed.stdout) == (0, True), listed
    stack.heal("google")
    release(stack, calendar)
    wait_for(lambda: not refused(stack.alerts()), "end of the alert by itself")


def release(stack: Stack, calendar: str) -> None:
    released = stack.command("calendars", "release", calendar)
    assert released.returncode == 0, released


def refused(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A calendar that Google hides is one that we may not read."""
    return [row for row in rows if row["code"] == "forbidden"]


def test_a_revoked_credential_stops_one_calendar_until_somebody_releases_it(stack: Stack) -> None:
    stack.control("google", "faults", {"kind": "invalid_grant", "calendar": mailbox("asha"), "times": None})
    alert = wait_for(lambda: [one for one in stack.alerts() if one["cause"].startswith("stopped:")], "alert")[0]
    assert (alert["code"], alert["severity"]) == ("credential_revoked", "critical")
    stack.heal("google")
    calendar = alert["detail"]["calendar"]
    release(stack, str(calendar))
    assert not [one for one in stack.alerts() if one["cause"] == alert["cause"]]
    at = stack.newest_read(calendar)
    wait_for(lambda: stack.newest_read(calendar) > at, "read of that calendar again")
