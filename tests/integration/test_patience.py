"""A calendar that keeps failing is left alone for longer and longer, by the job that failed and nobody else (P9)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from models.agents import Calendar
from models.listings import list_calendars, list_due_calendars
from models.session import transaction
from sync.domain import Job
from sync.errors import Forbidden, ProviderUnavailable, RateLimited, WatertightError
from sync.patience import BACKOFF, put_off, release_calendar
from tests.integration.world import World

MIRROR = "dana-mirror"


def gives_up(world: World, error: WatertightError, *, job: Job = Job.NEW, rand: float = 0.0) -> float:
    with transaction(world.app) as session:
        return put_off(session, job, world.ids[MIRROR], error, rand=rand)[1]


def due(world: World, job: Job) -> set[str]:
    with transaction(world.app) as session:
        found = {row.id for row in list_due_calendars(session, job.value)}
    return {name for name, number in world.ids.items() if number in found}


@pytest.fixture(autouse=True)
def read_once(world: World) -> None:
    world.detect_all()


def test_each_failure_doubles_the_wait_up_to_hours(world: World) -> None:
    waits = [gives_up(world, ProviderUnavailable("503")) for _ in range(12)]
    assert waits[:4] == [30.0, 60.0, 120.0, 240.0]
    assert waits[-1] == BACKOFF.cap / 2
    assert gives_up(world, ProviderUnavailable("503"), rand=1.0) == BACKOFF.cap


def test_it_is_never_sooner_than_the_vendor_asked(world: World) -> None:
    assert gives_up(world, RateLimited("429", retry_after=7200.0)) == 7200.0


def test_the_other_jobs_and_calendars_go_on(world: World) -> None:
    gives_up(world, Forbidden("403"))
    assert MIRROR not in due(world, Job.NEW)
    assert "dana-master" in due(world, Job.NEW)
    assert MIRROR in due(world, Job.CANCEL) & due(world, Job.UPDATE)


def test_it_is_tried_again_when_the_wait_is_over(world: World) -> None:
    gives_up(world, Forbidden("403"))
    world.sql("UPDATE cursors SET not_before = clock_timestamp() - interval '1 second'")
    assert MIRROR in due(world, Job.NEW)


def test_a_complete_read_ends_it(world: World) -> None:
    for _ in range(3):
        gives_up(world, Forbidden("403"))
    world.detect(Job.NEW, MIRROR)
    assert MIRROR in due(world, Job.NEW)
    assert gives_up(world, Forbidden("403")) == 30.0


def test_a_person_ends_it(world: World) -> None:
    gives_up(world, Forbidden("403"))
    with transaction(world.app) as session:
        release_calendar(session, session.get_one(Calendar, world.ids[MIRROR]))
    assert MIRROR in due(world, Job.NEW)


def test_it_is_listed_until_when(world: World) -> None:
    gives_up(world, Forbidden("403"), job=Job.UPDATE)
    with transaction(world.app) as session:
        record = next(row for row in list_calendars(session) if row.id == world.ids[MIRROR])
    assert list(record.put_off) == ["update"]
    assert record.put_off["update"] - record.read_at["update"] >= timedelta(seconds=30)
