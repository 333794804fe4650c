"""Settings of what is kept for how long. The task Prune deletes what is older; docs/schedule.md lists what it never deletes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings

from sync.pruning import Keep

Days = Annotated[float, Field(ge=1, le=3_660, allow_inf_nan=False)]


class RetentionSettings(BaseSettings):
    """In days. The defaults keep a quarter of a year of what explains a trouble, and a year of what people did."""

    keep_deliveries_days: Days = Field(default=7.0, description="pushes; vendors repeat one for hours")
    keep_fires_days: Days = Field(default=7.0, description="slots that beat fired")
    keep_attempts_days: Days = Field(default=30.0, description="tries that failed; those of open dead letters stay")
    keep_failures_days: Days = Field(default=90.0, description="dead letters, from when they were closed")
    keep_alerts_days: Days = Field(default=90.0, description="alerts and notices, from when they were resolved")
    keep_audits_days: Days = Field(default=30.0, description="audits; the newest of each agent stays")
    keep_actions_days: float = Field(
        default=400.0, ge=90, le=3_660, allow_inf_nan=False, description="what people did; the database refuses less"
    )
    keep_unreadable_days: Days = Field(
        default=90.0, description="records and submissions that could not be understood, with personal data"
    )
    keep_sightings_days: Days = Field(
        default=90.0, description="events that are over and that no proposal or appointment refers to"
    )

    def retention(self) -> Mapping[Keep, timedelta]:
        """For how long each kind is to be kept."""
        return {keep: timedelta(days=getattr(self, f"keep_{keep}_days")) for keep in Keep}
