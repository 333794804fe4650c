"""Pushes at the real web process: counts in are effects out, how soon each is acknowledged, and how many one core takes.

10,000 deliveries, 30 % of them sent before, 200 a second (WATERTIGHT_DELIVERIES, WATERTIGHT_RATE); then as many as one core
takes (WATERTIGHT_BURST of them), and half of that. Beside it a bare FastAPI route gets the same requests, in turns.
"""

from __future__ import annotations

import os
import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tests.benchmarks import bare
from tests.benchmarks.conftest import Report
from tests.benchmarks.expense import cpu_seconds, on_one_core
from tests.benchmarks.figures import Figure
from tests.benchmarks.http_load import Answers, request, send
from tests.integration import pushing
from tests.integration.pushing import Post
from tests.integration.test_webhooks import CALCOM, GOOGLE, OUTLOOK, Stage, served  # noqa: F401 - a fixture

DELIVERIES = int(os.environ.get("WATERTIGHT_DELIVERIES", "10000"))
RATE = float(os.environ.get("WATERTIGHT_RATE", "200"))
BURST = int(os.environ.get("WATERTIGHT_BURST", "2000"))
TURNS = 3
REPEATED = 0.3
SENDERS = 16
GOAL_MS = 100.0
BARE = "a bare FastAPI route, the same requests"


def deliveries(count: int, *, repeated: float) -> Iterator[Post]:
    """From three vendors in turn; a repetition follows its original within a few hundred."""
    rand = random.Random(5)  # noqa: S311 - the same every time
    makers = (lambda: pushing.outlook(OUTLOOK), lambda: pushing.google(GOOGLE), lambda: pushing.calcom(CALCOM))
    sent: list[Post] = []
    for number in range(count):
        if sent and number % 10 < repeated * 10:
            yield rand.choice(sent[-300:])
        else:
            sent.append(makers[number % 3]())
            yield sent[-1]


def test_counts_in_are_effects_out(served: Stage, report: Report) -> None:  # noqa: F811 - the fixture
    served.forget()
    pushes = list(deliveries(DELIVERIES, repeated=REPEATED))
    unique = len({id(push) for push in pushes})
    answers = send(served.web.url, _to_us(served, pushes), senders=SENDERS, rate=RATE)
    ((kept,),) = served.sql("SELECT count(*) FROM deliveries")
    spread = _spread(answers)
    p99 = spread["p99"]
    details = {"kept": kept, "unique": unique, "messages": len(served.messages()), **spread}
    what = f"{DELIVERIES:,} pushes at {RATE:.0f}/s, {REPEATED:.0%} repeated: acknowledged p99"
    report(Figure("webhook", what, p99, "ms", goal=f"≤ {GOAL_MS:.0f} ms", met=p99 <= GOAL_MS, details=details))
    assert answers.statuses.keys() == {200, 202}
    assert kept == unique


@dataclass
class Burst:
    """``answers`` to all that was sent at once, and the CPU seconds that they took at the receiver."""

    answers: Answers
    cpu: float

    @property
    def per_cpu_second(self) -> float:
        return len(self.answers.seconds) / self.cpu


def test_what_one_core_takes(served: Stage, report: Report) -> None:  # noqa: F811 - the fixture
    served.forget()
    with bare.serving() as other, on_one_core(served.web.pid), on_one_core(other.pid):
        to_bare = _to_bare(other)
        ours, theirs = _bursts(served, other, to_bare)
        most, least = (statistics.median(one.answers.rate for one in bursts) for bursts in (ours, theirs))
        pace = max(1.0, most / 2)
        pushes = list(deliveries(BURST, repeated=0.0))
        at_half = send(served.web.url, _to_us(served, pushes), senders=SENDERS, rate=pace)
        floor = send(other.url, to_bare(pushes), senders=SENDERS, rate=pace)
    assert at_half.statuses.keys() == {200, 202}
    per_cpu, bare_per_cpu = (statistics.median(one.per_cpu_second for one in bursts) for bursts in (ours, theirs))
    report(Figure("webhook", "accepted/s on one core", most, "/s", least, BARE, details={"senders": SENDERS}))
    report(Figure("webhook", "accepted per CPU second of the receiver", per_cpu, "/s", bare_per_cpu, BARE))
    spread, least_spread = _spread(at_half), _spread(floor)
    details = {"rate": pace, **spread, "floor": least_spread}
    what = "acknowledged p99 at half of what one core takes"
    report(Figure("webhook", what, spread["p99"], "ms", least_spread["p99"], BARE, details=details))


def _bursts(
    stage: Stage, other: bare.Bare, to_bare: Callable[[Sequence[Post]], list[bytes]]
) -> tuple[list[Burst], list[Burst]]:
    """As fast as they are answered, in turns."""
    ours: list[Burst] = []
    theirs: list[Burst] = []
    for _ in range(TURNS):
        pushes = list(deliveries(BURST, repeated=0.0))
        ours.append(_burst(stage.web.url, stage.web.pid, _to_us(stage, pushes)))
        theirs.append(_burst(other.url, other.pid, to_bare(pushes)))
    ((kept,),) = stage.sql("SELECT count(*) FROM deliveries")
    assert kept == TURNS * BURST, "what was acknowledged is kept"
    return ours, theirs


def _burst(url: str, pid: int, messages: Sequence[bytes]) -> Burst:
    before = cpu_seconds(pid)
    answers = send(url, messages, senders=SENDERS)
    return Burst(answers, cpu_seconds(pid) - before)


def _to_us(stage: Stage, pushes: Sequence[Post]) -> list[bytes]:
    url = stage.web.url
    return [request(url, "POST", f"/webhooks/{one.path}", headers=one.headers, body=one.body) for one in pushes]


def _to_bare(other: bare.Bare) -> Callable[[Sequence[Post]], list[bytes]]:
    def written(pushes: Sequence[Post]) -> list[bytes]:
        return [request(other.url, "POST", "/accept", headers=one.headers, body=one.body) for one in pushes]

    return written


def _spread(answers: Answers) -> dict[str, float]:
    return {
        "p50": statistics.median(answers.seconds) * 1000,
        "p99": answers.percentile(0.99) * 1000,
        "slowest": max(answers.seconds) * 1000,
        "sender_late": answers.late * 1000,
    }
