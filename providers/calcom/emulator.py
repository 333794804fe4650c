"""A Cal.com API v2 server for development, demo and tests: Cal.com's paths, payloads, errors, keys and limits.

A key ``cal_test_REMOTE`` is that host's own, any other ``cal_…`` an administrator's, who sees everybody; one that ends in
``-reader`` may not write. An event type is its owner's (``event_types``), else the key's.

Beyond the faults of every emulator it knows, in lists: ``page_too_large``, ``page_loop`` (every page is the first),
``partial_page`` (half the rows), ``empty_page``, ``duplicate_rows``, ``malformed_row`` (start is null), ``missing_id``
(44), ``late_row`` (the newest is left out), ``odd_spelling`` (``+00:00``), ``free_order`` (later pages order rows of one
moment otherwise), ``rows_shift`` (while paging, the first row changes and goes to the end), ``row_vanishes`` (while
paging, it is cancelled). Anywhere: ``older_shape`` (in spite of the version header), ``expired_key`` (498). In writes:
``reschedule_without_successor`` (42: the old booking does not name the new one), ``successor_without_origin`` (43: nor
the new one the old), ``booked_despite_error`` (45: done, and answered with 400), ``double_booking`` (46: a taken time is
not refused), ``write_without_effect`` (200, and nothing done), ``null_updated`` (a new booking has no ``updatedAt``), ``other_event`` (one is answered with another).
Numbers are rows of the provider facts. People may book a taken time: whether a calendar honours others is what the product
is for. Webhooks are called once, with ``lost_push`` never. ``late_in_lists``, which goes by ``id``, has no effect: ``late_row`` has.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from providers.calcom.emulated_badday import KINDS
from providers.calcom.emulated_booking import (
    TAKEN,
    Booking,
    Refusal,
    length_of,
    must_be_cancellable,
    must_be_movable,
    must_be_pending,
    new_uid,
    older_shape,
    read_time,
    told_about,
)
from providers.calcom.emulated_diary import Diary
from providers.calcom.emulated_hooks import Hooks
from providers.calcom.emulated_limits import Limits
from providers.calcom.emulated_list import PAGE_LIES, list_page, spoilt_booking
from providers.calcom.emulated_person import typed_body
from providers.emulation import Books, Entry, Faults, HumanAction, Store

BASE, HOOKS = "/v2/bookings", "/v2/webhooks"
VERSION = "2024-08-13"
REQUESTS_PER_MINUTE = 120  # for one key

_OWN_KEY = "cal_test_"
_READER = "-reader"


class _VendorRoute(APIRoute):
    """Refusals become Cal.com's error bodies."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except Refusal as refusal:
                body = refusal.body(request.url.path)
                return JSONResponse(body, status_code=refusal.status, headers=refusal.headers)

        return answer


