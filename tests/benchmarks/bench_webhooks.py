"""Pushes at a steady rate against the real web process: counts in are effects out, and how soon each is acknowledged.

10,000 deliveries, 30 % of them sent before, 200 a second (WATERTIGHT_DELIVERIES, WATERTIGHT_RATE for others).
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from tests.integration import pushing
from tests.integration.pushing import Post
from tests.integration.test_webhooks import CALCOM, GOOGLE, OUTLOOK, Stage, served  # noqa: F401 - a fixture

DELIVERIES = int(os.environ.get("WATERTIGHT_DELIVERIES", "10000"))
RATE = float(os.environ.get("WATERTIGHT_RATE", "200"))
REPEATED = 0.3
SENDERS = 16
TARGET_P99 = 0.1  # seconds


@dataclass
class Figures:
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    late: float = 0.0

    def percentile(self, share: float) -> float:
        return sorted(self.seconds)[min(len(self.seconds) - 1, int(share * len(self.seconds)))]


def deliveries() -> Iterator[Post]:
    """From three vendors in turn; a repetition follows its original within a few hundred."""
    rand = random.Random(5)  # noqa: S311 - the same every time
    makers = (lambda: pushing.outlook(OUTLOOK), lambda: pushing.google(GOOGLE), lambda: pushing.calcom(CALCOM))
    sent: list[Post] = []
    for number in range(DELIVERIES):
        if sent and number % 10 < REPEATED * 10:
            yield rand.choice(sent[-300:])
        else:
            sent.append(makers[number % 3]())
            yield sent[-1]


def test_counts_in_are_effects_out(served: Stage) -> None:  # noqa: F811 - the fixture
    served.forget()
    pushes = list(deliveries())
    unique = len({id(push) for push in pushes})
    figures = asyncio.run(run(served, pushes))
    ((kept,),) = served.sql("SELECT count(*) FROM deliveries")
    report(figures, kept=kept, unique=unique, messages=len(served.messages()))
    assert figures.statuses.keys() == {200, 202}
    assert kept == unique
    assert figures.percentile(0.99) < TARGET_P99 * 5, (
        "five times what is asked for, on a machine that does other things"
    )


async def run(stage: Stage, pushes: Sequence[Post]) -> Figures:
    """Each push at its time, over a few connections that stay, written as bytes: cheaper than what is measured."""
    address = urlsplit(stage.web.url)
    figures, began = Figures(), time.monotonic() + 0.5
    waiting = iter([(began + number / RATE, _request(address.netloc, push)) for number, push in enumerate(pushes)])

    async def send() -> None:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        for due, request in waiting:  # whoever is free takes the next
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            started = time.monotonic()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
            figures.statuses[int(head.split(b" ", 2)[1])] += 1
            figures.seconds.append(time.monotonic() - started)
            figures.late = max(figures.late, started - due)
        writer.close()

    await asyncio.gather(*(send() for _ in range(SENDERS)))
    return figures


def _request(host: str, push: Post) -> bytes:
    headers = {"Host": host, **push.headers, "Content-Length": str(len(push.body))}
    lines = [f"POST /webhooks/{push.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + push.body


def report(figures: Figures, *, kept: int, unique: int, messages: int) -> None:
    table = Table("figure", "value", title=f"{DELIVERIES} pushes at {RATE:.0f}/s, {REPEATED:.0%} repeated")
    table.add_row("kept / sent for the first time", f"{kept} / {unique}")
    table.add_row("answers", ", ".join(f"{status}: {count}" for status, count in sorted(figures.statuses.items())))
    table.add_row("messages to jobs (nobody takes them up)", str(messages))
    table.add_row("acknowledged p50", f"{statistics.median(figures.seconds) * 1000:.1f} ms")
    table.add_row("acknowledged p99", f"{figures.percentile(0.99) * 1000:.1f} ms")
    table.add_row("slowest", f"{max(figures.seconds) * 1000:.0f} ms")
    table.add_row("sender behind its timetable at most", f"{figures.late * 1000:.0f} ms")
    Console().print(table)
