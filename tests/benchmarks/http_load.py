"""One client on connections that stay, written as bytes: cheaper than what it measures."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

LENGTH = re.compile(rb"(?i)content-length: (\d+)")


@dataclass
class Answers:
    """``seconds`` is how long each answer took, ``bytes`` how much the last one held; ``took`` is all of it."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    late: float = 0.0
    took: float = 0.0
    bytes: int = 0

    def percentile(self, share: float) -> float:
        return sorted(self.seconds)[min(len(self.seconds) - 1, int(share * len(self.seconds)))]

    @property
    def rate(self) -> float:
        return len(self.seconds) / self.took


def request(url: str, method: str, path: str, *, headers: dict[str, str] | None = None, body: bytes = b"") -> bytes:
    told = {"Host": urlsplit(url).netloc, **(headers or {}), "Content-Length": str(len(body))}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in told.items()), "", ""]
    return "\r\n".join(lines).encode() + body


def send(url: str, messages: Sequence[bytes], *, senders: int, rate: float | None = None) -> Answers:
    """Each message in its turn: at its time with a ``rate`` (per second), else as soon as the answer before it is here."""
    return asyncio.run(_send(url, messages, senders=senders, rate=rate))


async def _send(url: str, messages: Sequence[bytes], *, senders: int, rate: float | None) -> Answers:
    answers, began = Answers(), time.monotonic() + 0.2
    waiting = iter([(began + (number / rate if rate else 0.0), one) for number, one in enumerate(messages)])
    await asyncio.gather(*(_one_sender(url, waiting, answers) for _ in range(senders)))
    answers.took = time.monotonic() - began
    return answers


async def _one_sender(url: str, waiting: Iterable[tuple[float, bytes]], answers: Answers) -> None:
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    for due, message in waiting:  # whoever is free takes the next
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        started = time.monotonic()
        writer.write(message)
        head = await reader.readuntil(b"\r\n\r\n")
        length = LENGTH.search(head)
        body = await reader.readexactly(int(length[1]) if length else 0)
        answers.statuses[int(head.split(b" ", 2)[1])] += 1
        answers.seconds.append(time.monotonic() - started)
        answers.late = max(answers.late, started - due)
        answers.bytes = len(body)
    writer.close()
