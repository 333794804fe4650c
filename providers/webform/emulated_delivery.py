"""How the emulated form tools post: from a thread of their own, and again a few times until somebody says yes."""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any, Final

import requests

ATTEMPTS: Final = 3
_BACKOFF_SECONDS: Final = 0.1
_TIMEOUT_SECONDS: Final = 10.0
_FIRST_REFUSAL: Final = 400


@dataclass(frozen=True, slots=True)
class Post:
    """One request to send. ``wait_seconds`` is how late it leaves."""

    submission: str
    url: str
    headers: dict[str, str]
    body: bytes
    wait_seconds: float = 0.0


class Deliveries:
    """What was posted and what was answered. A slow receiver never holds the emulator up."""

    def __init__(self) -> None:
        self._outbox: queue.SimpleQueue[Post] = queue.SimpleQueue()
        self._answers: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._waiting: Counter[str] = Counter()
        self._thread: threading.Thread | None = None

    def send(self, post: Post) -> None:
        self._waiting[post.submission] += 1
        self._outbox.put(post)
        if self._thread is None:
            self._thread = threading.Thread(target=self._deliver_for_ever, name="webform-push", daemon=True)
            self._thread.start()

    def answers(self, submission: str) -> list[dict[str, Any]]:
        """Status and body of every attempt, oldest first; status 0 where nobody answered."""
        return list(self._answers[submission])

    def waiting(self, submission: str) -> int:
        """How many posts of it are not done with yet."""
        return self._waiting[submission]

    def _deliver_for_ever(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            while True:
                post = self._outbox.get()
                self._deliver(session, post)
                self._waiting[post.submission] -= 1

    def _deliver(self, session: requests.Session, post: Post) -> None:
        time.sleep(post.wait_seconds)
        for attempt in range(ATTEMPTS):
            time.sleep(_BACKOFF_SECONDS * attempt)
            answer = _attempt(session, post)
            self._answers[post.submission].append(answer)
            if 0 < answer["status"] < _FIRST_REFUSAL:
                return


def _attempt(session: requests.Session, post: Post) -> dict[str, Any]:
    try:
        answer = session.post(
            post.url, data=post.body, headers=post.headers, timeout=_TIMEOUT_SECONDS, allow_redirects=False
        )
    except requests.RequestException:
        return {"status": 0, "body": ""}
    return {"status": answer.status_code, "body": answer.text, "location": answer.headers.get("Location", "")}
