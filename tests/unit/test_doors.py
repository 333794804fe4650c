"""Where vendors are asked to push, and by which key: from the settings alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from sync.channels import Door
from sync.domain import CalendarId, CalendarRef, Role
from sync.pushes import Secrets
from workers import programs
from workers.doors import KEY_FILE, door_of, kept_key
from workers.embedded import Stack
from workers.settings import Settings, SettingsError, load, with_emulators

KEY = "k" * 32
PUBLIC = "https://watertight.example/"


def settings(tmp_path: Path, **values: Any) -> Settings:  # noqa: ANN401 - as the settings have them
    return Settings.model_validate({"state_dir": tmp_path, "webhook_key": KEY, "public_url": PUBLIC} | values)


def ref(provider: str) -> CalendarRef:
    return CalendarRef(CalendarId(7), "dana", provider, "dana@example.com", Role.MIRROR, "UTC")


@pytest.mark.parametrize("provider", ["outlook", "google"])
def test_a_vendor_that_returns_a_secret_gets_one_that_names_the_calendar(tmp_path: Path, provider: str) -> None:
    token = Secrets(KEY.encode()).token(provider, CalendarId(7))
    expected = Door(f"https://watertight.example/webhooks/{provider}", token)
    assert door_of(settings(tmp_path), ref(provider)) == expected


def test_one_that_signs_gets_an_address_that_names_the_calendar(tmp_path: Path) -> None:
    door = door_of(settings(tmp_path), ref("calcom"))
    assert door == Door(
        "https://watertight.example/webhooks/calcom?calendar=7", Secrets(KEY.encode()).of("calcom", CalendarId(7))
    )


@pytest.mark.parametrize(
    ("provider", "values"),
    [
        ("hubspot", {}),
        ("icloud", {}),
        ("outlook", {"webhook_key": None}),
        ("outlook", {"public_url": "http://watertight.example"}),
        ("google", {"public_url": "http://127.0.0.1:8000"}),
    ],
)
def test_nobody_is_asked_who_cannot_push_or_reach_us(tmp_path: Path, provider: str, values: dict[str, object]) -> None:
    assert door_of(settings(tmp_path, **values), ref(provider)) is None


def test_an_emulator_reaches_any_address_of_this_machine(tmp_path: Path) -> None:
    here = settings(tmp_path, public_url="http://127.0.0.1:8000")
    emulated = with_emulators(here, {"outlook": "http://127.0.0.1:2"})
    assert door_of(emulated, ref("outlook")) is not None
    assert door_of(emulated, ref("google")) is None


def test_a_key_is_made_once_and_for_nobody_else(tmp_path: Path) -> None:
    key = kept_key(tmp_path)
    assert (len(key) >= 32, kept_key(tmp_path)) == (True, key)
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600


def test_a_short_key_is_refused_by_name_and_not_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WATERTIGHT_WEBHOOK_KEY", "swordfish")
    with pytest.raises(SettingsError, match="WATERTIGHT_WEBHOOK_KEY: must have at least 32") as refused:
        load()
    assert "swordfish" not in str(refused.value)


def test_every_child_is_told_where_pushes_arrive_and_how_to_know_them(tmp_path: Path) -> None:
    given = settings(tmp_path, hubspot_client_secret=SecretStr("app"), poll_factor=3, push_days=1)
    told = programs.environment(given, Stack("o", "d", "c", "b"))
    wanted = {"PUBLIC_URL": PUBLIC, "WEBHOOK_KEY": KEY, "HUBSPOT_CLIENT_SECRET": "app", "POLL_FACTOR": "3.0"}
    wanted |= {"PUSH_DAYS": "1.0", "RENEW_EVERY": "60.0"}
    assert {name: told[f"WATERTIGHT_{name}"] for name in wanted} == wanted
