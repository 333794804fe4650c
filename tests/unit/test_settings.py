"""Settings: where a value comes from, and what is said about one that makes no sense."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.fixtures.google.serving import service_account
from workers.demo import PERIODS
from workers.settings import EMULATED_HOSTS_FILE, RUN_FILE, Settings, SettingsError, as_it_runs, load, with_emulators

RUNNING = {
    "database_url": "postgresql+psycopg://app@/watertight",
    "commit_database_url": "postgresql+psycopg://commit@/watertight",
    "owner_database_url": "postgresql+psycopg://postgres@/watertight",
    "broker_url": "redis://:p@127.0.0.1:1/0",
    "emulators": {"outlook": "http://127.0.0.1:2", "google": "http://127.0.0.1:3"},
}


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder without ``.env`` and an environment without settings."""
    for name in list(os.environ):
        if name.startswith("WATERTIGHT_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def run_there(folder: Path, content: object = RUNNING) -> None:
    (folder / ".watertight").mkdir()
    (folder / ".watertight" / RUN_FILE).write_text(json.dumps(content))
    (folder / ".watertight" / "google-service-account.json").write_text(json.dumps(service_account()))


def test_the_defaults_are_those_of_the_design() -> None:
    settings = load()
    assert (settings.new_every, settings.cancel_every, settings.update_every) == (60, 120, 600)
    assert (settings.horizon.back.days, settings.horizon.ahead.days) == (1, 60)
    assert str(settings.state_dir) == ".watertight"


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("WATERTIGHT_NEW_EVERY=7\nWATERTIGHT_CANCEL_EVERY=8\nOTHER=9\n")
    monkeypatch.setenv("WATERTIGHT_NEW_EVERY", "5")
    assert (load().new_every, load().cancel_every) == (5, 8)


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "DATABASE_URL",
        "BROKER_URL",
        "OUTLOOK_TENANT_ID",
        "OUTLOOK_CLIENT_SECRET",
        "GOOGLE_SERVICE_ACCOUNT_FILE",
    ):
        monkeypatch.setenv(f"WATERTIGHT_{name}", "")
    settings = load()
    assert (settings.database_url, settings.broker_url, settings.google_service_account_file) == (None, None, None)
    credentials = settings.reading_credentials()
    assert (credentials.outlook, credentials.google) == (None, None)


def test_a_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "COMMIT_DATABASE_URL", "OWNER_DATABASE_URL"):
        monkeypatch.setenv(f"WATERTIGHT_{name}", "postgresql://u:swordfish@h/d")
    monkeypatch.setenv("WATERTIGHT_BROKER_URL", "redis://:swordfish@h")
    monkeypatch.setenv("WATERTIGHT_OUTLOOK_CLIENT_SECRET", "swordfish")
    assert "swordfish" not in repr(load()) + str(load())


def test_all_that_is_wrong_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATERTIGHT_NEW_EVERY", "soon")
    monkeypatch.setenv("WATERTIGHT_WEB_PORT", "-1")
    with pytest.raises(SettingsError, match=r"WATERTIGHT_WEB_PORT: .*; WATERTIGHT_NEW_EVERY: "):
        load()


def test_the_log_level_may_be_written_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATERTIGHT_LOG_LEVEL", "debug")
    assert load().log_level == "DEBUG"


def test_what_runs_is_found_by_its_directory(tmp_path: Path) -> None:
    run_there(tmp_path)
    settings = load()
    assert settings.database() == RUNNING["database_url"]
    assert settings.commit_database() == RUNNING["commit_database_url"]
    assert settings.owner_database() == RUNNING["owner_database_url"]
    assert settings.broker() == RUNNING["broker_url"]


@pytest.mark.parametrize("content", [[], "x", None])
def test_a_spoilt_description_counts_as_none(tmp_path: Path, content: object) -> None:
    run_there(tmp_path, content)
    with pytest.raises(SettingsError, match="WATERTIGHT_BROKER_URL is not set"):
        load().broker()


