"""Settings of the vendors' limits: one plain number for each, in the vendor's own unit.

Where the defaults come from: Graph: throttling-limits.md, whose versions disagree on whether "4 at once" is meant for each
app and mailbox or for each app in all mailboxes; developers.google.com/calendar/api/guides/quota (sliding windows);
HubSpot: "increasing our API limits" and the search guide. Cal.com's figure is reported, not documented.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings

from providers.rules import Limit, Per, Rules

Count = Annotated[int, Field(ge=1, le=10_000_000)]


class LimitSettings(BaseSettings):
    """What the fleet as a whole may ask of each vendor (P10). Raise a figure only where the vendor has granted more."""

    outlook_at_once: Count = Field(default=4, description="requests under way for one mailbox")
    outlook_app_at_once: int = Field(
        default=0, ge=0, description="requests under way for one app, whatever the mailbox; 0: no limit"
    )
    outlook_requests: Count = Field(default=10_000, description="in 10 minutes, by one app for one mailbox")
    google_requests: Count = Field(default=600, description="in a minute, by one project for one person")
    google_project_requests: Count = Field(default=10_000, description="in a minute, by one project")
    hubspot_requests: Count = Field(default=190, description="in 10 seconds, for one account; Free and Starter: 100")
    hubspot_searches: Count = Field(default=5, description="in a second, for one account")
    calcom_requests: Count = Field(default=120, description="in a minute, for one API key")
    limits_blind_share: float = Field(
        default=0.1, gt=0, le=1, description="of each rate, for one process while Valkey is away"
    )

    def limits(self) -> Rules:
        """The figures as the limiter reads them."""
        app_at_once = (Limit(Per.APP, self.outlook_app_at_once),) if self.outlook_app_at_once else ()
        return Rules(
            {
                "outlook": (
                    # For each mailbox whoever asks, so that reading and committing credentials share it.
                    Limit(Per.ACCOUNT, self.outlook_at_once),
                    *app_at_once,
                    Limit(Per.BOTH, self.outlook_requests, 600),
                ),
                "google": (Limit(Per.BOTH, self.google_requests, 60), Limit(Per.APP, self.google_project_requests, 60)),
                "hubspot": (
                    Limit(Per.ACCOUNT, self.hubspot_requests, 10),
                    Limit(Per.ACCOUNT, self.hubspot_searches, 1, route="/search"),
                ),
                "calcom": (Limit(Per.ACCOUNT, self.calcom_requests, 60),),
            },
            blind_share=self.limits_blind_share,
        )
