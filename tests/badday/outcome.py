"""What came of a bad day: the verdict, the vendors' own books, and what people would have had to look at."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import requests
from rich.table import Table
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.failures import Alert, DeadLetter
from models.listings import CalendarRecord, list_calendars
from models.session import Sessions, transaction
from workers.diary import now
from workers.verdict import Verdict

TOLD_OTHERWISE = {"race", "api_calls"}  # there is none; by the emulators' books
MOST_AT_ONCE = {"outlook": 4}  # for one mailbox, where a vendor limits it


@dataclass(frozen=True, slots=True)
class Toll:
    """What was left for people: alerts and dead letters by code, calendars that stopped or were left alone for a while."""

    alerts_opened: dict[str, int]
    alerts_open: dict[str, int]
    dead_letters: dict[str, int]
    stopped: list[str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run. ``books`` are the emulators' own, ``put_off`` the seconds for which a job left a calendar alone at the end."""

    verdict: Verdict
    books: dict[str, dict[str, Any]]
    toll: Toll
    put_off: list[float]
    released: int
    told: dict[str, Any]

    @property
    def broken(self) -> list[str]:
        """Every broken promise, in a sentence each."""
        return [
            *self.verdict.broken,
            *self._beyond_limits(),
            *(f"waits for a person: {row}" for row in self.toll.stopped),
        ]

    def as_dict(self) -> dict[str, Any]:
        reasons = Counter(str(row.reason) for row in self.verdict.proposals)
        judged = {name: value for name, value in self.verdict.as_dict().items() if name not in TOLD_OTHERWISE}
        return {
            **self.told,
            **judged,
            "decisions_by_reason": dict(reasons.most_common()),
            "calls": {vendor: book["total"] for vendor, book in self.books.items()},
            "calls_by_status": {vendor: book["by_status"] for vendor, book in self.books.items()},
            "most_at_once": {vendor: book["most_at_once"] for vendor, book in self.books.items()},
            "limits_exceeded": {vendor: book["limits_exceeded"] for vendor, book in self.books.items()},
            "faults": {vendor: book["bad_day"] for vendor, book in self.books.items()},
            "alerts_opened": self.toll.alerts_opened,
            "alerts_still_open": self.toll.alerts_open,
            "dead_letters": self.toll.dead_letters,
            "put_off": {"count": len(self.put_off), "longest_seconds": round(max(self.put_off, default=0.0))},
            "released_by_hand": self.released,
            "broken": self.broken,
        }

    def _beyond_limits(self) -> list[str]:
        found = [
            f"{vendor}: limit {name} exceeded"
            for vendor, book in self.books.items()
            for name in book["limits_exceeded"]
        ]
        most = {vendor: self.books[vendor]["most_at_once"] for vendor in MOST_AT_ONCE}
        found += [f"{vendor}: {most[vendor]} at once" for vendor, limit in MOST_AT_ONCE.items() if most[vendor] > limit]
        return found


def read_books(emulators: dict[str, str]) -> dict[str, dict[str, Any]]:
    return {vendor: control("GET", f"{url}/_control/requests") for vendor, url in emulators.items()}


def read_toll(sessions: Sessions) -> Toll:
    with transaction(sessions) as session:
        return Toll(
            alerts_opened=_by_code(session, Alert.code),
            alerts_open=_by_code(session, Alert.code, Alert.resolved_at.is_(None)),
            dead_letters=_by_code(session, DeadLetter.code),
            stopped=[
                f"{row.agent} {row.provider}: {row.stopped_code}" for row in list_calendars(session) if row.stopped_code
            ],
        )


def seconds_put_off(row: CalendarRecord) -> list[float]:
    """For how long each job still leaves this calendar alone."""
    waits = ((until - now()).total_seconds() for until in row.put_off.values())
    return [wait for wait in waits if wait > 0]


def control(method: str, url: str, body: object = None) -> dict[str, Any]:
    with requests.Session() as session:
        session.trust_env = False
        answer = session.request(method, url, json=body, timeout=20)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


def table_of(figures: dict[str, Any]) -> Table:
    """One line for each figure; of the parts that are zero nothing is said."""
    table = Table("figure", "value", title="a bad day")
    for name, value in figures.items():
        if name == "faults":
            for vendor, day in value.items():
                table.add_row(f"faults {vendor}", f"{day['hits']} of {day['requests']}: {_listed(day['by_kind'])}")
        elif name != "broken":
            table.add_row(name.replace("_", " "), _listed(value) if isinstance(value, dict) else str(value))
    table.add_row("broken", "\n".join(figures["broken"]) or "nothing")
    return table


def _listed(value: dict[str, Any]) -> str:
    return ", ".join(f"{name} {part}" for name, part in value.items()) or "none"


def _by_code(session: Session, column: Any, *where: Any) -> dict[str, int]:  # noqa: ANN401 - SQLAlchemy's attributes
    rows = session.execute(select(column, func.count()).where(*where).group_by(column).order_by(column))
    return {str(code): int(count) for code, count in rows}
