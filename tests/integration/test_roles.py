"""Who may write what is held by the database too (P3)."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from models.session import Sessions, transaction
from tests.integration.world import World, at

DECIDED = ("slots", "appointments", "remote_links", "writes", "decisions")
STATEMENTS = ("INSERT INTO {} DEFAULT VALUES", "UPDATE {} SET id = id", "DELETE FROM {}", "TRUNCATE {}")


def is_refused(sessions: Sessions, statement: str) -> bool:
    try:
        with transaction(sessions) as session:
            session.execute(text(statement))
    except ProgrammingError as error:
        return "permission denied" in str(error)
    return False


@pytest.mark.parametrize("table", DECIDED)
@pytest.mark.parametrize("statement", STATEMENTS)
def test_only_the_commit_worker_touches_the_ledger(app_sessions: Sessions, table: str, statement: str) -> None:
    assert is_refused(app_sessions, statement.format(table))


@pytest.mark.parametrize("statement", ["UPDATE proposals SET state = 'settled'", "DELETE FROM proposals"])
def test_others_propose_and_cannot_take_it_back(app_sessions: Sessions, statement: str) -> None:
    assert is_refused(app_sessions, statement)


@pytest.mark.parametrize("role", ["app", "commit"])
@pytest.mark.parametrize(
    "statement", ["CREATE TABLE t (id int)", "ALTER TABLE slots DROP CONSTRAINT ex_slots_no_overlap"]
)
def test_nobody_changes_the_tables(request: pytest.FixtureRequest, role: str, statement: str) -> None:
    sessions = request.getfixturevalue(f"{role}_sessions")
    with pytest.raises(ProgrammingError, match=r"permission denied|must be owner"), transaction(sessions) as session:
        session.execute(text(statement))


def test_the_commit_worker_may_decide(world: World) -> None:
    proposal = world.ask(at(10))
    world.settle()
    assert world.reason(proposal) == "accepted"
    for table in DECIDED:
        world.sql(f"UPDATE {table} SET id = id")  # noqa: S608 - names above


def test_everybody_may_look(app_sessions: Sessions) -> None:
    for table in DECIDED:
        assert not is_refused(app_sessions, f"SELECT * FROM {table}")  # noqa: S608 - names above
