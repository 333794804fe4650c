"""What happens often takes as many statements for much as for little (docs/performance.md)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import event, insert, text

from models.push import Channel
from models.session import Sessions, database_now, transaction
from sync.availability import find_openings
from sync.domain import Interval, Job
from sync.hints import Received, take_all
from sync.pushes import Push
from tests.integration.world import World, at, shown

QUERIES_OF_AN_ANSWER = 3
# The calendar, its cursor and the lease on it; the cursor again, what is over, the cursor moved.
STATEMENTS_OF_A_QUIET_READ = 6
# Those, what was seen of the event before and after the calendar's lock, and four that tell what the ledger knows of it.
STATEMENTS_OF_AN_ECHO = 13
# Five to take it in hand; the appointment, its link, the event's sighting and the end of the write.
STATEMENTS_OF_A_COPY = 14


@contextmanager
def counted(sessions: Sessions) -> Iterator[list[str]]:
    """The statements of the block."""
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    engine = sessions.kw["bind"]
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", note)


def test_a_first_read_of_forty_events_takes_as_many_statements_as_one_of_four(world: World) -> None:
    taken = []
    for name, count in (("few", 4), ("many", 40)):
        calendar = world.add_mirror(name)
        for number in range(count):
            calendar.put(at(number), f"Viewing {number}")
        with counted(world.app) as statements:
            assert len(world.detect(Job.NEW, name).proposals) == count
        taken.append(len(statements))
    assert taken[0] == taken[1]


def test_a_read_that_finds_nothing_takes_a_handful(world: World) -> None:
    """Nearly all reads are like this."""
    world.detect(Job.NEW, "dana-mirror")
    with counted(world.app) as statements:
        assert world.detect(Job.NEW, "dana-mirror").read == 0
    assert len(statements) == STATEMENTS_OF_A_QUIET_READ, statements


def test_the_echo_of_our_own_write_takes_few(world: World) -> None:
    """Each job hears of each event that we have written, on each calendar."""
    world.quiesce()
    world.decide(world.ask(at(10)))
    world.work()
    for name in ("dana-master", "dana-mirror"):
        with counted(world.app) as statements:
            report = world.detect(Job.NEW, name)
        assert (report.read, report.proposals) == (1, ())
        assert len(statements) == STATEMENTS_OF_AN_ECHO, statements


def test_a_copy_takes_few(world: World) -> None:
    world.decide(world.ask(at(10)))
    (reference,) = world.due()
    with counted(world.commit_sessions) as statements:
        world.engine.commit(reference)
    assert shown(world.mirror) == [at(10)]
    assert len(statements) == STATEMENTS_OF_A_COPY, statements


def test_what_can_be_offered_is_found_in_three_queries_however_full_the_calendar(world: World) -> None:
    for number in range(40):
        world.mirror.put(at(number), f"Viewing {number}")
    world.detect_all([Job.NEW])
    with counted(world.app) as statements:
        find_openings(world.app, "dana", Interval(at(0).start, at(48).start))
    assert len(statements) == QUERIES_OF_AN_ANSWER


def test_pushes_that_come_together_ask_once_for_their_channels(world: World) -> None:
    with transaction(world.app) as session:
        now, later = database_now(session), text("clock_timestamp() + interval '1 hour'")
        row = {"calendar_id": world.ids["dana-mirror"], "remote_id": "c", "opened_at": now, "expires_at": later}
        session.execute(insert(Channel).values(**row))
    deliveries = [Received("memory", (Push(f"k{n}", world.ids["dana-mirror"], "c"),)) for n in range(20)]
    with counted(world.app) as statements:
        told = take_all(world.app, deliveries)
    assert [taken.new for taken in told if not isinstance(taken, Exception)] == [1] * 20
    assert sum("FROM channels" in statement for statement in statements if statement.lstrip().startswith("SELECT")) == 1
