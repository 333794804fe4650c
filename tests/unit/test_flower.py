"""Who may see Flower, and what people read there."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import sync.errors
from sync.errors import CredentialRevoked, Malformed, RateLimited, WatertightError
from workers import flower, programs
from workers.app import UnexpectedError
from workers.embedded import Stack
from workers.flowerconfig import format_task
from workers.programs import Address
from workers.settings import Settings, SettingsError, load

STACK = Stack("o", "d", "c", "b")


def given(tmp_path: Path, **settings: object) -> Settings:
    return Settings.model_validate({"state_dir": tmp_path, **settings})


def shown(**task: object) -> tuple[Any, Any]:
    said = format_task(
        SimpleNamespace(**({"args": None, "result": None, "state": "SUCCESS", "exception": None} | task))
    )
    return said.args, said.result


@pytest.mark.parametrize("address", ["0.0.0.0", "192.0.2.7", "::", "flower.example"])  # noqa: S104 - what is refused
def test_strangers_can_only_reach_it_with_a_password(tmp_path: Path, address: str) -> None:
    with pytest.raises(SettingsError, match="WATERTIGHT_FLOWER_USERS"):
        programs.flower(given(tmp_path, flower_address=address), Address(5555), {})
    open_to_some = given(tmp_path, flower_address=address, flower_users="ops:secret,eva:other")
    program = programs.flower(open_to_some, Address(5555), {})
    assert program.env["FLOWER_BASIC_AUTH"] == "ops:secret,eva:other"
    assert "FLOWER_UNAUTHENTICATED_API" not in program.env
    assert f"--address={address}" in program.command
    assert not [part for part in program.command if "secret" in part], "everybody can read a command line"


def test_on_this_machine_it_is_open_unless_somebody_is_named(tmp_path: Path) -> None:
    assert programs.flower(given(tmp_path), Address(1), {}).env == {"FLOWER_UNAUTHENTICATED_API": "true"}
    assert flower.environment(given(tmp_path, flower_users="a:b")) == {"FLOWER_BASIC_AUTH": "a:b"}


def test_what_it_keeps_is_bounded(tmp_path: Path) -> None:
    """Of its own accord it would grow with every task until it had 100,000."""
    command = flower.command(given(tmp_path), port=1)
    assert [part for part in command if part.startswith("--max_tasks=")] == [f"--max_tasks={flower.MOST_TASKS}"]
    assert flower.MOST_TASKS <= 10_000


def test_its_own_figures_are_not_mixed_with_ours_and_no_other_process_knows_its_passwords(tmp_path: Path) -> None:
    told = programs.environment(given(tmp_path, flower_users="a:b", metrics_port=9100), STACK)
    assert (told["WATERTIGHT_FLOWER_USERS"], told["WATERTIGHT_METRICS_PORT"]) == ("", "0")
    assert (
        "PROMETHEUS_MULTIPROC_DIR"
        not in programs.flower(given(tmp_path), Address(1), {"PROMETHEUS_MULTIPROC_DIR": "x"}).env
    )


@pytest.mark.parametrize("users", ["ops", "ops:", ":secret", "ops:secret,", "ops:secret, eva:x", "ops:geh\u00e4im"])
def test_a_user_without_name_or_password_is_refused_and_not_shown(users: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATERTIGHT_FLOWER_USERS", users)
    with pytest.raises(SettingsError, match="WATERTIGHT_FLOWER_USERS: is not name:password") as refused:
        load()
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("told", "read"),
    [
        ("(7, 'dana', 'google mirror')", "dana, google mirror (calendar 7)"),
        ("('proposal:3', 'dana via google mirror')", "proposal 3, dana via google mirror"),
        ("('write:4', 'after proposal:3')", "write 4, after proposal 3"),
        ("('proposal:3',)", "proposal 3"),
        ("()", ""),
        ("(some of it cut off...", "(some of it cut off..."),
        (None, None),
    ],
)
def test_arguments_read_like_a_sentence(told: str | None, read: str | None) -> None:
    assert shown(args=told)[0] == read


@pytest.mark.parametrize(
    ("told", "read"),
    [
        ("'read of 3, 1 proposed, 2 quarantined'", "read: 3 seen, 1 proposed, 2 quarantined"),
        ("'12 calendars'", "sent to 12 calendars"),
        ("'0 of 3 resumed: 9 messages wait already'", "woke 0 of 3 that were due: 9 messages wait already"),
        ("'accepted: accepted'", "accepted"),
        ("'refused: slot_taken'", "refused: slot_taken"),
        ("None", "None"),
    ],
)
def test_results_read_like_a_sentence(told: str, read: str) -> None:
    assert shown(result=told)[1] == read


def test_a_failed_run_shows_its_code_where_its_result_would_be() -> None:
    error = repr(CredentialRevoked("outlook GET /users/{user}/events: 401"))
    said = shown(state="FAILURE", exception=error)[1]
    assert said == "credential_revoked: outlook GET /users/{user}/events: 401"
    assert repr(UnexpectedError("KeyError")) == "bug: KeyError"


def tree(cls: type[WatertightError]) -> Iterator[type[WatertightError]]:
    yield cls
    for below in cls.__subclasses__():
        if below.__module__ == sync.errors.__name__:
            yield from tree(below)


@pytest.mark.parametrize("cls", list(tree(WatertightError)))
def test_an_error_is_still_itself_when_a_child_has_told_its_parent(cls: type[WatertightError]) -> None:
    """Celery sends errors from a pool's child by pickle; one that cannot travel would be shown as another."""
    error = cls("start", "is no time") if issubclass(cls, Malformed) else cls("why")
    told = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert (type(told), repr(told)) == (cls, repr(error))
    assert RateLimited("why", retry_after=3).retry_after == 3
