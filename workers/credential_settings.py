"""Settings of the vendors' credentials, in two sets: one to read with, and one to write with for the commit worker (P3)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings

from providers.calcom.client import CalcomCredentials
from providers.google.client import GoogleCredentials
from providers.hubspot.client import HubSpotCredentials
from providers.outlook.client import OutlookCredentials
from providers.registry import Credentials

EMULATED_SECRET = "emulated"  # noqa: S105 - opens nothing but our own emulator
EMULATED_READER = "watertight-reader"  # the emulator gives such a client no right to write
EMULATED_KEY_FILE = "google-service-account.json"

Empty = BeforeValidator(lambda value: value or None)  # an empty variable in a compose file means "not set"
Name = Annotated[str | None, Empty]
Secret = Annotated[SecretStr | None, Empty]
File = Annotated[Path | None, Empty]


class SettingsError(Exception):
    """A setting is missing or wrong. The text is for the person who set it."""


class CredentialSettings(BaseSettings):
    """What opens the vendors' doors. Where no commit set is given, the other one must be allowed to write."""

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

    hubspot_token: Secret = Field(default=None, description="a service key, or the token of a private app")
    hubspot_commit_token: Secret = None
    hubspot_client_secret: Secret = Field(default=None, description="of the app whose webhooks HubSpot signs with it")
    hubspot_base_url: str = "https://api.hubapi.com"
    hubspot_api_version: str = Field(default="2026-09", pattern=r"^(v\d+|\d{4}-\d{2})$")
    hubspot_archive_seconds: float = Field(
        default=30.0, ge=0, le=3600, description="how long one list of archived meetings serves all calendars"
    )

    calcom_key: Secret = Field(default=None, description="one API key for everybody")
    calcom_keys_file: File = Field(default=None, description="or JSON: the API key of each host, and * for the others")
    calcom_base_url: str = "https://api.cal.com/v2"

    def reading_credentials(self) -> Credentials:
        """The set for every process but the commit worker: reading rights suffice.

        Raises:
            SettingsError: half of a set is missing, or a file cannot be used.
        """
        return Credentials(
            outlook=self._outlook(self.outlook_client_id, self.outlook_client_secret),
            google=self._google(
                self.google_service_account_file, read_only=self.google_commit_service_account_file is not None
            ),
            hubspot=self._hubspot(self.hubspot_token),
            calcom=self._calcom(),
        )

    def writing_credentials(self) -> Credentials:
        """The set for the commit worker; where it is not set apart, the same as the other.

        Raises:
            SettingsError: as ``reading_credentials``.
        """
        return Credentials(
            outlook=self._outlook(
                self.outlook_commit_client_id or self.outlook_client_id,
                self.outlook_commit_client_secret or self.outlook_client_secret,
            ),
            google=self._google(self.google_commit_service_account_file or self.google_service_account_file),
            hubspot=self._hubspot(self.hubspot_commit_token or self.hubspot_token),
            calcom=self._calcom(),
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
        return GoogleCredentials(
            service_account=_read_json("GOOGLE_SERVICE_ACCOUNT_FILE", key_file),
            base_url=self.google_base_url,
            token_uri=self.google_token_uri,
            read_only=read_only,
        )

    def _hubspot(self, token: SecretStr | None) -> HubSpotCredentials | None:
        if token is None:
            return None
        return HubSpotCredentials(
            token=token.get_secret_value(),
            base_url=self.hubspot_base_url,
            api_version=self.hubspot_api_version,
            archive_seconds=self.hubspot_archive_seconds,
        )

    def _calcom(self) -> CalcomCredentials | None:
        """Cal.com's keys cannot be limited to reading, so there is one set."""
        if self.calcom_keys_file is not None:
            return CalcomCredentials(
                key=_read_json("CALCOM_KEYS_FILE", self.calcom_keys_file), base_url=self.calcom_base_url
            )
        if self.calcom_key is None:
            return None
        return CalcomCredentials(key=self.calcom_key.get_secret_value(), base_url=self.calcom_base_url)


def _read_json(setting: str, file: Path) -> dict[str, str]:
    try:
        found: object = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else "not JSON"
        raise SettingsError(f"WATERTIGHT_{setting}: {file}: {cause}") from None
    if not isinstance(found, dict):
        raise SettingsError(f"WATERTIGHT_{setting}: {file}: not a JSON object")
    return found


def emulated(urls: Mapping[str, str], *, key_file: Path) -> dict[str, Any]:
    """What to set so that the emulators at ``urls`` stand in the place of their vendors."""
    found: dict[str, Any] = {}
    if url := urls.get("outlook"):
        found |= {
            "outlook_tenant_id": "watertight",
            "outlook_client_id": EMULATED_READER,
            "outlook_client_secret": SecretStr(EMULATED_SECRET),
            "outlook_commit_client_id": "watertight",
            "outlook_commit_client_secret": SecretStr(EMULATED_SECRET),
            "outlook_base_url": f"{url}/v1.0",
            "outlook_login_url": url,
        }
    if url := urls.get("google"):
        found |= {
            "google_service_account_file": key_file,
            "google_commit_service_account_file": key_file,
            "google_base_url": f"{url}/calendar/v3",
            "google_token_uri": f"{url}/token",
        }
    if url := urls.get("hubspot"):
        found |= {
            "hubspot_token": SecretStr("pat-emulated-reader"),
            "hubspot_commit_token": SecretStr("pat-emulated"),
            "hubspot_client_secret": SecretStr(EMULATED_SECRET),
            "hubspot_base_url": url,
            "hubspot_archive_seconds": 1.0,  # the emulated world's jobs run every few seconds
        }
    if url := urls.get("calcom"):
        found |= {"calcom_key": SecretStr("cal_emulated"), "calcom_base_url": f"{url}/v2"}
    return found
