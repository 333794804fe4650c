"""A Graph for tests and the demo: the default calendars of any mailboxes, with Graph's habits and its lies.

Faults beyond the common ones: ``expired_cursor`` (410), ``expired_cursor_40x``, ``duplicate_rows``, ``stub_rows``,
``drop_deletion``, ``series_as_master`` (of a deleted series no occurrence is told), ``endless_pages``, ``big_pages``,
``malformed_row`` (null start.dateTime in a listing), ``duplicate_transaction_400``, ``duplicate_transaction_409``, ``duplicate_transaction_echo``,
``duplicate_transaction_without_id``, ``transient_412``, ``delayed_visibility`` (a new event is unseen for ``seconds``),
``lost_push``, ``repeated_push``, ``lost_subscription`` (ended without a word), ``revoked_secret`` (the token endpoint
answers 401), ``expired_tokens``, ``false_removal``, ``omitted_series``, ``next_link_504``, ``custom_zone``,
``zoneless_mailbox`` (400 unless a zone is preferred), ``doubled_create``, ``other_event`` (a POST answers with another
event), ``schedule_error`` (inside 200), ``schedule_silence`` (a mailbox is left out). docs/lies.md says which is whose.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from providers.emulation import Books, Entry, Fault, Faults, HumanAction, Store
from providers.outlook import emulated_delta as delta
from providers.outlook import emulated_events as events
from providers.outlook import emulated_push as push
from providers.outlook.emulated_badday import KINDS
from providers.outlook.emulated_events import GraphError
from providers.outlook.emulated_limits import LIMITS, TOKEN_SECONDS, Throttle, Tokens, openid_configuration
from providers.outlook.emulated_mailboxes import Mailboxes, Take
from providers.outlook.emulated_person import body_of
from providers.outlook.emulated_query import MOST_ROWS, PAGE_ROWS, Asked, canonical
from providers.outlook.emulated_schedule import schedules


class _GraphRoute(APIRoute):
    """Answers a GraphError with Graph's error body."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except GraphError as error:
                return _error(error)

        return answer


