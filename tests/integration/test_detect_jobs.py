"""Three jobs, three cursors: what one reads, stores and proposes is whole or nothing, and disturbs no other."""

from __future__ import annotations

import math
import random
import string
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from models.session import transaction
from providers.memory import MemoryCalendar
from sync.detect import Detector, Horizon
from sync.domain import (
    LONGEST_NAME_BYTES,
    CalendarId,
    ChangeSet,
    Interval,
    Job,
    RemoteEvent,
    RemoteId,
    Removal,
    Unparsed,
    WriteKey,
)
from sync.errors import Contention, Malformed, NotFound, ProviderUnavailable
from tests.integration.world import World, at, drag

MIRROR = "dana-mirror"
STATE = ("cursors", "sightings", "proposals", "quarantine", "alerts")


def cursor(world: World, job: Job = Job.NEW) -> tuple[Any, ...]:
    rows = world.sql(
        "SELECT value, opened_at, lease, leased_until FROM cursors WHERE job = :job AND calendar_id = :calendar",
        job=job.value,
        calendar=world.ids[MIRROR],
    )
    return tuple(rows[0]) if rows else ()


def contents(world: World) -> list[object]:
    return [world.sql(f"SELECT to_jsonb(t) FROM {table} t ORDER BY 1") for table in STATE]  # noqa: S608 - names above


@pytest.mark.parametrize("job", Job)
def test_each_job_alone_sees_everything(world: World, job: Job) -> None:
    kept, moved, removed = (world.mirror.put(at(hour), "Mine") for hour in (10, 12, 14))
    world.quiesce()
    drag(world.mirror, moved, at(16))
    world.mirror.remove(removed.remote_id)
    world.mirror.put(at(18), "New")
    report = world.detect(job, MIRROR)
    assert report.read == 3
    assert [wish.kind for wish in report.wishes] == [{"new": "book", "cancel": "cancel", "update": "move"}[job]]
    assert kept in world.mirror.events()


def test_a_failing_job_does_not_disturb_the_others(world: World) -> None:
    world.mirror.put(at(10))
    world.mirror.fail("read_changes", ProviderUnavailable("503"))
    with pytest.raises(ProviderUnavailable):
        world.detect(Job.CANCEL, MIRROR)
    assert len(world.detect(Job.NEW, MIRROR).proposals) == 1
    assert world.detect(Job.CANCEL, MIRROR).skipped is None


def test_reading_again_reads_only_what_changed(world: World) -> None:
    world.mirror.put(at(10))
    assert world.detect(Job.NEW, MIRROR).full
    again = world.detect(Job.NEW, MIRROR)
    assert (again.read, again.full, again.sentence()) == (0, False, "read of 0, 0 proposed")


def test_a_second_run_is_skipped_while_the_first_works(world: World) -> None:
    skipped: list[str | None] = []
    world.mirror.on("read_changes", lambda: skipped.append(world.detect(Job.NEW, MIRROR).skipped))
    world.mirror.put(at(10))
    assert len(world.detect(Job.NEW, MIRROR).proposals) == 1
    assert skipped == ["the run before still works"]
    assert world.detect(Job.NEW, MIRROR).skipped is None


def test_a_late_run_changes_nothing(world: World) -> None:
    seen: list[object] = []

    def sleep() -> None:
        world.sql("UPDATE cursors SET leased_until = clock_timestamp() - interval '1 second'")
        world.detect(Job.NEW, MIRROR)
        seen.append(contents(world))

    world.mirror.put(at(10))
    world.mirror.on("read_changes", sleep)
    with pytest.raises(Contention):
        world.detect(Job.NEW, MIRROR)
    assert seen == [contents(world)]


@pytest.mark.parametrize("code", ["credential_revoked", "mass_change"])
def test_a_stopped_calendar_is_not_read(world: World, code: str) -> None:
    world.configure(MIRROR, stopped_code=code)
    report = world.detect(Job.NEW, MIRROR)
    assert (report.sentence(), world.mirror.calls) == (f"skipped: stopped by {code}", [])


def test_an_unknown_calendar_is_an_error(world: World) -> None:
    with pytest.raises(NotFound):
        world.detector.run(Job.NEW, CalendarId(404))


def test_an_unreadable_record_is_kept_once_and_the_rest_goes_on(world: World) -> None:
    raw = {"id": "odd", "start": "soon"}
    world.mirror.unparsed.append(Unparsed("odd", "start", "is no instant", raw))
    world.mirror.put(at(10))
    reports = [world.detect(Job.NEW, MIRROR) for _ in range(2)]
    assert [(report.quarantined, len(report.proposals)) for report in reports] == [(1, 1), (1, 0)]
    assert world.sql("SELECT remote_id, field, reason, raw, times FROM quarantine") == [
        ("odd", "start", "is no instant", raw, 2)
    ]
    assert world.alerts() == [("malformed", "warning")]


