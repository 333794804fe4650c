"""``watertight schedule``: what people type, and what they read."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, text

from models.schedule import BeatJob
from models.session import Sessions, transaction
from sync.actions import Actor
from sync.domain import Job
from sync.schedule import set_period
from tests.integration.commands import Answer, Commands, typed
from tests.integration.world import World
from workers import app as celery
from workers.jobs import fan_out
from workers.periods import WITHOUT, default_periods
from workers.scheduler import install_defaults
from workers.settings import Settings
from workers.terminal import operator
from workers.upkeep import prune_old, release_holds


@pytest.fixture
def watertight(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, app_sessions: Sessions
) -> Iterator[Commands]:
    install_defaults(app_sessions, Settings())
    with typed(monkeypatch, capsys, state_dir=tmp_path) as commands:
        commands.env["DATABASE_URL"] = app_sessions.kw["bind"].url.render_as_string(hide_password=False)
        yield commands


def jobs(watertight: Commands) -> dict[str, dict[str, object]]:
    answer = watertight("schedule", "list", "--json")
    assert answer.code == 0, answer
    return {job["name"]: job for job in json.loads(answer.out)}


@pytest.mark.parametrize(
    ("typed_in", "seconds"),
    [("90", 90), ("0.5", 0.5), ("30s", 30), ("5m", 300), ("5 min", 300), ("1h", 3_600), ("1d", 86_400)],
)
def test_a_period_is_typed_as_people_say_it(watertight: Commands, typed_in: str, seconds: float) -> None:
    answer = watertight("schedule", "set", "UpdateSync", typed_in)
    assert answer == Answer(0, f"{'watertight':<18} UpdateSync runs every {seconds:g} s\n", "")
    changed = jobs(watertight)["UpdateSync"]
    assert (changed["every_seconds"], changed["changed_by"]) == (seconds, f"{getpass.getuser()} (cli)")


@pytest.mark.parametrize("typed_in", ["soon", "", "-5", "5 weeks", "1e3", "nan", "5m30s"])
def test_what_is_no_time_is_a_wrong_argument(watertight: Commands, typed_in: str) -> None:
    answer = watertight("schedule", "set", "UpdateSync", "--", typed_in)
    assert (answer.code, "is no time such as 30, 30s, 5m or 1h" in " ".join(answer.err.replace("│", "").split())) == (
        2,
        True,
    )


def test_a_time_out_of_bounds_and_an_unknown_job_are_one_sentence(watertight: Commands) -> None:
    assert watertight("schedule", "set", "UpdateSync", "2d") == Answer(
        1, "", "watertight: every: must be between 0.5 s and 86400 s (a day)\n"
    )
    for command in (["set", "Update", "5"], ["pause", "Update"], ["resume", "Update"], ["reset", "Update"]):
        answer = watertight("schedule", *command)
        assert (answer.code, answer.err.count("\n")) == (1, 1), answer
        assert answer.err.startswith("watertight: no job 'Update' in the s")
        assert "UpdateSync" in answer.err


def test_a_pause_says_what_does_not_happen_meanwhile(watertight: Commands) -> None:
    answer = watertight("schedule", "pause", "ResumeCommits")
    assert answer.code == 0
    assert "until `watertight schedule resume ResumeCommits`" in answer.out
    assert WITHOUT["ResumeCommits"] in answer.out
    assert "paused" in watertight("schedule", "list").out
    assert jobs(watertight)["ResumeCommits"]["enabled"] is False
    assert watertight("schedule", "set", "ResumeCommits", "20").out.endswith("every 20 s once it is resumed\n")
    assert watertight("schedule", "resume", "ResumeCommits").out.endswith("ResumeCommits runs every 20 s\n")
    assert watertight("schedule", "reset", "ResumeCommits").out.endswith("follows the settings: every 10 s\n")
    found = json.loads(watertight("schedule", "history", "--json").out)
    assert [change["what"] for change in found] == [f"schedule.{what}" for what in ("reset", "resume", "set", "pause")]
    assert {(change["who"], change["via"], change["about"]) for change in found} == {
        (getpass.getuser(), "cli", "ResumeCommits")
    }
    assert [change["before"]["every"] for change in found] == [20, 20, 10, 10]
    assert watertight("schedule", "history", "UpdateSync").out == "none\n"


def test_every_job_says_what_its_pause_costs() -> None:
    assert default_periods(Settings()).keys() <= WITHOUT.keys()


def test_somebody_whom_the_system_cannot_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(getpass, "getuser", unknown)
    assert str(operator()) == f"uid {os.getuid()} (cli)"


@pytest.fixture
def worker(watertight: Commands, monkeypatch: pytest.MonkeyPatch) -> Iterator[Commands]:
    """This process works as a worker does."""
    for name, value in watertight.env.items():
        monkeypatch.setenv(f"WATERTIGHT_{name}", value)
    for cached in (celery.settings, celery._runtime):
        cached.cache_clear()
    yield watertight
    celery.runtime().sessions.kw["bind"].dispose()
    for cached in (celery.settings, celery._runtime):
        cached.cache_clear()


def ran(sessions: Sessions) -> list[str]:
    with transaction(sessions) as session:
        return sorted(session.scalars(select(BeatJob.name).where(BeatJob.ran_at.is_not(None))))


def test_a_run_that_beat_fired_is_noted_when_it_has_ended(worker: Commands, app_sessions: Sessions) -> None:
    assert release_holds.apply().successful()
    assert ran(app_sessions) == [], "somebody else asked for it"
    assert prune_old.apply(task_id="Prune@20270101T000000.000000Z").result == "nothing is old"
    assert ran(app_sessions) == ["Prune"]
    assert jobs(worker)["Prune"]["ran_at"] is not None


@contextmanager
def without(owner: Engine, right: str) -> Iterator[None]:
    """The application may not do this for a while."""
    with owner.begin() as connection:
        connection.execute(text(f"REVOKE {right} FROM watertight_app"))
    try:
        yield
    finally:
        with owner.begin() as connection:
            connection.execute(text(f"GRANT {right} TO watertight_app"))


def test_a_run_that_failed_is_not_noted_and_leaves_a_dead_letter(
    worker: Commands, app_sessions: Sessions, owner_engine: Engine
) -> None:
    with without(owner_engine, "DELETE ON deliveries"):
        failed = prune_old.apply(task_id="Prune@20270101T000000.000000Z")
    assert (failed.successful(), ran(app_sessions)) == (False, [])
    assert "Prune" in worker("failures", "list").out


@pytest.mark.usefixtures("worker")
def test_a_good_run_that_cannot_be_noted_is_good(app_sessions: Sessions, owner_engine: Engine) -> None:
    with without(owner_engine, "UPDATE ON beat_jobs"):
        assert prune_old.apply(task_id="Prune@20270101T000000.000000Z").result == "nothing is old"
    assert ran(app_sessions) == []


@pytest.mark.usefixtures("worker")
def test_fan_out_is_spread_over_the_period_of_the_table(app_sessions: Sessions) -> None:
    """What an operator sets is what the calendars see: their messages are void after it."""
    sent: list[dict[str, object]] = []

    class Sent:
        name = "UpdateSync"

        def apply_async(self, **message: object) -> None:
            sent.append(message)

    World(app_sessions, app_sessions).add_agent("dana")
    with transaction(app_sessions) as session:
        set_period(session, "UpdateSync", every=40, by=Actor("olga", "cli"))
    assert fan_out(Sent(), Sent(), Job.UPDATE, every=600) == "2 calendars"
    assert [(message["countdown"], message["expires"]) for message in sent] == [(0, 40), (10, 40)]