class OutlookEmulator:
    """A ``providers.emulation.Emulator``. A calendar's key is the mailbox address in lower case."""

    name = "outlook"
    missing = "ErrorItemNotFound"

    def __init__(self, *, journal: Path | None = None) -> None:
        self.store = Store(journal)
        self.faults = Faults(KINDS)
        self.books = Books(limits=dict(LIMITS))
        self._mailboxes = Mailboxes(self.store, notify=self._notify)
        self._subscriptions = push.Subscriptions()
        self._tokens = Tokens()
        self._throttle = Throttle(self.books.limits, self.books.limits_exceeded)

    def routes(self) -> APIRouter:
        router = APIRouter(route_class=_GraphRoute)
        router.add_api_route("/{tenant}/v2.0/.well-known/openid-configuration", self._openid, methods=["GET"])
        router.add_api_route("/{tenant}/oauth2/v2.0/token", self._token, methods=["POST"], response_model=None)
        table: list[tuple[str, str, Callable[..., Any]]] = [
            ("POST", "/users/{user}/events", self._create),
            ("GET", "/users/{user}/events", self._list),
            ("GET", "/users/{user}/events/{event_id}", self._get),
            ("PATCH", "/users/{user}/events/{event_id}", self._patch),
            ("DELETE", "/users/{user}/events/{event_id}", self._delete),
            ("POST", "/users/{user}/events/{event_id}/cancel", self._cancel),
            ("GET", "/users/{user}/events/{event_id}/instances", self._instances),
            ("GET", "/users/{user}/calendarView", self._view),
            ("GET", "/users/{user}/calendarView/delta", self._delta),
            ("POST", "/users/{user}/getSchedule", self._schedule),
            ("POST", "/subscriptions", self._subscribe),
            ("GET", "/subscriptions", self._list_subscriptions),
            ("GET", "/subscriptions/{subscription_id}", self._get_subscription),
            ("PATCH", "/subscriptions/{subscription_id}", self._renew),
            ("DELETE", "/subscriptions/{subscription_id}", self._unsubscribe),
        ]
        for method, path, handler in table:
            router.add_api_route(
                f"/v1.0{path}", handler, methods=[method], response_model=None, dependencies=[Depends(self._admit)]
            )
        return router

    def mailbox_of(self, request: Request) -> str:
        """The mailbox in the path. This is the first look at a request, so it also settles the spelling of its path."""
        segments = canonical(request.scope["path"])
        request.scope["path"] = "/".join(segments)
        return segments[3].lower() if segments[1:3] == ["v1.0", "users"] and len(segments) > 3 else ""  # noqa: PLR2004

    def act(self, action: HumanAction) -> dict[str, Any]:
        mailbox, body, raw = action.calendar.lower(), body_of(action.event), action.raw or {}
        if action.action == "create":
            data = self._mailboxes.type_in(mailbox, body, raw=raw)
        elif action.action == "delete":
            data = self._mailboxes.throw_away(mailbox, action.id or "")
        else:
            data = self._mailboxes.retype(mailbox, action.id or "", body, raw=raw)
        return events.shown(data)

    def show(self, calendar: str, entry: Entry) -> dict[str, Any]:  # noqa: ARG002 - the protocol's
        return events.shown(entry.data)

    def error(self, status: int, code: str, message: str) -> Response:
        return _error(GraphError(status, code, message))

    # Tokens and limits

    async def _openid(self, tenant: str) -> dict[str, str]:
        return openid_configuration(tenant)

    async def _token(self, request: Request) -> Response:
        form = parse_qs((await request.body()).decode())
        if "client_secret" not in form or self._taker(request)("revoked_secret"):
            description = "AADSTS7000215: Invalid client secret provided."
            return JSONResponse({"error": "invalid_client", "error_description": description}, status_code=401)
        token = {
            "token_type": "Bearer",
            "expires_in": TOKEN_SECONDS,
            "access_token": self._tokens.issue(form.get("client_id", [""])[0]),
        }
        return JSONResponse(token)

    async def _admit(self, request: Request) -> None:
        authorization = request.headers.get("Authorization", "")
        if mailbox := self.mailbox_of(request):
            self._throttle.admit(mailbox, app=self._tokens.app_of(authorization), at_once=request.state.at_once)
        if self._taker(request)("expired_tokens"):
            self._tokens.expire()
        self._tokens.require(authorization)
        self._tokens.require_right(authorization, request.method, request.scope["path"])
        if "outlook.timezone" not in _asked(request).prefer and self._taker(request)("zoneless_mailbox"):
            raise GraphError(400, "TimeZoneNotSupportedException", "A valid TimeZone value must be specified: '[]'.")

    def _taker(self, request: Request) -> Take:
        mailbox, asked = self.mailbox_of(request), f"{request.method} {request.scope['path']}"

        def take(*kinds: str) -> Fault | None:
            return self.faults.take(*kinds, calendar=mailbox, request=asked)

        return take

    # Events

    async def _create(self, user: str, request: Request) -> Response:
        body = await _body(request)
        status, data = self._mailboxes.create(user.lower(), body, take=self._taker(request))
        return _event(request, data, status=status)

    async def _get(self, user: str, event_id: str, request: Request) -> Response:
        return _event(request, self._mailboxes.get(user.lower(), event_id))

    async def _patch(self, user: str, event_id: str, request: Request) -> Response:
        body, tag = await _body(request), request.headers.get("If-Match")
        data = self._mailboxes.patch(user.lower(), event_id, body, if_match=tag, take=self._taker(request))
        return _event(request, data)

    async def _delete(self, user: str, event_id: str, request: Request) -> Response:
        tag = request.headers.get("If-Match")
        self._mailboxes.delete(user.lower(), event_id, if_match=tag, take=self._taker(request))
        return Response(status_code=204)

    async def _cancel(self, user: str, event_id: str, request: Request) -> Response:
        if not self._mailboxes.get(user.lower(), event_id).get("isOrganizer"):
            raise GraphError(400, "ErrorInvalidRequest", "You need to be an organizer to cancel a meeting.")
        self._mailboxes.delete(user.lower(), event_id, if_match=None, take=self._taker(request))
        return Response(status_code=202)

    async def _list(self, user: str, request: Request) -> Response:
        asked, found = _asked(request), self._mailboxes.live(user.lower())
        if wanted := asked.key_filter():
            found = [data for data in found if events.matches_property(data, name=wanted[0], value=wanted[1])]
        return self._rows(asked, found, take=self._taker(request))

    async def _view(self, user: str, request: Request) -> Response:
        asked = _asked(request)
        found = self._mailboxes.view(user.lower(), asked.window().window)
        found.sort(key=lambda data: json.dumps(data.get("start")))
        return self._rows(asked, found, take=self._taker(request))

    async def _instances(self, user: str, event_id: str, request: Request) -> Response:
        asked = _asked(request)
        found = self._mailboxes.occurrences(user.lower(), event_id, asked.window().window)
        return self._rows(asked, found, take=self._taker(request))

    def _rows(self, asked: Asked, found: list[dict[str, Any]], *, take: Take) -> Response:
        top, skip = min(asked.count("$top", default=PAGE_ROWS), MOST_ROWS), asked.count("$skip", default=0)
        zone, expand = asked.zone(), asked.find("$expand")
        rows = [events.shown(data, zone=zone, expand=expand) for data in found[skip : skip + top]]
        body: dict[str, Any] = {"value": delta.spoilt(rows, take=take)}
        if skip + top < len(found):
            body["@odata.nextLink"] = asked.next_page(top=top, skip=skip + top)
        return JSONResponse(body)

    async def _delta(self, user: str, request: Request) -> Response:
        mailbox, asked, take = user.lower(), _asked(request), self._taker(request)
        entries = self.store.entries(mailbox)
        upto = delta.visible_upto(entries, newest=self.store.seq(mailbox), hidden=self._mailboxes.hidden(mailbox))
        if asked.find("$skiptoken") and take("next_link_504"):
            raise GraphError(504, "UnknownError", "")  # docs#3657
        place = _place(asked, upto=upto, take=take)
        feed = self._mailboxes.feed(mailbox, place.window)
        page = delta.served(feed, place, size=asked.page_size(), zone=asked.zone(), take=take)
        name, parameter = ("deltaLink", "$deltatoken") if page.done else ("nextLink", "$skiptoken")
        link = asked.link([(parameter, page.place.token())])
        return JSONResponse({"value": delta.spoilt(page.rows, take=take), f"@odata.{name}": link})

    async def _schedule(self, request: Request) -> Response:
        rows = schedules(await _body(request), view=self._mailboxes.view, take=self._taker(request))
        return JSONResponse({"value": rows})

    # Push

    async def _subscribe(self, request: Request) -> Response:
        body = push.checked(await _body(request))
        await asyncio.to_thread(push.shake_hands, body["notificationUrl"], body.get("lifecycleNotificationUrl"))
        return JSONResponse(self._subscriptions.add(body), status_code=201)

    async def _list_subscriptions(self) -> Response:
        return JSONResponse({"value": self._subscriptions.live()})

    async def _get_subscription(self, subscription_id: str) -> Response:
        return JSONResponse(self._subscriptions.get(subscription_id))

    async def _renew(self, subscription_id: str, request: Request) -> Response:
        return JSONResponse(self._subscriptions.extend(subscription_id, await _body(request)))

    async def _unsubscribe(self, subscription_id: str) -> Response:
        self._subscriptions.remove(subscription_id)
        return Response(status_code=204)

    def _notify(self, mailbox: str, event_id: str, etag: str, change: str) -> None:
        for subscription in self._subscriptions.of(mailbox, change=change):
            if self.faults.take("lost_push", calendar=mailbox, request="PUSH"):
                continue
            if self.faults.take("lost_subscription", calendar=mailbox, request="PUSH"):  # docs-contrib#3111
                self._subscriptions.remove(subscription["id"])
                continue
            item = push.notification(subscription, mailbox=mailbox, event_id=event_id, etag=etag, change=change)
            copies = 3 if self.faults.take("repeated_push", calendar=mailbox, request="PUSH") else 1  # docs#8497
            for _ in range(copies):
                push.deliver(subscription["notificationUrl"], item)


