"""Visitors who book and cancel through our own API, so many a second."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import requests

from workers.diary import Diary
from workers.people import TIMEOUT_SECONDS, Form
from workers.story import Times

THREADS = 6
POOL = 300  # appointments that stand before one is cancelled for each that is booked
MOST_UNDER_WAY = 2 * THREADS
BREATH_SECONDS = 0.02


class Visitors:
    """Every second act books a fresh time, every other one cancels the oldest booking, once there are enough of them."""

    def __init__(self, web: str, zones: Mapping[str, str], *, diary: Diary, rand: random.Random) -> None:
        self._web, self._form, self._zones = web, Form(web, diary), dict(zones)
        self._rand = rand
        self._times = Times(zones, rand=rand)
        self._booked: deque[int] = deque()
        self._session = threading.local()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="visitor")
        self._under_way: set[Future[None]] = set()
        self._stopped = threading.Event()
        self._thread = threading.Thread(daemon=True)
        self.acts = 0

    def burst(self, number: int) -> None:
        """So many wishes at once; returns when all are taken on."""
        for one in [self._pool.submit(self._book, *self._wanted()) for _ in range(number)]:
            one.result()

    def start(self, per_second: float, *, is_full: Callable[[], bool]) -> None:
        """Act so often until ``stop``; while ``is_full``, nobody does."""
        self._thread = threading.Thread(target=self._repeat, args=(per_second, is_full), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Nobody does anything any more afterwards."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        self._pool.shutdown()

    def _repeat(self, per_second: float, is_full: Callable[[], bool]) -> None:
        due = time.monotonic()
        while not self._stopped.wait(max(BREATH_SECONDS, due - time.monotonic())):
            due = max(due, time.monotonic() - 1) + self._rand.expovariate(
                per_second
            )  # what was missed is not made up for
            self._under_way = {one for one in self._under_way if not one.done()}
            if is_full() or len(self._under_way) >= MOST_UNDER_WAY:
                continue
            self.acts += 1
            self._under_way.add(self._act())

    def _act(self) -> Future[None]:
        if len(self._booked) >= POOL:
            return self._pool.submit(self._cancel, self._booked.popleft())
        return self._pool.submit(self._book, *self._wanted())

    def _wanted(self) -> tuple[str, int]:
        return self._rand.choice(sorted(self._zones)), self._rand.randrange(1000)

    def _book(self, agent: str, number: int) -> None:
        wanted = self._times.fresh(agent)
        asked = self._form.ask(agent, wanted, title=f"Visit {number}", zone=self._zones[agent])
        if asked is not None:
            self._booked.append(asked)

    def _cancel(self, proposal: int) -> None:
        """What was refused has no appointment, and what a person has moved or deleted since is refused: both are as well."""
        session = self._own_session()
        try:
            found = session.get(f"{self._web}/api/proposals/{proposal}", timeout=TIMEOUT_SECONDS)
            appointment = found.json().get("appointment") if found.ok else None
            if appointment is not None:
                headers = {"Idempotency-Key": uuid.uuid4().hex}
                url = f"{self._web}/api/appointments/{appointment}/cancel"
                session.post(url, headers=headers, timeout=TIMEOUT_SECONDS)
        except requests.RequestException:
            return  # the web process is busy: the next one asks again

    def _own_session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._session, "own", None)
        if session is None:
            session = self._session.own = requests.Session()
            session.trust_env = False
        return session
