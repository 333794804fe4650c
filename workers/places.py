"""Where alerts go: anything that Apprise knows by a URL (Slack, PagerDuty, Teams, mail, webhooks …). URLs are secrets (P12)."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field
from typing import Literal

import apprise
import structlog

CONNECT_SECONDS = 5.0
READ_SECONDS = 10.0

Kind = Literal["warning", "critical", "resolved", "test"]
KINDS = {
    "warning": apprise.NotifyType.WARNING,
    "critical": apprise.NotifyType.FAILURE,
    "resolved": apprise.NotifyType.SUCCESS,
    "test": apprise.NotifyType.INFO,
}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """One URL. ``digest`` names it in tables, ``shown`` to people: its kind and host, never what opens it."""

    url: str = field(repr=False)

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.url.encode()).hexdigest()[:16]

    @property
    def shown(self) -> str:
        scheme, _, rest = self.url.partition("://")
        host = rest.partition("/")[0].partition("?")[0].rpartition("@")[2]
        return f"{scheme}://{host}" if scheme in NAMED_BY_HOST else f"{scheme}://…"

    def send(self, title: str, body: str, *, kind: Kind) -> bool:
        """Whether it was accepted; never raises, and takes seconds at most."""
        logging.getLogger("apprise").setLevel(logging.CRITICAL)
        try:
            service = apprise.Apprise.instantiate(self.url, suppress_exceptions=True)
            if service is None:
                return False
            service.socket_connect_timeout = CONNECT_SECONDS
            service.socket_read_timeout = READ_SECONDS
            return bool(service.notify(body, title=title, notify_type=KINDS[kind], body_format="text"))
        except Exception as error:  # noqa: BLE001 - a plugin for every service of the world
            log.warning("alert.place_failed", place=self.shown, error=type(error).__name__)
            return False

    def trouble(self) -> str | None:
        """Why nothing can arrive here, as far as the URL alone tells."""
        known = apprise.Apprise.instantiate(self.url, suppress_exceptions=True) is not None
        return None if known else "Apprise does not understand this URL"


NAMED_BY_HOST = ("json", "jsons", "xml", "xmls", "form", "forms", "http", "https")  # of others the host is a token
