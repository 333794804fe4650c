"""Writing at Cal.com: nothing twice, and nothing believed that was not read back.

The vendor has no idempotency key and no precondition. So a write first reads what is there, compares the version, and
knows its own earlier success by what it left: the key in the metadata, or the booking that took over from a cancelled one.
Between that read and the write lies a gap that only a later read closes.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from providers.calcom.api import BookingApi
from providers.calcom.chains import Chains, Raw, since
from providers.calcom.listing import EVERYTHING, read_list
from providers.calcom.payloads import (
    dump_draft,
    dump_reschedule,
    email_of_host,
    is_gone,
    is_hosted_by,
    key_of,
    parse_event,
)
from sync.domain import CalendarRef, EventDraft, RemoteEvent, RemoteId, WriteKey
from sync.errors import Malformed, NotFound, Rejected, StaleVersion, WriteOutcomeUnknown

KEY_MEMORY = timedelta(days=7)  # how far back a key of ours is looked for: no retry of a write comes later

_DEFAULT_REASON = "Cancelled"  # the vendor wants one from a host


class Booker:
    """Writes the bookings of one host."""

    def __init__(self, ref: CalendarRef, *, api: BookingApi, event_type: int | None) -> None:
        self._ref = ref
        self._api = api
        self._event_type = event_type
        self._chains = Chains(api, remote=ref.remote)

    def create(self, draft: EventDraft, *, key: WriteKey) -> RemoteEvent:
        """Book, unless a booking with this key is there. The guest is mailed: this vendor books nothing silently."""
        if self._event_type is None:
            raise Rejected(f"calcom: no event type is set to book calendar {self._ref.id} with")
        body = dump_draft(draft, key=key, event_type=self._event_type, zone=self._ref.zone)
        if known := self._created(key):
            return known
        try:
            uid = self._api.create(body)
        except Rejected:
            # Refused, and booked all the same (cal.diy#3758).
            if known := self._created(key):
                return known
            raise
        made = self._read_back(uid)
        if made.key != key:
            raise WriteOutcomeUnknown("calcom: booked, and the answer names another booking")
        return made

    def update(self, remote_id: RemoteId, draft: EventDraft, *, version: str) -> RemoteEvent:
        """Bring the booking to the draft's time, or cancel it if the draft does not block. Its title stays.

        Raises:
            Rejected: the time is taken, or the draft is of another length than the booking.
        """
        raw = self._api.find(remote_id)
        if raw is None or not is_hosted_by(raw, self._ref.remote):
            raise NotFound("calcom: the booking to change is gone")
        if is_gone(raw):
            return self._already(raw, draft)
        event = parse_event(raw, ref=self._ref)
        if draft.blocks and event.interval == draft.interval:
            return event
        if event.version != version:
            raise StaleVersion("calcom: the booking has changed")
        return self._reschedule(raw, event, draft) if draft.blocks else self._cancel(event, reason=draft.note)

    def delete(self, remote_id: RemoteId, *, version: str) -> None:
        raw = self._api.find(remote_id)
        if raw is None or not is_hosted_by(raw, self._ref.remote):
            return
        if is_gone(raw):
            if self._chains.newest(raw) is not None:
                raise StaleVersion("calcom: the booking has been moved")
            return
        event = parse_event(raw, ref=self._ref)
        if event.version != version:
            raise StaleVersion("calcom: the booking has changed")
        self._cancel(event, reason=None)

    def find_by_key(self, key: WriteKey) -> RemoteEvent | None:
        """The live booking with this key in its metadata, for ``KEY_MEMORY`` after it was made."""
        live = [raw for raw in self._keyed(key) if not is_gone(raw)]
        return parse_event(live[-1], ref=self._ref) if live else None

    def _keyed(self, key: WriteKey) -> list[Raw]:
        params = {"afterCreatedAt": since(datetime.now(UTC) - KEY_MEMORY), "sortCreated": "asc"}
        rows = read_list(self._api, params, views=EVERYTHING).by_uid().values()
        return [raw for raw in rows if key_of(raw) == key and is_hosted_by(raw, self._ref.remote)]

    def _created(self, key: WriteKey) -> RemoteEvent | None:
        """The booking that a write with this key made.

        Raises:
            Rejected: it has been cancelled since.
        """
        known = self._keyed(key)
        live = [raw for raw in known if not is_gone(raw)]
        if known and not live:
            raise Rejected("calcom: the key belonged to a booking that has since been cancelled")
        return parse_event(live[-1], ref=self._ref) if live else None

    def _already(self, raw: Raw, draft: EventDraft) -> RemoteEvent:
        """The answer about a booking that is cancelled, perhaps by this very call, whose answer was lost.

        Raises:
            StaleVersion: it has been moved to another time than the one asked for.
            NotFound: it should take time, and has ended.
        """
        newest = self._chains.newest(raw)
        if newest is None:
            if draft.blocks:
                raise NotFound("calcom: the booking to change is cancelled")
            return parse_event(raw, ref=self._ref)
        event = parse_event(newest, ref=self._ref)
        if draft.blocks and event.interval == draft.interval:
            return event
        raise StaleVersion("calcom: the booking has been moved")

    def _reschedule(self, raw: Raw, event: RemoteEvent, draft: EventDraft) -> RemoteEvent:
        if draft.interval.end - draft.interval.start != event.interval.end - event.interval.start:
            raise Rejected("calcom: a booking keeps the length of its event type")
        body = dump_reschedule(draft, host=email_of_host(raw, self._ref.remote))
        try:
            uid = self._api.reschedule(event.remote_id, body)
        except Rejected:
            # Refused, and moved all the same (cal.diy#3758), by us or by somebody in this moment.
            if moved := self._moved(event.remote_id, draft):
                return moved
            raise
        if uid != event.remote_id:
            # We know from what it took over; the vendor does not always say.
            return replace(self._read_back(uid), replaces=event.remote_id)
        if moved := self._moved(event.remote_id, draft):
            return moved
        raise WriteOutcomeUnknown("calcom: moved, says the answer, and the booking stands as it was")

    def _moved(self, uid: RemoteId, draft: EventDraft) -> RemoteEvent | None:
        """What took over from a booking, if it is over."""
        raw = self._api.find(uid)
        return None if raw is None or not is_gone(raw) else self._already(raw, draft)

    def _cancel(self, event: RemoteEvent, *, reason: str | None) -> RemoteEvent:
        try:
            self._api.cancel(event.remote_id, reason=reason or _DEFAULT_REASON)
        except Rejected:
            now = self._api.find(event.remote_id)
            if now is None or not is_gone(now):
                raise
        return self._read_back(event.remote_id, gone=True)

    def _read_back(self, uid: RemoteId, *, gone: bool = False) -> RemoteEvent:
        """The booking as it is after a write.

        Raises:
            WriteOutcomeUnknown: it is not as the vendor said.
        """
        raw = self._api.find(uid)
        if raw is None or is_gone(raw) is not gone:
            raise WriteOutcomeUnknown("calcom: done, says the answer, and the booking says otherwise")
        try:
            return parse_event(raw, ref=self._ref)
        except Malformed as error:
            raise WriteOutcomeUnknown(f"calcom: done, and the booking is unreadable ({error.field})") from error
