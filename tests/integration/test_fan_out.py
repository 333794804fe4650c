"""Which calendars beat's jobs have read, and how: the cost goes by changes, and what changes is noticed within the limit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from models.listings import list_due_calendars
from models.session import Sessions, transaction
from sync.domain import Job
from tests.integration.commands import Commands, typed
from tests.integration.world import World, at, drag
from workers import app as celery
from workers.jobs import BATCH, fan_out

MIRROR = "dana-mirror"
PERIOD = 60.0


def due(world: World, job: Job = Job.NEW, *, fresh: float = 4.5 * PERIOD) -> bool:
    with transaction(world.app) as session:
        return world.ids[MIRROR] in {row.id for row in list_due_calendars(session, job.value, fresh_seconds=fresh)}


def age(world: World, *, read: float, changed: float = 0.0) -> None:
    """The last read began so many seconds ago, and the last change was seen that long before."""
    with transaction(world.app) as session:
        session.execute(
            text("UPDATE cursors SET read_at = now() - make_interval(secs => :read), changed_at = now() - make_interval(secs => :changed)"),
            {"read": read, "changed": read + changed},
        )  # fmt: skip


@pytest.fixture
def read(world: World) -> World:
    world.detect_all()
    return world


@pytest.mark.parametrize(
    ("quiet_minutes", "read_seconds", "is_due"),
    [(1, 45, True), (30, 45, True), (120, 45, False), (120, 110, False), (120, 130, True), (6000, 260, False), (6000, 280, True)],
)  # fmt: skip
def test_a_quiet_calendar_waits_for_a_sixtieth_of_its_quiet_and_some_periods_at_most(
    read: World, *, quiet_minutes: float, read_seconds: float, is_due: bool
) -> None:
    age(read, read=read_seconds, changed=quiet_minutes * 60)
    assert due(read) is is_due


@pytest.mark.usefixtures("worker")
def test_what_would_be_read_a_slot_late_is_read_now(read: World) -> None:
    """It may stay unread for 40 s, and the next slot is in a minute."""
    age(read, read=31, changed=2400)
    assert not due(read)
    subtask = Sent()
    fan_out(Sent(), subtask, Job.NEW, every=PERIOD)
    assert [read.ids[MIRROR]] in [message["args"] for message in subtask.messages]


def test_news_that_another_job_has_stored_end_the_quiet_too(read: World) -> None:
    read.book(at(9))
    read.quiesce()
    age(read, read=100, changed=86_400)
    drag(read.mirror, read.mirror.events()[0], at(15))
    read.detect(Job.NEW, MIRROR)
    with transaction(read.app) as session:
        session.execute(text("UPDATE cursors SET value = NULL WHERE job = 'update'"))  # lost at the vendor: a full read
    read.detect(Job.UPDATE, MIRROR)
    with transaction(read.app) as session:
        session.execute(text("UPDATE cursors SET read_at = read_at - interval '50 seconds'"))
    assert due(read, Job.UPDATE)


def test_a_factor_of_one_reads_quiet_calendars_in_every_period(read: World) -> None:
    age(read, read=1, changed=86_400)
    assert due(read, fresh=0.0)


def test_a_change_ends_the_quiet(read: World) -> None:
    age(read, read=100, changed=86_400)
    assert not due(read)
    read.mirror.put(at(9), "Demo")
    read.detect(Job.NEW, MIRROR)
    with transaction(read.app) as session:
        session.execute(text("UPDATE cursors SET read_at = read_at - interval '50 seconds'"))
    assert due(read)


def test_a_read_that_finds_nothing_does_not_end_it(read: World) -> None:
    age(read, read=1, changed=86_400)
    read.detect(Job.NEW, MIRROR)
    assert not due(read)


def test_what_is_announced_failed_or_cut_off_is_due_however_quiet(read: World) -> None:
    for trouble in ("hinted_at = now()", "failures = 1", "leased_until = now()"):
        age(read, read=10, changed=86_400)
        with transaction(read.app) as session:
            session.execute(text("UPDATE cursors SET hinted_at = NULL, failures = 0, leased_until = NULL"))
        assert not due(read)
        with transaction(read.app) as session:
            session.execute(text(f"UPDATE cursors SET {trouble}"))  # noqa: S608
        assert due(read), trouble


class Sent:
    """What a task sends, and nobody takes up."""

    name = "UpdateSync"

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def apply_async(self, **message: Any) -> None:  # noqa: ANN401 - as Celery has it
        self.messages.append(message)


@pytest.fixture
def worker(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, app_sessions: Sessions
) -> Iterator[Commands]:
    """This process works as a worker does."""
    url = app_sessions.kw["bind"].url.render_as_string(hide_password=False)
    with typed(monkeypatch, capsys, state_dir=tmp_path) as watertight:
        monkeypatch.setenv("WATERTIGHT_DATABASE_URL", url)
        monkeypatch.setenv("WATERTIGHT_STATE_DIR", str(tmp_path))
        for cached in (celery.settings, celery._runtime):
            cached.cache_clear()
        yield watertight
        celery.runtime().sessions.kw["bind"].dispose()
        for cached in (celery.settings, celery._runtime):
            cached.cache_clear()


MANY = """
    WITH made AS (INSERT INTO agents (slug, zone) SELECT 'a' || n, 'UTC' FROM generate_series(1, :many) AS n RETURNING id)
    INSERT INTO calendars (agent_id, provider, remote, role) SELECT id, 'memory', 'm' || id, 'master' FROM made
"""


@pytest.mark.usefixtures("worker")
def test_of_many_calendars_each_gets_one_message_by_way_of_batches(app_sessions: Sessions) -> None:
    many = 2 * BATCH + 1
    with transaction(app_sessions) as session:
        session.execute(text(MANY), {"many": many})
        wanted = set(session.scalars(text("SELECT id FROM calendars")))
    slot, subtask = Sent(), Sent()
    assert fan_out(slot, subtask, Job.UPDATE, every=60) == f"{many} calendars in 3 batches"
    assert subtask.messages == []
    assert [(message["countdown"], message["expires"]) for message in slot.messages] == [(0, 60), (10, 60), (20, 60)]
    for message in slot.messages:
        fan_out(slot, subtask, Job.UPDATE, every=60, **json.loads(json.dumps(message["kwargs"])))
    assert len(slot.messages) == 3, "a batch is never sent on as batches"
    assert sorted(message["args"][0] for message in subtask.messages) == sorted(wanted)
    assert {message["countdown"] for message in subtask.messages} == {0}


@pytest.mark.usefixtures("worker")
def test_a_batch_leaves_out_what_was_read_since(app_sessions: Sessions) -> None:
    with transaction(app_sessions) as session:
        session.execute(text(MANY), {"many": 3})
        first, second, _ = sorted(session.scalars(text("SELECT id FROM calendars")))
        session.execute(text("UPDATE calendars SET stopped_code = 'mass_change' WHERE id = :first"), {"first": first})
    subtask = Sent()
    assert fan_out(Sent(), subtask, Job.UPDATE, every=60, among=[first, second]) == "1 calendars"
    assert [message["args"] for message in subtask.messages] == [[second]]
