"""Settings: ``WATERTIGHT_*`` from the environment, ``.env`` or secret files (design §7)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import SettingsConfigDict

from sync.changes import Brake
from sync.detect import Horizon
from sync.intake import HOLD_SECONDS, LONGEST_HOLD_SECONDS
from workers.credential_settings import EMULATED_KEY_FILE, CredentialSettings, Empty, File, SettingsError, emulated
from workers.limit_settings import LimitSettings
from workers.watch_settings import WatchSettings

SECRETS_DIR = Path("/run/secrets")
RUN_FILE = "run.json"
LOOPBACK_URL = "http://127.0.0.1"  # what PUBLIC_URL is where nobody has set it
SHORTEST_KEY = 32
EMULATED_HOSTS_FILE = "calcom-keys.json"  # where it exists, each host of the emulator has a key, and its limits, alone

__all__ = ["EMULATED_KEY_FILE", "SECRETS_DIR", "Settings", "SettingsError", "as_it_runs", "load", "with_emulators"]


def _address(*schemes: str) -> AfterValidator:
    def check(value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(tuple(f"{one}://" for one in schemes)):
            raise ValueError(f"must begin with {' or '.join(f'{one}://' for one in schemes)}")
        return value

    return AfterValidator(check)


def _long_enough(value: SecretStr | None) -> SecretStr | None:
    if value is not None and len(value.get_secret_value()) < SHORTEST_KEY:
        raise ValueError(f"must have at least {SHORTEST_KEY} characters")
    return value


Postgres = Annotated[SecretStr | None, _address("postgresql", "postgresql+psycopg"), Empty]
Redis = Annotated[SecretStr | None, _address("redis", "rediss"), Empty]
Seconds = Annotated[float, Field(ge=0.1, le=86_400 * 366, allow_inf_nan=False)]
Days = Annotated[float, Field(gt=0, le=3_660, allow_inf_nan=False)]
Key = Annotated[SecretStr | None, AfterValidator(_long_enough), Empty]
Level = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(lambda value: str(value).upper())]


class Settings(LimitSettings, WatchSettings, CredentialSettings):
    """Every knob. Times are seconds unless the name says otherwise."""

    model_config = SettingsConfigDict(
        env_prefix="WATERTIGHT_",
        env_file=".env",
        secrets_dir=SECRETS_DIR if SECRETS_DIR.is_dir() else None,
        extra="ignore",
        frozen=True,
    )

    state_dir: Path = Path(".watertight")
    database_url: Postgres = None
    commit_database_url: Postgres = None
    owner_database_url: Postgres = Field(
        default=None, description="who owns the tables, for migrations; else DATABASE_URL must be allowed to"
    )
    broker_url: Redis = None
    public_url: str = LOOPBACK_URL
    web_port: int = Field(default=0, ge=0, le=65535, description="0 takes any free port")
    flower_port: int = Field(default=0, ge=0, le=65535, description="0 takes any free port")

    new_every: Seconds = 60.0
    cancel_every: Seconds = 120.0
    update_every: Seconds = 600.0
    resume_every: Seconds = 10.0
    release_every: Seconds = 10.0
    renew_every: Seconds = 60.0
    push_days: float = Field(default=2.0, ge=0.1, le=2.9, description="for how long a vendor is asked to push")
    poll_factor: float = Field(
        default=5.0,
        ge=1,
        le=100,
        description="periods between reads of a calendar whose vendor pushes; 1: every period",
    )
    webhook_key: Key = Field(default=None, description="the secrets of all push channels are derived from it")
    days_back: Days = 1.0
    days_ahead: Days = 60.0
    window_reopen_hours: Days = 24.0
    brake_share: float = Field(default=0.2, gt=0, le=1, description="of a calendar's coming events, gone in one read")
    brake_at_least: int = Field(default=5, ge=1, description="events; fewer never stop a calendar")
    job_threads: int = Field(default=8, ge=1, le=100)
    commit_processes: int = Field(default=2, ge=1, le=100)
    log_level: Level = "INFO"

    api_open: bool = Field(
        default=False, description="the API takes requests without a token: on loopback only (docs/api.md)"
    )
    booking_hold_seconds: int = Field(
        default=HOLD_SECONDS, ge=1, le=LONGEST_HOLD_SECONDS, description="how long the booking page keeps a time"
    )
    forms_dir: File = Field(default=None, description="the mapping files of web forms: docs/providers/forms.md")

    @property
    def horizon(self) -> Horizon:
        return Horizon(
            back=timedelta(days=self.days_back),
            ahead=timedelta(days=self.days_ahead),
            reopen=timedelta(hours=self.window_reopen_hours),
        )

    @property
    def brake(self) -> Brake:
        return Brake(share=self.brake_share, at_least=self.brake_at_least)

    @cached_property
    def running(self) -> dict[str, Any]:
        """What ``watertight up`` wrote about the stack that runs in the state directory; empty if none does."""
        try:
            found = json.loads((self.state_dir / RUN_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def database(self) -> str:
        """Where to connect for everything but commits.

        Raises:
            SettingsError: neither set nor running.
        """
        return self._url("DATABASE_URL", self.database_url, "database_url")

    def commit_database(self) -> str:
        """Where the commit task connects: its own URL, or DATABASE_URL if that user may become ``watertight_commit``."""
        chosen = self.commit_database_url or self.database_url
        return self._url("COMMIT_DATABASE_URL", chosen, "commit_database_url")

    def owner_database(self) -> str:
        """Where migrations connect."""
        chosen = self.owner_database_url or self.database_url
        return self._url("OWNER_DATABASE_URL", chosen, "owner_database_url")

    def broker(self) -> str:
        return self._url("BROKER_URL", self.broker_url, "broker_url")

    def _url(self, name: str, chosen: SecretStr | None, running: str) -> str:
        if chosen is not None:
            return chosen.get_secret_value()
        if running in self.running:
            return str(self.running[running])
        message = f"WATERTIGHT_{name} is not set, and no `watertight up` runs in {self.state_dir}"
        raise SettingsError(message)


def load() -> Settings:
    """The settings of this process.

    Raises:
        SettingsError: a value cannot be understood; names the variable, never the value.
    """
    try:
        return Settings()
    except ValidationError as error:
        wrong = [(str(item["loc"][0]).upper(), item["msg"].removeprefix("Value error, ")) for item in error.errors()]
        raise SettingsError("; ".join(f"WATERTIGHT_{name}: {reason}" for name, reason in wrong)) from None


def with_emulators(settings: Settings, urls: Mapping[str, str]) -> Settings:
    """The same settings with the emulators at ``urls`` in the place of their vendors."""
    key_file = settings.state_dir.resolve() / EMULATED_KEY_FILE
    update = emulated(urls, key_file=key_file)
    hosts_file = settings.state_dir.resolve() / EMULATED_HOSTS_FILE
    if "calcom" in urls and hosts_file.exists():
        update |= {"calcom_key": None, "calcom_keys_file": hosts_file}
    return settings.model_copy(update=update)


def as_it_runs(settings: Settings) -> Settings:
    """For a command beside a running ``watertight up``: its emulators too, wherever no credentials are set.

    Only with that stack's own database: another one's calendars are not to be looked for on its emulators.
    """
    if settings.database() != settings.running.get("database_url"):
        return settings
    real, emulators = settings.reading_credentials(), settings.running.get("emulators", {})
    return with_emulators(settings, {name: url for name, url in emulators.items() if getattr(real, name, None) is None})
