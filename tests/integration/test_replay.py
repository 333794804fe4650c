"""Runs that gave up run again when somebody says so: once, however often it is said (P11)."""

from __future__ import annotations

from typing import Any

import pytest
from kombu.exceptions import OperationalError

from models.letters import DeadLetterRecord, find_dead_letter, list_dead_letters
from models.session import transaction
from sync.actions import Actor
from sync.errors import CredentialRevoked, Forbidden, MassChange, ProviderUnavailable, Rejected, WatertightError
from tests.integration.world import World, at
from workers import commit as commits
from workers import dead_letters
from workers.app import app
from workers.replay import Replayed, carry_out, plan_replay

WHO = Actor("nora", "cli")
NEW = "NewAppointmentSync.calendar"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[Any], dict[str, Any]]]:
    """What was sent to the broker, which these tests do without."""
    messages: list[tuple[str, list[Any], dict[str, Any]]] = []

    def send(name: str, *, args: list[Any] | None = None, kwargs: dict[str, Any] | None = None, **_: object) -> None:
        messages.append((name, args or [], kwargs or {}))

    monkeypatch.setattr(app, "send_task", send)
    return messages


def replay_all(world: World, **which: Any) -> list[Replayed]:  # noqa: ANN401 - as plan_replay has them
    with transaction(world.app) as session:
        plan = plan_replay(session, **which)
    return carry_out(world.app, plan, by=WHO)


def run(world: World) -> None:
    """Work on what is due, and wait for nothing."""
    while due := world.due():
        for reference in due:
            world.engine.commit(reference)


def parked(world: World) -> str:
    """A copy that gave up because the mirror's credential is revoked."""
    world.ask(at(10))
    world.mirror.fail("create", CredentialRevoked("the mirror says no"))
    run(world)
    [letter] = letters(world)
    return letter.reference


def letters(world: World, *, closed: bool = False) -> list[DeadLetterRecord]:
    with transaction(world.app) as session:
        return list_dead_letters(session, closed=closed)


def failed_job(world: World, error: WatertightError, calendar: str = "dana-mirror") -> int:
    """A run of NewAppointmentSync gave up on this calendar."""
    number = world.ids[calendar]
    with transaction(world.app) as session:
        dead_letters.keep_failed_task(session, NEW, reference=str(number), error=error, attempts=5)
    return number


def test_a_parked_write_is_done_at_once_when_it_is_replayed(world: World, sent: list[Any]) -> None:
    reference = parked(world)
    assert world.due() == []  # it waits for minutes
    [done] = replay_all(world)
    assert (done.done, done.sentence) == (True, "runs again")
    assert sent == [("Commit", [reference], {"replay": True})]
    world.engine.hurry(reference)
    world.engine.commit(reference)
    world.assert_in_step()
    assert world.alerts() == []


def test_twice_is_once(world: World, sent: list[Any]) -> None:
    parked(world)
    with transaction(world.app) as session:
        plan = plan_replay(session)
    first, second = (carry_out(world.app, plan, by=WHO) for _ in range(2))
    assert [one.done for one in first + second] == [True, False]
    assert len(sent) == 1
    assert replay_all(world) == []
    assert world.sql("SELECT who, via, what, after->>'code' FROM actions") == [
        ("nora", "cli", "failures.replay", "credential_revoked")
    ]


def test_a_write_in_another_worker_s_hands_is_left_there(world: World) -> None:
    reference = parked(world)
    world.sql("UPDATE writes SET leased_until = now() + interval '1 hour', fence = 9 WHERE state = 'due'")
    for _ in range(2):
        world.engine.hurry(reference)
        world.engine.commit(reference)
    assert world.sql("SELECT fence FROM writes WHERE state = 'due'") == [(9,)]


def test_what_fails_again_is_a_new_dead_letter_and_a_new_alert(world: World, sent: list[Any]) -> None:
    reference = parked(world)
    replay_all(world)
    assert sent
    assert world.alerts() == []
    world.mirror.fail("create", CredentialRevoked("still no"))
    world.engine.hurry(reference)
    world.engine.commit(reference)
    assert [(one.state, one.closed_by, one.times) for one in letters(world, closed=True)] == [
        ("open", None, 1),
        ("replayed", "nora (cli)", 1),
    ]
    assert world.alerts() == [("credential_revoked", "critical")]


def test_a_copy_that_cannot_look_at_the_master_blames_the_master(world: World, sent: list[Any]) -> None:
    """Else people would renew the credential of a vendor that is well."""
    world.ask(at(10))
    world.master.fail("find_event", CredentialRevoked("the master says no"))
    run(world)
    assert world.sql("SELECT calendar_id, (detail ->> 'calendar')::int FROM alerts WHERE resolved_at IS NULL") == [
        (world.ids["dana-master"], world.ids["dana-master"])
    ]
    [letter] = letters(world)
    assert letter.calendar_id == world.ids["dana-mirror"]
    world.engine.hurry(letter.reference)
    world.engine.commit(letter.reference)
    assert (world.alerts(), sent) == ([], [])


