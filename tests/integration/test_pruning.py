"""What is old goes, what is young, open or referred to stays, and no table is forgotten by whoever adds one."""

from __future__ import annotations

import importlib
import pkgutil
import time
from datetime import UTC, datetime, timedelta
from threading import Thread

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError, ProgrammingError, SQLAlchemyError

import models
from models.base import Base
from models.session import Sessions, transaction
from sync.domain import Job
from sync.pruning import KEPT, PRUNED, Keep, prune, unlisted
from tests.integration.world import World, at
from workers.settings import Settings

for module in pkgutil.iter_modules(models.__path__):
    importlib.import_module(f"models.{module.name}")

NOW = datetime.now(UTC)
KEEP = Settings(state_dir="nowhere").kept
DAY = timedelta(days=1)
Row = tuple[str, bool, dict[str, object]]  # the table, whether it goes, and its columns


def days(number: float) -> object:
    return NOW - number * DAY


def sighting(name: str, *, over: float | None, seen: float = 400, **more: object) -> dict[str, object]:
    """One whose event ended so many days ago; None: it was never seen alive."""
    times = {} if over is None else {"starts_at": days(over + 0.1), "ends_at": days(over)}
    return {"calendar_id": 2, "remote_id": name, "deleted": over is None, "seen_at": days(seen), **times, **more}


ROWS: list[Row] = [
    ("deliveries", True, {"provider": "google", "key": "old", "received_at": days(8)}),
    ("deliveries", False, {"provider": "google", "key": "young", "received_at": days(6)}),
    ("beat_fires", True, {"name": "Prune", "slot": days(8), "fired_at": days(8)}),
    ("beat_fires", False, {"name": "Prune", "slot": days(9), "fired_at": days(6)}),
    (
        "attempts",
        True,
        {"task": "T", "reference": "1", "number": 1, "code": "c", "excerpt": "old", "failed_at": days(31)},
    ),
    (
        "attempts",
        False,
        {"task": "T", "reference": "1", "number": 2, "code": "c", "excerpt": "young", "failed_at": days(29)},
    ),
    (
        "attempts",
        False,
        {"task": "T", "reference": "open", "number": 1, "code": "c", "excerpt": "its story", "failed_at": days(99)},
    ),
    *[
        (
            "dead_letters",
            goes,
            {
                "task": "T",
                "reference": name,
                "branch": "bug",
                "code": "bug",
                "excerpt": "",
                "attempts": 1,
                "state": state,
            }
            | {"first_seen": days(500), "last_seen": days(seen), "closed_at": days(closed) if closed else None},
        )
        for name, state, seen, closed, goes in (
            ("open", "open", 400, 0, False),
            ("closed long ago", "replayed", 400, 91, True),
            ("closed lately", "solved", 400, 89, False),
            ("closed before that was kept", "solved", 91, 0, True),
        )
    ],
    ("incidents", True, {"id": 1, "key": "over", "code": "c", "severity": "warning", "resolved_at": days(91)}),
    ("incidents", False, {"id": 2, "key": "lately", "code": "c", "severity": "warning", "resolved_at": days(89)}),
    ("incidents", False, {"id": 3, "key": "open", "code": "c", "severity": "warning", "opened_at": days(400)}),
    ("incidents", False, {"id": 4, "key": "told lately", "code": "c", "severity": "warning", "resolved_at": days(91)}),
    (
        "incidents",
        False,
        {"id": 5, "key": "with an open alert", "code": "c", "severity": "warning", "resolved_at": days(91)},
    ),
    *[
        (
            "alerts",
            goes,
            {"cause": cause, "code": "c", "severity": "warning", "incident_id": incident, "resolved_at": until},
        )
        for cause, incident, until, goes in (
            ("over", 1, days(91), True),
            ("lately", 2, days(89), False),
            ("open", 5, None, False),
        )
    ],
    *[
        (
            "notices",
            goes,
            {
                "incident_id": incident,
                "what": "opened",
                "severity": "warning",
                "title": title,
                "body": "",
                "state": state,
            }
            | {"created_at": days(age)},
        )
        for title, incident, state, age, goes in (
            ("over", 1, "sent", 91, True),
            ("over, never delivered", 1, "due", 91, True),
            ("of one that goes on", 3, "sent", 400, False),
            ("of one resolved lately", 2, "sent", 91, False),
            ("told lately", 4, "sent", 1, False),
            ("a test of long ago", None, "sent", 91, True),
            ("a test that waits", None, "due", 91, False),
        )
    ],
    ("audits", True, {"agent_id": 1, "state": "clean", "audited_at": days(40)}),
    ("audits", False, {"agent_id": 1, "state": "drift", "audited_at": days(39), "repair_asked_by": "olga"}),
    ("audits", False, {"agent_id": 1, "state": "clean", "audited_at": days(35)}),
    ("audits", False, {"agent_id": 2, "state": "clean", "audited_at": days(29)}),
    ("audits", False, {"agent_id": 2, "state": "clean", "audited_at": days(28)}),
    ("actions", True, {"who": "olga", "via": "cli", "what": "old", "about": "x", "done_at": days(401)}),
    ("actions", False, {"who": "olga", "via": "cli", "what": "young", "about": "x", "done_at": days(399)}),
    ("users", False, {"id": 1, "name": "olga", "role": "operator", "password": "hash"}),
    ("logins", True, {"digest": "expired", "user_id": 1, "expires_at": days(5)}),
    ("logins", False, {"digest": "valid", "user_id": 1, "expires_at": days(-0.1)}),
    *[
        (
            "quarantine",
            goes,
            {"calendar_id": 2, "digest": name, "field": "start", "reason": "r", "raw": "{}", "first_seen": days(400)}
            | {"last_seen": days(seen)},
        )
        for name, seen, goes in (("old", 91, True), ("seen again", 89, False))
    ],
    *[
        (
            "unreadable_submissions",
            goes,
            {
                "form": "f",
                "digest": name,
                "field": "start",
                "reason": "r",
                "content_type": "t",
                "raw": b"",
                "last_seen": days(seen),
            },
        )
        for name, seen, goes in (("old", 91, True), ("young", 89, False))
    ],
    ("sightings", True, sighting("over, gone", over=91, deleted=True)),
    ("sightings", True, sighting("over", over=91)),
    ("sightings", True, sighting("never seen alive", over=None)),
    ("sightings", False, sighting("over lately", over=89)),
    ("sightings", False, sighting("still to come", over=-9, deleted=True)),
    ("sightings", False, sighting("never seen alive, heard of lately", over=None, seen=89)),
    ("sightings", False, sighting("replaced", over=91)),
    ("sightings", False, sighting("its heir", over=-9, replaces="replaced")),
]