def test_beside_a_running_stack_its_emulators_are_used(tmp_path: Path) -> None:
    run_there(tmp_path)
    credentials = as_it_runs(load()).reading_credentials()
    assert credentials.outlook is not None
    assert credentials.google is not None
    assert (credentials.outlook.login_url, credentials.google.token_uri) == (
        "http://127.0.0.1:2",
        "http://127.0.0.1:3/token",
    )


def test_credentials_of_ones_own_are_never_sent_to_an_emulator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run_there(tmp_path)
    for name in ("TENANT_ID", "CLIENT_ID", "CLIENT_SECRET"):
        monkeypatch.setenv(f"WATERTIGHT_OUTLOOK_{name}", "real")
    outlook = as_it_runs(load()).reading_credentials().outlook
    assert outlook is not None
    assert outlook.login_url == "https://login.microsoftonline.com"


def test_another_database_is_not_served_by_the_emulators_that_happen_to_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run_there(tmp_path)
    monkeypatch.setenv("WATERTIGHT_DATABASE_URL", "postgresql://production/watertight")
    assert as_it_runs(load()).reading_credentials().outlook is None


@pytest.mark.parametrize("missing", ["TENANT_ID", "CLIENT_ID", "CLIENT_SECRET"])
def test_half_a_set_of_credentials_is_an_error_and_not_an_emulator(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    for name in {"TENANT_ID", "CLIENT_ID", "CLIENT_SECRET"} - {missing}:
        monkeypatch.setenv(f"WATERTIGHT_OUTLOOK_{name}", "x")
    with pytest.raises(SettingsError, match=f"WATERTIGHT_OUTLOOK_{missing} is not set"):
        load().reading_credentials()


def test_the_commit_task_may_have_a_set_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TENANT_ID", "CLIENT_ID", "CLIENT_SECRET", "COMMIT_CLIENT_ID", "COMMIT_CLIENT_SECRET"):
        monkeypatch.setenv(f"WATERTIGHT_OUTLOOK_{name}", name)
    reading, writing = load().reading_credentials().outlook, load().writing_credentials().outlook
    assert reading is not None
    assert writing is not None
    assert (reading.client_id, writing.client_id, writing.client_secret) == (
        "CLIENT_ID",
        "COMMIT_CLIENT_ID",
        "COMMIT_CLIENT_SECRET",
    )


def test_only_the_named_vendors_are_emulated() -> None:
    settings = with_emulators(Settings(), {"outlook": "http://127.0.0.1:2"})
    assert settings.google_service_account_file is None
    assert settings.outlook_base_url == "http://127.0.0.1:2/v1.0"


def test_each_host_of_the_emulated_booking_tool_may_have_a_key_of_its_own(tmp_path: Path) -> None:
    settings, url = Settings(state_dir=tmp_path), {"calcom": "http://127.0.0.1:4"}
    together = with_emulators(settings, url).reading_credentials().calcom
    assert together is not None
    assert together.key == "cal_emulated"
    (tmp_path / EMULATED_HOSTS_FILE).write_text(json.dumps({"dana": "cal_test_dana"}))
    apart = with_emulators(settings, url).reading_credentials().calcom
    assert apart is not None
    assert apart.key == {"dana": "cal_test_dana"}


def test_what_the_demo_keeps_of_hubspots_archive_is_read_anew_by_every_run_of_the_job(tmp_path: Path) -> None:
    """Else a deletion could hide until after the verdict: it was found so, in one demo of a dozen."""
    settings = Settings(state_dir=tmp_path).model_copy(update=PERIODS)
    demo = with_emulators(settings, {"hubspot": "http://127.0.0.1:1"})
    reading = demo.reading_credentials().hubspot
    assert reading is not None
    assert reading.archive_seconds < demo.cancel_every / 2
    real = Settings(hubspot_token=SecretStr("pat"))
    assert real.hubspot_archive_seconds < real.cancel_every / 2