def test_the_alert_of_many_closes_with_the_last_of_them(world: World, sent: list[Any]) -> None:
    for hour in (10, 12):
        world.ask(at(hour))
    for _ in range(2):
        world.mirror.fail("create", CredentialRevoked("no"))
    run(world)
    first, second = letters(world)
    replay_all(world, ids=[first.id])
    assert world.alerts() == [("credential_revoked", "critical")]
    replay_all(world, ids=[second.id])
    assert (world.alerts(), len(sent)) == ([], 2)


def test_a_calendar_that_is_left_alone_is_read_again(world: World, sent: list[Any]) -> None:
    world.detect_all()
    number = failed_job(world, Forbidden("403"))
    world.sql("UPDATE cursors SET not_before = now() + interval '4 hours', failures = 9, hinted_at = now()")
    [done] = replay_all(world, code="forbidden")
    assert done.done
    assert sent == [(NEW, [number], {})]
    assert world.sql("SELECT job, failures FROM cursors WHERE not_before IS NULL AND calendar_id = :id", id=number) == [
        ("new", 0)
    ]
    assert world.alerts() == []


def test_a_calendar_without_a_valid_credential_is_tried_again(world: World, sent: list[Any]) -> None:
    world.detect_all()
    number = failed_job(world, CredentialRevoked("no"))
    world.configure("dana-mirror", stopped_code="credential_revoked")
    assert [one.done for one in replay_all(world)] == [True]
    assert world.sql("SELECT stopped_code, may_lose FROM calendars JOIN cursors ON calendar_id = id AND job = 'new' WHERE id = :id", id=number) == [
        (None, False)
    ]  # fmt: skip
    assert sent


def test_whether_many_events_are_gone_is_no_question_for_a_replay(world: World, sent: list[Any]) -> None:
    world.detect_all()
    number = failed_job(world, MassChange("too many"))
    world.configure("dana-mirror", stopped_code="mass_change")
    [done] = replay_all(world)
    assert (done.done, sent) == (False, [])
    assert f"watertight calendars release {number}" in done.sentence
    assert [one.state for one in letters(world)] == ["open"]


def test_while_the_broker_is_away_the_rows_say_what_is_to_be_done(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise OperationalError

    monkeypatch.setattr(app, "send_task", away)
    world.detect_all()
    parked(world)
    number = failed_job(world, Forbidden("403"))
    assert {one.sentence for one in replay_all(world)} == {"runs again as soon as the broker is back"}
    assert world.sql("SELECT calendar_id, job FROM cursors WHERE hinted_at IS NOT NULL") == [(number, "new")]


def test_what_cannot_run_again_is_only_closed(world: World, sent: list[Any]) -> None:
    with transaction(world.app) as session:
        dead_letters.keep_failed_task(session, "Commit", reference="poison", error=Rejected("no"), attempts=1)
    assert [one.sentence for one in replay_all(world)] == ["closed"]
    assert (sent, world.alerts()) == ([], [])


def test_a_task_of_beat_runs_once_out_of_its_turn(world: World, sent: list[Any]) -> None:
    world.sql(
        "INSERT INTO beat_jobs (name, task, every_seconds, next_slot) VALUES ('ReleaseHolds', 'ReleaseHolds', 10, now())",
    )
    with transaction(world.app) as session:
        dead_letters.keep_failed_task(session, "ReleaseHolds", reference="", error=KeyError("x"), attempts=1)
    assert [one.done for one in replay_all(world)] == [True]
    assert sent == [("ReleaseHolds", [], {})]


def test_every_try_is_kept_with_its_time(world: World) -> None:
    world.ask(at(10))
    for number in range(6):
        world.mirror.fail("create", ProviderUnavailable(f"503, try {number + 1}"))
        world.hurry()
        run(world)
    [letter] = letters(world)
    with transaction(world.app) as session:
        found = find_dead_letter(session, letter.id)
    assert found is not None
    assert [(one.number, one.excerpt) for one in found.tries] == [(n, f"503, try {n}") for n in range(1, 7)]
    assert (found.agent, found.calendar) == ("dana", "memory mirror")
    assert sorted(one.failed_at for one in found.tries) == [one.failed_at for one in found.tries]


def test_what_a_person_does_not_name_is_left_alone(world: World, sent: list[Any]) -> None:
    world.detect_all()
    failed_job(world, Forbidden("403"))
    assert replay_all(world, ids=[4711]) == replay_all(world, code="not_found") == []
    assert (sent, len(letters(world))) == ([], 1)


def test_the_commit_task_takes_a_replay_from_a_message(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = parked(world)
    monkeypatch.setattr(commits, "engine", lambda _pid: world.engine)
    assert commits.commit.apply(args=[reference]).result.startswith("skipped: not due yet")
    first, second = (commits.commit.apply(args=[reference], kwargs={"replay": True}).result for _ in range(2))
    assert (first.startswith("skipped"), second) == (False, "skipped: already done")
    world.assert_in_step()
