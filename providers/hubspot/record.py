"""One meeting read and written by its number. These reads come from the records themselves and not from an index."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote

import requests

from providers.hubspot.archived import ArchivedList
from providers.hubspot.payloads import (
    PROPERTIES,
    TAG,
    dump_new,
    dump_patch,
    is_cancelled,
    notes_of,
    owner_of,
    parse_event,
    tag_of,
)
from providers.transport import Transport
from sync.domain import EventDraft, RemoteEvent, RemoteId, WriteKey
from sync.errors import (
    Forbidden,
    KeySpent,
    Malformed,
    NotFound,
    ProviderUnavailable,
    StaleVersion,
    WatertightError,
    WriteOutcomeUnknown,
)

# How long the search may not show what was created: for so long a creation without an answer is not repeated.
LATE_SECONDS = 60.0

MEETINGS = "/crm/objects/meetings"
MEETING = f"{MEETINGS}/{{meeting}}"


class Records:
    """The meetings of one account. Remembers which keys it has sent, since HubSpot does not."""

    def __init__(self, url: str, *, transport: Transport, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._transport = transport
        self._clock = clock
        self._sent: dict[WriteKey, float] = {}
        self._lock = threading.Lock()

    def list_tagged(self, key: WriteKey, *, rows: Iterable[object], owner: str) -> list[dict[str, Any]]:
        """Of the ``rows`` of a search, the owner's records that carry the tag of ``key``, as they are now."""
        ids = [row["id"] for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str)]
        found = (self.find(RemoteId(remote_id), owner=owner) for remote_id in ids)
        return [raw for raw in found if raw is not None and _carries(raw, key)]

    def find(self, remote_id: RemoteId, *, owner: str) -> dict[str, Any] | None:
        """The record as HubSpot shows it; None if it is archived, was never there, or is another owner's.

        Raises:
            ProviderUnavailable: the answer is not this record.
            Forbidden: no meeting at all can be reached, so nobody can say that this one is gone.
        """
        params = {"properties": ",".join(PROPERTIES), "archived": "false"}
        try:
            raw = self._transport.request("GET", self._at(remote_id), route=MEETING, params=params).body
        except NotFound:
            self._must_be_served()
            return None
        if raw.get("id") != remote_id or not isinstance(raw.get("properties"), dict):
            raise ProviderUnavailable(f"hubspot GET {MEETING}: not the meeting that was asked for")
        # One that does not say whose it is comes back, for the parser to refuse.
        return None if raw.get("archived") is True or owner_of(raw) not in (owner, None) else raw

    def create(self, draft: EventDraft, *, key: WriteKey, owner: str, archived: ArchivedList) -> RemoteEvent:
        """Create, unless the same key was sent moments ago or its meeting has been archived since.

        Raises:
            WriteOutcomeUnknown: no answer, or the search may not show yet what an earlier call created.
            KeySpent: the meeting of this key is archived.
        """
        if any(_carries(row, key) for row in archived.read()):
            raise KeySpent("hubspot: the meeting of this key has been archived")
        self._must_not_repeat(key)
        try:
            answer = self._transport.request(
                "POST", self._url, route=MEETINGS, json=dump_new(draft, key=key, owner=owner)
            )
        except WatertightError as error:
            if not isinstance(error, WriteOutcomeUnknown):
                self._forget(key)  # a certain no
            raise
        remote_id = answer.body.get("id")
        if not isinstance(remote_id, str) or not remote_id:
            raise WriteOutcomeUnknown(f"hubspot POST {MEETINGS}: created, and the answer has no id")
        made = self._read_back(RemoteId(remote_id), draft, owner=owner)
        if made.key != key:
            raise WriteOutcomeUnknown(f"hubspot POST {MEETINGS}: created, and the answer names another meeting")
        return made

    def update(self, remote_id: RemoteId, draft: EventDraft, *, version: str, owner: str) -> RemoteEvent:
        """Bring the record to the draft, if it still is at ``version``.

        Raises:
            NotFound: it is gone, or its owner has cancelled it.
            StaleVersion: it is at another version.
            WriteOutcomeUnknown: no answer, or a read made afterwards does not show the draft (n8n#18606).
        """
        raw = self._get(remote_id, version=version, owner=owner)
        if raw is None or is_cancelled(raw):
            raise NotFound("hubspot: the meeting to change is gone")
        event = parse_event(raw)
        patch = dump_patch(draft, event=event, notes=notes_of(raw))
        if not patch["properties"]:
            return event
        self._transport.request("PATCH", self._at(remote_id), route=MEETING, json=patch)
        return self._read_back(remote_id, draft, owner=owner)

    def archive(self, remote_id: RemoteId, *, version: str, owner: str) -> None:
        """Archive the record if it still is at ``version``; one that is gone is success.

        Raises:
            StaleVersion: it is at another version.
            WriteOutcomeUnknown: the answer is not the one to an archiving.
        """
        if self._get(remote_id, version=version, owner=owner) is None:
            return
        try:
            answer = self._transport.request("DELETE", self._at(remote_id), route=MEETING, empty=True)
        except NotFound:
            return
        if answer.status != requests.codes.no_content:  # a page with 200 comes from something in between
            raise WriteOutcomeUnknown(f"hubspot DELETE {MEETING}: {answer.status} instead of 204")

    def _get(self, remote_id: RemoteId, *, version: str, owner: str) -> dict[str, Any] | None:
        raw = self.find(remote_id, owner=owner)
        if raw is not None and parse_event(raw).version != version:
            raise StaleVersion("hubspot: the meeting has changed since it was read")
        return raw

    def _read_back(self, remote_id: RemoteId, draft: EventDraft, *, owner: str) -> RemoteEvent:
        """What a success answer says counts for nothing; what the record shows afterwards does."""
        raw = self.find(remote_id, owner=owner)
        try:
            event = None if raw is None else parse_event(raw)
        except Malformed as error:
            raise WriteOutcomeUnknown(f"hubspot: written, and the record is unreadable ({error.field})") from error
        if event is None or not _shows(event, draft):
            raise WriteOutcomeUnknown("hubspot: answered as written, and the record does not show it")
        return event

    def _must_be_served(self) -> None:
        """Tell "no such meeting" from "no such address", as after the end of an API version: both are a 404."""
        try:
            self._transport.request("GET", self._url, route=MEETINGS, params={"limit": "1"})
        except NotFound as error:
            raise Forbidden(f"hubspot GET {MEETINGS}: not served under this API version") from error

    def _must_not_repeat(self, key: WriteKey) -> None:
        now = self._clock()
        with self._lock:
            self._sent = {sent: at for sent, at in self._sent.items() if now - at < LATE_SECONDS}
            if key in self._sent:
                raise WriteOutcomeUnknown("hubspot: sent moments ago, and the search may not show it yet")
            self._sent[key] = now

    def _forget(self, key: WriteKey) -> None:
        with self._lock:
            self._sent.pop(key, None)

    def _at(self, remote_id: RemoteId) -> str:
        return f"{self._url}/{quote(remote_id, safe='')}"


def _carries(raw: dict[str, Any], key: WriteKey) -> bool:
    shown = raw.get("properties")
    return isinstance(shown, dict) and shown.get(TAG) == tag_of(key)


def _shows(event: RemoteEvent, draft: EventDraft) -> bool:
    """Whether the record shows the draft; the ends of a title may have been trimmed."""
    same_words = event.title.strip() == draft.title.strip()
    return same_words and (event.interval, event.blocks) == (draft.interval, draft.blocks)