def _error(error: GraphError) -> Response:
    inner = {"date": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}", "request-id": secrets.token_hex(16)}
    body = {"code": error.code, "message": str(error), **error.extra, "innerError": inner}
    return JSONResponse({"error": body}, status_code=error.status, headers=error.headers)


def _event(request: Request, data: dict[str, Any], *, status: int = 200) -> Response:
    asked = _asked(request)
    return JSONResponse(events.shown(data, zone=asked.zone(), expand=asked.find("$expand")), status_code=status)


def _asked(request: Request) -> Asked:
    parameters = tuple(request.query_params.multi_items())
    prefer = ", ".join(request.headers.getlist("Prefer"))
    return Asked(str(request.base_url).rstrip("/"), request.scope["path"], parameters, prefer)


def _place(asked: Asked, *, upto: int, take: Take) -> delta.Place:
    """Where in the feed a request wants to read.

    Raises:
        GraphError: no window, or a token that is lost, with the address of a new start (Graph: delta-query-overview.md).
    """
    skip, resume = asked.find("$skiptoken"), asked.find("$deltatoken")
    if not (skip or resume):
        return asked.window(upto=upto)
    place = delta.read_token(skip or resume or "")
    if take("expired_cursor"):
        fresh = asked.link([("startDateTime", place.start), ("endDateTime", place.end)])
        raise GraphError(410, "SyncStateNotFound", "Resync required.", headers={"Location": fresh})
    if take("expired_cursor_40x"):
        raise GraphError(400, "SyncStateNotFound", "The sync state generation is not found.")
    return delta.resumed(place, upto=upto) if resume else place


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise GraphError(400, "BadRequest", "Unable to read JSON request payload.")
    return body
