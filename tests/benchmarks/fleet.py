"""A fleet of agents for benchmarks: made by SQL, its vendor in memory, and minutes of its life through the real tasks.

The vendor is ``providers/memory.py`` in this process: emulators over HTTP cannot hold 30,000 calendars cheaply. Everything
else is real: PostgreSQL, the broker, a Celery worker with its tasks. A minute takes as long as the work does; afterwards
the clocks in the tables are set, so that the next one begins sixty seconds after it.
"""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Self

import redis
from celery import signals
from celery.contrib.testing.worker import start_worker
from sqlalchemy import Engine, event, text

from models.session import Sessions, transaction
from providers.memory import MemoryCalendar, MemoryCalendars
from sync.domain import CalendarId, Interval, RemoteId
from sync.hints import Received, Taken, take_all
from sync.pushes import Push
from workers.app import app
from workers.nudge import wake

PROVIDERS = {"outlook": "master", "google": "mirror", "hubspot": "source"}  # the first two push, the third is polled
PUSHING = ("outlook", "google")
QUEUES = ("new", "cancel", "update", "commit", "upkeep")
MINUTE = timedelta(minutes=1)
CALM_SECONDS = 0.05
CALM_LOOKS = 3
START = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(days=2)

# Read at moments spread over the time between two reads, opened over the day, and last changed within three days: as if
# the fleet had run for long.
SEED = """
INSERT INTO agents (slug, zone) SELECT 'agent-' || n, 'America/Chicago' FROM generate_series(1, :agents) AS n;
INSERT INTO calendars (agent_id, provider, remote, role)
    SELECT agents.id, kind.provider, kind.provider || '-' || agents.id, kind.role
    FROM agents, (VALUES ('outlook', 'master'), ('google', 'mirror'), ('hubspot', 'source')) AS kind (provider, role)
    ORDER BY agents.id;
INSERT INTO cursors (calendar_id, job, value, window_start, window_end, opened_at, read_at, changed_at)
    SELECT calendars.id, kind.job, '0', now() - interval '1 day', now() + interval '60 days',
        now() - random() * interval '23 hours', now() - random() * kind.every * CASE provider WHEN 'hubspot' THEN 1 ELSE 5 END,
        now() - power(random(), 2) * interval '3 days'
    FROM calendars, (VALUES ('new', interval '60 s'), ('cancel', interval '120 s'), ('update', interval '600 s')) AS kind (job, every);
INSERT INTO channels (calendar_id, remote_id, url, opened_at, expires_at)
    SELECT id, 'channel-' || id, '{public_url}/webhooks/' || provider, now() - interval '1 day' * (1 + random()),
        now() + interval '1 day' * (1 + random())
    FROM calendars WHERE provider <> 'hubspot';
"""
# What was read in this minute counts as read at its beginning; everything else is as much older as a minute is long.
NEXT_MINUTE = """
UPDATE cursors SET read_at = CASE WHEN read_at >= :began THEN clock_timestamp() - interval '50 seconds' ELSE read_at - CAST(:rest AS interval) END,
    opened_at = opened_at - CAST(:rest AS interval), changed_at = changed_at - CAST(:rest AS interval),
    not_before = not_before - CAST(:rest AS interval), hinted_at = hinted_at - CAST(:rest AS interval)
"""


@dataclass
class Spent:
    """What something has cost: CPU seconds by process, and counts."""

    cpu: Counter[str] = field(default_factory=Counter)
    statements: int = 0
    transactions: int = 0
    vendor_calls: int = 0
    messages: Counter[str] = field(default_factory=Counter)
    fan_out: list[tuple[str, float, int]] = field(default_factory=list)

    def add(self, before: Spent, after: Spent) -> None:
        """What was spent between two readings of a meter."""
        self.cpu.update({name: value - before.cpu[name] for name, value in after.cpu.items()})
        self.statements += after.statements - before.statements
        self.transactions += after.transactions - before.transactions
        self.vendor_calls += after.vendor_calls - before.vendor_calls
        self.messages.update({name: value - before.messages[name] for name, value in after.messages.items()})


_sent: Counter[str] = Counter()


@signals.before_task_publish.connect  # type: ignore[untyped-decorator]
def _count_message(*, headers: dict[str, object], sender: object = None, **_: object) -> None:
    """Nothing expires: of ten thousand agents a minute's work takes minutes here, and all of it is to be counted."""
    _sent[str(sender)] += 1
    headers["expires"] = None


@dataclass
class Meter:
    """Counts what this process sends to the broker, asks of the database and asks of the vendor, and what its servers burn."""

    processes: Callable[[], dict[str, float]]
    engines: Sequence[Engine]
    vendor: MemoryCalendars
    transactions: Callable[[], int]
    statements: int = 0
    spent: Spent = field(default_factory=Spent)

    def __enter__(self) -> Self:
        for engine in self.engines:
            event.listen(engine, "before_cursor_execute", self._asked)
        return self

    def __exit__(self, *_: object) -> None:
        for engine in self.engines:
            event.remove(engine, "before_cursor_execute", self._asked)

    @contextmanager
    def running(self) -> Iterator[None]:
        """What is spent inside counts."""
        before = self._read()
        yield
        self.spent.add(before, self._read())

    def _read(self) -> Spent:
        cpu = Counter(self.processes() | {"python": time.process_time()})
        calls = sum(len(calendar.calls) for calendar in self.vendor._calendars.values())
        return Spent(cpu, self.statements, self.transactions(), calls, Counter(_sent))

    def _asked(self, *_: object) -> None:
        self.statements += 1


