"""What the vendors' emulators push: messages leave from one background thread, so no receiver holds an emulator up."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import requests

TIMEOUT_SECONDS = 5.0
_WORTH_REPEATING = (429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Message:
    """One POST. ``pauses`` are waited for before each attempt, in seconds: one attempt for each."""

    url: str
    body: bytes
    headers: Callable[[], Mapping[str, str]]
    pauses: Sequence[float] = (0.0,)


class Outbox:
    """Sends in the order of putting."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def put(self, message: Message) -> None:
        self._messages.put(message)
        if self._thread is None:
            self._thread = threading.Thread(target=self._send_for_ever, name=self._name, daemon=True)
            self._thread.start()

    def _send_for_ever(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            while True:
                _send(session, self._messages.get())


def _send(session: requests.Session, message: Message) -> None:
    for pause in message.pauses:
        time.sleep(pause)
        try:
            status = session.post(
                message.url,
                data=message.body,
                headers={"Content-Type": "application/json", **message.headers()},
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,
            ).status_code
        except requests.RequestException:
            continue
        if status not in _WORTH_REPEATING:
            return