@pytest.fixture
def old_world(world: World, owner_engine: Engine) -> World:
    """Rows of every kind, beside an appointment with all that carries it."""
    world.add_agent("ben")
    world.book(at(9))
    with owner_engine.begin() as connection:
        for table, _, row in ROWS:
            values = ", ".join(f":{name}" for name in row)
            connection.execute(text(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({values})"), row)  # noqa: S608
    return world


def contents(engine: Engine) -> dict[str, list[str]]:
    with engine.connect() as connection:
        return {
            name: sorted(connection.scalars(text(f"SELECT t::text FROM {name} AS t")))  # noqa: S608
            for name in Base.metadata.tables
        }


def test_what_is_old_goes_and_nothing_else(old_world: World, owner_engine: Engine) -> None:
    before = contents(owner_engine)
    expected = {table: sum(goes for name, goes, _ in ROWS if name == table) for table, _, _ in ROWS}
    pruned = prune(old_world.app, KEEP)
    assert {table: rows for table, rows in pruned.rows.items() if rows} == {t: n for t, n in expected.items() if n}
    assert (pruned.failed, pruned.more) == ({}, False)
    after = contents(owner_engine)
    assert {name: len(before[name]) - len(after[name]) for name in before if before[name] != after[name]} == {
        table: rows for table, rows in expected.items() if rows
    }
    old = {
        (name, str(value))
        for name, goes, row in ROWS
        if goes
        for key, value in row.items()
        if key in ("digest", "remote_id", "cause", "title")
    }
    assert [(table, value) for table, value in old if any(f'"{value}"' in line for line in after[table])] == []
    assert prune(old_world.app, KEEP).sentence() == "nothing is old"
    assert contents(owner_engine) == after


def test_what_was_proposed_or_is_linked_is_never_forgotten(world: World, owner_engine: Engine) -> None:
    world.mirror.put(at(9))
    world.detect(Job.NEW, "dana-mirror")
    world.quiesce()
    with owner_engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE sightings SET starts_at = now() - interval '9 y', ends_at = now() - interval '8 y', seen_at = now() - interval '8 y'"
            )
        )
        found = connection.scalar(text("SELECT count(*) FROM sightings"))
    assert found
    assert prune(world.app, KEEP).rows["sightings"] == 0


