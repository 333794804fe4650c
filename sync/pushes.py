"""What vendors push, as frozen values, and the secrets by which a push proves where it comes from. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from sync.domain import CalendarId, Job, RemoteId

_TOKEN: Final = re.compile(r"([1-9]\d{0,9})\.([\w-]{43})", re.ASCII)


class Told(StrEnum):
    """What the vendor says has happened. It is the vendor's word and chooses which job looks first, nothing else."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"


class Notice(StrEnum):
    """What the vendor says about the channel itself."""

    MISSED = "missed"
    REMOVED = "removed"
    RENEW = "renew"


JOBS: Final = {Told.CREATED: (Job.NEW,), Told.UPDATED: (Job.UPDATE,), Told.DELETED: (Job.CANCEL,)}


@dataclass(frozen=True, slots=True)
class Push:
    """One thing that a delivery tells, proven to come from the vendor: a reason to read again, and nothing to be believed.

    ``key`` is made of what it is about: the same again has the same key (P5). ``calendar_id`` is None where the vendor names
    only an ``event`` or an ``owner`` (the calendar's own reference). ``channel`` is the vendor's name of it, None where a
    push does not carry one. Without ``told`` every job looks.
    """

    key: str
    calendar_id: CalendarId | None = None
    channel: str | None = None
    told: Told | None = None
    notice: Notice | None = None
    event: RemoteId | None = None
    owner: str | None = None

    @property
    def jobs(self) -> tuple[Job, ...]:
        if self.notice is Notice.RENEW:
            return ()
        return tuple(Job) if self.told is None else JOBS[self.told]


def key_of(*parts: object) -> str:
    """A key of a fixed length for ``parts``, whatever they hold: vendors' ids are long, and may be personal (P12)."""
    return hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Secrets:
    """The secret of every calendar, derived from one key, so that a forged push is refused by arithmetic alone."""

    key: bytes = field(repr=False)

    def of(self, provider: str, calendar_id: CalendarId) -> str:
        """43 characters of the alphabet of URLs."""
        digest = hmac.new(self.key, f"{provider}:{calendar_id}".encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def token(self, provider: str, calendar_id: CalendarId) -> str:
        """For vendors that send a secret back as it is: it names its calendar."""
        return f"{calendar_id}.{self.of(provider, calendar_id)}"

    def calendar_of(self, provider: str, token: str) -> CalendarId | None:
        """The calendar of a token of ours; None for any other. Takes the same time for every wrong secret."""
        found = _TOKEN.fullmatch(token)
        if found is None:
            return None
        calendar_id = CalendarId(int(found[1]))
        expected = self.of(provider, calendar_id)
        return calendar_id if hmac.compare_digest(found[2].encode(), expected.encode()) else None