def deep(levels: int) -> object:
    return [deep(levels - 1)] if levels else "core"


@pytest.mark.parametrize(
    ("damage", "kept"),
    [
        ({"summary": "a\x00b", "half": ["\ud800"]}, {"summary": "a\ufffdb", "half": ["?"]}),
        ({"sequence": math.inf, "nan": [math.nan]}, {"sequence": "inf", "nan": ["nan"]}),
        ({"summary": "x" * 100_000, "big": 10**400}, {"summary": "x" * 100_000, "big": 10**400}),
    ],
)
def test_what_no_database_stores_is_quarantined_too(
    world: World, damage: dict[str, object], kept: dict[str, object]
) -> None:
    raw, reason = {"id": "odd", **damage}, Malformed("private.a\x00b\ud800", "is null")
    world.mirror.unparsed.append(Unparsed("o\x00dd", reason.field, reason.reason, raw))
    world.mirror.put(at(10))
    report = world.detect(Job.NEW, MIRROR)
    assert (report.quarantined, len(report.proposals)) == (1, 1)
    assert world.sql("SELECT remote_id, field, raw FROM quarantine") == [(None, "private.a?b?", {"id": "odd", **kept})]


def test_a_record_nested_beyond_measure_is_quarantined_down_to_a_depth(world: World) -> None:
    world.mirror.unparsed.append(Unparsed("odd", "start", "is null", {"id": "odd", "deep": deep(600)}))
    assert world.detect(Job.NEW, MIRROR).quarantined == 1
    assert "(nested deeper)" in str(world.sql("SELECT raw FROM quarantine"))


def test_the_longest_id_and_version_that_an_event_may_have_fit_every_index(world: World) -> None:
    longest = "".join(random.Random(1).choices(string.ascii_letters, k=LONGEST_NAME_BYTES))  # noqa: S311 - an example
    event = world.mirror.put(at(10), remote_id=longest)
    row = world.mirror.rows[event.remote_id]
    row.state = replace(event, version=longest[::-1], key=WriteKey(longest), series_id=longest)
    (proposal,) = world.detect(Job.NEW, MIRROR).proposals
    assert world.story(proposal).id == proposal
    with pytest.raises(Malformed):
        replace(event, version=longest + "x")


def test_an_event_that_became_unreadable_is_not_gone(world: World) -> None:
    mine = world.mirror.put(at(10))
    world.quiesce()
    row = world.mirror.rows.pop(mine.remote_id)
    world.mirror.unparsed.append(Unparsed(mine.remote_id, "start", "is no instant", "garbage"))
    world.mirror.expire()
    world.quiesce()
    assert world.booked() == [at(10)]
    assert row.state == mine


class Sabotaged(Detector):
    """Fails at the last moment before what was read is committed."""

    def _merge(self, session: Session, claim: Any, read: Any) -> NoReturn:  # noqa: ANN401 - the parent's private values
        super()._merge(session, claim, read)
        message = "sabotage"
        raise RuntimeError(message)


def test_what_was_read_is_stored_whole_or_not_at_all(world: World) -> None:
    world.detect(Job.NEW, MIRROR)
    world.mirror.put(at(10))
    before, place = contents(world)[1:], cursor(world)[0]
    with pytest.raises(RuntimeError):
        Sabotaged(world.app, world.calendars).run(Job.NEW, world.ids[MIRROR])
    assert (contents(world)[1:], cursor(world)[0], cursor(world)[3]) == (before, place, None)
    assert len(world.detect(Job.NEW, MIRROR).proposals) == 1


def test_a_preview_says_what_a_run_would_do_and_writes_nothing(world: World) -> None:
    world.detect(Job.NEW, MIRROR)
    world.mirror.put(at(10))
    before = contents(world)
    preview = world.detector.preview(Job.NEW, world.ids[MIRROR])
    assert contents(world) == before
    assert preview.wishes == world.detect(Job.NEW, MIRROR).wishes
    assert preview.proposals == ()


def test_the_window_is_opened_anew_after_a_day(world: World) -> None:
    world.detect(Job.NEW, MIRROR)
    opened = cursor(world)[1]
    world.sql("UPDATE cursors SET opened_at = opened_at - interval '23 hours'")
    assert not world.detect(Job.NEW, MIRROR).full
    world.sql("UPDATE cursors SET opened_at = opened_at - interval '2 hours'")
    assert world.detect(Job.NEW, MIRROR).full
    assert cursor(world)[1] > opened


def test_the_daily_full_read_finds_what_the_feed_never_reported(world: World) -> None:
    mine = world.mirror.put(at(10), "Mine")
    world.quiesce()
    del world.mirror.rows[mine.remote_id]
    assert world.detect_all() == []
    world.sql("UPDATE cursors SET opened_at = opened_at - interval '2 days'")
    world.quiesce()
    assert world.booked() == []


