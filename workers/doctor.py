"""``watertight doctor``: does every connected account work, for real, and if not, what is to be done about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests

from models.agents import Calendar
from models.listings import list_calendars
from models.session import Sessions, transaction
from providers.registry import Credentials, connect
from sync.domain import CalendarRef, Interval
from sync.errors import (
    CredentialReadOnly,
    CredentialRevoked,
    Forbidden,
    Malformed,
    NotFound,
    RateLimited,
    Transient,
    WatertightError,
)
from sync.ports import Calendars
from sync.records import calendar_ref
from workers.settings import Settings, as_it_runs

LONGEST_SKEW_SECONDS = 30.0
PATIENCE_SECONDS = 10.0
LOOK = timedelta(hours=1)

ADVICE: Sequence[tuple[type[WatertightError], str]] = (
    (CredentialRevoked, "the vendor refuses the credential: make a new secret there and set it"),
    (CredentialReadOnly, "the credential may only read: give it the right to write calendars, or set the commit set"),
    (Forbidden, "no permission for this calendar: grant it to the app (docs/providers), or correct `remote`"),
    (NotFound, "the vendor does not know this calendar: correct `remote` in the agents file, or set the credentials"),
    (RateLimited, "the vendor asks to wait: nothing to do, the jobs come back by themselves"),
    (Malformed, "an event there cannot be understood: change it in the vendor's own window; the field is named"),
    (Transient, "no useful answer: check network, proxy and the vendor's status page, then try again"),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried. ``advice`` is empty where all is well."""

    what: str
    ok: bool
    found: str
    advice: str = ""

    def as_row(self) -> dict[str, Any]:
        return asdict(self)


def examine(settings: Settings, sessions: Sessions) -> Iterator[Finding]:
    """Try everything that is connected, one after the other; nothing is written anywhere."""
    settings = as_it_runs(settings)
    with transaction(sessions) as session:
        rows = session.query(Calendar).order_by(Calendar.id).all()
        refs = [calendar_ref(row, row.agent) for row in rows]
    if not refs:
        yield _ill("calendars", "none", "say who has which: watertight agents import FILE")
    for name, credentials in _sets(settings):
        calendars = connect(credentials)
        yield from (_read(calendars, ref, name) for ref in refs)
    yield from (_clock(vendor, url) for vendor, url in sorted(_addresses(settings, refs).items()))
    with transaction(sessions) as session:
        pushed = sum(one.push is not None and one.push.healthy for one in list_calendars(session))
    yield _reachable(settings.public_url, pushed=pushed)


def _sets(settings: Settings) -> list[tuple[str, Credentials]]:
    """The credential sets; one that is not set apart is not tried twice."""
    reading, writing = settings.reading_credentials(), settings.writing_credentials()
    return [("jobs", reading)] if reading == writing else [("jobs", reading), ("commit", writing)]


def _read(calendars: Calendars, ref: CalendarRef, name: str) -> Finding:
    """Token, permission and calendar in one: the read that every job begins with."""
    what = f"calendar {ref.id} ({ref.agent}, {ref.provider} {ref.role}) with the credentials of {name}"
    moment = datetime.now(UTC)
    try:
        events = calendars.reader(ref).read_window(Interval(moment, moment + LOOK))
    except WatertightError as error:
        return _ill(what, f"{error.code}: {error}", _advice(error))
    return _well(what, f"readable, {len(events)} events in the next hour")


def _advice(error: WatertightError) -> str:
    return next((advice for kind, advice in ADVICE if isinstance(error, kind)), "see the log of the jobs")


def _addresses(settings: Settings, refs: Sequence[CalendarRef]) -> dict[str, str]:
    """The vendors that somebody's calendar needs, with their addresses."""
    used = {ref.provider for ref in refs}
    return {vendor: url for vendor in used if (url := getattr(settings, f"{vendor}_base_url", None))}


def _clock(vendor: str, url: str, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Finding:
    """Our clock against the vendor's: tokens are refused, and signed pushes look forged, when they differ much."""
    what = f"clock against {vendor}"
    try:
        date = requests.head(url, timeout=PATIENCE_SECONDS, allow_redirects=False).headers["Date"]
        skew = (now() - parsedate_to_datetime(date)).total_seconds()
    except (requests.RequestException, KeyError, ValueError) as error:
        return _ill(what, type(error).__name__, "the vendor's address does not answer: check network and proxy")
    if abs(skew) > LONGEST_SKEW_SECONDS:
        return _ill(what, f"{skew:+.0f} s", "set this machine's clock by NTP")
    return _well(what, f"{skew:+.0f} s")


def _reachable(public_url: str, *, pushed: int) -> Finding:
    """Whether vendors could push to us. From here we only see whether the address leads to our own web process."""
    what = "webhooks"
    host = urlsplit(public_url).hostname or ""
    if host in {"127.0.0.1", "localhost", "::1", ""}:
        found = "none: PUBLIC_URL is this machine only, so every calendar is polled"
        return _well(what, f"{pushed} calendars are pushed by emulators of this machine" if pushed else found)
    if not public_url.startswith("https://"):
        return _ill(what, "PUBLIC_URL is not https", "vendors push to https only: put a certificate before it")
    url = f"{public_url.rstrip('/')}/healthz"
    try:
        status = requests.get(url, timeout=PATIENCE_SECONDS, allow_redirects=False).status_code
    except requests.RequestException as error:
        return _ill(what, type(error).__name__, "PUBLIC_URL does not answer: check DNS, certificate, firewall")
    if status != requests.codes.ok:
        return _ill(what, f"{status} from PUBLIC_URL/healthz", "let PUBLIC_URL lead to the web process")
    return _well(what, f"PUBLIC_URL answers, as far as this machine can see; {pushed} calendars are pushed")


def _well(what: str, found: str) -> Finding:
    return Finding(what, ok=True, found=found)


def _ill(what: str, found: str, advice: str) -> Finding:
    return Finding(what, ok=False, found=found, advice=advice)
