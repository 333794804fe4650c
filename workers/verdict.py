"""The demo's verdict: the calendars as the vendors' own APIs show them, against the ledger and against what people did."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import requests

from models.figures import (
    ProposalFigure,
    list_bookings,
    list_judged_events,
    list_proposals,
)
from models.listings import CalendarRecord, list_calendars
from models.session import Sessions, transaction
from sync.audit import Drift, Shown, compare
from sync.audits import booking_of
from sync.detect import Horizon
from sync.domain import CalendarId, CalendarRef, Interval, RemoteEvent, RemoteId, Role
from sync.errors import Transient
from sync.ports import Calendars
from workers.diary import Asked, Diary, now
from workers.quiet import Quiet
from workers.race import RaceResult

Made = tuple[str, str, str]
"""An event that we made: provider, calendar in lower case, remote id."""

READ_ATTEMPTS = 6
CONTROL_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What happened, and whether every promise was kept."""

    seed: int
    seconds: float
    proposals: Sequence[ProposalFigure]
    unrecorded: Sequence[Asked]
    drift: Drift
    diary: Diary
    race: RaceResult | None
    quiet: Quiet
    api_calls: dict[str, int]
    limits_exceeded: dict[str, int]

    @property
    def undecided(self) -> list[int]:
        return [row.id for row in self.proposals if row.decided_at is None]

    @property
    def booked(self) -> int:
        return sum(1 for row in self.proposals if row.accepted and row.kind == "book")

    @property
    def refused(self) -> dict[str, int]:
        return dict(Counter(str(row.reason) for row in self.proposals if row.accepted is False).most_common())

    @property
    def lost(self) -> int:
        return len(self.drift.lost) + len(self.undecided) + len(self.unrecorded)

    @property
    def broken(self) -> list[str]:
        """Every broken promise, in a sentence each; empty if all is well."""
        sentences = [str(finding) for finding in self.drift.broken]
        sentences += [f"proposal {number} is undecided" for number in self.undecided]
        sentences += [f"proposal {asked.proposal_id} was taken on and is not there" for asked in self.unrecorded]
        if not self.quiet.reached:
            sentences += [f"not quiet after {self.quiet.seconds:.0f} s", *self.quiet.open]
        if self.race is not None and not self.race.is_fair:
            sentences.append("the race has no clear winner and loser")
        if not self.booked or not self.refused:
            sentences.append("not both outcomes were seen")
        return sentences

    def as_dict(self) -> dict[str, Any]:
        """The verdict as ``--json`` prints it."""
        accepted = Counter(row.kind for row in self.proposals if row.accepted)
        return {
            "proposals": len(self.proposals),
            "decided": len(self.proposals) - len(self.undecided),
            "booked": self.booked,
            "moved": accepted["move"],
            "cancelled": accepted["cancel"],
            "refused": self.refused,
            "overlaps_on_master": len(self.drift.overlaps_on_master),
            "lost": self.lost,
            "mirrors_out_of_step": len(self.drift.mirrors_out_of_step),
            "strays": len(self.drift.strays),
            "overlaps_made_by_people": len(self.drift.overlaps_made_by_people),
            "time_to_decide_seconds": percentiles(self._seconds_to_decide()),
            "time_to_reflect_seconds": percentiles(self._seconds_to_reflect()),
            "race": self.race.as_dict() if self.race else None,
            "quiet": {"reached": self.quiet.reached, "seconds": round(self.quiet.seconds, 1)},
            "api_calls": self.api_calls,
            "limits_exceeded": self.limits_exceeded,
            "traffic": {"changes": self.diary.count(), "errors": self.diary.errors()},
            "duration_seconds": round(self.seconds, 1),
            "seed": self.seed,
            "broken": self.broken,
        }

    def _seconds_to_decide(self) -> list[float]:
        begun = ((self.diary.moment_of(row), row.decided_at) for row in self.proposals)
        return [(end - start).total_seconds() for start, end in begun if start and end]

    def _seconds_to_reflect(self) -> list[float]:
        """From the person's act until master and every mirror showed it, for what was accepted."""
        begun = ((self.diary.moment_of(row), row.shown_at) for row in self.proposals if row.accepted)
        return [(end - start).total_seconds() for start, end in begun if start and end]