@dataclass
class Fleet:
    """``agents`` agents with three calendars each, of whom ``share`` change something in every minute."""

    owner: Engine
    sessions: Sessions
    vendor: MemoryCalendars
    broker: redis.Redis
    agents: int = 0
    share: float = 0.01
    minute: int = 0
    ids: dict[str, CalendarId] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    made: list[tuple[MemoryCalendar, str]] = field(default_factory=list)
    rand: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311 - the same every time
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def seed(self, agents: int, *, public_url: str) -> None:
        self.agents = agents
        with self.owner.begin() as connection:
            for statement in SEED.format(public_url=public_url).split(";\n"):
                if statement.strip():
                    connection.execute(text(statement), {"agents": agents} if ":agents" in statement else {})
        self.settle_tables()
        with self.owner.connect() as connection:
            rows = connection.execute(text("SELECT remote, id FROM calendars"))
            self.ids = {remote: CalendarId(number) for remote, number in rows}

    def settle_tables(self) -> None:
        with self.owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))

    def live(self, meter: Meter) -> None:
        """One minute: beat's slots fire, people change things, vendors push, until nothing is left to do."""
        began = self._now()
        with meter.running():
            self.change()
            self._fire(meter)
        with working(), meter.running():
            self.calm()
            while self.push():
                self.calm()
        self._next_minute(began)

    def change(self) -> None:
        """What people do at the vendors: of six, three type something new, two move it, one takes it away."""
        for _ in range(round(self.agents * self.share)):
            number = next(self.numbers)
            kind = ("new", "new", "move", "new", "move", "cancel")[number % 6]
            if kind == "new" or not self.made:
                agent = self.rand.randint(1, self.agents)
                calendar = self.vendor.of(f"{('google', 'hubspot')[number % 2]}-{agent}")
                self.made.append((calendar, calendar.put(_hour(number), "Demo").remote_id))
            else:
                calendar, remote_id = self.made.pop(0)
                if kind == "cancel":
                    calendar.remove(RemoteId(remote_id))
                else:
                    calendar.put(_hour(number), "Demo", remote_id=remote_id)

    def push(self) -> int:
        """The vendors tell of every calendar of theirs that has changed since they last did; how many they told about."""
        changed = [
            calendar
            for calendar in list(self.vendor._calendars.values())
            if calendar.name.startswith(PUSHING) and calendar._last > self.seen.get(calendar.name, 0)
        ]
        for calendar in changed:
            self.seen[calendar.name] = calendar._last
            provider, calendar_id = calendar.name.partition("-")[0], self.ids[calendar.name]
            push = Push(f"{calendar.name}:{calendar._last}", calendar_id, f"channel-{calendar_id}")
            for taken in take_all(self.sessions, [Received(provider, (push,))]):
                if isinstance(taken, Taken):
                    wake(taken.nudges)
        return len(changed)

    def calm(self) -> None:
        """Wait until no message is left, nobody works, and no row is due."""
        calm = 0
        while calm < CALM_LOOKS:
            time.sleep(CALM_SECONDS)
            keys = [str(key) for key in self.broker.keys("*")]
            waiting = any(key.startswith(QUEUES) for key in keys if not key.startswith("_kombu"))
            calm = 0 if waiting or "unacked" in keys else calm + 1

    def _fire(self, meter: Meter) -> None:
        """The fan-outs run by themselves, so that their time is theirs alone; upkeep waits for the worker."""
        slots = (("NewAppointmentSync", 1), ("CancellationSync", 2), ("UpdateSync", 10))
        for task in (name for name, minutes in slots if self.minute % minutes == 0):
            began, before = time.perf_counter(), _sent.total()
            app.tasks[task].apply()
            meter.spent.fan_out.append((task, time.perf_counter() - began, _sent.total() - before))
        for task in ["ResumeCommits", "ReleaseHolds"] * 6 + ["RenewSubscriptions"]:
            app.send_task(task)

    def _next_minute(self, began: datetime) -> None:
        self.minute += 1
        rest = MINUTE - (self._now() - began)
        with self.owner.begin() as connection:
            connection.execute(text(NEXT_MINUTE), {"began": began, "rest": f"{rest.total_seconds()} seconds"})
        self.settle_tables()

    def _now(self) -> datetime:
        with transaction(self.sessions) as session:
            moment: datetime = session.execute(text("SELECT clock_timestamp()")).scalar_one()
            return moment


@contextmanager
def working(threads: int = 4) -> Iterator[None]:
    """A Celery worker in this process, for every queue."""
    with start_worker(app, pool="threads", concurrency=threads, perform_ping_check=False, queues=list(QUEUES)):
        yield


def _hour(number: int) -> Interval:
    """Of one day after the other, so that few stand in another's way."""
    start = START + timedelta(hours=number % 1200)
    return Interval(start, start + timedelta(minutes=30))
