"""The watch over a real database: what it finds, whom it tells, and that it stops telling (P11)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from celery.concurrency import prefork, thread
from pydantic import SecretStr
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from models.session import make_engine, make_sessions, transaction
from sync.alarms import Alarm
from sync.domain import Job, Unparsed
from sync.errors import CredentialRevoked, Forbidden, Malformed, ProviderUnavailable, WatertightError
from sync.failures import open_alert, resolve_alert
from sync.quarantine import keep_submission, quarantine
from tests.integration.receiver import Receiver, receiving
from tests.integration.served import migrated, serve
from tests.integration.world import World, at, drag
from workers.checks import Broker, Check, Look, away_broker, full_queues, look_at_broker, silences
from workers.dead_letters import keep_failed_task
from workers.embedded import EmbeddedPostgres, EmbeddedValkey
from workers.outage import Outage
from workers.places import Place
from workers.scheduler import install_defaults
from workers.settings import Settings
from workers.voice import LINGER_SECONDS, Voice
from workers.watch import Watch, forks

ROOT = Path(__file__).parents[2]
JOB = "NewAppointmentSync.calendar"


class People:
    """A watch, and people who are told by it; time is turned back in the tables instead of waited for."""

    def __init__(self, world: World, receiver: Receiver, **settings: Any) -> None:  # noqa: ANN401 - as Settings has them
        self.world, self.receiver = world, receiver
        chosen: dict[str, Any] = {"alert_urls": SecretStr(receiver.url), "watch_seconds": 0.1} | settings
        self.settings = Settings(_env_file=None, **chosen)
        self.watch = Watch(world.app, self.settings)

    def hear(self) -> list[str]:
        """Look and deliver once; the titles that arrived."""
        before = len(self.receiver.got)
        self.watch._since = datetime.now(UTC)  # no job has had its time yet, however slow the machine is
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
    not_yet(world)


def not_yet(world: World) -> None:
    """However slow the machine is, nobody is told before the test says that a minute has gone by."""
    with transaction(world.app) as session:
        session.execute(text("UPDATE alerts SET opened_at = clock_timestamp() + interval '1 minute'"))


def revoked(world: World, calendar: str = "dana-mirror") -> int:
    """A calendar was stopped for a person."""
    number = world.ids[calendar]
    with transaction(world.app) as session:
        open_alert(session, f"stopped:{number}", code="credential_revoked", detail={}, calendar_id=number)
    not_yet(world)
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
    people.pass_time(66)
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
    assert people.receiver.got[-1]["message"].startswith("It is over, and nothing is to be done. It lasted ")
    assert people.notices() == [("opened", "sent", 1), ("resolved", "sent", 1)]
    assert people.world.sql("SELECT most, resolved_at IS NULL FROM incidents") == [(500, False)]


def test_a_message_says_everything_that_somebody_needs_at_night(people: People) -> None:
    world = people.world
    number = world.ids["dana-master"]
    fails(world, Forbidden("GET /me/calendar/events: 403"), number)
    people.pass_time(66)
    people.hear()
    people.pass_time(66)
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
        people.pass_time(66)
        assert people.hear() == []
        assert (len(other.got), receiver.refused) == (1, 1)
        people.pass_time(-60)
        assert people.hear() == []  # not before its time
        assert receiver.refused == 1
        people.pass_time(70)
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
    people.pass_time(66)
    people.hear()
    people.pass_time(86_500)
    people.hear()
    assert people.notices()[0] == ("opened", "failed", 2)


def test_over_is_never_told_before_begun(people: People) -> None:
    number = revoked(people.world)
    people.receiver.refusing = True
    people.hear()
    people.pass_time(66)
    people.hear()
    with transaction(people.world.app) as session:
        resolve_alert(session, f"stopped:{number}")
        session.execute(text("UPDATE alerts SET resolved_at = clock_timestamp() - interval '40 seconds'"))
    people.watch.look()
    people.receiver.refusing = False
    people.pass_time(-60)
    people.hear()
    assert people.receiver.got == []  # "begun" waits for its next try, and so does "over"
    people.pass_time(120)
    people.hear()
    people.hear()
    assert [title.partition("]")[0] for title in people.receiver.titles] == ["[critical", "[resolved"]


def open_alerts(people: People) -> list[tuple[str, str, int | None]]:
    """Look once; cause, code and calendar of what is open."""
    people.watch.look()
    return people.world.sql("SELECT cause, code, calendar_id FROM alerts WHERE resolved_at IS NULL ORDER BY cause")


def test_a_picture_that_is_too_old_alerts_until_it_is_read_again(people: People) -> None:
    world = people.world
    master, mirror = world.ids["dana-master"], world.ids["dana-mirror"]
    assert open_alerts(people) == []
    world.sql("UPDATE cursors SET read_at = clock_timestamp() - interval '901 seconds'")
    assert open_alerts(people) == [
        (f"picture:{master}", "picture_old", master),
        (f"picture:{mirror}", "picture_old_mirror", mirror),
    ]
    assert world.alerts() == [("picture_old", "critical"), ("picture_old_mirror", "warning")]
    assert len(open_alerts(people)) == 2
    assert world.sql("SELECT DISTINCT times FROM alerts") == [(1,)]
    world.detect_all()
    assert open_alerts(people) == []


def test_a_job_is_not_blamed_for_a_broker_or_a_database_that_was_away(people: People) -> None:
    """No job can run then. What has been told before stays told until the job runs."""
    world, now = people.world, datetime.now(UTC)
    install_defaults(world.app, people.settings)
    world.sql("UPDATE beat_jobs SET ran_at = now() - interval '1 hour', next_slot = now() - interval '50 minutes'")

    def silent(since: datetime) -> list[str]:
        with transaction(world.app) as session:
            found = silences(session, Look(people.settings, since, Broker({})))
        return [one.detail["job"] for one in found]

    assert silent(now) == []
    assert silent(now - timedelta(seconds=40)) == ["ReleaseHolds", "ResumeCommits"]
    assert len(silent(now - timedelta(hours=4))) > 5
    world.sql("UPDATE beat_jobs SET ran_at = now() - interval '9 hours', next_slot = now() - interval '8 hours'")
    assert ["Prune" in silent(now - timedelta(minutes=minutes)) for minutes in (10, 16)] == [False, True]
    with transaction(world.app) as session:
        open_alert(session, "silent:UpdateSync", code="job_silent", detail={"job": "UpdateSync"})
    assert silent(now) == ["UpdateSync"]


def test_a_watch_gives_the_jobs_their_time_again_when_broker_or_database_were_away(people: People) -> None:
    gone = People(people.world, people.receiver, broker_url=SecretStr("redis://127.0.0.1:1/0"))
    began = gone.watch._since
    gone.watch.look()
    assert gone.watch._since > began
    gone.watch._let_go()
    engine = make_engine("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    away = Watch(make_sessions(engine), people.settings)
    began = away._since
    away.look()
    engine.dispose()
    assert away._since > began


def test_a_calendar_that_was_never_read_alerts_too(people: People) -> None:
    world = people.world
    world.sql("DELETE FROM cursors")
    assert open_alerts(people) == []
    with transaction(world.app) as session:
        session.execute(text("UPDATE calendars SET created_at = now() - interval '1 hour'"))
    assert len(open_alerts(people)) == 2


def test_what_stops_the_reading_is_not_told_twice(people: People) -> None:
    world = people.world
    world.sql("UPDATE cursors SET read_at = clock_timestamp() - interval '1 hour'")
    master, mirror = world.ids["dana-master"], revoked(world)
    world.configure("dana-mirror", stopped_code="credential_revoked")
    fails(world, ProviderUnavailable("503"), master)
    assert [cause for cause, _, _ in open_alerts(people)] == [
        f"new:{master}:provider_unavailable",
        f"stopped:{mirror}",
    ]


def test_a_reason_that_is_less_urgent_hides_no_old_picture(people: People) -> None:
    world = people.world
    world.sql("UPDATE cursors SET read_at = clock_timestamp() - interval '1 hour'")
    master = world.ids["dana-master"]
    fails(world, Forbidden("403"), master)
    assert f"picture:{master}" in [cause for cause, _, _ in open_alerts(people)]


def test_decisions_that_wait_for_too_long_alert(people: People) -> None:
    world = people.world
    world.ask(at(10))
    assert open_alerts(people) == []
    world.sql("UPDATE proposals SET not_before = clock_timestamp() - interval '6 minutes'")
    assert open_alerts(people) == [("queue:due", "queue_full", None)]
    world.quiesce()
    assert open_alerts(people) == []


def watching(people: People, *checks: Check) -> Watch:
    people.watch._let_go()
    people.watch = Watch(people.world.app, people.settings, checks=checks)
    return people.watch


def test_a_check_with_a_bug_in_it_does_not_blind_the_others(people: People) -> None:
    def broken(*_: object) -> list[Alarm]:
        raise KeyError

    def finds(*_: object) -> list[Alarm]:
        return [Alarm("found:1", "queue_full")]

    watching(people, Check(("broken:",), broken), Check(("found:", "lost:"), finds))
    assert open_alerts(people) == [("found:1", "queue_full", None)]


def test_full_queues_and_a_broker_that_is_away_alert(people: People) -> None:
    with transaction(people.world.app) as session:
        full = full_queues(session, Look(people.settings, datetime.now(UTC), Broker({"new": 5001, "commit": 5000})))
        away = away_broker(session, Look(people.settings, datetime.now(UTC), Broker(None)))
        none = away_broker(session, Look(people.settings, datetime.now(UTC), None))
    assert [(one.cause, one.code, one.detail["messages"]) for one in full] == [("queue:new", "queue_full", 5001)]
    assert ([one.code for one in away], none) == (["broker_away"], [])


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey(tmp_path) as server:
        yield server


def test_a_broker_is_asked_how_much_waits_and_noticed_when_it_is_gone(valkey: EmbeddedValkey) -> None:
    settings = Settings(_env_file=None, broker_url=SecretStr(valkey.url()))
    with redis.Redis.from_url(valkey.url()) as client:
        client.rpush("commit", "a", "b")
    assert look_at_broker(settings) == Broker(dict.fromkeys(("cancel", "new", "update", "upkeep"), 0) | {"commit": 2})
    gone = Settings(_env_file=None, broker_url=SecretStr("redis://127.0.0.1:1/0"))
    assert look_at_broker(gone) == Broker(None)
    assert look_at_broker(Settings(_env_file=None, state_dir=Path("nowhere"))) is None


def test_of_two_watches_one_works_and_the_other_takes_over(people: People, world: World) -> None:
    first, second = people.watch, Watch(world.app, people.settings)
    first.look()
    second.look()
    assert (first._leading is not None, second._leading) == (True, None)
    first._let_go()  # as when its process is killed

    def taken_over() -> bool:
        second.look()
        return second._leading is not None

    wait_for(taken_over)
    first.look()
    assert first._leading is None
    second._let_go()


def test_the_threads_find_and_tell_by_themselves_and_end(people: People, world: World) -> None:
    revoked(world)
    with transaction(world.app) as session:
        session.execute(text("UPDATE alerts SET opened_at = clock_timestamp() - interval '10 seconds'"))
    people.watch._let_go()
    watch = Watch(world.app, people.settings)
    watch.start()
    wait_for(lambda: people.receiver.got)
    watch.stop()
    assert people.receiver.titles == ["[critical] A credential is not accepted any more (memory)"]


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# What is over by itself


def test_a_dead_letter_is_solved_when_the_job_has_read_again(people: People) -> None:
    world = people.world
    fails(world, Forbidden("403"), world.ids["dana-mirror"])
    people.watch.look()
    assert world.sql("SELECT state FROM dead_letters") == [("open",)]
    world.detect(Job.NEW, "dana-mirror")
    people.watch.look()
    assert world.sql("SELECT state, closed_by FROM dead_letters") == [("solved", "by itself")]
    assert world.alerts() == []


def test_a_dead_letter_of_a_write_is_solved_when_the_write_is_done(people: People) -> None:
    world = people.world
    world.ask(at(10))
    world.mirror.fail("create", CredentialRevoked("no"))
    world.work(rounds=1)
    world.work(rounds=1)
    world.quiesce()
    assert world.sql("SELECT state FROM dead_letters") == [("open",)]
    people.watch.look()
    assert world.sql("SELECT state FROM dead_letters") == [("solved",)]


def test_a_refused_booking_is_told_until_the_master_is_read_again(people: People) -> None:
    """Nobody may book there for days: the alert must not wait for the next booking."""
    world = people.world
    proposal = world.ask(at(10))
    for _ in range(7):
        world.master.fail("read_window", ProviderUnavailable("503"))
        world.hurry()
        world.decide(proposal)
    world.master.heal()
    assert world.reason(proposal) == "master_unreadable"
    assert open_alerts(people) == [
        (f"commit:{world.ids['dana-master']}:provider_unavailable", "provider_unavailable", world.ids["dana-master"])
    ]
    world.detect(Job.NEW, "dana-master")
    assert open_alerts(people) == []
    people.watch.look()
    assert world.sql("SELECT state FROM dead_letters") == [("solved",)]


def test_a_bug_s_alert_closes_when_the_proposal_is_decided(people: People) -> None:
    world = people.world
    proposal = world.ask(at(10))
    with transaction(world.app) as session:
        keep_failed_task(session, "Commit", reference=f"proposal:{proposal}", error=KeyError("x"), attempts=1)
    assert [code for _, code, _ in open_alerts(people)] == ["bug"]
    world.quiesce()
    people.watch.look()
    assert world.alerts() == []


def test_a_conflict_is_over_when_one_of_the_two_is_moved(people: People) -> None:
    world = people.world
    world.book(at(10))
    human = world.master.put(at(10.5), "Human")
    world.quiesce()
    assert [code for _, code, _ in open_alerts(people)] == ["master_conflict"]
    drag(world.master, human, at(15))
    world.quiesce()
    assert open_alerts(people) == []


def test_what_could_not_be_read_is_over_a_day_after_it_was_last_seen(people: People) -> None:
    world = people.world
    with transaction(world.app) as session:
        quarantine(session, world.ids["dana-mirror"], [Unparsed("x", "start", "no offset", {"id": "x"})])
        keep_submission(session, "web", Malformed("start", "missing"), content_type="text/plain", raw=b"x")
    assert [code for _, code, _ in open_alerts(people)] == ["malformed", "malformed"]
    with transaction(world.app) as session:
        for table in ("quarantine", "unreadable_submissions"):
            session.execute(text(f"UPDATE {table} SET last_seen = now() - interval '25 hours'"))  # noqa: S608
    assert open_alerts(people) == []


# A database that is away


ALONE = Voice(None, "database_away")


def outage_of(receiver: Receiver, voice: Voice = ALONE) -> Outage:
    return Outage(Settings(_env_file=None, alert_urls=SecretStr(receiver.url)), voice)


def test_a_database_that_is_away_is_told_directly_once_and_once_when_it_is_back(receiver: Receiver) -> None:
    receiver.refusing = False
    receiver.got.clear()
    outage = outage_of(receiver)
    for second in (0, 2, 29):
        outage.hear(away=True, at=second)
    assert receiver.titles == []
    receiver.refusing = True
    outage.hear(away=True, at=31)
    receiver.refusing = False
    outage.hear(away=True, at=33)
    assert receiver.titles == []  # tried again, but not every two seconds
    for second in (62, 64, 99):
        outage.hear(away=True, at=second)
    for second in (120, 122):
        outage.hear(away=False, at=second)
    assert receiver.titles == [
        "[critical] The database does not answer",
        "[resolved] over: The database does not answer",
    ]


def test_of_several_that_miss_the_database_one_tells_and_another_when_it_falls_silent(
    receiver: Receiver, valkey: EmbeddedValkey
) -> None:
    receiver.refusing = False
    receiver.got.clear()
    first, second = (outage_of(receiver, Voice(valkey.url(), "database_away")) for _ in range(2))
    for moment in range(0, 70, 2):
        first.hear(away=True, at=moment)
        second.hear(away=True, at=moment)
    assert receiver.titles == ["[critical] The database does not answer"]
    first.hear(away=False, at=70)
    second.hear(away=True, at=100)  # a moment later, by the clock of the broker
    second.hear(away=False, at=102)
    assert receiver.titles[1:] == ["[resolved] over: The database does not answer"]
    with redis.Redis.from_url(valkey.url(), decode_responses=True) as client:
        assert client.keys() == ["watertight:voice:database_away"]
        assert 0 < int(client.ttl("watertight:voice:database_away")) <= LINGER_SECONDS
        client.flushall()  # as when the one who spoke has been dead for a while
    for moment in (200, 231):
        second.hear(away=True, at=moment)
    assert receiver.titles[2:] == ["[critical] The database does not answer"]


def test_one_whom_nobody_hears_lets_another_tell(receiver: Receiver, valkey: EmbeddedValkey) -> None:
    receiver.refusing = False
    receiver.got.clear()
    settings = Settings(_env_file=None, alert_urls=SecretStr("json://127.0.0.1:1"))
    mute = Outage(settings, Voice(valkey.url(), "mute"))
    heard = outage_of(receiver, Voice(valkey.url(), "mute"))
    for moment in range(0, 70, 2):
        mute.hear(away=True, at=moment)
        heard.hear(away=True, at=moment + 1)
    assert receiver.titles == ["[critical] The database does not answer"]


def test_the_end_is_told_for_one_who_did_not_live_to_say_it(receiver: Receiver, valkey: EmbeddedValkey) -> None:
    receiver.refusing = False
    receiver.got.clear()
    first, second = (outage_of(receiver, Voice(valkey.url(), "dead")) for _ in range(2))
    for moment in range(0, 40, 2):
        first.hear(away=True, at=moment)
        second.hear(away=True, at=moment + 1)
    second.hear(away=False, at=70)
    assert len(receiver.titles) == 1  # the other may still live
    with redis.Redis.from_url(valkey.url(), decode_responses=True) as client:
        client.flushall()  # nothing has been heard of it for long enough
    for moment in (101, 103, 140):
        second.hear(away=False, at=moment)
    assert receiver.titles[1:] == ["[resolved] over: The database does not answer"]


def test_without_the_broker_too_everybody_tells_rather_than_nobody(receiver: Receiver) -> None:
    receiver.refusing = False
    receiver.got.clear()
    outage = outage_of(receiver, Voice("redis://127.0.0.1:1/0", "database_away"))
    for moment in (0, 31, 33):
        outage.hear(away=True, at=moment)
    outage.hear(away=False, at=70)
    assert len(receiver.titles) == 2


def test_a_short_restart_of_the_database_is_nobody_s_affair(receiver: Receiver) -> None:
    receiver.got.clear()
    outage = outage_of(receiver)
    for second, away in ((0, True), (20, True), (22, False), (24, True), (50, True), (52, False)):
        outage.hear(away=away, at=second)
    assert receiver.titles == []


def test_a_watch_hears_that_the_database_is_away_and_back(people: People) -> None:
    heard: list[bool] = []

    class Ear(Outage):
        def hear(self, *, away: bool, at: float) -> None:  # noqa: ARG002 - as it is called
            heard.append(away)

    engine = make_engine("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    watch = Watch(make_sessions(engine), people.settings, outage=Ear(people.settings, ALONE))
    watch.look()
    engine.dispose()
    people.watch._outage = Ear(people.settings, ALONE)
    people.watch.look()
    assert heard == [True, False]


# Without anybody to tell, and of what is told


def test_without_a_place_alerts_stay_in_the_table(people: People, world: World, receiver: Receiver) -> None:
    people.watch._let_go()
    people = People(world, receiver, alert_urls=None)
    revoked(world)
    people.hear()
    people.pass_time(66)
    assert people.hear() == []
    assert people.notices() == [("opened", "failed", 1)]
    people.watch._let_go()


def test_a_place_is_shown_without_what_opens_it() -> None:
    assert Place("json://user:swordfish@host.test:8080/x?token=swordfish").shown == "json://host.test:8080"
    assert Place("slack://swordfish/swordfish/swordfish").shown == "slack://…"
    assert "swordfish" not in repr(Place("slack://swordfish"))
    assert not Place("nonsense://x").send("title", "body", kind="test")


@pytest.mark.parametrize(
    ("text_", "urls"),
    [
        ("json://a/ , slack://b", ["json://a/", "slack://b"]),
        ("mailto://a?to=x@y.test,z@y.test\njson://c", ["mailto://a?to=x@y.test,z@y.test", "json://c"]),
        (" ", []),
    ],
)
def test_places_are_separated_by_commas_or_spaces(text_: str, urls: list[str]) -> None:
    settings = Settings(_env_file=None, alert_urls=SecretStr(text_))
    assert settings.alert_places() == urls


def test_places_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "urls"
    file.write_text("json://a\njson://b\n")
    settings = Settings(_env_file=None, alert_urls_file=file)
    assert settings.alert_places() == ["json://a", "json://b"]


def test_the_web_process_alone_says_that_the_broker_is_gone(
    postgres: EmbeddedPostgres, receiver: Receiver, tmp_path: Path
) -> None:
    """Without beat, and of course without a broker."""
    receiver.refusing = False
    receiver.got.clear()
    told = {"WATERTIGHT_WATCH_SECONDS": "0.2", "WATERTIGHT_ALERT_URLS": receiver.url}
    with migrated(postgres, "watched") as url, serve(tmp_path, database_url=url, **told) as web:
        wait_for(lambda: receiver.got)
        log = web.log.read_text()
    assert receiver.titles == ["[critical] The broker does not answer"]
    assert "swordfish" not in log


def test_a_worker_watches_without_beat(
    postgres: EmbeddedPostgres, valkey: EmbeddedValkey, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.refusing = False
    receiver.got.clear()
    with migrated(postgres, "worked") as url, upkeep_worker(url, valkey, receiver, folder=tmp_path) as log:
        engine = create_engine(url.replace("watertight_app", "postgres"), poolclass=NullPool)
        with engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO alerts (cause, code, severity, opened_at)"
                    " VALUES ('stopped:1', 'credential_revoked', 'critical', now() - interval '1 minute')"
                )
            )
        wait_for(lambda: receiver.got)
        assert "swordfish" not in log.read_text()
    assert receiver.titles == ["[critical] A credential is not accepted any more"]


def test_a_worker_that_forks_has_no_thread_that_could_hold_a_lock_then() -> None:
    assert forks(object.__new__(prefork.TaskPool))
    assert not forks(object.__new__(thread.TaskPool))


@contextmanager
def upkeep_worker(url: str, valkey: EmbeddedValkey, receiver: Receiver, *, folder: Path) -> Iterator[Path]:
    told = {"DATABASE_URL": url, "BROKER_URL": valkey.url(), "STATE_DIR": str(folder), "WATCH_SECONDS": "0.2"}
    told |= {"ALERT_URLS": receiver.url}
    command = [sys.executable, "-m", "celery", "-A", "workers.app", "worker", "-Q", "upkeep", "-n", "upkeep@test"]
    options = ["--pool", "threads", "--concurrency", "1", "--without-gossip", "--without-mingle"]
    log = folder / "worker.log"
    with log.open("wb") as out:
        env = os.environ | {f"WATERTIGHT_{name}": value for name, value in told.items()}
        process = subprocess.Popen([*command, *options], cwd=ROOT, env=env, stdout=out, stderr=out)
    try:
        yield log
    finally:
        process.terminate()
        process.wait(30)
