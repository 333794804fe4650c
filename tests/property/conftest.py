"""Profiles and the stage. WATERTIGHT_PROFILE chooses how long the state machine runs, WATERTIGHT_SEED where it begins."""

from __future__ import annotations

import os
from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from sqlalchemy.engine import make_url

from models.session import Sessions, make_engine, make_sessions
from tests.property.stage import Stage, prepare
from workers.embedded import EmbeddedPostgres

for name, examples, steps in (("dev", 6, 40), ("ci", 12, 40), ("nightly", 40, 60)):
    settings.register_profile(
        f"watertight-{name}",
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,  # a seed alone must replay
        derandomize=False,  # the seed is given: the same one for every ordinary run
        phases=(Phase.generate, *([Phase.shrink] if "WATERTIGHT_UNSHRUNK" not in os.environ else [])),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )


@pytest.fixture
def stage(postgres: EmbeddedPostgres, own_database: str) -> Iterator[Stage]:
    url = make_url(postgres.url()).set(drivername="postgresql", database=own_database)
    with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as owner:
        tables = prepare(owner)
    with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as owner:
        yield from _stage(
            owner,
            _sessions(postgres, own_database, "watertight_app"),
            _sessions(postgres, own_database, "watertight_commit"),
            tables,
        )


def _sessions(postgres: EmbeddedPostgres, database: str, role: str) -> Sessions:
    engine = make_engine(postgres.url(role).replace("/watertight?", f"/{database}?"))
    engine.pool._pre_ping = (
        False  # the server does not go away, and asking whether it has is a third of all round trips
    )
    return make_sessions(engine)


def _stage(owner: psycopg.Connection, app: Sessions, commit: Sessions, tables: str) -> Iterator[Stage]:
    yield Stage(owner, app, commit, tables)
    for sessions in (app, commit):
        sessions.kw["bind"].dispose()
