"""People as the demo plays them: they type into a vendor's own window, or ask through our API."""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import requests

from sync.domain import Interval
from workers.diary import Diary, now

TIMEOUT_SECONDS = 10.0
_sessions = threading.local()  # a requests.Session is not thread-safe


@dataclass(frozen=True, slots=True)
class Window:
    """A vendor's own window, as a person sees it: the emulator's ``/_control/events``."""

    provider: str
    url: str
    diary: Diary

    def create(self, calendar: str, interval: Interval, *, title: str, zone: str) -> str | None:
        """Type a new event in the wall time of ``zone``; its id, or None if the vendor would not have it."""
        event = {**_spelled(interval, zone), "title": title, "zone": zone}
        return self._act({"action": "create", "calendar": calendar, "event": event})

    def move(self, calendar: str, remote_id: str, interval: Interval, *, zone: str) -> str | None:
        event = {**_spelled(interval, zone), "zone": zone}
        return self._act({"action": "change", "calendar": calendar, "id": remote_id, "event": event})

    def delete(self, calendar: str, remote_id: str) -> str | None:
        return self._act({"action": "delete", "calendar": calendar, "id": remote_id})

    def _act(self, action: dict[str, Any]) -> str | None:
        moment = now()
        shown = _post(f"{self.url}/_control/events", body=action, where=self.provider, diary=self.diary)
        if shown is None:
            return None
        remote_id = str(shown.get("uid") or shown.get("id"))  # booking tools number their bookings besides
        self.diary.changed(remote_id, moment=moment, version=shown.get("etag") or shown.get("@odata.etag"))
        return remote_id


@dataclass(frozen=True, slots=True)
class Form:
    """Our own API, as a prospect's browser or a partner's system uses it."""

    url: str
    diary: Diary

    def ask(self, agent: str, interval: Interval, *, title: str, zone: str) -> int | None:
        """Propose in the wall time of ``zone``, with its offset; the proposal's id, or None if it was not taken on."""
        key, moment = uuid.uuid4().hex, now()
        body = {"agent": agent, **_spelled(interval, zone), "title": title, "attendees": []}
        headers = {"Idempotency-Key": key}
        answer = _post(f"{self.url}/api/proposals", body=body, headers=headers, where="api", diary=self.diary)
        if answer is None:
            return None
        self.diary.asked(key, proposal_id=int(answer["id"]), moment=moment)
        return int(answer["id"])


def spell(instant: datetime, zone: str) -> str:
    """The instant as people in ``zone`` write it: wall time and offset."""
    return instant.astimezone(ZoneInfo(zone)).isoformat(timespec="minutes")


def _spelled(interval: Interval, zone: str) -> dict[str, str]:
    return {"start": spell(interval.start, zone), "end": spell(interval.end, zone)}


def _post(
    url: str, *, body: dict[str, Any], where: str, diary: Diary, headers: dict[str, str] | None = None
) -> dict[str, Any] | None:
    """The answer of a 2xx; anything else is counted. The stack may be in the middle of a restart: that is the point."""
    try:
        response = _session().post(url, json=body, headers=headers, timeout=TIMEOUT_SECONDS)
        if response.ok:
            answer: dict[str, Any] = response.json()
            return answer
        diary.failed(f"{where} {response.status_code}")
    except (requests.RequestException, ValueError) as error:
        diary.failed(f"{where} {type(error).__name__}")
    return None


def _session() -> requests.Session:
    session: requests.Session | None = getattr(_sessions, "session", None)
    if session is None:
        session = _sessions.session = requests.Session()
        session.trust_env = False  # a proxy has no business between us and loopback
    return session
