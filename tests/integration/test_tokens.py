"""Tokens by ``watertight tokens``: printed once, kept by their digest, taken back by name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from models.session import Sessions, transaction
from sync.errors import Malformed
from sync.tokens import Scope, create_token, find_token, is_token, list_tokens, revoke_token
from tests.integration.commands import Commands, typed


@pytest.fixture
def watertight(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, owner_engine: Engine
) -> Iterator[Commands]:
    with typed(monkeypatch, capsys, state_dir=tmp_path) as commands:
        commands.env["DATABASE_URL"] = owner_engine.url.set(username="watertight_app").render_as_string()
        yield commands


def rows(engine: Engine) -> str:
    with engine.connect() as connection:
        return str(connection.execute(text("SELECT * FROM api_tokens")).all())


def test_a_token_is_printed_once_and_kept_by_its_digest(watertight: Commands, owner_engine: Engine) -> None:
    made = watertight("tokens", "create", "crm", "--scope", "book", "--scope", "read", "--per-minute", "30")
    token = made.out.strip()
    assert (made.code, is_token(token), len(token)) == (0, True, 46)
    assert "once" in made.err
    kept = rows(owner_engine)
    assert (token in kept, hashlib.sha256(token.encode()).hexdigest() in kept) == (False, True)
    listed = watertight("tokens", "list", "--json")
    [row] = json.loads(listed.out)
    assert (row["name"], row["scopes"], row["per_minute"]) == ("crm", ["book", "read"], 30)
    assert [
        word for word in (token, token[3:], "digest") if word in listed.out + watertight("tokens", "list").out
    ] == []


def test_a_token_comes_as_json_for_programs(watertight: Commands) -> None:
    made = json.loads(watertight("tokens", "create", "crm", "--scope", "change", "--json").out)
    assert is_token(made.pop("token"))
    assert made == {"name": "crm", "scopes": ["change"], "per_minute": 120}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("crm",), 2, "--scope"),
        (("crm", "--scope", "everything"), 2, "everything"),
        (("crm", "--scope", "read", "--per-minute", "0"), 2, "--per-minute"),
        (("-", "--scope", "read"), 1, "name"),
        (("x" * 64, "--scope", "read"), 1, "name"),
    ],
)
def test_a_token_that_cannot_be_is_said_so(
    watertight: Commands, arguments: tuple[str, ...], code: int, said: str
) -> None:
    answer = watertight("tokens", "create", *arguments)
    assert (answer.code, said in answer.err, answer.out) == (code, True, "")


def test_a_name_is_used_once(watertight: Commands) -> None:
    watertight("tokens", "create", "crm", "--scope", "read")
    watertight("tokens", "revoke", "crm")
    again = watertight("tokens", "create", "crm", "--scope", "read")
    assert (again.code, "taken" in again.err) == (1, True)


def test_who_is_nobody_cannot_be_revoked(watertight: Commands) -> None:
    assert watertight("tokens", "revoke", "crm").code == 1


def test_a_revoked_token_is_none(app_sessions: Sessions) -> None:
    with transaction(app_sessions) as session:
        made, token = create_token(session, "crm", scopes=[Scope.READ])
        assert find_token(session, token) == made
        revoke_token(session, "crm")
        revoke_token(session, "crm")
        assert find_token(session, token) is None
        assert find_token(session, token[:-1] + "-") is None


def test_last_use_is_noted_once_a_minute(app_sessions: Sessions, owner_engine: Engine) -> None:
    def used(token: str) -> object:
        with transaction(app_sessions) as session:
            find_token(session, token)
        with transaction(app_sessions) as session:
            return list_tokens(session)[0].last_used_at

    with transaction(app_sessions) as session:
        _, token = create_token(session, "crm", scopes=[Scope.READ])
    first = used(token)
    assert first is not None
    assert used(token) == first
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE api_tokens SET last_used_at = last_used_at - interval '2 minutes'"))
    assert used(token) >= first  # type: ignore[operator]


def test_a_token_may_do_something(app_sessions: Sessions) -> None:
    with transaction(app_sessions) as session, pytest.raises(Malformed, match="scope"):
        create_token(session, "crm", scopes=[])
