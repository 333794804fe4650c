"""Settings: ``WATERTIGHT_*`` from the environment, ``.env`` or secret files (design §7)."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PositiveFloat, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from providers.google.client import GoogleCredentials
from providers.outlook.client import OutlookCredentials
from providers.registry import Credentials
from sync.detect import Horizon

SECRETS_DIR = Path("/run/secrets")
RUN_FILE = "run.json"


class SettingsError(Exception):
    """A setting is missing or wrong. The text is for the person who set it."""


Empty = BeforeValidator(lambda value: value or None)  # an empty variable in a compose file means "not set"


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
    database_url: Annotated[SecretStr | None, Empty] = None
    commit_database_url: Annotated[SecretStr | None, Empty] = None
    owner_database_url: Annotated[SecretStr | None, Empty] = Field(
        default=None, description="who owns the tables, for migrations; else DATABASE_URL must be allowed to"
    )
    broker_url: Annotated[SecretStr | None, Empty] = None
    public_url: str = "http://127.0.0.1"
    web_port: int = Field(default=0, ge=0, le=65535, description="0 takes any free port")
    flower_port: int = Field(default=0, ge=0, le=65535, description="0 takes any free port")

    new_every: PositiveFloat = 60.0
    cancel_every: PositiveFloat = 120.0
    update_every: PositiveFloat = 600.0
    resume_every: PositiveFloat = 10.0
    days_back: PositiveFloat = 1.0
    days_ahead: PositiveFloat = 60.0
    window_reopen_hours: PositiveFloat = 24.0
    job_threads: int = Field(default=8, ge=1)
    commit_processes: int = Field(default=2, ge=1)
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")

    outlook_tenant_id: str | None = None
    outlook_client_id: str | None = None
    outlook_client_secret: Annotated[SecretStr | None, Empty] = None
    outlook_commit_client_id: str | None = Field(default=None, description="the set that may write; else the one above")
    outlook_commit_client_secret: Annotated[SecretStr | None, Empty] = None
    outlook_base_url: str = "https://graph.microsoft.com/v1.0"
    outlook_login_url: str = "https://login.microsoftonline.com"

    google_service_account_file: Path | None = None
    google_commit_service_account_file: Path | None = Field(default=None, description="as for Outlook")
    google_base_url: str = "https://www.googleapis.com/calendar/v3"
    google_token_uri: str = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address

    @property
    def horizon(self) -> Horizon:
        return Horizon(
            back=timedelta(days=self.days_back),
            ahead=timedelta(days=self.days_ahead),
            reopen=timedelta(hours=self.window_reopen_hours),
        )

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
            google=self._google(self.google_service_account_file),
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
        if self.outlook_tenant_id is None or client_id is None or secret is None:
            return None
        return OutlookCredentials(
            tenant_id=self.outlook_tenant_id,
            client_id=client_id,
            client_secret=secret.get_secret_value(),
            base_url=self.outlook_base_url,
            login_url=self.outlook_login_url,
        )

    def _google(self, key_file: Path | None) -> GoogleCredentials | None:
        if key_file is None:
            return None
        try:
            key = json.loads(key_file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            message = f"WATERTIGHT_GOOGLE_SERVICE_ACCOUNT_FILE: {key_file} is not a readable JSON key ({error})"
            raise SettingsError(message) from None
        return GoogleCredentials(service_account=key, base_url=self.google_base_url, token_uri=self.google_token_uri)


def load() -> Settings:
    """The settings of this process.

    Raises:
        SettingsError: a value cannot be understood; names the variable, never the value.
    """
    try:
        return Settings()
    except ValidationError as error:
        wrong = "; ".join(f"WATERTIGHT_{str(item['loc'][0]).upper()}: {item['msg']}" for item in error.errors())
        raise SettingsError(wrong) from None
