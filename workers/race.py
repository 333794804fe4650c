"""Two prospects want the same hour of one agent through different systems, each spelled in its own zone."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from models.figures import ProposalFigure, get_newest_proposal, list_proposals, list_wished_times
from models.listings import CalendarRecord, list_calendars
from models.session import transaction
from sync.domain import Interval
from workers.diary import Diary, now
from workers.people import Form, Window, spell
from workers.settings import SettingsError
from workers.up import Running

AGENT = "dana"
LONDON, SAN_FRANCISCO = "Europe/London", "America/Los_Angeles"
HOURS_UTC = (15, 16, 17, 18)  # working hours in all three cities; kept free of the demo's other traffic
FIRST_DAY, LAST_DAY = 3, 45
DECIDED_SECONDS = 60.0
LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Racer:
    """One prospect's wish and what became of it. ``spelled`` is the start as that prospect wrote it."""

    name: str
    system: str
    spelled: str
    proposal: int | None = None
    accepted: bool | None = None
    reason: str | None = None
    evidence: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class RaceResult:
    """``head_start`` is by how many seconds London was earlier: its calendar is polled, San Francisco's form is not."""

    number: int
    start: datetime
    head_start: float
    london: Racer
    san_francisco: Racer

    @property
    def winner(self) -> Racer | None:
        """The one that was booked, if exactly one was."""
        won = [racer for racer in (self.london, self.san_francisco) if racer.accepted]
        return won[0] if len(won) == 1 else None

    @property
    def loser(self) -> Racer | None:
        """The one that was refused, if exactly one was."""
        lost = [racer for racer in (self.london, self.san_francisco) if racer.accepted is False]
        return lost[0] if len(lost) == 1 else None

    @property
    def is_fair(self) -> bool:
        """Exactly one booked, one refused because the time was taken, with evidence."""
        if self.winner is None or self.loser is None:
            return False
        return self.loser.reason in {"slot_taken", "master_busy"} and bool(self.loser.evidence)

    def as_dict(self) -> dict[str, Any]:
        winner, loser = self.winner, self.loser
        return {
            "winner": winner.name if winner else None,
            "winner_system": winner.system if winner else None,
            "loser": loser.name if loser else None,
            "loser_reason": loser.reason if loser else None,
            "loser_evidence": loser.evidence if loser else None,
            "start": self.start.isoformat(),
            "head_start_seconds": round(self.head_start, 2),
            "racers": [asdict(self.london), asdict(self.san_francisco)],
        }


def race_once(running: Running, round_number: int, *, diary: Diary | None = None) -> RaceResult:
    """Run one race in an hour that nobody ever asked for, and wait for both decisions.

    Even rounds start both at the same moment; in odd ones London starts earlier, by up to two polls of its calendar, so
    that either may win.

    Raises:
        SettingsError: the agent of the embedded world is not there.
    """
    rand, diary = random.Random(round_number), diary or Diary()  # noqa: S311 - a story, not a secret
    hour = _fresh_hour(running, round_number)
    head_start = rand.uniform(0.5, 2 * running.settings.new_every) if round_number % 2 else 0.0
    mirror = _mirror(running)
    with transaction(running.sessions) as session:
        before = get_newest_proposal(session)
    remote_id, asked = _go(running, diary, mirror=mirror, hour=hour, head_start=head_start)

    def is_london(row: ProposalFigure) -> bool:
        return (row.calendar_id, row.remote_id) == (mirror.id, remote_id)

    london, san_francisco = _await_both(running, before, is_london, lambda row: row.id == asked)
    return RaceResult(
        round_number,
        hour.start,
        head_start,
        _racer("London", "google", spell(hour.start, LONDON), london),
        _racer("San Francisco", "api", spell(hour.start, SAN_FRANCISCO), san_francisco),
    )


def _go(
    running: Running, diary: Diary, *, mirror: CalendarRecord, hour: Interval, head_start: float
) -> tuple[str | None, int | None]:
    """Both at once behind a barrier, but for the head start; the ids of the event and of the proposal."""
    barrier = threading.Barrier(2)
    made: dict[str, str | None] = {}

    def london() -> None:
        window = Window("google", running.emulators["google"], diary)
        barrier.wait()
        made["london"] = window.create(mirror.remote, hour, title="Enterprise demo (London)", zone=LONDON)

    thread = threading.Thread(target=london, name="london")
    thread.start()
    form = Form(running.web, diary)
    barrier.wait()
    time.sleep(head_start)
    asked = form.ask(AGENT, hour, title="Enterprise demo (San Francisco)", zone=SAN_FRANCISCO)
    thread.join()
    return made.get("london"), asked


def _await_both(running: Running, before: int, *who: Callable[[ProposalFigure], bool]) -> list[ProposalFigure | None]:
    """The first proposal of each, decided, or as far as they came in time."""
    deadline = time.monotonic() + DECIDED_SECONDS
    while True:
        with transaction(running.sessions) as session:
            rows = list_proposals(session, after=before)[::-1]
        found = [next(filter(is_it, rows), None) for is_it in who]
        if all(row and row.decided_at for row in found) or time.monotonic() > deadline:
            return found
        time.sleep(LOOK_SECONDS)


def _racer(name: str, system: str, spelled: str, row: ProposalFigure | None) -> Racer:
    if row is None:
        return Racer(name, system, spelled)
    return Racer(name, system, spelled, row.id, row.accepted, row.reason, row.evidence)


def _mirror(running: Running) -> CalendarRecord:
    with transaction(running.sessions) as session:
        calendars = list_calendars(session)
    for calendar in calendars:
        if (calendar.agent, calendar.provider, calendar.role) == (AGENT, "google", "mirror"):
            return calendar
    message = f"the demo needs the agents of the embedded world, and there is no {AGENT!r}: use a new state directory"
    raise SettingsError(message)


def _fresh_hour(running: Running, round_number: int) -> Interval:
    """An hour of the agent that nobody ever asked for; if there is none left, one of the last."""
    midnight = now().replace(hour=0, minute=0, second=0, microsecond=0)
    with transaction(running.sessions) as session:
        wished = [Interval(*times) for times in list_wished_times(session, AGENT, start=midnight)]
    starts = [midnight + timedelta(days=day, hours=at) for day in range(FIRST_DAY, LAST_DAY) for at in HOURS_UTC]
    hours = [Interval(start, start + timedelta(hours=1)) for start in starts]
    fresh = [hour for hour in hours if not any(hour.overlaps(other) for other in wished)]
    return fresh[round_number % min(len(fresh), len(HOURS_UTC))] if fresh else hours[-1]
