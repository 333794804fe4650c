"""Wishes that keep coming while something is broken, and what became of each of them."""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

import requests
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from models.agents import Agent, Calendar
from models.ledger import Decision, Slot, Write
from models.proposals import FINAL_STATES, Proposal
from tests.e2e.stack import Stack, wait_for

FULL = os.environ.get("WATERTIGHT_TEST_FULL") == "1"
MOST = 144  # wishes of one load: then its day is full
THREADS = 4  # a frozen broker holds each request for 5 s: the others go on
PACE_SECONDS = 0.4
BACKLOG = 20  # more undecided than that, and a slow machine would still be at the last load when the next one comes
AGENTS = ("dana", "ben", "asha")


@dataclass(frozen=True, slots=True)
class Wish:
    title: str
    agent: str
    start: datetime


class Load:
    """Threads that ask for appointments, two wishes for every hour, until the ``with`` block ends or ``MOST`` are out.

    What is not accepted is asked for again under the same key, as a caller should: every wish ends up in ``accepted``.
    """

    def __init__(self, stack: Stack, name: str) -> None:
        self.stack, self.name = stack, name
        self.accepted: dict[int, Wish] = {}
        self.refusals: Counter[int] = Counter()
        self.began = self.ended = stack.look(_now)
        self._day = stack.free_day()
        self._allowed = BACKLOG
        self._numbers = itertools.count()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask_on, name=f"load-{number}") for number in range(THREADS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        wait_for(lambda: self.decided() > 0, "first decision under load")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def outage_begins(self) -> None:
        self.began = self.ended = self.stack.look(_now)
        self._allowed = MOST

    def outage_ended(self) -> None:
        """From here on the time counts until the first decision."""
        self.ended = self.stack.look(_now)
        self._allowed = BACKLOG
        wait_for(lambda: self.decided(after=self.ended) > 0, "decision after the outage", seconds=120)

    def decided(self, *, after: datetime | None = None) -> int:
        """How many of the accepted have been decided (since); none that anybody knows of while the database is away."""
        later: tuple[ColumnElement[bool], ...] = (Proposal.decided_at > after,) if after is not None else ()
        query = select(func.count()).where(Proposal.id.in_(list(self.accepted)), *later)
        with suppress(OperationalError):
            return self.stack.look(lambda session: session.scalar(query.where(Proposal.state.in_(FINAL_STATES))) or 0)
        return 0

    def in_hand(self) -> int:
        """How many are under a lease just now: their commit has begun and not ended."""
        return self.stack.look(
            lambda session: session.scalar(_leased(list(self.accepted)).where(Write.leased_until > func.now())) or 0
        )

    def _ask_on(self) -> None:
        while not self._stop.wait(PACE_SECONDS):
            if len(self.accepted) - self.decided() >= self._allowed:
                continue
            if (number := next(self._numbers)) >= MOST:
                return
            pair = number // 2
            agent, hour = AGENTS[pair % len(AGENTS)], pair // len(AGENTS)
            self._insist(Wish(f"{self.name} {number:03}", agent, self._day + timedelta(hours=hour)))

    def _insist(self, wish: Wish) -> None:
        """Even after the end: whoever asked wants an answer."""
        while True:
            try:
                answer = self.stack.ask(wish.title, start=wish.start, agent=wish.agent)
            except requests.RequestException:
                self.refusals[0] += 1
            else:
                if answer.ok or answer.status_code == 409:  # asked again, it may have been refused by now
                    self.accepted[int(answer.json()["id"])] = wish
                    return
                self.refusals[answer.status_code] += 1
            time.sleep(PACE_SECONDS)


@dataclass(frozen=True, slots=True)
class Fate:
    """What the database says about one proposal."""

    state: str
    decided_at: datetime
    decisions: int
    attempts: int


def await_calm(load: Load) -> None:
    """Every accepted wish is decided and nothing that follows from it is left to do. The longest wait is for a lease."""
    stack = load.stack
    wait_for(lambda: load.decided() == len(load.accepted), "decision of all that was accepted", seconds=120)
    left = _leased(list(load.accepted))
    wait_for(lambda: not stack.look(lambda session: session.scalar(left)), "end of all writes", seconds=120)


def fates(load: Load) -> dict[int, Fate]:
    return load.stack.look(lambda session: _fates(session, list(load.accepted)))


def overlapping_slots(session: Session) -> int:
    other = select(Slot.id, Slot.agent_id, Slot.during, Slot.state).subquery()
    pairs = select(func.count()).where(
        Slot.agent_id == other.c.agent_id,
        Slot.id < other.c.id,
        Slot.state != "free",
        other.c.state != "free",
        Slot.during.op("&&")(other.c.during),
    )
    return session.scalar(pairs) or 0


def on_calendar(load: Load, provider: str) -> Counter[tuple[str, str, datetime]]:
    """How often the vendor shows each wish of this load."""
    return Counter(
        (agent, title, start)
        for agent in AGENTS
        for title, start in load.stack.shown(provider, agent=agent)
        if title.startswith(f"{load.name} ")
    )


def messages(load: Load) -> Counter[str]:
    """How many Commit messages each proposal had, as far as Flower saw them: it too is cut off while the broker is away."""
    tasks = requests.get(f"{load.stack.run['flower']}/api/tasks", params={"taskname": "Commit"}, timeout=60).json()
    ours = {f"proposal:{number}" for number in load.accepted}
    references = (str(task["args"]).partition("'")[2].partition("'")[0] for task in tasks.values())
    return Counter(reference for reference in references if reference in ours)


def keep_figures(case: str, **figures: Any) -> None:  # noqa: ANN401 - whatever JSON can say
    """One line for whoever asked for figures."""
    if name := os.environ.get("WATERTIGHT_TEST_FIGURES"):
        with open(name, "a", encoding="utf-8") as file:  # noqa: PTH123 - appends
            file.write(json.dumps({"case": case, "full": FULL, **figures}) + "\n")


def _now(session: Session) -> datetime:
    """By the database's clock, as the decisions are stamped."""
    now: datetime = session.scalars(select(func.clock_timestamp())).one()
    return now


def _leased(proposals: list[int]) -> Any:  # noqa: ANN401 - a count, whose type only the plugin could tell
    return select(func.count()).select_from(Write).where(Write.proposal_id.in_(proposals), Write.state == "due")


def _fates(session: Session, proposals: list[int]) -> dict[int, Fate]:
    writes = session.execute(
        select(Write.proposal_id, Write.attempt)
        .join(Calendar, Calendar.id == Write.calendar_id)
        .where(Write.proposal_id.in_(proposals), Calendar.role == "master")
    )
    attempts = dict(writes.all())
    rows = session.execute(
        select(Proposal.id, Proposal.state, Proposal.decided_at, func.count(Decision.id))
        .join(Agent)
        .outerjoin(Decision, Decision.proposal_id == Proposal.id)
        .where(Proposal.id.in_(proposals))
        .group_by(Proposal.id)
    )
    return {number: Fate(state, at, count, attempts.get(number, 0)) for number, state, at, count in rows if at}
