"""A server that is away is no bug of any task, and a database that says no is one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from celery.utils.threads import LocalStack
from kombu.exceptions import OperationalError
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError as Refusal

from models.session import make_engine
from workers.app import UnexpectedError, WatertightTask, is_database_away

LEFT = "the database is away: left for later"


class Ask(WatertightTask):
    """A task that does what it is told."""

    name = "tests.ask"
    request_stack = LocalStack()  # else an application makes it

    def run(self, work: Callable[[], object]) -> object:
        return work()


def test_a_task_without_a_connection_ends_without_a_failure(tmp_path: Path) -> None:
    engine = make_engine(f"postgresql+psycopg://watertight_app@/watertight?host={tmp_path}")
    assert Ask()(engine.connect) == LEFT


def test_a_task_whose_connection_is_cut_ends_without_a_failure(owner_engine: Engine) -> None:
    def work() -> None:
        with owner_engine.connect() as connection:
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    assert Ask()(work) == LEFT


def test_a_task_that_cannot_send_ends_without_a_failure() -> None:
    def work() -> None:
        raise OperationalError("the text would name the broker")

    assert Ask()(work) == "the broker is away: left for later"


def test_a_lock_that_was_waited_for_too_long_is_left_for_later(owner_engine: Engine) -> None:
    def work() -> None:
        with owner_engine.connect() as one, owner_engine.connect() as other:
            one.execute(text("LOCK TABLE proposals"))
            other.execute(text("SET lock_timeout = '50ms'"))
            other.execute(text("LOCK TABLE proposals"))

    with pytest.raises(Refusal) as caught:
        work()
    assert not is_database_away(caught.value)
    assert Ask()(work) == "another worker holds the lock: left for later"


def test_a_statement_that_the_database_does_not_understand_is_a_bug(owner_engine: Engine) -> None:
    def work() -> None:
        with owner_engine.connect() as connection:
            connection.execute(text("SELECT nonsense"))

    with pytest.raises(UnexpectedError, match="ProgrammingError"):
        Ask()(work)
