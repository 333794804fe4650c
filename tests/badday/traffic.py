"""People at all four vendors' windows and in front of our own form, until they are told to stop."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy.exc import OperationalError

from models.listings import CalendarRecord
from workers.diary import Diary
from workers.people import Form, Window
from workers.story import Crowd, Human, Placed, Times, list_ours
from workers.up import Running

PAUSES = {"burst": 15.0, "touching": 6.0, "outlook": 4.0, "google": 3.0, "hubspot": 4.0, "calcom": 4.0}  # mean, seconds
OURS_SHARE = 0.15
THREADS = 6

Act = Callable[[], None]


class Traffic:
    """Each act but those ``without`` in a thread of its own. While ``is_full``, all wait: nobody adds to a queue that does not move."""

    def __init__(
        self,
        run: Running,
        calendars: Sequence[CalendarRecord],
        *,
        diary: Diary,
        seed: int,
        pace: float,
        is_full: Callable[[], bool],
        without: Collection[str] = (),
    ) -> None:
        self._is_full = is_full
        self._stopped = threading.Event()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="prospect")
        acts = _acts(run, calendars, diary=diary, seed=seed, pool=self._pool)
        self._threads = [
            threading.Thread(target=self._repeat, args=(act, PAUSES[name] * pace, _rand(seed, f"{name} pause")))
            for name, act in acts.items()
            if name not in without
        ]
        for thread in self._threads:
            thread.daemon = True
            thread.start()

    def stop(self) -> None:
        """Nobody does anything any more afterwards."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        self._pool.shutdown()

    def _repeat(self, act: Act, pause: float, rand: random.Random) -> None:
        while not self._stopped.wait(rand.expovariate(1 / pause)):
            if self._is_full():
                continue
            try:
                act()
            except OperationalError:  # asked what is ours while the database was busy
                continue


def _rand(seed: int, name: str) -> random.Random:
    return random.Random(f"{seed}:{name}")  # noqa: S311 - a story, not a secret


def _acts(
    run: Running, calendars: Sequence[CalendarRecord], *, diary: Diary, seed: int, pool: ThreadPoolExecutor
) -> dict[str, Act]:
    by_vendor = {
        vendor: {row.agent: row for row in calendars if row.provider == vendor}
        for vendor in ("outlook", *run.emulators)
    }
    masters = by_vendor["outlook"]
    zones = {agent: row.zone for agent, row in masters.items()}
    times = Times(zones, rand=_rand(seed, "times"))

    def ours(calendar: CalendarRecord) -> list[Placed]:
        return list_ours(run, calendar)

    def window(vendor: str) -> Window:
        return Window(vendor, run.emulators[vendor], diary)

    people = {
        vendor: Human(window(vendor), rows, times, _rand(seed, vendor), [], ours, OURS_SHARE).act
        for vendor, rows in by_vendor.items()
    }
    form, hand = Form(run.web, diary), window("outlook")
    crowd = Crowd(form, sorted(masters), times, _rand(seed, "crowd"), hand, masters, pool)
    return {**people, "burst": crowd.burst, "touching": crowd.touch}
