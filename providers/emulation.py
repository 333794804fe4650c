"""What the vendors' emulators share: calendars on disk, faults, the books of requests, and ``/_control`` (design §8).

An emulator speaks the vendor's own paths, payloads and errors. This module knows none of them: it keeps each calendar's
events as the vendor's JSON with a change number, injects the faults that every HTTP service can have, and counts.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PositiveInt

from providers.emulated_badday import Profile
from providers.emulated_faults import Fault, Faults, without_newest
from providers.emulated_store import Entry, Store

__all__ = ["Books", "Emulator", "Entry", "Fault", "Faults", "HumanAction", "HumanEvent", "Store", "build_app"]

HANG_SECONDS = 30.0

_NOT_DONE = ("rate_limited", "server_error", "unavailable", "unauthorized", "forbidden", "missing", "conflict")


class HumanEvent(BaseModel):
    """An event as a person would type it. Either instants (any offset) or, for ``all_day``, midnights of the dates."""

    model_config = ConfigDict(extra="forbid")

    start: AwareDatetime | None = None
    end: AwareDatetime | None = None
    title: str | None = None
    busy: bool | None = None
    all_day: bool = False
    zone: str | None = Field(default=None, description="IANA zone in which the vendor shows the event as typed")
    attendees: list[str] = Field(default_factory=list)


class HumanAction(BaseModel):
    """``POST /_control/events``: act as a person in the vendor's own window."""

    model_config = ConfigDict(extra="forbid")

    action: str = Field(pattern="^(create|change|delete)$")
    calendar: str
    id: str | None = None
    event: HumanEvent = HumanEvent()
    raw: dict[str, Any] | None = Field(default=None, description="vendor JSON stored as it is, to plant odd records")


@dataclass(slots=True)
class Books:
    """What was asked of the emulator, and what may be asked (``limits``, for those that it enforces)."""

    by_route: Counter[str] = field(default_factory=Counter)
    by_status: Counter[str] = field(default_factory=Counter)
    by_mailbox: Counter[str] = field(default_factory=Counter)
    limits_exceeded: Counter[str] = field(default_factory=Counter)
    at_once: Counter[str] = field(default_factory=Counter)
    most_at_once: int = 0
    limits: dict[str, int] = field(default_factory=dict)  # by name, as they are enforced now

    def opened(self, mailbox: str) -> int:
        """Count a request in; the answer is how many of this mailbox are now open."""
        self.by_mailbox[mailbox] += 1
        self.at_once[mailbox] += 1
        self.most_at_once = max(self.most_at_once, self.at_once[mailbox])
        return self.at_once[mailbox]

    def closed(self, mailbox: str, route: str, status: int) -> None:
        self.at_once[mailbox] -= 1
        self.by_route[route] += 1
        self.by_status[str(status)] += 1

    def as_dict(self) -> dict[str, Any]:
        return {
            "total": self.by_route.total(),
            "by_route": dict(self.by_route),
            "by_status": dict(self.by_status),
            "by_mailbox": dict(self.by_mailbox),
            "limits": dict(self.limits),
            "limits_exceeded": dict(self.limits_exceeded),
            "most_at_once": self.most_at_once,
        }


class Emulator(Protocol):
    """One vendor. ``build_app`` adds everything that this protocol does not name."""

    name: str
    missing: str  # the vendor's code for an event that is not there
    store: Store
    faults: Faults
    books: Books

    def routes(self) -> APIRouter:
        """The vendor's own API, token endpoint included."""
        ...

    def mailbox_of(self, request: Request) -> str:
        """Whose limits this request counts against; empty for none."""
        ...

    def act(self, action: HumanAction) -> dict[str, Any]:
        """Do what a person would do, notifying subscribers; the answer is the event as the vendor shows it.

        Raises:
            KeyError: no such event.
        """
        ...

    def show(self, calendar: str, entry: Entry) -> dict[str, Any]:
        """The event as the vendor's API shows it."""
        ...

    def error(self, status: int, code: str, message: str) -> Response:
        """The vendor's error body."""
        ...