def percentiles(seconds: Sequence[float]) -> dict[str, float | int | None]:
    """Median and 99th percentile by nearest rank: figures that were measured, not interpolated."""
    ranked = sorted(seconds)
    at = {name: max(0, math.ceil(share * len(ranked)) - 1) for name, share in (("p50", 0.5), ("p99", 0.99))}
    return {**{name: round(ranked[place], 3) if ranked else None for name, place in at.items()}, "of": len(ranked)}


def find_drift(sessions: Sessions, calendars: Calendars, *, window: Interval, made: Collection[Made]) -> Drift:
    """Read every calendar through its vendor's API and compare. ``made`` are the events that we made there.

    Raises:
        WatertightError: a calendar could not be read, so nobody can say that it is in step.
    """
    with transaction(sessions) as session:
        records = list_calendars(session)
    shown = [_shown(record, calendars, window=window, made=made) for record in records]
    with transaction(sessions) as session:
        bookings = list_bookings(session, start=window.start, end=window.end)
        judged = {(CalendarId(number), RemoteId(remote)) for number, remote in list_judged_events(session)}
    return compare([booking_of(figure) for figure in bookings], shown, judged=judged)


def window_of(horizon: Horizon) -> Interval:
    """What is kept in step: from now on, as far as every job's window reaches, however old it is."""
    moment = now()
    return Interval(moment, moment + horizon.ahead - horizon.reopen)


def list_made(emulators: dict[str, str]) -> set[Made]:
    """The events that came in through the vendor's API, by the vendor's own account."""
    return {
        (provider, ref.lower(), str(event.get("uid") or event.get("id")))
        for provider, url in emulators.items()
        for ref, events in _control(url, "state")["calendars"].items()
        for event in events
        if event["created_by"] != "human"
    }


def list_unrecorded(diary: Diary, proposals: Sequence[ProposalFigure]) -> list[Asked]:
    """Requests that were answered with success and left no row."""
    known = {row.key for row in proposals}
    return [asked for asked in diary.taken_on() if f"request:{asked.key}" not in known]


def list_run(sessions: Sessions, *, after: int) -> list[ProposalFigure]:
    """The proposals of this run."""
    with transaction(sessions) as session:
        return list_proposals(session, after=after)


def count_requests(emulators: dict[str, str]) -> tuple[dict[str, int], dict[str, int]]:
    """Requests to every vendor so far, and how often one of its limits was exceeded."""
    books = {provider: _control(url, "requests") for provider, url in emulators.items()}
    return (
        {provider: int(book["total"]) for provider, book in books.items()},
        {provider: sum(book["limits_exceeded"].values()) for provider, book in books.items()},
    )


def _shown(record: CalendarRecord, calendars: Calendars, *, window: Interval, made: Collection[Made]) -> Shown:
    role = Role(record.role)
    ref = CalendarRef(CalendarId(record.id), record.agent, record.provider, record.remote, role, record.zone)
    events = _read(calendars, ref, window)
    ours = {event.remote_id for event in events if (ref.provider, ref.remote.lower(), event.remote_id) in made}
    return Shown(ref, events, frozenset(ours))


def _read(calendars: Calendars, ref: CalendarRef, window: Interval) -> tuple[RemoteEvent, ...]:
    for attempt in range(1, READ_ATTEMPTS):
        try:
            return tuple(calendars.reader(ref).read_window(window))
        except Transient as error:
            time.sleep(error.retry_after or attempt)
    return tuple(calendars.reader(ref).read_window(window))


def _control(url: str, what: str) -> dict[str, Any]:
    with requests.Session() as session:
        session.trust_env = False
        response = session.get(f"{url}/_control/{what}", timeout=CONTROL_SECONDS)
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
        return answer