def test_a_young_action_cannot_be_deleted_by_anybody(old_world: World, owner_engine: Engine) -> None:
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE actions SET done_at = now() - interval '80 days' WHERE what = 'young'"))
    with pytest.raises(IntegrityError, match="kept for a quarter of a year"), transaction(old_world.app) as session:
        session.execute(text("DELETE FROM actions"))


def fill(engine: Engine, *, fires: int) -> None:
    with engine.begin() as connection:
        slots = "SELECT now() - interval '9 days' - n * interval '1 second' AS at FROM generate_series(1, :fires) AS n"
        insert = text(f"INSERT INTO beat_fires SELECT 'X', at, at FROM ({slots}) AS slots")  # noqa: S608
        connection.execute(insert, {"fires": fires})
        connection.execute(text("INSERT INTO deliveries VALUES ('google', 'old', now() - interval '8 days')"))


def test_a_run_is_bounded_and_a_long_table_lets_the_others_go_first(
    app_sessions: Sessions, owner_engine: Engine
) -> None:
    fill(owner_engine, fires=100)
    pruned = prune(app_sessions, KEEP, rows=10, statements=len(PRUNED) + 3)
    assert (pruned.rows["beat_fires"], pruned.rows["deliveries"]) == (40, 1)
    assert (pruned.more, pruned.sentence()) == (True, "deliveries 1, beat_fires 40; more next time")
    assert prune(app_sessions, KEEP, rows=10).sentence() == "beat_fires 60"


def test_a_table_that_fails_keeps_no_other_from_being_pruned(app_sessions: Sessions, owner_engine: Engine) -> None:
    fill(owner_engine, fires=5)
    with owner_engine.begin() as connection:
        connection.execute(text("REVOKE DELETE ON deliveries FROM watertight_app"))
    try:
        pruned = prune(app_sessions, KEEP)
    finally:
        with owner_engine.begin() as connection:
            connection.execute(text("GRANT DELETE ON deliveries TO watertight_app"))
    assert pruned.rows["beat_fires"] == 5
    assert {table: type(error) for table, error in pruned.failed.items()} == {"deliveries": ProgrammingError}
    assert pruned.sentence() == "beat_fires 5; failed: deliveries"


def test_a_row_that_comes_to_life_meanwhile_is_judged_again(old_world: World, owner_engine: Engine) -> None:
    """A job brings an event of long ago back while Prune waits for its row: it is not deleted."""
    pruned: list[int | SQLAlchemyError] = []
    with owner_engine.connect() as job:
        job.execute(
            text("UPDATE sightings SET starts_at = now(), ends_at = now() + interval '1 h' WHERE remote_id = 'over'")
        )
        thread = Thread(target=lambda: pruned.append(prune(old_world.app, KEEP).rows["sightings"]))
        thread.start()
        wait_until_blocked(owner_engine)
        job.commit()
        thread.join(60)
    assert pruned == [2]
    assert old_world.sql("SELECT remote_id FROM sightings WHERE remote_id LIKE 'over%' ORDER BY 1") == [
        ("over",),
        ("over lately",),
    ]


def wait_until_blocked(engine: Engine) -> None:
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        with engine.connect() as connection:
            if connection.scalar(waiting):
                return
        time.sleep(0.02)
    pytest.fail("nobody waits")


def test_every_table_is_pruned_or_kept_for_a_reason() -> None:
    assert unlisted(list(Base.metadata.tables)) == []
    assert unlisted([*Base.metadata.tables, "new_one"]) == ["new_one"]
    assert {rule.table for rule in PRUNED} | KEPT.keys() == Base.metadata.tables.keys()
    assert {rule.keep for rule in PRUNED} >= set(Keep)


def test_what_jobs_still_look_at_is_kept_however_short_the_setting() -> None:
    settings = Settings(state_dir="nowhere", keep_sightings_days=1, days_back=30)
    assert settings.kept[Keep.SIGHTINGS] == timedelta(days=31)
