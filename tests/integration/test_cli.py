"""What a person gets who mistypes: one sentence that names what is wrong, never a traceback (exit codes 0, 1, 2)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from sync.domain import Kind
from sync.intake import Request, receive
from tests.integration.commands import Answer, Commands, typed
from tests.integration.world import World, at
from workers.embedded import EmbeddedPostgres, StateLock

COMMANDS = [
    "up",
    "demo",
    "emulate",
    "migrate",
    "sync",
    "explain",
    "history",
    "agents",
    "calendars",
    "failures",
    "alerts",
    "schedule",
]


@pytest.fixture
def watertight(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Commands]:
    with typed(monkeypatch, capsys, state_dir=tmp_path) as commands:
        yield commands


@pytest.fixture
def with_database(watertight: Commands, postgres: EmbeddedPostgres, database: str) -> Commands:
    url = postgres.url("watertight_app").replace("/watertight?", f"/{database}?")
    watertight.env["DATABASE_URL"] = url
    return watertight


def assert_says(answer: Answer, *words: str, code: int = 1) -> None:
    assert answer.code == code, answer
    assert "Traceback" not in answer.out + answer.err
    assert [word for word in words if word not in answer.err] == [], answer.err
    if code == 1:
        assert answer.err.startswith("watertight: ")
        assert answer.err.count("\n") == 1, answer.err


@pytest.mark.parametrize(
    "command", [[], *([name] for name in COMMANDS), ["agents", "import"], ["calendars", "release"]]
)
def test_every_command_explains_itself(watertight: Commands, command: list[str]) -> None:
    answer = watertight(*command, "--help")
    assert (answer.code, answer.err) == (0, "")
    assert "Usage:" in answer.out


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["frobnicate"], "frobnicate"),
        (["sync", "NonsenseSync"], "NewAppointmentSync"),
        (["sync"], "JOB"),
        (["sync", "UpdateSync", "--calendar", "first"], "--calendar"),
        (["emulate", "calendly"], "calendly"),
        (["emulate", "outlook", "--port", "65536"], "--port"),
        (["emulate", "outlook", "--port", "-1"], "--port"),
        (["emulate", "outlook", "--port", "many"], "--port"),
        (["demo", "--seconds", "1"], "--seconds"),
        (["explain", "first"], "PROPOSAL"),
        (["explain", "0"], "PROPOSAL"),
        (["explain", "99999999999999999999"], "PROPOSAL"),
        (["calendars", "release", "4294967296"], "ID"),
        (["agents", "import"], "FILE"),
        (["up", "--fast"], "--fast"),
    ],
)
def test_wrong_arguments_are_named(watertight: Commands, arguments: list[str], word: str) -> None:
    assert_says(watertight(*arguments), word, code=2)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("NEW_EVERY", "soon", "number"),
        ("NEW_EVERY", "0", "greater"),
        ("CANCEL_EVERY", "nan", "number"),
        ("UPDATE_EVERY", "inf", "finite"),
        ("RESUME_EVERY", "-1", "greater"),
        ("DAYS_AHEAD", "1e12", "less"),
        ("JOB_THREADS", "0", "greater"),
        ("COMMIT_PROCESSES", "two", "integer"),
        ("WEB_PORT", "65536", "65535"),
        ("LOG_LEVEL", "loud", "DEBUG"),
        ("DATABASE_URL", "mysql://u:swordfish@h/d", "postgresql://"),
        ("COMMIT_DATABASE_URL", "swordfish", "postgresql://"),
        ("BROKER_URL", "sqs://u:swordfish@h", "redis://"),
    ],
)
def test_a_nonsense_setting_is_named_and_its_value_is_not_repeated(
    watertight: Commands, name: str, value: str, reason: str
) -> None:
    answer = watertight("schedule", "list", **{name: value})
    assert_says(answer, f"WATERTIGHT_{name}: ", reason)
    assert "swordfish" not in answer.err


def test_a_command_without_a_stack_says_what_is_missing(watertight: Commands) -> None:
    assert_says(watertight("alerts", "list"), "WATERTIGHT_DATABASE_URL", "watertight up")


def test_half_a_set_of_credentials_is_refused(with_database: Commands) -> None:
    answer = with_database("alerts", "list", OUTLOOK_TENANT_ID="t", OUTLOOK_CLIENT_ID="c")
    assert_says(answer, "WATERTIGHT_OUTLOOK_CLIENT_SECRET is not set")


@pytest.mark.parametrize("content", [None, "{", ""])
def test_an_unreadable_key_file_is_named(with_database: Commands, tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "key.json"
    if content is not None:
        file.write_text(content)
    answer = with_database("alerts", "list", GOOGLE_SERVICE_ACCOUNT_FILE=str(file))
    assert_says(answer, "WATERTIGHT_GOOGLE_SERVICE_ACCOUNT_FILE", str(file))


@pytest.mark.parametrize("command", [["migrate"], ["explain", "1"], ["up"], ["sync", "UpdateSync"]])
def test_an_unreachable_database_is_one_sentence(watertight: Commands, command: list[str]) -> None:
    url = "postgresql+psycopg://app:swordfish@127.0.0.1:1/watertight"
    answer = watertight(*command, DATABASE_URL=url, BROKER_URL="redis://127.0.0.1:1")
    assert_says(answer, "the database cannot be used", "127.0.0.1", "refused")
    assert "swordfish" not in answer.err


def test_a_refused_login_is_one_sentence(watertight: Commands, postgres: EmbeddedPostgres) -> None:
    url = postgres.url("nobody_we_know")
    assert_says(watertight("explain", "1", DATABASE_URL=url), "the database cannot be used", "nobody_we_know")


def test_a_database_that_is_not_migrated_says_so(
    watertight: Commands, postgres: EmbeddedPostgres, owner_engine: Engine
) -> None:
    with owner_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CREATE DATABASE fresh TEMPLATE template0"))
        url = postgres.url().replace("/watertight?", "/fresh?")
        try:
            assert_says(watertight("explain", "1", DATABASE_URL=url), "not migrated", "watertight migrate")
            assert watertight("migrate", DATABASE_URL=url).code == 0
            assert_says(watertight("explain", "1", DATABASE_URL=url), "no proposal 1")
            assert watertight("migrate", DATABASE_URL=url).code == 0
        finally:
            connection.execute(text("DROP DATABASE fresh WITH (FORCE)"))


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["explain", "7"], "no proposal 7"),
        (["history", "nobody"], "no agent 'nobody'"),
        (["sync", "UpdateSync", "--calendar", "7"], "no calendar 7"),
        (["sync", "UpdateSync"], "no calendars yet: watertight agents import FILE"),
        (["calendars", "release", "7"], "no calendar 7"),
    ],
)
def test_what_is_not_there_is_named(with_database: Commands, command: list[str], sentence: str) -> None:
    assert with_database(*command) == Answer(1, "", f"watertight: {sentence}\n")


@pytest.mark.parametrize("group", ["agents", "calendars", "failures", "alerts", "schedule"])
def test_an_empty_list_is_no_failure(with_database: Commands, group: str) -> None:
    assert with_database(group, "list") == Answer(0, "none\n", "")
    assert with_database(group, "list", "--json") == Answer(0, "[]\n", "")


def test_explain_shows_the_story(with_database: Commands, world: World) -> None:
    number = world.ask(at(9))
    world.settle()
    shown = with_database("explain", str(number))
    assert f"Proposal {number}: book for dana" in shown.out
    assert "accepted" in shown.out
    story = json.loads(with_database("explain", str(number), "--json").out)
    assert (story["state"], story["accepted"], story["agent"]) == ("settled", True, "dana")


def test_explain_shows_what_the_proposal_changed(with_database: Commands, world: World) -> None:
    number = world.ask(at(9))
    world.settle()
    shown = with_database("explain", str(number)).out
    assert "slot 1 for api: state held → booked" in shown
    assert "appointment 1 for api: " in shown
    changes = json.loads(with_database("explain", str(number), "--json").out)["changes"]
    assert [(one["subject"], one["cause"]) for one in changes] == [
        ("slot", f"proposal:{number}"), ("slot", f"proposal:{number}"), ("appointment", f"proposal:{number}"),
    ]  # fmt: skip


def test_history_shows_a_calendar_as_it_was(with_database: Commands, world: World) -> None:
    world.book(at(9), "Visit")
    [(then,)] = world.sql("SELECT clock_timestamp()")
    world.wish(Kind.CANCEL, appointment=world.appointments()[0].id)
    world.settle()
    assert with_database("history", "dana") == Answer(0, "none\n", "")
    assert "Visit" in with_database("history", "dana", "--at", then.isoformat()).out
    past = json.loads(with_database("history", "dana", "--at", then.isoformat(), "--json").out)
    assert [(one["title"], one["state"]) for one in past["appointments"]] == [("Visit", "confirmed")]


@pytest.mark.parametrize("instant", ["2027-03-08T15:00:00", "yesterday"])
def test_history_asks_for_an_instant_with_its_offset(with_database: Commands, world: World, instant: str) -> None:
    assert world.ids
    assert_says(with_database("history", "dana", "--at", instant), "at: ")


def test_explain_prints_markup_of_others_as_it_is(with_database: Commands, world: World) -> None:
    number = receive(world.app, Request("k", "dana", at(9), "[bold]", origin="[red]api[/]")).id
    assert "[red]api[/]" in with_database("explain", str(number)).out


def test_tables_show_whole_values_in_a_pipe(
    with_database: Commands, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add_agent("an-agent-with-quite-a-long-name-" + "x" * 31)
    monkeypatch.delenv("COLUMNS")
    shown = with_database("calendars", "list").out
    assert "an-agent-with-quite-a-long-name-" + "x" * 31 + "-mirror" in shown
    assert "never" in shown


def test_a_second_start_on_a_directory_is_refused(watertight: Commands, tmp_path: Path) -> None:
    lock = StateLock(tmp_path / "state")
    lock.acquire()
    try:
        assert_says(watertight("up"), "another watertight is already running", str(tmp_path / "state"))
    finally:
        lock.release()


def test_a_place_that_cannot_be_used_is_named(watertight: Commands, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert_says(watertight("up", STATE_DIR=str(tmp_path / "file")), str(tmp_path / "file"))
    answer = watertight("emulate", "google", "--journal", str(tmp_path / "nowhere" / "journal"))
    assert_says(answer, str(tmp_path / "nowhere" / "journal"))
