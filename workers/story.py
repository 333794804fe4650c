"""The demo's steady traffic: people who type into Google and Outlook, and bursts of wishes for one slot, all at random."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy.exc import OperationalError

from models.figures import list_bookings
from models.listings import CalendarRecord
from models.session import transaction
from sync.domain import Interval
from workers import race
from workers.diary import Diary, now
from workers.people import Form, Window
from workers.up import Running

FIRST_DAY, LAST_DAY = 4, 40
OPENS_AT, CLOSES_AT = 8, 18  # an agent's working hours, in the agent's zone
LENGTHS = (30, 30, 60, 60, 90)  # minutes
KNOWN_TIMES = 12  # of an agent; asked for again now and then, or nobody would ever be refused
AGAIN_SHARE = 0.35
BURST = (8, 20)
BURST_THREADS = 6
MOST_WAITING = 40  # wishes and writes; people are told "soon", and nobody adds to a queue that does not move
BURST_SECONDS, TOUCHING_SECONDS, GOOGLE_SECONDS, OUTLOOK_SECONDS, SOURCE_SECONDS = (
    4.0,
    2.5,
    1.5,
    2.0,
    3.0,
)  # mean pauses
ZONES = ("America/New_York", "Europe/Paris", "Asia/Tokyo", "America/Los_Angeles", "Europe/London", "Asia/Kolkata")

log = structlog.get_logger(__name__)


class Times:
    """Where in an agent's working hours somebody would like to meet."""

    def __init__(self, zones: Mapping[str, str], *, rand: random.Random) -> None:
        self._zones = zones
        self._rand = rand
        self._known = {agent: deque[Interval](maxlen=KNOWN_TIMES) for agent in zones}

    def choose(self, agent: str) -> Interval:
        """A time that was asked for lately, or a new one."""
        known = self._known[agent]
        if known and self._rand.random() < AGAIN_SHARE:
            return self._rand.choice(list(known))
        return self.fresh(agent)

    def fresh(self, agent: str) -> Interval:
        """Any time of any coming day but the hours of the race."""
        while True:
            start = self._start(agent)
            wanted = Interval(start, start + timedelta(minutes=self._rand.choice(LENGTHS)))
            if not (agent == race.AGENT and _is_race_time(wanted)):
                self._known[agent].append(wanted)
                return wanted

    def _start(self, agent: str) -> datetime:
        zone = ZoneInfo(self._zones[agent])
        day = now().astimezone(zone).date() + timedelta(days=self._rand.randrange(FIRST_DAY, LAST_DAY))
        half_hours = self._rand.randrange(2 * (CLOSES_AT - OPENS_AT))
        return datetime.combine(day, time(OPENS_AT + half_hours // 2, 30 * (half_hours % 2)), tzinfo=zone)


def _is_race_time(wanted: Interval) -> bool:
    return wanted.start.hour <= max(race.HOURS_UTC) and wanted.end.hour >= min(race.HOURS_UTC)


Placed = tuple[str, timedelta]
"""An event's id, and how long it lasts."""


@dataclass(slots=True)
class Human:
    """Somebody in front of one vendor's window: makes, moves and deletes events, and now and then touches one of ours."""

    window: Window
    calendars: Mapping[str, CalendarRecord]
    times: Times
    rand: random.Random
    own: list[tuple[str, Placed]]
    ours: Callable[[CalendarRecord], Sequence[Placed]]
    ours_share: float

    def act(self) -> None:
        if self.rand.random() < self.ours_share:
            self._touch_ours()
        elif self.own and self.rand.random() < 0.45:  # noqa: PLR2004 - a little more than half of all acts make an event
            self._touch(*self.own.pop(self.rand.randrange(len(self.own))))
        else:
            self._create()

    def _create(self) -> None:
        agent = self.rand.choice(sorted(self.calendars))
        calendar, number = self.calendars[agent], self.rand.randrange(1000)
        title, zone = f"{self.window.provider.title()} {number}", self.rand.choice((calendar.zone, *ZONES))
        wanted = self.times.choose(agent)
        made = self.window.create(calendar.remote, wanted, title=title, zone=zone)
        if made is not None:
            self.own.append((agent, (made, wanted.end - wanted.start)))

    def _touch_ours(self) -> None:
        agent = self.rand.choice(sorted(self.calendars))
        if ours := self.ours(self.calendars[agent]):
            self._touch(agent, self.rand.choice(ours))

    def _touch(self, agent: str, placed: Placed) -> None:
        """Move it twice as often as delete it; what is moved may be touched again, under its new id where it has one.

        It keeps its length, as with people who drag an event; a booking tool could not show another.
        """
        calendar, (remote_id, length) = self.calendars[agent], placed
        if self.rand.random() < 1 / 3:
            self.window.delete(calendar.remote, remote_id)
            return
        start = self.times.choose(agent).start
        moved = self.window.move(calendar.remote, remote_id, Interval(start, start + length), zone=calendar.zone)
        if moved is not None:
            self.own.append((agent, (moved, length)))


@dataclass(slots=True)
class Crowd:
    """Many who ask through our API at once."""

    form: Form
    agents: Sequence[str]
    times: Times
    rand: random.Random
    human: Window
    masters: Mapping[str, CalendarRecord]
    pool: ThreadPoolExecutor

    def burst(self) -> None:
        """Everybody wants one slot; now and then a person has just taken it by hand on the master."""
        agent = self.rand.choice(self.agents)
        wanted = self.times.choose(agent)
        if self.rand.random() < 0.25:  # noqa: PLR2004 - a quarter of the bursts
            master = self.masters[agent]
            self.human.create(master.remote, wanted, title="By hand, just now", zone=master.zone)
        self._ask(agent, [wanted] * self.rand.randint(*BURST))

    def touch(self) -> None:
        """Two wishes that touch and do not overlap, so both can be had."""
        agent = self.rand.choice(self.agents)
        wanted = self.times.fresh(agent)
        self._ask(agent, [wanted, Interval(wanted.end, wanted.end + timedelta(minutes=30))])

    def _ask(self, agent: str, wishes: Sequence[Interval]) -> None:
        named = [(wish, f"Demo {self.rand.randrange(1000)}", self.rand.choice(ZONES)) for wish in wishes]
        asked = [self.pool.submit(self.form.ask, agent, wish, title=title, zone=zone) for wish, title, zone in named]
        for one in asked:
            one.result()


class Traffic:
    """All of them, each in a thread of its own, until ``stop``.

    ``pace`` stretches every pause. ``waiting`` says how much is open; while it is too much for this machine, all wait.
    """

    def __init__(
        self,
        running: Running,
        calendars: Sequence[CalendarRecord],
        *,
        diary: Diary,
        seed: int,
        waiting: Callable[[], int],
        pace: float = 1.0,
    ) -> None:
        self._waiting = waiting
        self._stopped = threading.Event()
        self._pool = ThreadPoolExecutor(BURST_THREADS, thread_name_prefix="prospect")
        self._threads = [
            threading.Thread(target=self._repeat, args=(act, pause * pace, random.Random(f"{seed}:{name}")), name=name)  # noqa: S311
            for name, act, pause in _acts(running, calendars, diary=diary, seed=seed, pool=self._pool)
        ]
        for thread in self._threads:
            thread.daemon = True  # a second Ctrl-C ends at once
            thread.start()

    def stop(self) -> None:
        """Nobody does anything any more afterwards."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        self._pool.shutdown()

    def _repeat(self, act: Callable[[], None], pause: float, rand: random.Random) -> None:
        while not self._stopped.wait(rand.expovariate(1 / pause)):
            if self._waiting() > MOST_WAITING:
                continue
            try:
                act()
            except OperationalError as error:  # the database may be in the middle of a restart
                log.warning("demo.skipped", error=type(error).__name__)


_Act = tuple[str, Callable[[], None], float]


def _acts(
    running: Running, calendars: Sequence[CalendarRecord], *, diary: Diary, seed: int, pool: ThreadPoolExecutor
) -> list[_Act]:
    def rand(name: str) -> random.Random:
        return random.Random(f"{seed}:{name}")  # noqa: S311 - a story, not a secret

    masters = {calendar.agent: calendar for calendar in calendars if calendar.role == "master"}
    mirrors = {calendar.agent: calendar for calendar in calendars if calendar.role == "mirror"}
    sources = [
        (provider, {calendar.agent: calendar for calendar in calendars if calendar.provider == provider})
        for provider in ("hubspot", "calcom")
    ]
    times = Times({agent: calendar.zone for agent, calendar in masters.items()}, rand=rand("times"))
    outlook = Window("outlook", running.emulators["outlook"], diary)
    google = Window("google", running.emulators["google"], diary)

    def ours(calendar: CalendarRecord) -> list[Placed]:
        return list_ours(running, calendar)

    crowd = Crowd(Form(running.web, diary), sorted(masters), times, rand("crowd"), outlook, masters, pool)
    return [
        ("burst", crowd.burst, BURST_SECONDS),
        ("touching", crowd.touch, TOUCHING_SECONDS),
        ("google", Human(google, mirrors, times, rand("google"), [], ours, 0.1).act, GOOGLE_SECONDS),
        ("outlook", Human(outlook, masters, times, rand("outlook"), [], ours, 0.3).act, OUTLOOK_SECONDS),
        *(
            (
                name,
                Human(Window(name, running.emulators[name], diary), own, times, rand(name), [], ours, 0.1).act,
                SOURCE_SECONDS,
            )
            for name, own in sources
            if own
        ),
    ]


def list_ours(running: Running, calendar: CalendarRecord) -> list[Placed]:
    """Events of this calendar that carry appointments, with their lengths."""
    moment = now()
    with transaction(running.sessions) as session:
        bookings = list_bookings(session, start=moment, end=moment + timedelta(days=LAST_DAY))
    own = [booking for booking in bookings if booking.agent == calendar.agent and booking.holds_slot]
    return [
        (booking.events[calendar.id], booking.ends_at - booking.starts_at)
        for booking in own
        if calendar.id in booking.events
    ]
