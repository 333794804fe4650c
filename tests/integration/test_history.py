"""Every change of slots and appointments is kept by the database: who asked, why, and what it was before."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from models.history import PastCalendar, calendar_as_of, list_changes
from models.session import Sessions, transaction
from sync.domain import Kind
from tests.integration.world import World, at, drag

CLOCK = "SELECT clock_timestamp()"
LIVE = """
    SELECT s.id, s.state, s.version, lower(s.during), upper(s.during) FROM slots s
    WHERE agent_id = :agent AND state <> 'free' ORDER BY during
"""
BOOKED = """
    SELECT id, state, version, starts_at, ends_at, title, slot_id FROM appointments
    WHERE agent_id = :agent AND state = 'confirmed' ORDER BY starts_at, id
"""


class Album:
    """What the tables showed at each instant, taken when it was so."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.pages: list[tuple[datetime, int, list[tuple[object, ...]], list[tuple[object, ...]]]] = []

    def shoot(self) -> None:
        [(now,)] = self.world.sql(CLOCK)
        for (agent,) in self.world.sql("SELECT id FROM agents"):
            self.pages.append((now, agent, self.world.sql(LIVE, agent=agent), self.world.sql(BOOKED, agent=agent)))


def plain(past: PastCalendar) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    slots = [(one.id, one.state, one.version, one.starts_at, one.ends_at) for one in past.slots]
    booked = [
        (one.id, one.state, one.version, one.starts_at, one.ends_at, one.title, one.slot_id)
        for one in past.appointments
    ]
    return list(slots), list(booked)


def test_a_calendar_as_of_any_instant_is_what_it_was(world: World) -> None:
    world.add_agent("ben")
    album = Album(world)
    album.shoot()
    for act in stories(world):
        act()
        for _ in range(3):
            for reference in world.due():
                world.engine.commit(reference)
                album.shoot()
            world.hurry()
            world.detect_all()
        album.shoot()
    assert len({page[0] for page in album.pages}) > 15
    for instant, agent, slots, booked in album.pages:
        with transaction(world.app) as session:
            assert plain(calendar_as_of(session, agent, instant)) == (slots, booked)


def stories(world: World) -> list[Callable[[], object]]:
    def first() -> int:
        return world.appointments()[0].id

    return [
        lambda: world.ask(at(10), "Visit"),
        lambda: world.wish(Kind.HOLD, at(14), agent="dana"),
        lambda: drag(world.master, world.master.events()[0], at(10.5)),
        lambda: world.wish(Kind.MOVE, at(16), appointment=first()),
        lambda: world.wish(Kind.MOVE, at(16), appointment=first(), agent="ben"),
        lambda: world.wish(Kind.CANCEL, appointment=first()),
    ]


def test_a_change_names_who_asked_and_why(world: World) -> None:
    world.mirror.put(at(10), "Mine")
    world.quiesce()
    world.master.remove(world.master.events()[0].remote_id)
    world.quiesce()
    booking, cancellation = (record.id for record in world.proposals())
    with transaction(world.app) as session:
        booked = list_changes(session, f"proposal:{booking}")
        cancelled = list_changes(session, f"proposal:{cancellation}")
    assert [(one.subject, one.actor, one.after.get("state")) for one in booked] == [
        ("slot", "memory", "held"), ("slot", "memory", "booked"), ("appointment", "memory", "confirmed"),
    ]  # fmt: skip
    assert [(one.subject, one.actor, one.before.get("state"), one.after.get("state")) for one in cancelled] == [
        ("slot", "master", "booked", "free"), ("appointment", "master", "confirmed", "cancelled"),
    ]  # fmt: skip


@pytest.mark.parametrize("statement", ["UPDATE history SET actor = 'x'", "DELETE FROM history", "TRUNCATE history"])
def test_nobody_rewrites_history(world: World, owner_engine: Engine, statement: str) -> None:
    world.book(at(10))
    with owner_engine.connect() as connection, pytest.raises(DBAPIError, match="append-only"):
        connection.execute(text(statement))
    for sessions in (world.app, world.commit_sessions):
        with pytest.raises(DBAPIError, match="permission denied"):
            run(sessions, statement)
        with pytest.raises(DBAPIError, match="permission denied"):
            run(
                sessions,
                "INSERT INTO history (agent_id, subject, subject_id, actor, cause) VALUES (1, 'slot', 1, 'x', 'x')",
            )


def run(sessions: Sessions, statement: str) -> None:
    with transaction(sessions) as session:
        session.execute(text(statement))


def test_a_change_without_a_cause_is_refused(world: World) -> None:
    """Cause and lock are taken together: whoever forgets them is found out by the database."""
    world.book(at(10))
    for statement in (
        "UPDATE slots SET state = 'free'",
        "UPDATE appointments SET state = 'cancelled'",
        "INSERT INTO slots (agent_id, during, state) VALUES (1, tstzrange(now(), now() + interval '1 h'), 'free')",
    ):
        with pytest.raises(DBAPIError, match="names no cause"):
            run(world.commit_sessions, statement)
