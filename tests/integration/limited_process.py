"""One process of a fleet, for ``test_limits.py``: ``python -m tests.integration.limited_process WHAT BROKER …``."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from providers.gates import NoRoom
from providers.limits import FleetLimits
from providers.outlook.client import OutlookCalendar, OutlookCredentials, OutlookService
from providers.rules import Limit, Per, Rules
from sync.domain import CalendarId, CalendarRef, Interval, Role
from workers.limit_settings import LimitSettings

NOW = datetime(2027, 3, 8, 15, tzinfo=UTC)
WINDOW = Interval(NOW, NOW + timedelta(days=1))
RULES = Rules({"acme": (Limit(Per.ACCOUNT, 2), Limit(Per.BOTH, 30, 60))})


def spend(broker: str, tries: str) -> int:
    """How many of ``tries`` requests got in."""
    gate = FleetLimits(broker, rules=RULES, patience=0.0).gate("acme", app="app", account="dana")
    entered = 0
    for _ in range(int(tries)):
        try:
            with gate.enter(route="/x"):
                entered += 1
        except NoRoom:
            pass
    return entered


def hold(broker: str, place_seconds: str) -> None:
    """Take a place and keep it until killed."""
    limits = FleetLimits(broker, rules=RULES, place_seconds=float(place_seconds))
    with limits.gate("acme", app="app", account="dana").enter(route="/x"):
        sys.stdout.write("inside\n")
        sys.stdout.flush()
        time.sleep(600)


def read(broker: str, emulator: str, threads: str, each: str, app: str) -> dict[str, int]:
    """Read one mailbox from many threads; whoever finds no room comes again."""
    credentials = OutlookCredentials("t", app, "s", base_url=f"{emulator}/v1.0", login_url=emulator)
    service = OutlookService(credentials, limits=FleetLimits(broker, rules=LimitSettings().limits()))
    ref = CalendarRef(CalendarId(1), "dana", "outlook", "dana@example.com", Role.MASTER, "UTC")
    counts = {"read": 0, "no_room": 0}

    def work(_: int) -> None:
        calendar = service.calendar(ref)
        for _ in range(int(each)):
            _read_once(calendar, counts)

    with ThreadPoolExecutor(int(threads)) as pool:
        list(pool.map(work, range(int(threads))))
    return counts


def _read_once(calendar: OutlookCalendar, counts: dict[str, int]) -> None:
    while True:
        try:
            calendar.read_window(WINDOW)
        except NoRoom:
            counts["no_room"] += 1
        else:
            counts["read"] += 1
            return


if __name__ == "__main__":
    what: dict[str, Callable[..., object]] = {"spend": spend, "hold": hold, "read": read}
    sys.stdout.write("\n" + json.dumps(what[sys.argv[1]](*sys.argv[2:])) + "\n")
