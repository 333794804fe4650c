"""A Google Calendar v3 server for development, demo and tests: Google's paths, payloads, errors, tokens, limits and push.

Beyond the faults of every emulator it knows: ``expired_cursor`` (410), ``duplicate_rows``, ``empty_page``,
``no_sync_token``, ``no_tombstones`` (in a full read), ``cancelled_rows``, ``endless_pages``, ``malformed_row`` (start is null), ``partial_page`` (half the rows, no token),
``rate_limited_403``, ``quota_exceeded``, ``limits_as_429`` (while armed), ``invalid_grant``, ``transient_412``,
``delayed_visibility`` (a new event shows after ``seconds``), ``hidden_calendar`` (404), ``freebusy_error`` (inside 200),
``lost_push``, ``duplicate_push``, ``other_event`` (an insert answers with another event), ``series_as_master`` (a list
names series in place of instances).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from providers.emulation import Books, Entry, Fault, Faults, HumanAction, Store
from providers.google.emulated_badday import KINDS
from providers.google.emulated_calendars import Calendars, shown_instances
from providers.google.emulated_event import Refusal
from providers.google.emulated_feed import LIES, asked_window, is_endless, is_expanded, list_page, spoilt
from providers.google.emulated_freebusy import asked_window as asked_busy_window
from providers.google.emulated_freebusy import busy_times, refused
from providers.google.emulated_limits import LIMITS, Limits
from providers.google.emulated_push import Channels
from providers.google.emulated_series import Row, as_series
from providers.google.emulated_token import GrantRefusal, Tokens, is_revoked, make_service_account, subject_of_grant

BASE = "/calendar/v3"

__all__ = ["GoogleEmulator", "make_service_account"]


class _VendorRoute(APIRoute):
    """Refusals become Google's error bodies."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except (Refusal, GrantRefusal) as refusal:
                return JSONResponse(refusal.body(), status_code=getattr(refusal, "status", 400))

        return answer


