"""The emulator's push channels. Source: developers.google.com/workspace/calendar/api/guides/push."""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

import requests

from providers.google.emulated_event import Refusal

_WEEK_MS = 7 * 24 * 3600 * 1000
_TIMEOUT_SECONDS = 5.0
_ATTEMPTS = 3
_BACKOFF_SECONDS = 0.2
_WORTH_REPEATING = frozenset({500, 502, 503, 504})


@dataclass(slots=True)
class _Channel:
    id: str
    calendar: str
    address: str
    token: str
    expires_ms: int
    resource_id: str
    uri: str
    number: int = 0

    def headers(self, state: str) -> dict[str, str]:
        self.number += 1
        return {
            "X-Goog-Channel-ID": self.id,
            "X-Goog-Channel-Token": self.token,
            "X-Goog-Channel-Expiration": formatdate(self.expires_ms / 1000, usegmt=True),
            "X-Goog-Resource-ID": self.resource_id,
            "X-Goog-Resource-URI": self.uri,
            "X-Goog-Resource-State": state,
            "X-Goog-Message-Number": str(self.number),
        }


class Channels:
    """All open channels. Messages leave from one background thread, so a slow receiver never holds the emulator up."""

    def __init__(self) -> None:
        self._channels: dict[str, _Channel] = {}
        self._outbox: queue.SimpleQueue[tuple[str, dict[str, str]]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def open(self, calendar: str, body: dict[str, Any], *, uri: str) -> dict[str, Any]:
        """The answer to events.watch; the ``sync`` message is on its way.

        Raises:
            Refusal: 400, a field is missing or the id is in use.
        """
        channel = _channel(calendar, body, uri=uri)
        if channel.id in self._channels:
            raise Refusal(400, "channelIdNotUnique", f"Channel id {channel.id} not unique", domain="push")
        self._channels[channel.id] = channel
        self._post(channel, "sync")
        shown = {
            "kind": "api#channel",
            "id": channel.id,
            "resourceId": channel.resource_id,
            "resourceUri": channel.uri,
            "expiration": str(channel.expires_ms),
        }
        return {**shown, "token": channel.token} if channel.token else shown

    def stop(self, body: dict[str, Any]) -> None:
        """End one channel.

        Raises:
            Refusal: 404, there is none with this id and resource.
        """
        channel = self._channels.get(str(body.get("id")))
        if channel is None or channel.resource_id != body.get("resourceId"):
            raise Refusal(404, "notFound", f"Channel '{body.get('id')}' not found for project")
        del self._channels[channel.id]

    def notify(self, calendar: str, *, times: int = 1) -> None:
        """Tell everyone who watches ``calendar`` that something changed; twice or never if asked to lie."""
        now_ms = time.time() * 1000
        for channel in list(self._channels.values()):
            if channel.expires_ms <= now_ms:
                del self._channels[channel.id]
            elif channel.calendar == calendar:
                for _ in range(times):
                    self._post(channel, "exists")

    def _post(self, channel: _Channel, state: str) -> None:
        self._outbox.put((channel.address, channel.headers(state)))
        if self._thread is None:
            self._thread = threading.Thread(target=self._deliver_for_ever, name="google-push", daemon=True)
            self._thread.start()

    def _deliver_for_ever(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            while True:
                address, headers = self._outbox.get()
                _deliver(session, address, headers)


def _channel(calendar: str, body: dict[str, Any], *, uri: str) -> _Channel:
    for name in ("id", "address"):
        if not isinstance(body.get(name), str) or not body[name]:
            raise Refusal(400, "required", f"Required field: {name}", location=name)
    if body.get("type") != "web_hook":
        raise Refusal(400, "invalid", "Unknown channel type", domain="push")
    return _Channel(
        id=body["id"],
        calendar=calendar,
        address=body["address"],
        token=str(body.get("token", "")),
        expires_ms=int(body.get("expiration") or time.time() * 1000 + _WEEK_MS),
        resource_id=hashlib.sha256(calendar.encode()).hexdigest()[:27],
        uri=uri,
    )


def _deliver(session: requests.Session, address: str, headers: dict[str, str]) -> None:
    for attempt in range(_ATTEMPTS):
        try:
            status = session.post(address, headers=headers, timeout=_TIMEOUT_SECONDS).status_code
        except requests.RequestException:
            return  # lost: Google does not promise delivery either
        if status not in _WORTH_REPEATING:
            return
        time.sleep(_BACKOFF_SECONDS * 2**attempt)
