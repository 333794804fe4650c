"""The whole stack as processes: refused twice, killed, started again, stopped, and what it left behind."""

from __future__ import annotations

import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from models.queries import list_appointments
from tests.e2e.stack import Stack, wait_for
from workers.supervisor import is_gone

pytestmark = pytest.mark.timeout(300)

READ: dict[str, Callable[[Any, Any], object]] = {
    "string": lambda broker, name: broker.get(name),
    "list": lambda broker, name: broker.lrange(name, 0, -1),
    "set": lambda broker, name: broker.smembers(name),
    "zset": lambda broker, name: broker.zrange(name, 0, -1),
    "hash": lambda broker, name: broker.hgetall(name),
}


def test_a_second_one_on_the_same_directory_is_refused_in_one_sentence(stack: Stack) -> None:
    second = stack.command("up")
    assert (second.returncode, second.stdout) == (1, "")
    assert second.stderr == f"watertight: another watertight is already running on {stack.state_dir}\n"
    assert stack.pids, "the first is not disturbed"


def test_killed_and_started_again_it_goes_on_with_its_data(stack: Stack) -> None:
    start = stack.free_hour()
    number = stack.propose("Before the crash", start=start)
    wait_for(lambda: stack.is_decided(number), "decision")
    before = stack.pids
    assert stack.end(signal.SIGKILL) == -signal.SIGKILL
    stack.start()
    assert [
        name
        for name, pid in before.items()
        if not is_gone(pid) and pid in before.values() and pid not in stack.pids.values()
    ] == []
    assert stack.proposal(number)["reason"] == "accepted"
    wait_for(lambda: ("Before the crash", start) in stack.shown("google"), "event on the mirror")
    later = stack.propose("After the crash", start=stack.free_hour())
    wait_for(lambda: stack.is_decided(later), "decision after the crash")


def test_the_burst_is_decided_without_overlap_and_the_mirror_is_in_step(stack: Stack) -> None:
    wait_for(lambda: all(map(stack.is_decided, stack.burst)), "decision of every proposal of the burst", seconds=120)
    booked = [one for one in stack.look(list_appointments) if one.agent == "dana"]
    assert [pair for pair in pairwise(booked) if pair[0].ends_at > pair[1].starts_at] == []
    agreed = sorted((one.title, one.starts_at) for one in booked)
    for provider in ("outlook", "google"):
        wait_for(lambda provider=provider: ours(stack, provider) == agreed, f"{provider} in step", seconds=100)  # type: ignore[misc]
    starts = [one.starts_at for one in booked if one.title.startswith("Burst")]
    assert len(starts) == len(set(starts)) == len(stack.burst) // 2


def ours(stack: Stack, provider: str) -> list[tuple[str, object]]:
    return [(title, start) for title, start in stack.shown(provider) if not title.startswith("[not booked]")]


def test_neither_broker_nor_failures_hold_people_or_secrets(stack: Stack) -> None:
    with stack.broker() as broker:
        kinds = [(name, broker.type(name)) for name in broker.scan_iter(count=1000)]
        kept = [str(READ[kind](broker, name)) for name, kind in kinds if kind != "none"]  # it has expired meanwhile
    failures = [str(row) for row in [*stack.alerts(), *stack.dead_letters()]]
    assert len(kept) >= len(READ)  # the bindings of the queues at least
    found = "\n".join([*kept, *failures])
    assert [word for word in stack.secrets() if word in found] == []


def test_asked_to_stop_it_stops_everything(stack: Stack) -> None:
    pids = stack.pids
    assert stack.end(signal.SIGTERM) == 0, stack.log.read_text()[-2000:]
    assert {name: pid for name, pid in pids.items() if not is_gone(pid)} == {}
    assert not (stack.state_dir / "run.json").exists()


def test_no_log_carries_what_people_typed_or_a_secret(stack: Stack) -> None:
    logs = [stack.log, *(path for path in stack.state_dir.rglob("*.log") if path.is_file())]
    flower = list(stack.state_dir.glob("flower.db*"))
    assert {path.name for path in logs} >= {"up.log", "postgres.log", "valkey.log"}
    assert flower
    assert {path.name: leaked(path, stack.secrets()) for path in [*logs, *flower]} == {
        path.name: [] for path in [*logs, *flower]
    }


def leaked(path: Path, words: set[str]) -> list[str]:
    text = path.read_text(errors="replace")
    return sorted(word for word in words if word in text)