class CalcomEmulator:
    """``providers.emulation.Emulator``. Every host exists; a calendar is the bookings of one."""

    name, missing = "calcom", "NotFoundException"

    def __init__(self, *, journal: Path | None = None) -> None:
        self.store = Store(journal)
        self.faults = Faults(KINDS)
        self.books = Books()
        self.requests_per_minute = REQUESTS_PER_MINUTE
        self.event_types: dict[int, str] = {}
        self.now: Callable[[], datetime] = lambda: datetime.now(UTC)  # by which a booking is upcoming or past
        self._limits = Limits()
        self._hooks = Hooks()
        self._diary = Diary(self.store, lies=self._lies, tell=self._hooks.tell)

    # What providers.emulation asks for

    def routes(self) -> APIRouter:
        router = APIRouter(route_class=_VendorRoute)
        for method, path, handler in (
            ("GET", BASE, self._list),
            ("POST", BASE, self._create),
            ("GET", f"{BASE}/{{uid}}", self._get),
            ("POST", f"{BASE}/{{uid}}/reschedule", self._reschedule),
            ("POST", f"{BASE}/{{uid}}/cancel", self._cancel),
            ("POST", f"{BASE}/{{uid}}/confirm", self._confirm),
            ("POST", f"{BASE}/{{uid}}/decline", self._decline),
            ("POST", HOOKS, self._open_hook),
            ("PATCH", f"{HOOKS}/{{name}}", self._change_hook),
            ("DELETE", f"{HOOKS}/{{name}}", self._change_hook),
        ):
            router.add_api_route(path, handler, methods=[method], response_model=None)
        return router

    def mailbox_of(self, request: Request) -> str:
        """The host of the key; of an administrator's, the host of the booking that is asked for."""
        uid = request.url.path.removeprefix(f"{BASE}/").partition("/")[0]
        return _host_of_key(_bearer(request)) or self._diary.owner(uid) or ""

    def show(self, calendar: str, entry: Entry) -> Booking:  # noqa: ARG002 - the protocol's signature
        return entry.data

    def error(self, status: int, code: str, message: str) -> Response:
        return JSONResponse(Refusal(status, code, message).body(BASE), status_code=status)

    def act(self, action: HumanAction) -> Booking:
        """As the guest or the host: book, move (which makes a new booking), cancel.

        ``busy: false`` books what the host has still to confirm. Without a time, the booking changes in place.
        """
        calendar = action.calendar.lower()
        if action.action == "create":
            return self._act_create(calendar, action)
        entry = self.store.get(calendar, action.id or "")
        if entry is None or entry.deleted:
            raise KeyError(action.id)
        if action.action == "delete":
            return self._diary.end(calendar, entry.id, entry.data, reason="Something came up")
        if action.event.start or action.event.end:
            start = action.event.start or read_time(entry.data["start"])
            end = action.event.end or start + length_of(entry.data)
            return self._diary.move(calendar, entry.id, entry.data, start=start, end=end, raw=action.raw)
        title = {"title": action.event.title} if action.event.title is not None else {}
        return self._diary.change(calendar, entry.id, entry.data, **title, **(action.raw or {}))

    def _act_create(self, calendar: str, action: HumanAction) -> Booking:
        booking = self._diary.draft(calendar, typed_body(action.event))
        named = {"uid": action.id} if action.id else {}
        booking = {**booking, **named, **(action.raw or {})}
        return self._diary.book(calendar, booking, name=booking["uid"] or new_uid(), created_by="human")

    # The API

    async def _list(self, request: Request) -> Response:
        host, now = self._enter(request), self.now()
        query = dict(request.query_params)
        if query.get("skip", "0") != "0" and (kind := self._take("rows_shift", "row_vanishes", request=request)):
            self._diary.disturb(query, host, now=now, cancelling=kind == "row_vanishes")
        lie = self._take(*PAGE_LIES, request=request)
        page = list_page(query, self._diary.bookings(host), now=now, lie=lie)
        if self._is_older(request):
            rows = [older_shape(row) for row in page["data"]]
            page = {"status": "success", "data": {"bookings": rows, "recurringInfo": [], "nextCursor": None}}
        return JSONResponse(page)

    async def _get(self, request: Request, uid: str) -> Response:
        self._enter(request)
        if series := self._diary.series(uid):
            return JSONResponse({"status": "success", "data": series})
        return self._answer(request, self._diary.find(uid)[1])

    async def _create(self, request: Request) -> Response:
        host = self._enter(request, writing=True)
        body = await _body(request)
        owner = self.event_types.get(body.get("eventTypeId", 0)) or host
        if owner is None:
            raise Refusal(404, "NotFoundException", f"Event type with id {body.get('eventTypeId')} not found.")
        booking = self._diary.draft(owner.lower(), body)
        start, end = read_time(booking["start"]), read_time(booking["end"])
        self._diary.must_be_free(owner.lower(), start=start, end=end)
        if not self._take("write_without_effect", request=request):
            self._diary.book(owner.lower(), booking)
        if self._take("other_event", request=request):
            booking = self._diary.bookings(owner.lower())[0]
        return self._done(request, booking, status=201)

    async def _reschedule(self, request: Request, uid: str) -> Response:
        self._enter(request, writing=True)
        calendar, old = self._diary.find(uid)
        body = await _body(request)
        start = read_time(body.get("start"))
        end = start + length_of(old)
        must_be_movable(old)
        self._diary.must_be_free(calendar, start=start, end=end, but=uid)
        if self._take("write_without_effect", request=request):
            return self._done(request, old, status=201)
        new = self._diary.move(calendar, uid, old, start=start, end=end, raw=told_about(body))
        return self._done(request, new, status=201)

    async def _cancel(self, request: Request, uid: str) -> Response:
        self._enter(request, writing=True)
        calendar, old = self._diary.find(uid)
        reason = (await _body(request)).get("cancellationReason")
        must_be_cancellable(old, reason=reason)
        if self._take("write_without_effect", request=request):
            return self._done(request, old)
        return self._done(request, self._diary.end(calendar, uid, old, reason=reason))

    async def _confirm(self, request: Request, uid: str) -> Response:
        self._enter(request, writing=True)
        calendar, old = self._diary.find(uid)
        must_be_pending(old)
        return self._done(request, self._diary.change(calendar, uid, old, status="accepted"))

    async def _decline(self, request: Request, uid: str) -> Response:
        self._enter(request, writing=True)
        calendar, old = self._diary.find(uid)
        must_be_pending(old)
        reason = (await _body(request)).get("reason")
        return self._done(request, self._diary.end(calendar, uid, old, reason=reason, status="rejected"))

    async def _open_hook(self, request: Request) -> Response:
        owner = self._enter(request, writing=True)
        hook = self._hooks.open(await _body(request), owner=owner)
        return JSONResponse({"status": "success", "data": hook}, status_code=201)

    async def _change_hook(self, request: Request, name: str) -> Response:
        self._enter(request, writing=True)
        body = None if request.method == "DELETE" else await _body(request)
        return JSONResponse({"status": "success", "data": self._hooks.change(name, body)})

    # What the handlers share

    def _enter(self, request: Request, *, writing: bool = False) -> str | None:
        """The host whose key this is, None for an administrator's.

        Raises:
            Refusal: 401, 403, 429 or 498.
        """
        token = _bearer(request)
        if not token.startswith("cal_"):
            raise Refusal(401, "UnauthorizedException", "ApiAuthStrategy - api key - Your api key is not valid")
        if self._take("expired_key", request=request):
            raise Refusal(498, "TokenExpiredException", "ApiAuthStrategy - access token - Access token is expired")
        if writing and token.endswith(_READER):
            message = "PermissionsGuard - user with oAuth client does not have the required permissions: BOOKING_WRITE"
            raise Refusal(403, "ForbiddenException", message)
        self._must_be_within_limits(token)
        return _host_of_key(token)

    def _must_be_within_limits(self, token: str) -> None:
        wait = self._limits.wait(token, most=self.requests_per_minute)
        if wait is None:
            return
        self.books.limits_exceeded["requests_per_minute"] += 1
        refusal = Refusal(429, "ThrottlerException", "ThrottlerException: Too Many Requests")
        resets = datetime.now(UTC) + timedelta(seconds=wait + 1)
        refusal.headers = {
            "X-RateLimit-Limit-Default": str(self.requests_per_minute),
            "X-RateLimit-Remaining-Default": "0",
        }
        refusal.headers["X-RateLimit-Reset-Default"] = str(int(resets.timestamp()))
        raise refusal

    def _take(self, *kinds: str, request: Request) -> str | None:
        asked = f"{request.method} {request.url.path}"
        fault = self.faults.take(*kinds, calendar=self.mailbox_of(request), request=asked)
        return fault.kind if fault else None

    def _is_older(self, request: Request) -> bool:
        asked = request.headers.get("cal-api-version")
        return asked != VERSION or self._take("older_shape", request=request) is not None

    def _answer(self, request: Request, booking: Booking, *, status: int = 200) -> Response:
        spoilt = spoilt_booking(booking, self._take("missing_id", "odd_spelling", request=request))
        shown = older_shape(booking) if self._is_older(request) else spoilt
        return JSONResponse({"status": "success", "data": shown}, status_code=status)

    def _done(self, request: Request, booking: Booking, *, status: int = 200) -> Response:
        if self._take("booked_despite_error", request=request):
            raise Refusal(400, "BadRequestException", TAKEN)
        return self._answer(request, booking, status=status)

    def _lies(self, kind: str, calendar: str) -> bool:
        return self.faults.take(kind, calendar=calendar) is not None


def _host_of_key(token: str) -> str | None:
    if not token.startswith(_OWN_KEY):
        return None
    return token.removeprefix(_OWN_KEY).removesuffix(_READER).lower() or None


async def _body(request: Request) -> Booking:
    try:
        body = json.loads(await request.body() or b"{}")
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Refusal(400, "BadRequestException", "The body is not a JSON object")
    return body


def _bearer(request: Request) -> str:
    return request.headers.get("Authorization", "").removeprefix("Bearer ")