def test_events_beyond_the_window_wait_until_it_reaches_them(world: World) -> None:
    far = Interval(at(10).start + Horizon().ahead, at(10).end + Horizon().ahead)
    world.mirror.put(far)
    assert world.detect(Job.NEW, MIRROR).read == 0


@dataclass(slots=True)
class ScriptedCalendar(MemoryCalendar):
    """Its feed says what the test says; direct reads tell the truth."""

    script: list[ChangeSet] = field(default_factory=list)

    def read_changes(self, cursor: str | None, *, window: Interval, job: Job | None = None) -> ChangeSet:
        return self.script.pop(0) if self.script else MemoryCalendar.read_changes(self, cursor, window=window, job=job)


@pytest.fixture
def scripted(world: World) -> ScriptedCalendar:
    calendar = ScriptedCalendar(MIRROR)
    world.calendars.use(calendar)
    return calendar


def says(*changes: RemoteEvent | Removal) -> ChangeSet:
    return ChangeSet(changes, "1", full=False)


def test_a_creation_that_comes_after_its_removal_is_not_revived(world: World, scripted: ScriptedCalendar) -> None:
    event = scripted.put(at(10), "Late")
    scripted.remove(event.remote_id)
    scripted.script = [says(Removal(event.remote_id)), says(event)]
    reports = [world.detect(Job.CANCEL, MIRROR), world.detect(Job.NEW, MIRROR)]
    assert [report.proposals for report in reports] == [(), ()]
    assert world.sql("SELECT deleted FROM sightings") == [(True,)]


def test_an_event_that_was_restored_is_believed_after_a_direct_read(world: World, scripted: ScriptedCalendar) -> None:
    event = scripted.put(at(10), "Restored")
    scripted.script = [says(Removal(event.remote_id)), says(event)]
    world.detect(Job.CANCEL, MIRROR)
    assert len(world.detect(Job.NEW, MIRROR).proposals) == 1


def test_an_older_state_never_replaces_a_newer_one(world: World, scripted: ScriptedCalendar) -> None:
    old = scripted.put(at(10), "Mine")
    new = drag(scripted, old, at(15))
    scripted.script = [says(new), says(old), says(old)]
    for job in Job:
        world.detect(job, MIRROR)
    world.quiesce()
    assert world.booked() == [at(15)]


def test_an_update_that_comes_before_the_creation_is_proposed_once(world: World, scripted: ScriptedCalendar) -> None:
    old = scripted.put(at(10), "Mine")
    new = drag(scripted, old, at(15))
    scripted.script = [says(new), says(old)]
    assert world.detect(Job.UPDATE, MIRROR).proposals == ()
    assert len(world.detect(Job.NEW, MIRROR).proposals) == 1
    world.quiesce()
    assert [(row.kind, row.starts_at) for row in world.proposals()] == [("book", at(15).start)]


def test_a_change_delivered_again_and_again_is_one_proposal(world: World, scripted: ScriptedCalendar) -> None:
    event = scripted.put(at(10), "Mine")
    scripted.script = [says(event, event), says(event), says(event)]
    assert [len(world.detect(Job.NEW, MIRROR).proposals) for _ in range(3)] == [1, 0, 0]
    assert event.remote_id == RemoteId(world.sql("SELECT remote_id FROM proposals")[0][0])


def test_a_deletion_that_is_read_again_before_it_was_decided_is_one_proposal(world: World) -> None:
    """An expired cursor shows it anew, and webhook and poll may both bring it (P5)."""
    world.book(at(10))
    world.mirror.remove(world.mirror.events()[0].remote_id)
    first = world.detect(Job.CANCEL, "dana-mirror").proposals
    for _ in range(3):
        world.mirror.expire()
        assert world.detect(Job.CANCEL, "dana-mirror").proposals == ()
    world.quiesce()
    assert (len(first), world.booked()) == (1, [])


def test_a_change_told_again_does_not_wait_for_whoever_decides_it(world: World) -> None:
    """They may be waiting for this calendar themselves, and then neither would go on."""
    world.mirror.put(at(10), "Mine")
    (proposal,) = world.detect(Job.NEW, MIRROR).proposals
    world.mirror.expire()
    with transaction(world.commit_sessions) as deciding:
        deciding.execute(text("UPDATE proposals SET attempt = attempt + 1 WHERE id = :id"), {"id": proposal})
        world.mirror.remove(world.mirror.events()[0].remote_id)
        assert len(world.detect(Job.CANCEL, MIRROR).proposals) == 1
        assert world.detect(Job.NEW, MIRROR).proposals == ()
    (cancel,) = [row.id for row in world.proposals() if row.kind == "cancel"]
    world.mirror.expire()
    with transaction(world.commit_sessions) as deciding:
        deciding.execute(text("UPDATE proposals SET attempt = attempt + 1 WHERE id = :id"), {"id": cancel})
        assert world.detect(Job.CANCEL, MIRROR).proposals == ()