class GoogleEmulator:
    """``providers.emulation.Emulator``. Every calendar exists, and belongs to the person whose address is its id."""

    name, missing = "google", "notFound"

    def __init__(self, *, journal: Path | None = None) -> None:
        self.store = Store(journal)
        self.faults = Faults(KINDS)
        self.books = Books(limits=dict(LIMITS))
        self._tokens = Tokens()
        self._channels = Channels()
        self._limits = Limits(self.books.limits)
        self._calendars = Calendars(self.store, notify=self._notify)

    # What providers.emulation asks for

    def routes(self) -> APIRouter:
        router = APIRouter(route_class=_VendorRoute)
        events = f"{BASE}/calendars/{{calendar}}/events"
        for method, path, handler in (
            ("POST", "/token", self._token),
            ("GET", events, self._list),
            ("POST", events, self._insert),
            ("POST", f"{events}/watch", self._watch),
            ("GET", f"{events}/{{event_id}}", self._get),
            ("PUT", f"{events}/{{event_id}}", self._change),
            ("PATCH", f"{events}/{{event_id}}", self._change),
            ("DELETE", f"{events}/{{event_id}}", self._delete),
            ("GET", f"{events}/{{event_id}}/instances", self._instances),
            ("POST", f"{BASE}/channels/stop", self._stop),
            ("POST", f"{BASE}/freeBusy", self._free_busy),
        ):
            router.add_api_route(path, handler, methods=[method], response_model=None)
        return router

    def mailbox_of(self, request: Request) -> str:
        path = request.url.path
        if path.startswith(f"{BASE}/calendars/"):
            name = path.removeprefix(f"{BASE}/calendars/").rpartition("/events")[0].lower()
            return name if name != "primary" else self._tokens.subject_of(_bearer(request)) or name
        return self._tokens.subject_of(_bearer(request)) or ""

    def show(self, calendar: str, entry: Entry) -> dict[str, Any]:  # noqa: ARG002 - the protocol's signature
        return entry.data

    def error(self, status: int, code: str, message: str) -> Response:
        return JSONResponse(Refusal(status, code, message).body(), status_code=status)

    def act(self, action: HumanAction) -> dict[str, Any]:
        return self._calendars.act(action.calendar.lower(), action)

    # The API

    async def _token(self, request: Request) -> Response:
        subject, read_only = subject_of_grant((await request.body()).decode())
        if self.faults.take("invalid_grant", calendar=subject):
            raise GrantRefusal("invalid_grant", "Invalid email or User ID")
        return JSONResponse(self._tokens.issue(subject, read_only=read_only))

    async def _list(self, request: Request, calendar: str) -> Response:
        calendar = self._enter(request, calendar)
        query = {name: request.query_params.getlist(name) for name in request.query_params}
        if "syncToken" in query and self._take("expired_cursor", request=request):
            message = "Sync token is no longer valid, a full sync is required."
            raise Refusal(410, "fullSyncRequired", message, domain="calendar", location="syncToken")
        stored, seq = self._calendars.visible(calendar)
        rows: Sequence[Row] = as_series(stored)
        if is_expanded(query) and not self._take("series_as_master", request=request):
            rows = self._calendars.expanded(calendar, stored, window=asked_window(query))
        page = list_page(query, rows, seq=seq)
        lie = "endless_pages" if is_endless(query) else self._take(*LIES, request=request)
        return JSONResponse(spoilt(lie, page, query=query, seq=seq) if lie else page)

    async def _get(self, request: Request, calendar: str, event_id: str) -> Response:
        entry = self._calendars.find(self._enter(request, calendar), event_id)
        if request.headers.get("If-None-Match") == entry.data["etag"]:
            return Response(status_code=304)
        return _event(entry.data)

    async def _instances(self, request: Request, calendar: str, event_id: str) -> Response:
        query = {name: request.query_params.getlist(name) for name in request.query_params}
        window = asked_window(query)
        return JSONResponse(
            shown_instances(self._calendars.instances_of(self._enter(request, calendar), event_id, window=window))
        )

    async def _insert(self, request: Request, calendar: str) -> Response:
        calendar = self._enter(request, calendar)
        others = [entry.data for entry in self.store.entries(calendar) if not entry.deleted]
        stored = self._calendars.insert(calendar, await _body(request), take=self._taker(request))
        return _event(others[0] if others and self._take("other_event", request=request) else stored)

    async def _change(self, request: Request, calendar: str, event_id: str) -> Response:
        calendar = self._enter(request, calendar)
        body, tag = await _body(request), request.headers.get("If-Match")
        data = self._calendars.change(calendar, event_id, body, how=request.method, tag=tag, take=self._taker(request))
        return _event(data)

    async def _delete(self, request: Request, calendar: str, event_id: str) -> Response:
        calendar = self._enter(request, calendar)
        self._calendars.delete(calendar, event_id, tag=request.headers.get("If-Match"), take=self._taker(request))
        return Response(status_code=204)

    async def _watch(self, request: Request, calendar: str) -> Response:
        calendar = self._enter(request, calendar)
        uri = str(request.url).replace("/watch", "")
        return JSONResponse(self._channels.open(calendar, await _body(request), uri=uri))

    async def _stop(self, request: Request) -> Response:
        self._enter(request, None)
        self._channels.stop(await _body(request))
        return Response(status_code=204)

    async def _free_busy(self, request: Request) -> Response:
        subject = self._enter(request, None)
        body = await _body(request)
        window = asked_busy_window(body)
        broken = self._take("freebusy_error", request=request)
        calendars = {}
        for ref in (item["id"] for item in body.get("items", [])):
            if broken or ref.lower() != subject:
                calendars[ref] = refused(reason="internalError" if broken else "notFound")
            else:
                calendars[ref] = busy_times(self._calendars.live(subject, window=window), window=window)
        times = {"timeMin": body["timeMin"], "timeMax": body["timeMax"]}
        return JSONResponse({"kind": "calendar#freeBusy", **times, "calendars": calendars})

    # What the handlers share

    def _enter(self, request: Request, calendar: str | None) -> str:
        """The calendar's key if this token may see it and is not too fast; without a calendar, the person.

        Raises:
            Refusal: 401, 403, 404 or 429.
        """
        subject = self._tokens.subject_of(_bearer(request))
        if subject is None or is_revoked(self.faults, subject):
            raise Refusal(401, "authError", "Invalid Credentials")
        if not self._tokens.has_right(_bearer(request), request.method, request.url.path):
            raise Refusal(403, "insufficientPermissions", "Insufficient Permission: Request had insufficient scopes.")
        self._must_be_within_limits(subject, request=request)
        key = subject if calendar in (None, "primary") else str(calendar).lower()
        if key != subject or self._take("hidden_calendar", request=request):
            raise Refusal(404, "notFound", "Not Found")
        return key

    def _must_be_within_limits(self, subject: str, *, request: Request) -> None:
        if self._take("rate_limited_403", request=request):
            raise Refusal(403, "userRateLimitExceeded", "User Rate Limit Exceeded", domain="usageLimits")
        if self._take("quota_exceeded", request=request):
            raise Refusal(403, "quotaExceeded", "Calendar usage limits exceeded.", domain="usageLimits")
        if reason := self._limits.refuse(subject):
            self.books.limits_exceeded[reason] += 1
            status = 429 if self._take("limits_as_429", request=request) else 403
            raise Refusal(status, reason, "Rate Limit Exceeded", domain="usageLimits")

    def _take(self, *kinds: str, request: Request) -> str | None:
        fault = self._taker(request)(*kinds)
        return fault.kind if fault else None

    def _taker(self, request: Request) -> Callable[..., Fault | None]:
        asked = f"{request.method} {request.url.path}"
        return functools.partial(self.faults.take, calendar=self.mailbox_of(request), request=asked)

    def _notify(self, calendar: str) -> None:
        if not self.faults.take("lost_push", calendar=calendar):
            self._channels.notify(calendar, times=2 if self.faults.take("duplicate_push", calendar=calendar) else 1)


def _event(data: dict[str, Any]) -> Response:
    return JSONResponse(data, headers={"ETag": str(data.get("etag"))})


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body() or b"{}")
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Refusal(400, "parseError", "Parse Error")
    return body


def _bearer(request: Request) -> str:
    return request.headers.get("Authorization", "")
