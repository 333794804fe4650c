"""Tables, models and migrations are one thing, and the database holds what the code promises."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import NullPool

import models
from models.base import Base, UtcDateTime
from models.migrate import differences, upgrade
from models.session import Sessions, make_engine, refuse_inside_transaction, transaction
from tests.integration.world import World, at
from workers.embedded import EmbeddedPostgres

CONSTRAINTS = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND conrelid <> 0 ORDER BY 1, 2
"""
INDEXES = "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2"
COLUMNS = """
    SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns
    WHERE table_schema = 'public' ORDER BY 1, 2
"""
DIALECT = make_engine("postgresql+psycopg://").dialect
NAME = r"^(pk|uq|fk|ck|ix|ex)_[a-z0-9_]+$"

for module in pkgutil.iter_modules(models.__path__):
    importlib.import_module(f"models.{module.name}")


@pytest.fixture
def created_engine(postgres: EmbeddedPostgres, database: str) -> Iterator[Engine]:
    """A database that the models made, without migrations."""
    admin = create_engine(postgres.url("postgres"), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {database}_created TEMPLATE template0"))
    engine = create_engine(
        postgres.url("postgres").replace("/watertight?", f"/{database}_created?"), poolclass=NullPool
    )
    Base.metadata.create_all(engine)
    yield engine
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {database}_created WITH (FORCE)"))


def rows(engine: Engine, query: str) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query)) if row[0] != "alembic_version"]


@pytest.mark.parametrize("query", [CONSTRAINTS, INDEXES, COLUMNS], ids=["constraints", "indexes", "columns"])
def test_the_migrations_make_what_the_models_say(owner_engine: Engine, created_engine: Engine, query: str) -> None:
    assert rows(owner_engine, query) == rows(created_engine, query)


def test_alembic_finds_no_difference(owner_engine: Engine) -> None:
    with owner_engine.connect() as connection:
        assert differences(connection) == []


def test_migrating_again_changes_nothing(owner_engine: Engine) -> None:
    upgrade(owner_engine)
    assert rows(owner_engine, "SELECT count(*)::text FROM alembic_version") == [("1",)]


def test_everything_is_named_by_the_convention(owner_engine: Engine) -> None:
    odd = f"SELECT conname FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n' AND conname !~ '{NAME}'"  # noqa: S608
    assert [name for (name,) in rows(owner_engine, odd) if name != "alembic_version_pkc"] == []
    odd = f"SELECT indexname FROM pg_indexes WHERE schemaname = 'public' AND indexname !~ '{NAME}'"  # noqa: S608
    assert [name for (name,) in rows(owner_engine, odd) if name != "alembic_version_pkc"] == []


def test_every_instant_has_a_zone(owner_engine: Engine) -> None:
    naive = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' AND data_type IN ('timestamp without time zone', 'date')"
    assert rows(owner_engine, naive) == []


def test_a_naive_instant_is_refused() -> None:
    with pytest.raises(TypeError, match="naive"):
        UtcDateTime().process_bind_param(datetime(2027, 1, 1), DIALECT)  # noqa: DTZ001 - the point


def test_an_instant_comes_back_in_utc(app_sessions: Sessions) -> None:
    there = datetime(2027, 1, 1, 12, tzinfo=timezone(timedelta(hours=5, minutes=45)))
    assert UtcDateTime().process_bind_param(there, DIALECT) == datetime(2027, 1, 1, 6, 15, tzinfo=UTC)
    with transaction(app_sessions) as session:
        session.execute(text("SET LOCAL timezone = 'Asia/Kathmandu'"))
        session.execute(
            text("INSERT INTO agents (slug, zone, created_at) VALUES ('x', 'UTC', :there)"), {"there": there}
        )
    with transaction(app_sessions) as session:
        session.execute(text("SET LOCAL timezone = 'Asia/Kathmandu'"))
        created = session.execute(Base.metadata.tables["agents"].select()).one().created_at
    assert (created, created.tzinfo) == (there, UTC)


HELD = "INSERT INTO slots (agent_id, during, state) VALUES (:agent, tstzrange(:start, :end), :state)"


def insert_slot(world: World, hour: float, state: str = "held", *, agent: int = 1) -> None:
    world.sql(HELD, agent=agent, start=at(hour).start, end=at(hour).end, state=state)


@pytest.mark.parametrize("state", ["held", "booked"])
def test_overlapping_live_slots_are_refused_even_if_the_code_forgets(world: World, state: str) -> None:
    insert_slot(world, 10)
    with pytest.raises(IntegrityError, match="ex_slots_no_overlap"):
        insert_slot(world, 10.5, state)


def test_what_touches_is_free_or_belongs_to_another_agent_may_stand(world: World) -> None:
    world.add_agent("ben")
    insert_slot(world, 10)
    insert_slot(world, 11)
    insert_slot(world, 10, "free")
    insert_slot(world, 10, agent=2)
    assert len(world.slots("held")) == 3


@pytest.mark.parametrize("during", ["'empty'", "tstzrange(now(), NULL)", "tstzrange(NULL, now())"])
def test_a_slot_has_a_beginning_and_an_end(world: World, during: str) -> None:
    with pytest.raises(IntegrityError, match="ck_slots_during"):
        world.sql(f"INSERT INTO slots (agent_id, during, state) VALUES (1, {during}, 'held')")  # noqa: S608


def test_an_agent_has_one_master(world: World) -> None:
    with pytest.raises(IntegrityError, match="uq_calendars_one_master"):
        world.configure("dana-mirror", role="master")


def test_no_vendor_is_asked_inside_a_transaction(app_sessions: Sessions) -> None:
    refuse_inside_transaction()
    with transaction(app_sessions), pytest.raises(RuntimeError):
        refuse_inside_transaction()
    refuse_inside_transaction()


def test_a_block_that_fails_leaves_nothing(world: World) -> None:
    def fail_halfway() -> None:
        with transaction(world.app) as session:
            session.execute(text("INSERT INTO agents (slug, zone) VALUES ('x', 'UTC')"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()
    assert world.sql("SELECT slug FROM agents") == [("dana",)]
