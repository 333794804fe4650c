"""The watch over a real database: what it finds, whom it tells, and that it stops telling (P11)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from models.session import transaction
from sync.errors import Forbidden, ProviderUnavailable, WatertightError
from sync.failures import open_alert, resolve_alert
from tests.integration.receiver import Receiver, receiving
from tests.integration.world import World
from workers.dead_letters import keep_failed_task
from workers.settings import Settings
from workers.watch import Watch

JOB = "NewAppointmentSync.calendar"


class People:
    """A watch, and people who are told by it; time is turned back in the tables instead of waited for."""

    def __init__(self, world: World, receiver: Receiver, **settings: Any) -> None:  # noqa: ANN401 - as Settings has them
        self.world, self.receiver = world, receiver
        chosen = {"alert_urls": SecretStr(receiver.url), "watch_seconds": 0.1} | settings
        self.settings = Settings(_env_file=None, **chosen)  # type: ignore[call-arg]
        self.watch = Watch(world.app, self.settings)

    def hear(self) -> list[str]:
        """Look and deliver once; the titles that arrived."""
        before = len(self.receiver.got)
        self.watch.look()
        self.watch.deliver()
        return self.receiver.titles[before:]

    def pass_time(self, seconds: float) -> None:
        """As if so many seconds had gone by since everything that alerts, incidents and notices know."""
        for table, columns in (
            ("alerts", ("opened_at", "last_seen", "resolved_at")),
            ("incidents", ("opened_at", "told_at")),
            ("notices", ("created_at", "not_before")),
        ):
            earlier = ", ".join(f"{column} = {column} - make_interval(secs => {seconds})" for column in columns)
            with transaction(self.world.app) as session:
                session.execute(text(f"UPDATE {table} SET {earlier}"))  # noqa: S608 - names from above

    def notices(self) -> list[tuple[str, str, int]]:
        """Kind, state and tries of each."""
        return self.world.sql("SELECT what, state, attempt FROM notices ORDER BY id")


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


@pytest.fixture
def people(world: World, receiver: Receiver) -> Iterator[People]:
    receiver.refusing, receiver.refused = False, 0
    receiver.got.clear()
    world.detect_all()
    people = People(world, receiver)
    yield people
    people.watch._let_go()


def fails(world: World, error: WatertightError, *calendars: int) -> None:
    """NewAppointmentSync gives these calendars up."""
    with transaction(world.app) as session:
        for number in calendars:
            keep_failed_task(session, JOB, reference=str(number), error=error, attempts=5)


def revoked(world: World, calendar: str = "dana-mirror") -> int:
    """A calendar was stopped for a person."""
    number = world.ids[calendar]
    with transaction(world.app) as session:
        open_alert(session, f"stopped:{number}", code="credential_revoked", detail={}, calendar_id=number)
    return number


def add_calendars(world: World, number: int) -> list[int]:
    with transaction(world.app) as session:
        rows = session.execute(
            text("""
                WITH added AS (
                    INSERT INTO agents (slug, zone) SELECT 'agent-' || n, 'UTC' FROM generate_series(1, :n) AS n RETURNING id, slug
                )
                INSERT INTO calendars (agent_id, provider, remote, role)
                SELECT id, 'memory', slug, 'master' FROM added RETURNING id
            """),
            {"n": number},
        )
        return [row[0] for row in rows]


def test_500_calendars_that_fail_at_once_are_two_messages(people: People) -> None:
    calendars = add_calendars(people.world, 500)
    fails(people.world, ProviderUnavailable("503"), *calendars)
    assert people.hear() == []
    people.pass_time(6)
    [title] = people.hear()
    assert title == "[warning] A vendor cannot be reached or answers nonsense (memory), 500 at once"
    assert people.hear() == []
    with transaction(people.world.app) as session:
        for number in calendars:
            resolve_alert(session, f"new:{number}")
    assert people.hear() == []
    people.pass_time(31)
    assert people.hear() == ["[resolved] over: A vendor cannot be reached or answers nonsense (memory), 500 at once"]
    assert people.hear() == []
    assert people.notices() == [("opened", "sent", 1), ("resolved", "sent", 1)]
    assert people.world.sql("SELECT most, resolved_at IS NULL FROM incidents") == [(500, False)]


def test_a_message_says_everything_that_somebody_needs_at_night(people: People) -> None:
    world = people.world
    number = world.ids["dana-master"]
    fails(world, Forbidden("GET /me/calendar/events: 403"), number)
    people.pass_time(6)
    people.hear()
    people.pass_time(6)
    people.hear()
    [message] = people.receiver.got
    for word in (
        "What happened: The credential works, and this calendar is not open to it.",
        f"calendar {number} (dana, memory master)",
        "Who is affected:",
        "What the system does by itself:",
        "What you can do:",
        "    watertight failures replay --code forbidden",
        "Runbook: docs/runbook.md#forbidden",
    ):
        assert word in message["message"], message["message"]


def test_it_is_delivered_when_somebody_accepts_it_and_to_nobody_twice(
    people: People, world: World, receiver: Receiver
) -> None:
    with receiving() as other:
        people = People(world, receiver, alert_urls=SecretStr(f"{receiver.url}, {other.url}"))
        revoked(world)
        receiver.refusing = True
        people.hear()
        people.pass_time(6)
        assert people.hear() == []
        assert (len(other.got), receiver.refused) == (1, 1)
        assert people.hear() == []  # not before its time
        assert receiver.refused == 1
        people.pass_time(10)
        people.hear()
        assert people.notices() == [("opened", "due", 2)]
        [[trouble]] = world.sql("SELECT last_error FROM notices")
        assert "swordfish" not in trouble
        receiver.refusing = False
        people.pass_time(600)
        assert people.hear() == ["[critical] A credential is not accepted any more (memory)"]
        assert (len(other.got), people.notices()) == (1, [("opened", "sent", 3)])
        people.watch._let_go()


def test_what_nobody_accepts_for_a_day_is_given_up(people: People) -> None:
    revoked(people.world)
    people.receiver.refusing = True
    people.hear()
    people.pass_time(6)
    people.hear()
    people.pass_time(86_500)
    people.hear()
    assert people.notices()[0] == ("opened", "failed", 2)


def test_over_is_never_told_before_begun(people: People) -> None:
    number = revoked(people.world)
    people.receiver.refusing = True
    people.hear()
    people.pass_time(6)
    people.hear()
    with transaction(people.world.app) as session:
        resolve_alert(session, f"stopped:{number}")
        session.execute(text("UPDATE alerts SET resolved_at = clock_timestamp() - interval '40 seconds'"))
    people.watch.look()
    people.receiver.refusing = False
    people.hear()
    assert people.receiver.got == []  # "begun" waits for its next try, and so does "over"
    people.pass_time(60)
    people.hear()
    people.hear()
    assert [title.partition("]")[0] for title in people.receiver.titles] == ["[critical", "[resolved"]
