"""A database that is away cannot keep an alert: so people are told directly, once, and once more when it is back.

Of several processes that notice it one tells, as far as the broker lives to say which (``Voice``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog

from sync.catalogue import severity_of
from sync.incidents import What
from sync.notices import Occasion, compose_body, compose_title
from workers.places import Place
from workers.settings import Settings
from workers.voice import Voice

AWAY_SECONDS = 30.0
AGAIN_SECONDS = 30.0  # between tries to tell, while nobody accepts it
CODE = "database_away"

log = structlog.get_logger(__name__)


def voice_for(settings: Settings) -> Voice:
    return Voice(settings.counters(), CODE)


@dataclass(slots=True)
class Outage:
    """What one process knows of it. ``at`` is of a clock that only goes forward, in seconds."""

    settings: Settings
    voice: Voice
    _since: float | None = None
    _told: bool = False
    _left: bool = False  # to another, who may not live to say that it is over
    _tried: float | None = None
    _began: datetime = field(default_factory=lambda: datetime.now(UTC))

    def hear(self, *, away: bool, at: float) -> None:
        """The database did not answer, or it did."""
        if away:
            self._is_away(at)
            return
        if self._left and self._may_try(at):
            self._take_over(at)
        if self._told and self._may_try(at):
            self._tried = at
            self._told = not self._tell("resolved")
            if not self._told:
                self.voice.release()
        if not self._told:
            self._since = None
            self._tried = self._tried if self._left else None

    def _take_over(self, at: float) -> None:
        """Say the end for whoever spoke and has not been heard of since."""
        self._tried = at
        if self.voice.is_over():
            self._left = False
        elif self.voice.claim():
            self._left, self._told, self._tried = False, True, None

    def _is_away(self, at: float) -> None:
        if self._since is None:
            self._since, self._began = at, datetime.now(UTC)
        if at - self._since < AWAY_SECONDS or not self._may_try(at):
            return
        speaks = self.voice.claim()  # again while it lasts, or another would take over
        if self._told:
            return
        self._tried, self._left = at, not speaks
        if speaks and self._tell("opened"):
            self._told, self._tried = True, None
        elif speaks:
            self.voice.waive()

    def _may_try(self, at: float) -> bool:
        return self._tried is None or at - self._tried >= AGAIN_SECONDS

    def _tell(self, what: What) -> bool:
        """Whether any place accepted it, or there is none to tell."""
        occasion = Occasion(
            what=what,
            code=CODE,
            severity=severity_of(CODE),
            count=1,
            opened_at=self._began,
            now=datetime.now(UTC),
            where="",
            affected=(),
            detail={},
            runbook=self.settings.runbook_url,
        )
        title, body = compose_title(occasion), compose_body(occasion)
        places = [Place(url) for url in self.settings.alert_places()]
        kind = "resolved" if what == "resolved" else occasion.severity
        accepted = [place.send(title, body, kind=kind) for place in places]
        log.warning("watch.database_told", what=what, accepted=sum(accepted), places=len(places))
        return not places or any(accepted)