def build_app(emulator: Emulator) -> FastAPI:
    """The emulator as a web application: the vendor's API and, for loopback, ``/_control``."""
    app = FastAPI(title=f"{emulator.name} emulator", openapi_url=None, docs_url=None, redoc_url=None)
    app.include_router(_control(emulator))
    app.include_router(emulator.routes())

    @app.middleware("http")
    async def keep_books(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        if request.url.path.startswith("/_control"):
            return await call_next(request)
        mailbox = emulator.mailbox_of(request)
        request.state.at_once = emulator.books.opened(mailbox)  # for vendors that limit it
        status = 500
        try:
            with emulator.faults.bad_day.over(f"{request.method} {request.url.path}?{request.url.query}".rstrip("?")):
                response = await _with_faults(emulator, request, call_next, mailbox)
            status = response.status_code
        finally:
            emulator.books.closed(mailbox, f"{request.method} {_template(request)}", status)
        return response

    return app


def _template(request: Request) -> str:
    route = request.scope.get("route")
    return getattr(route, "path", request.url.path.split("/")[1] if "/" in request.url.path else "/")


async def _with_faults(
    emulator: Emulator, request: Request, call_next: Callable[[Request], Awaitable[Response]], mailbox: str
) -> Response:
    asked = f"{request.method} {request.url.path}"

    def take(*kinds: str) -> Fault | None:
        return emulator.faults.take(*kinds, calendar=mailbox, request=asked)

    if slow := take("latency"):
        await asyncio.sleep(slow.seconds or 1.0)
    if fault := take(*_NOT_DONE):
        return _refusal(emulator, fault)
    response = await call_next(request)
    if fault := take("commit_then_hang"):
        await asyncio.sleep(fault.seconds or HANG_SECONDS)
        return response
    if fault := take("commit_then_timeout", "commit_then_error", "commit_then_unavailable", "commit_then_limited"):
        return _refusal(emulator, fault)
    if fault := take("error_in_ok", "empty_body", "html", "truncated", "late_in_lists"):
        return await _spoilt(emulator, fault, response, mailbox=mailbox)
    return response


def _refusal(emulator: Emulator, fault: Fault) -> Response:
    status, code = {
        "rate_limited": (429, "rateLimitExceeded"),
        "server_error": (500, "internalError"),
        "unavailable": (503, "backendError"),
        "unauthorized": (401, "authError"),
        "forbidden": (403, "forbidden"),
        "missing": (404, emulator.missing),
        "conflict": (409, "conflict"),
        "commit_then_timeout": (504, "UnknownError"),
        "commit_then_error": (500, "internalError"),
        "commit_then_unavailable": (503, "backendError"),
        "commit_then_limited": (429, "rateLimitExceeded"),
    }[fault.kind]
    response = emulator.error(status, code, "" if status == 504 else fault.kind)  # noqa: PLR2004 - docs#3657: no message
    if status == 429:  # noqa: PLR2004 - too many requests
        response.headers["Retry-After"] = str(int(fault.seconds or 1))
    return response


async def _spoilt(emulator: Emulator, fault: Fault, response: Response, *, mailbox: str) -> Response:
    if fault.kind == "error_in_ok":
        spoilt = emulator.error(500, "internalError", "in spite of 200")
        spoilt.status_code = 200
        return spoilt
    if fault.kind == "html":
        return Response("<html><body>Sign in</body></html>", media_type="text/html")
    if fault.kind == "empty_body":
        return Response(b"", media_type="application/json")
    body = b"".join([chunk async for chunk in _chunks(response)])
    if fault.kind == "truncated":
        return Response(body[: len(body) // 2], media_type="application/json")
    return JSONResponse(without_newest(json.loads(body), emulator.store.entries(mailbox)))


async def _chunks(response: Response) -> Any:  # noqa: ANN401 - an async iterator of bytes, whatever starlette wraps it in
    iterator = getattr(response, "body_iterator", None)
    if iterator is None:
        yield response.body
        return
    async for chunk in iterator:
        yield chunk


def _control(emulator: Emulator) -> APIRouter:
    router = APIRouter(prefix="/_control")

    @router.get("/state")
    async def state() -> dict[str, Any]:
        return {
            "provider": emulator.name,
            "calendars": {ref: list(_shown(emulator, ref)) for ref in emulator.store.calendars()},
        }

    @router.post("/events")
    async def events(action: HumanAction) -> Response:
        try:
            return JSONResponse(emulator.act(action))
        except KeyError:
            return JSONResponse({"error": f"no event {action.id} in {action.calendar}"}, status_code=404)

    @router.get("/faults")
    async def armed() -> list[dict[str, Any]]:
        return emulator.faults.armed()

    @router.post("/faults")
    async def arm(fault: Fault) -> dict[str, Any]:
        emulator.faults.arm(fault)
        return fault.model_dump()

    @router.delete("/faults")
    async def clear() -> dict[str, Any]:
        emulator.faults.clear()
        return {}

    @router.get("/requests")
    async def requests() -> dict[str, Any]:
        return {**emulator.books.as_dict(), "bad_day": emulator.faults.bad_day.as_dict()}

    _add_bad_day(router, emulator)
    _add_limits(router, emulator.books)
    return router


def _add_bad_day(router: APIRouter, emulator: Emulator) -> None:
    @router.post("/bad-day")
    async def begin(profile: Profile) -> Response:
        try:
            emulator.faults.bad_day.begin(profile)
        except KeyError as error:
            return JSONResponse({"error": f"{error.args[0]} does not suit a bad day of {emulator.name}"}, 404)
        return JSONResponse(profile.model_dump())

    @router.delete("/bad-day")
    async def end() -> dict[str, Any]:
        emulator.faults.bad_day.end()
        return emulator.faults.bad_day.as_dict()


def _add_limits(router: APIRouter, books: Books) -> None:
    @router.get("/limits")
    async def limits() -> dict[str, int]:
        return books.limits

    @router.post("/limits")
    async def limit(wanted: dict[str, PositiveInt]) -> Response:
        if unknown := sorted(wanted.keys() - books.limits.keys()):
            return JSONResponse({"error": f"no limit {unknown[0]}"}, status_code=404)
        books.limits.update(wanted)
        return JSONResponse(books.limits)


def _shown(emulator: Emulator, calendar: str) -> Iterator[dict[str, Any]]:
    for entry in emulator.store.entries(calendar):
        if not entry.deleted:
            yield {**emulator.show(calendar, entry), "created_by": entry.created_by}
