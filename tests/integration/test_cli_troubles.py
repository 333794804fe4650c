"""``watertight failures`` and ``watertight alerts``, as a person types them at three in the morning."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.session import transaction
from sync.errors import CredentialRevoked, ProviderUnavailable
from sync.failures import open_alert, record_attempt, record_dead_letter
from tests.integration.commands import Commands, typed
from tests.integration.receiver import receiving
from tests.integration.world import World
from workers.app import app as celery

NEW = "NewAppointmentSync.calendar"


@pytest.fixture
def watertight(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, world: World
) -> Iterator[Commands]:
    monkeypatch.setattr(celery, "send_task", lambda *_, **__: None)
    with typed(monkeypatch, capsys, state_dir=tmp_path) as commands:
        commands.env["DATABASE_URL"] = world.app.kw["bind"].url.render_as_string(hide_password=False)
        yield commands


@pytest.fixture
def letter(world: World) -> int:
    """NewAppointmentSync gave dana's mirror up after two tries."""
    number = world.ids["dana-mirror"]
    error = ProviderUnavailable("GET /calendars/{id}/events: 503")
    with transaction(world.app) as session:
        for count in (1, 2):
            record_attempt(session, NEW, reference=str(number), error=error, number=count)
        found = record_dead_letter(session, NEW, reference=str(number), error=error, attempts=2, calendar_id=number)
        cause, code = f"new:{number}:provider_unavailable", "provider_unavailable"
        open_alert(session, cause, code=code, detail={"calendar": number}, calendar_id=number)
        return found


def test_failures_are_listed_in_words(watertight: Commands, letter: int) -> None:
    shown = watertight("failures", "list").out
    for word in (str(letter), NEW, "dana memory mirror", "provider_unavailable", "503"):
        assert word in shown
    [row] = json.loads(watertight("failures", "list", "--json").out)
    assert (row["id"], row["agent"], row["attempts"], row["state"]) == (letter, "dana", 2, "open")


def test_one_failure_tells_every_try_and_what_to_do(watertight: Commands, letter: int) -> None:
    shown = watertight("failures", "show", str(letter)).out
    for word in ("try 1: provider_unavailable", "try 2:", "first seen", "runbook.md#provider_unavailable"):
        assert word in shown
    assert "watertight failures replay --code provider_unavailable" in shown
    told = json.loads(watertight("failures", "show", str(letter), "--json").out)
    assert [one["number"] for one in told["tries"]] == [1, 2]
    assert "no dead letter 4711" in watertight("failures", "show", "4711").err


def test_a_dry_run_changes_nothing(watertight: Commands, letter: int, world: World) -> None:
    shown = watertight("failures", "replay", "--all", "--dry-run").out
    assert f"let NewAppointmentSync read calendar {world.ids['dana-mirror']} at once" in shown
    assert world.sql("SELECT id, state FROM dead_letters") == [(letter, "open")]
    assert world.sql("SELECT count(*) FROM actions") == [(0,)]


@pytest.mark.parametrize("which", [["--all"], ["--code", "provider_unavailable"], ["{letter}"]])
def test_a_replay_says_what_it_did_and_is_kept_with_who(
    watertight: Commands, letter: int, world: World, which: list[str]
) -> None:
    arguments = [word.format(letter=letter) for word in which]
    first, second = (watertight("failures", "replay", *arguments) for _ in range(2))
    assert "1 of 1 replayed" in first.out
    assert "0 of " in second.out
    assert world.sql("SELECT state, closed_by FROM dead_letters") == [("replayed", f"{getpass.getuser()} (cli)")]
    assert world.sql("SELECT who, what, about FROM actions") == [
        (getpass.getuser(), "failures.replay", f"dead_letter:{letter}")
    ]
    assert world.alerts() == []
    assert str(letter) in watertight("failures", "list", "--all").out
    assert watertight("failures", "list").out == "none\n"


@pytest.mark.parametrize("arguments", [[], ["7", "--all"], ["--all", "--code", "bug"]])
def test_what_to_replay_is_said_in_one_way(watertight: Commands, arguments: list[str]) -> None:
    answer = watertight("failures", "replay", *arguments)
    assert (answer.code, "--all" in answer.err) == (2, True)


def test_what_a_person_must_do_first_ends_with_an_error(watertight: Commands, world: World) -> None:
    number = world.ids["dana-mirror"]
    world.configure("dana-mirror", stopped_code="mass_change")
    with transaction(world.app) as session:
        record_dead_letter(
            session, NEW, reference=str(number), error=CredentialRevoked("x"), attempts=1, calendar_id=number
        )
    answer = watertight("failures", "replay", "--all")
    assert (answer.code, f"watertight calendars release {number}" in answer.out) == (1, True)


def test_an_alert_is_shown_with_what_to_do_and_closed_by_hand(watertight: Commands, letter: int, world: World) -> None:
    [row] = json.loads(watertight("alerts", "list", "--json").out)
    shown = watertight("alerts", "show", str(row["id"])).out
    for word in ("A vendor cannot be reached", "(dana, memory mirror)", "watertight doctor", "runbook.md#provider"):
        assert word in shown
    assert letter
    for _ in range(2):
        assert watertight("alerts", "close", str(row["id"])).code == 0
    assert (world.alerts(), world.sql("SELECT what FROM actions")) == ([], [("alerts.close",)])
    assert "no alert 4711" in watertight("alerts", "close", "4711").err


def test_a_test_message_is_sent_to_every_place(watertight: Commands) -> None:
    with receiving() as good, receiving() as bad:
        bad.refusing = True
        told = watertight("alerts", "test", ALERT_URLS=good.url)
        assert (told.code, good.titles) == (0, ["[test] watertight: alerts arrive here"])
        told = watertight("alerts", "test", "--json", ALERT_URLS=f"{good.url} {bad.url}, nonsense://swordfish")
        assert told.code == 1
        assert [(one["accepted"], one["trouble"]) for one in json.loads(told.out)] == [
            (True, None),
            (False, None),
            (False, "Apprise does not understand this URL"),
        ]
        assert "swordfish" not in told.out + told.err


def test_without_a_place_the_test_says_so(watertight: Commands) -> None:
    told = watertight("alerts", "test")
    assert (told.code, "WATERTIGHT_ALERT_URLS is not set" in told.err) == (0, True)
