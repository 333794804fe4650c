"""Who may post to the booking page: its own visitors, not too often and not too much. Asked before anything is looked up.

Everything here is counted in this process alone, and forgotten with it: what must hold whatever happens, holds in the
database. A page served by several processes allows as many times as much.
"""

from __future__ import annotations

import functools
import ipaddress
import math
import threading
import time
from typing import TypeVar
from urllib.parse import urlsplit

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from workers.app import settings

POSTS = RateLimitItemPerMinute(30)
MOST_HOLDS = 3
MOST_BYTES = 4096
HOUSEHOLD_BITS = 64  # of an IPv6 address: whoever has one has all that begin alike

Wish = TypeVar("Wish", bound=BaseModel)


def admit(request: Request) -> str:
    """The address of a visitor who may post now.

    Raises:
        HTTPException: 403 for another site's page, 429 for one who was here too often in the last minute.
    """
    if not is_from_our_page(request):
        raise HTTPException(403, "only the booking page itself may send this")
    address = address_of(request)
    if not _window().hit(POSTS, address):
        resets = _window().get_window_stats(POSTS, address).reset_time
        wait = max(1, math.ceil(resets - time.time()))
        raise HTTPException(
            429, "Too many requests came from this address. Please wait a minute.", {"Retry-After": str(wait)}
        )
    return address


def is_from_our_page(request: Request) -> bool:
    """Browsers say themselves where a request comes from, and no script of a page can change it.

    The first header is sent to https addresses and to this machine only, the second everywhere.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin", "")
    ours = urlsplit(settings().public_url)
    return origin == f"{ours.scheme}://{ours.netloc}" or origin.partition("://")[2] == request.headers.get("host", "-")


def address_of(request: Request) -> str:
    """Whom to count a request for: an address, or all of a household's."""
    host = request.client.host if request.client is not None else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return str(ipaddress.ip_network((address, HOUSEHOLD_BITS), strict=False)) if address.version == 6 else host  # noqa: PLR2004 - the protocol's name


@functools.lru_cache(maxsize=1)
def _window() -> MovingWindowRateLimiter:
    return MovingWindowRateLimiter(MemoryStorage())


async def read_json(request: Request, wanted: type[Wish]) -> Wish:
    """The body of the request, understood.

    Raises:
        HTTPException: 413 if it is too long, 415 if it is no JSON by its own account.
        RequestValidationError: names what is wrong with it.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "send application/json")
    try:
        return wanted.model_validate_json(await read_body(request))
    except ValidationError as error:
        found = [{**item, "loc": ("body", *item["loc"])} for item in error.errors(include_url=False)]
        raise RequestValidationError(found) from None


async def read_body(request: Request) -> bytes:
    """Never more of it than allowed.

    Raises:
        HTTPException: 413.
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise HTTPException(413, f"at most {MOST_BYTES} bytes", {"Connection": "close"})
    return body


class KeptTimes:
    """How many times are kept for each address at once, so that nobody empties a calendar by looking at it."""

    def __init__(self) -> None:
        self._ends: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()

    def refuse_more(self, address: str) -> None:
        """Raises HTTPException: 429, with the seconds after which one of them runs out."""
        now = time.monotonic()
        with self._lock:
            self._ends = {one: end for one, end in self._ends.items() if end > now}
            mine = [end for (whose, _), end in self._ends.items() if whose == address]
        if len(mine) >= MOST_HOLDS:
            wait = {"Retry-After": str(math.ceil(min(mine) - now))}
            raise HTTPException(
                429,
                "Too many times are being kept for this address. Please book one of them, or wait a few minutes.",
                wait,
            )

    def keep(self, address: str, hold: str, seconds: float) -> None:
        with self._lock:
            self._ends[address, hold] = time.monotonic() + seconds

    def forget(self, hold: str) -> None:
        """Whoever keeps it: the hold was given back, refused or used."""
        with self._lock:
            self._ends = {one: end for one, end in self._ends.items() if one[1] != hold}


kept = KeptTimes()
