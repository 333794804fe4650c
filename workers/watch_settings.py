"""Settings of the watch, and of where alerts go."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings

from workers.credential_settings import SettingsError

RUNBOOK = "docs/runbook.md"
BETWEEN = re.compile(r"[\s,]+(?=[A-Za-z][A-Za-z0-9+.-]*://)")  # a URL may hold commas of its own

Empty = BeforeValidator(lambda value: value or None)


class WatchSettings(BaseSettings):
    """What counts as late, how often that is looked at, and whom to tell."""

    watch_seconds: float = Field(
        default=2.0, ge=0, le=3600, description="between looks for what is wrong; 0: this process does not look"
    )
    picture_seconds: float = Field(
        default=900.0, ge=1, le=86_400 * 30, description="how old our picture of a calendar may be before it alerts"
    )
    queue_seconds: float = Field(
        default=300.0, ge=1, le=86_400, description="how long a booking or copy that is due may wait before it alerts"
    )
    queue_messages: int = Field(default=5_000, ge=1, description="in one queue of the broker; more alert")
    alert_urls: Annotated[SecretStr | None, Empty] = Field(
        default=None, description="where alerts go: Apprise URLs, separated by commas or spaces (docs/alerts.md)"
    )
    alert_urls_file: Annotated[Path | None, Empty] = Field(default=None, description="or a file with one a line")
    runbook_url: str = Field(default=RUNBOOK, description="where people find docs/runbook.md, for the links in alerts")

    def alert_places(self) -> list[str]:
        """The URLs that alerts go to.

        Raises:
            SettingsError: the file cannot be read.
        """
        text = "" if self.alert_urls is None else self.alert_urls.get_secret_value()
        if self.alert_urls_file is not None:
            try:
                text = f"{text} {self.alert_urls_file.read_text(encoding='utf-8')}"
            except OSError as error:
                raise SettingsError(f"WATERTIGHT_ALERT_URLS_FILE: {error.strerror}") from None
        return [url.strip(" ,\n") for url in BETWEEN.split(text.strip()) if url.strip(" ,\n")]
