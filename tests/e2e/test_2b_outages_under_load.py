"""The whole stack while people keep asking and one part after the other breaks: nothing is lost, nothing is done twice.

A case ends with its first decision after the outage; what became of every wish is looked at in the end, for all cases
together, because what a killed process had in hand waits for the end of its lease. ``WATERTIGHT_TEST_FULL=1`` makes the
cases as long as the issue asked for, ``WATERTIGHT_TEST_FIGURES=file`` keeps what was measured: docs/outages.md.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
import redis

from models.queries import list_open
from tests.e2e.extra import Extra, extra_worker
from tests.e2e.load import (
    FULL,
    Fate,
    Load,
    await_calm,
    fates,
    keep_figures,
    messages,
    on_calendar,
    overlapping_slots,
)
from tests.e2e.stack import Stack, wait_for
from workers.embedded import EmbeddedValkey

pytestmark = pytest.mark.timeout(300)

FREEZE_SECONDS = 20 if FULL else 7  # longer than a publisher waits
PREFETCH = 2  # one message for each commit process
DOWN_SECONDS = 4.0
TASK_SECONDS = 5.0  # ends only after the broker is back
CALM_SECONDS = 2.0  # a redelivered poison ran 21 times in 10 s: a second run would show at once
LOADS: dict[str, Load] = {}


def test_a_killed_broker_comes_back_and_the_work_goes_on(stack: Stack) -> None:
    with load(stack, "broker killed") as wishes:
        wishes.outage_begins()
        stack.revived("valkey", instead_of=stack.kill("valkey"))
        wishes.outage_ended()


def test_a_frozen_broker_costs_no_more_than_the_freeze(stack: Stack) -> None:
    with load(stack, "broker frozen") as wishes:
        wishes.outage_begins()
        with stack.frozen("valkey"):
            before = len(wishes.accepted)
            time.sleep(FREEZE_SECONDS)
            assert len(wishes.accepted) > before, "wishes are accepted without a broker: the table is what counts"
        wishes.outage_ended()


def test_an_emptied_broker_is_filled_again_from_the_table(stack: Stack) -> None:
    with load(stack, "broker emptied") as wishes:
        with stack.frozen("commit"), stack.broker() as broker:
            wait_for(lambda: broker.llen("commit") > PREFETCH, "backlog")
            wishes.outage_begins()
            broker.flushall()
        wishes.outage_ended()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["database restarted", "database killed"])
def test_a_database_that_goes_in_the_middle_of_commits_loses_none(
    stack: Stack, number: signal.Signals, request: pytest.FixtureRequest
) -> None:
    with load(stack, request.node.callspec.id) as wishes:
        wait_for(lambda: wishes.in_hand() > 0, "commit in flight")
        wishes.outage_begins()
        pid = stack.pids["postgres"]
        os.kill(pid, number)
        stack.revived("postgres", instead_of=pid)
        wishes.outage_ended()
    assert set(wishes.refusals) <= {503}, "whoever asks is told to come again, never that we have a bug"


def test_a_killed_commit_worker_with_work_in_hand_and_more_waiting_is_replaced(stack: Stack) -> None:
    with load(stack, "worker killed") as wishes:
        wait_for(lambda: is_busy(stack), "worker with work in hand and more in the queue")
        pid = stack.pids["commit"]
        wishes.outage_begins()
        os.killpg(pid, signal.SIGKILL)
        stack.revived("commit", instead_of=pid)
        wishes.outage_ended()


def test_a_backlog_is_not_announced_again_and_again(stack: Stack) -> None:
    """ResumeCommits, here every second, added one message per open row each time: no slow machine got to the end of it."""
    day, titles = stack.free_day(), [f"Backlog {number}" for number in range(10)]
    with stack.frozen("commit"), stack.broker() as broker:
        for hour, title in enumerate(titles):
            stack.propose(title, start=day + timedelta(hours=hour))
        time.sleep(5)
        assert len(titles) <= int(broker.llen("commit")) <= 2 * sum(stack.look(list_open)) + len(titles)


def test_a_message_that_kills_its_process_runs_once_and_is_reported_once(stack: Stack, tmp_path: Path) -> None:
    """Redelivered, it would kill one process after the other, and nobody would be told (celeryconfig.py)."""
    with extra_worker(stack, tmp_path) as extra:
        extra.send("tests.die", "poison")
        letters = wait_for(lambda: [one for one in stack.dead_letters() if one["task"] == "tests.die"], "dead letter")
        extra.send("tests.sleep", "harmless", 0)
        wait_for(lambda: extra.runs()["end harmless"], "run of the next message")
        time.sleep(CALM_SECONDS)
        assert extra.runs() == {"die poison": 1, "begin harmless": 1, "end harmless": 1}
        assert extra.lives
        letters = [one for one in stack.dead_letters() if one["task"] == "tests.die"]
        alerts = [one for one in stack.alerts() if one["detail"].get("task") == "tests.die"]
        assert [(one["reference"], one["excerpt"], one["times"]) for one in letters] == [
            ("poison", "WorkerLostError", 1)
        ]
        assert [(one["cause"], one["times"]) for one in alerts] == [("task:tests.die:poison:bug", 1)]
        keep_figures("poison message", runs=extra.runs()["die poison"], dead_letters=1, alerts=1, worker_lives=True)


def test_a_message_for_a_task_that_nobody_has_is_told_and_stops_nobody(stack: Stack, tmp_path: Path) -> None:
    """Of another version, or put there by hand: thrown away, and not in silence."""
    with extra_worker(stack, tmp_path) as extra:
        extra.send("tests.unheard_of", "somebody@prospect.example")
        wait_for(lambda: [one for one in stack.dead_letters() if "unheard_of" in one["task"]], "dead letter")
        extra.send("tests.sleep", "after it", 0)
        wait_for(lambda: extra.runs()["end after it"] or not extra.lives, "run of the next message")
        assert extra.lives, last_words(extra)
        [letter] = [one for one in stack.dead_letters() if "unheard_of" in one["task"]]
        assert (letter["task"], letter["code"], letter["excerpt"], letter["reference"]) == (
            *("unknown: tests.unheard_of", "bug", "NotRegistered"),
            "",
        )
        assert "prospect.example" not in str(stack.alerts())


def test_a_worker_outlives_a_broker_that_goes_while_a_task_is_in_flight(stack: Stack, tmp_path: Path) -> None:
    """celery 5.7.0 does not: its worker ends with "Unrecoverable error: AttributeError" (docs/adr/0003).

    Only with room for another message: a worker whose prefetch is full, and that therefore listens for none, survives.
    """
    with EmbeddedValkey(tmp_path) as broker, extra_worker(stack, tmp_path, broker_url=broker.url()) as extra:
        extra.send("tests.sleep", "in flight", TASK_SECONDS)
        wait_for(lambda: extra.runs()["begin in flight"], "task in flight")
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGKILL)
        time.sleep(DOWN_SECONDS)
        broker.start()
        back = time.monotonic()
        assert extra.lives, last_words(extra)
        extra.send("tests.sleep", "next", 0)
        wait_for(lambda: extra.runs()["end next"] or not extra.lives, "run of the next message")
        wait_for(lambda: extra.runs()["end in flight"], "end of the task in flight")
        assert extra.lives, last_words(extra)
        keep_figures(
            "task in flight while the broker is away",
            outage_seconds=DOWN_SECONDS,
            next_run_seconds=round(time.monotonic() - back, 2),
            runs=extra.runs()["begin in flight"],
        )
        assert extra.runs() == dict.fromkeys(["begin in flight", "end in flight", "begin next", "end next"], 1)
        assert "Unrecoverable error" not in extra.log.read_text()
        with redis.Redis.from_url(extra.broker_url) as client:
            assert client.hlen("unacked") == 0, "nothing that would run again after the visibility timeout"


@pytest.mark.parametrize(
    "case",
    [
        "broker killed",
        "broker frozen",
        "broker emptied",
        "database restarted",
        "database killed",
        "worker killed",
    ],
)
def test_all_that_was_accepted_is_decided_once_and_shown_once(stack: Stack, case: str) -> None:
    wishes = LOADS[case]
    await_calm(wishes)
    found = fates(wishes)
    settled = {number for number, fate in found.items() if fate.state == "settled"}
    wanted = Counter((wish.agent, wish.start) for wish in wishes.accepted.values())
    got = Counter((wishes.accepted[number].agent, wishes.accepted[number].start) for number in settled)
    assert found.keys() == wishes.accepted.keys()
    assert {fate.decisions for fate in found.values()} == {1}
    assert got == Counter(dict.fromkeys(wanted, 1)), "of two who want the same hour, one gets it"
    assert stack.look(overlapping_slots) == 0
    promised = Counter(
        (wish.agent, wish.title, wish.start) for number, wish in wishes.accepted.items() if number in settled
    )
    assert on_calendar(wishes, "outlook") == promised
    assert on_calendar(wishes, "google") == promised
    bugs = [one for one in stack.dead_letters() if one["code"] == "bug" and "tests." not in one["task"]]
    assert bugs == [], "an outage is nobody's bug"
    keep_figures(case, **figures(wishes, found))


def load(stack: Stack, case: str) -> Load:
    LOADS[case] = Load(stack, case)
    return LOADS[case]


def is_busy(stack: Stack) -> bool:
    """It has a commit in hand, and others wait. (Not one for each process: a freeze may cost it one, docs/outages.md.)"""
    with stack.broker() as broker:
        taken = [json.loads(entry) for entry in broker.hvals("unacked")]
        in_hand = sum(entry[2] == "commit" for entry in taken)
        return in_hand > 0 and int(broker.llen("commit")) > PREFETCH


def figures(wishes: Load, found: dict[int, Fate]) -> dict[str, object]:
    decided = sorted(fate.decided_at for fate in found.values())
    after = [at for at in decided if at > wishes.ended]
    sent = messages(wishes)
    return {
        "accepted": len(wishes.accepted),
        "refused_requests": dict(wishes.refusals),
        "lost": len(wishes.accepted) - len(found),
        "outage_seconds": seconds(wishes.began, wishes.ended),
        "first_decision_seconds": seconds(wishes.ended, after[0]),
        "last_decision_seconds": seconds(wishes.ended, after[-1]),
        "longest_pause_seconds": max(seconds(one, other) for one, other in pairwise(decided)),
        "proposals_by_attempts": dict(sorted(Counter(fate.attempts for fate in found.values()).items())),
        "proposals_by_messages": dict(sorted(Counter(sent.values()).items())),
    }


def seconds(since: datetime, until: datetime) -> float:
    return round((until - since).total_seconds(), 2)


def last_words(extra: Extra) -> str:
    return extra.log.read_text()[-2000:]
