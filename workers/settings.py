"""Settings: ``WATERTIGHT_*`` from the environment, ``.env`` or secret files (design §7)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from providers.google.client import GoogleCredentials
from providers.outlook.client import OutlookCredentials
from providers.registry import Credentials
from sync.changes import Brake
from sync.detect import Horizon

SECRETS_DIR = Path("/run/secrets")
RUN_FILE = "run.json"
EMULATED_SECRET = "emulated"  # noqa: S105 - opens nothing but our own emulator
EMULATED_READER = "watertight-reader"  # the emulator gives such a client no right to write
EMULATED_KEY_FILE = "google-service-account.json"


class SettingsError(Exception):
    """A setting is missing or wrong. The text is for the person who set it."""


def _address(*schemes: str) -> AfterValidator:
    def check(value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(tuple(f"{one}://" for one in schemes)):
            raise ValueError(f"must begin with {' or '.join(f'{one}://' for one in schemes)}")
        return value

    return AfterValidator(check)


Empty = BeforeValidator(lambda value: value or None)  # an empty variable in a compose file means "not set"
Name = Annotated[str | None, Empty]
Secret = Annotated[SecretStr | None, Empty]
File = Annotated[Path | None, Empty]
Postgres = Annotated[SecretStr | None, _address("postgresql", "postgresql+psycopg"), Empty]
Redis = Annotated[SecretStr | None, _address("redis", "rediss"), Empty]
Seconds = Annotated[float, Field(ge=0.1, le=86_400 * 366, allow_inf_nan=False)]
Days = Annotated[float, Field(gt=0, le=3_660, allow_inf_nan=False)]
Level = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(lambda value: str(value).upper())]


class Settings(BaseSettings):
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
    public_url: str = "http://127.0.0.1"
    web_port: int = Field(default=0, ge=0, le=65535, description="0 takes any free port")
    flower_port: int = Field(default=0, ge=0, le=65535, description="0 takes any free port")

    new_every: Seconds = 60.0
    cancel_every: Seconds = 120.0
    update_every: Seconds = 600.0
    resume_every: Seconds = 10.0
    release_every: Seconds = 10.0
    days_back: Days = 1.0
    days_ahead: Days = 60.0
    window_reopen_hours: Days = 24.0
    brake_share: float = Field(default=0.2, gt=0, le=1, description="of a calendar's coming events, gone in one read")
    brake_at_least: int = Field(default=5, ge=1, description="events; fewer never stop a calendar")
    job_threads: int = Field(default=8, ge=1, le=100)
    commit_processes: int = Field(default=2, ge=1, le=100)
    log_level: Level = "INFO"

    outlook_tenant_id: Name = None
    outlook_client_id: Name = None
    outlook_client_secret: Secret = None
    outlook_commit_client_id: Name = Field(default=None, description="the set that may write; else the one above")
    outlook_commit_client_secret: Secret = None
    outlook_base_url: str = "https://graph.microsoft.com/v1.0"
    outlook_login_url: str = "https://login.microsoftonline.com"

    google_service_account_file: File = None
    google_commit_service_account_file: File = Field(
        default=None, description="as for Outlook; the set above then asks for tokens that cannot write"
    )
    google_base_url: str = "https://www.googleapis.com/calendar/v3"
    google_token_uri: str = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address

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

    def reading_credentials(self) -> Credentials:
        """The set for every process but the commit worker: reading rights suffice."""
        return Credentials(
            outlook=self._outlook(self.outlook_client_id, self.outlook_client_secret),
            google=self._google(
                self.google_service_account_file, read_only=self.google_commit_service_account_file is not None
            ),
        )

    def writing_credentials(self) -> Credentials:
        """The set for the commit worker; where it is not set apart, the same as the other."""
        return Credentials(
            outlook=self._outlook(
                self.outlook_commit_client_id or self.outlook_client_id,
                self.outlook_commit_client_secret or self.outlook_client_secret,
            ),
            google=self._google(self.google_commit_service_account_file or self.google_service_account_file),
        )

    def _outlook(self, client_id: str | None, secret: SecretStr | None) -> OutlookCredentials | None:
        given = {"TENANT_ID": self.outlook_tenant_id, "CLIENT_ID": client_id, "CLIENT_SECRET": secret}
        if self.outlook_tenant_id is None or client_id is None or secret is None:
            missing = [name for name, value in given.items() if value is None]
            if len(missing) == len(given):
                return None
            there = next(name for name in given if name not in missing)
            raise SettingsError(f"WATERTIGHT_OUTLOOK_{missing[0]} is not set, but WATERTIGHT_OUTLOOK_{there} is")
        return OutlookCredentials(
            tenant_id=self.outlook_tenant_id,
            client_id=client_id,
            client_secret=secret.get_secret_value(),
            base_url=self.outlook_base_url,
            login_url=self.outlook_login_url,
        )

    def _google(self, key_file: Path | None, *, read_only: bool = False) -> GoogleCredentials | None:
        if key_file is None:
            return None
        try:
            key = json.loads(key_file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            cause = error.strerror if isinstance(error, OSError) else "not JSON"
            raise SettingsError(f"WATERTIGHT_GOOGLE_SERVICE_ACCOUNT_FILE: {key_file}: {cause}") from None
        return GoogleCredentials(
            service_account=key,
            base_url=self.google_base_url,
            token_uri=self.google_token_uri,
            read_only=read_only,
        )


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
    update: dict[str, object] = {}
    if url := urls.get("outlook"):
        update |= {
            "outlook_tenant_id": "watertight",
            "outlook_client_id": EMULATED_READER,
            "outlook_client_secret": SecretStr(EMULATED_SECRET),
            "outlook_commit_client_id": "watertight",
            "outlook_commit_client_secret": SecretStr(EMULATED_SECRET),
            "outlook_base_url": f"{url}/v1.0",
            "outlook_login_url": url,
        }
    if url := urls.get("google"):
        update |= {
            "google_service_account_file": settings.state_dir.resolve() / EMULATED_KEY_FILE,
            "google_commit_service_account_file": settings.state_dir.resolve() / EMULATED_KEY_FILE,
            "google_base_url": f"{url}/calendar/v3",
            "google_token_uri": f"{url}/token",
        }
    return settings.model_copy(update=update)


def as_it_runs(settings: Settings) -> Settings:
    """For a command beside a running ``watertight up``: its emulators too, wherever no credentials are set.

    Only with that stack's own database: another one's calendars are not to be looked for on its emulators.
    """
    if settings.database() != settings.running.get("database_url"):
        return settings
    real, emulators = settings.reading_credentials(), settings.running.get("emulators", {})
    return with_emulators(settings, {name: url for name, url in emulators.items() if getattr(real, name, None) is None})
