"""A HubSpot server for development, demo and tests: the paths, payloads, errors, limits and lies of its meetings API.

Both spellings are served, ``/crm/objects/{version}/meetings`` and ``/crm/v3/objects/meetings``. Every owner exists; a
calendar is an owner's meetings. A good token begins with ``pat-``; one that ends in ``-reader`` may not write.

Beyond the faults of every emulator it knows these. Of a page of the search: ``beyond_bounds`` (with rows that were not asked
for, out of order), ``duplicate_rows``, ``oversized_page``, ``partial_page``, ``out_of_order``, ``malformed_row`` (end is
null), ``errors_beside`` (COMPLETE with errors), ``endless_pages``. Of a write: ``late_in_search`` (the index shows it after
``seconds``, and until then finds the record by what it was), ``empty_fields`` (answered as written, nothing kept),
``other_event`` (a creation is answered with another meeting). Refusals:
``locked`` (423), ``migrating`` (477, Retry-After ``seconds``), ``burst_limit``, ``daily_limit``, ``missing_scopes``,
``version_gone`` (404 without an envelope). Of the pushes, once ``/_control/webhook`` has a target: ``lost_push``, ``duplicate_push``.
The faults of every emulator find an owner's calendar by the path alone: armed for a calendar they meet single records only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.routing import APIRoute

from providers.emulation import Books, Entry, Faults, HumanAction, Store
from providers.hubspot.emulated_account import Account, planted
from providers.hubspot.emulated_badday import KINDS
from providers.hubspot.emulated_limits import Limits
from providers.hubspot.emulated_push import Pushes
from providers.hubspot.emulated_record import (
    PROPERTIES,
    Refusal,
    archived_record,
    changed_record,
    limit_refusal,
    must_have_a_time,
    new_record,
    shown_record,
    typed_properties,
    written_properties,
)
from providers.hubspot.emulated_search import (
    MOST_RESULTS,
    must_be_valid,
    owner_asked_for,
    search_page,
    spoilt,
    without_numbers,
)

ACCOUNT = "account"  # the mailbox of requests that concern no single record

_ADDRESSES = ("/crm/objects/{version}/meetings", "/crm/{version}/objects/meetings")
_MOST_LISTED = 100
_PAGE_LIES = ("beyond_bounds", "duplicate_rows", "oversized_page", "partial_page", "out_of_order", "malformed_row")
_LIES = (*_PAGE_LIES, "errors_beside", "endless_pages")


class _NotServed(Exception):
    """The address belongs to no API version."""


class _VendorRoute(APIRoute):
    """Refusals become HubSpot's error bodies."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except _NotServed:
                return HTMLResponse("<html><body><h1>404 Not Found</h1></body></html>", status_code=404)
            except Refusal as refusal:
                return JSONResponse(refusal.body(), status_code=refusal.status, headers=refusal.headers)

        return answer


class HubSpotEmulator:
    """``providers.emulation.Emulator`` of one account."""

    name, missing = "hubspot", "OBJECT_NOT_FOUND"

    def __init__(self, *, journal: Path | None = None) -> None:
        self.store = Store(journal)
        self.faults = Faults(KINDS)
        self.books = Books()
        self.limits = Limits()
        self.most_results = MOST_RESULTS
        self.account = Account(self.store)
        self.pushes = Pushes()

    # What providers.emulation asks for

    def routes(self) -> APIRouter:
        router = APIRouter(route_class=_VendorRoute)
        router.add_api_route("/_control/webhook", self._connect, methods=["POST"], response_model=None)
        for address in _ADDRESSES:
            for method, path, handler in (
                ("GET", address, self._list),
                ("POST", address, self._create),
                ("POST", f"{address}/search", self._search),
                ("POST", f"{address}/batch/read", self._read_batch),
                ("GET", f"{address}/{{number}}", self._get),
                ("PATCH", f"{address}/{{number}}", self._change),
                ("DELETE", f"{address}/{{number}}", self._archive),
            ):
                router.add_api_route(path, handler, methods=[method], response_model=None)
        return router

    def mailbox_of(self, request: Request) -> str:
        return self.account.owner_of(request.url.path.rpartition("/")[2]) or ACCOUNT

    def show(self, calendar: str, entry: Entry) -> dict[str, Any]:  # noqa: ARG002 - the protocol's signature
        return shown_record(entry.data, sorted(PROPERTIES))

    def error(self, status: int, code: str, message: str) -> Response:
        refusal = limit_refusal("SECONDLY") if status == 429 else Refusal(status, message or code)  # noqa: PLR2004
        return JSONResponse(refusal.body(), status_code=status)

    def act(self, action: HumanAction) -> dict[str, Any]:
        stamp = self.account.stamps.next()
        if action.action == "create":
            number = int(action.id) if action.id else self.account.next_number()
            typed = {"hs_meeting_outcome": "SCHEDULED", **typed_properties(action.event)}
            record = new_record(number, {**typed, "hubspot_owner_id": action.calendar}, stamp=stamp)
        else:
            known = self.account.find(action.id or "")
            if known is None or known["archived"] or self.account.owner_of(action.id or "") != action.calendar:
                raise KeyError(action.id)
            change = action.action == "change"
            typed = typed_properties(action.event)
            record = changed_record(known, typed, stamp=stamp) if change else archived_record(known, stamp=stamp)
        record = planted(record, action.raw) if action.raw else record
        return shown_record(self._put(record, created_by="human", owner=action.calendar), sorted(PROPERTIES))

    # The API

    async def _list(self, request: Request) -> Response:
        self._enter(request)
        query = request.query_params
        archived, after, limit = _wants_archived(request), _whole(query, "after", 0), _whole(query, "limit", 10)
        if not 1 <= limit <= _MOST_LISTED:
            raise Refusal(400, f"The page size must be between 1 and {_MOST_LISTED}, was {limit}.")
        rows = [row for row in self.account.records() if row["archived"] == archived and int(row["_number"]) > after]
        page: dict[str, Any] = {"results": [shown_record(row, _names(request)) for row in rows[:limit]]}
        if len(rows) > limit:
            last = rows[limit - 1]["_number"]
            page["paging"] = {"next": {"after": last, "link": f"{request.url.path}?after={last}"}}
        return self._answer(page)

    async def _search(self, request: Request) -> Response:
        body = await _body(request)
        owner = owner_asked_for(body)
        self._enter(request, owner=owner, searching=True)
        must_be_valid(body)
        lie = self._take(*_LIES, request=request, owner=owner)
        asked = without_numbers(body) if lie == "endless_pages" else body
        rows = list(self.account.rows())
        page = search_page(asked, rows, most=self.most_results)
        strangers = [row.record for row in rows if str(row.number) not in {shown["id"] for shown in page["results"]}]
        return JSONResponse(spoilt(lie, page, body=body, strangers=strangers[::-1][:3]) if lie else page)

    async def _create(self, request: Request) -> Response:
        body = await _body(request)
        properties = written_properties(body)
        owner = properties.get("hubspot_owner_id")
        self._enter(request, owner=owner)
        must_have_a_time(properties)
        if self._take("empty_fields", request=request, owner=owner):
            properties = {"hs_timestamp": properties.get("hs_timestamp"), "hubspot_owner_id": owner}
        number = self.account.next_number()
        record = self._put(new_record(number, properties, stamp=self.account.stamps.next()), owner=owner)
        if self._take("other_event", request=request, owner=owner):
            record = self.account.records()[0]
        return self._answer(shown_record(record, properties), status=201)

    async def _get(self, request: Request, number: str) -> Response:
        self._enter(request, owner=self.account.owner_of(number))
        record = self.account.find(number)
        if record is None or record["archived"] != _wants_archived(request):
            raise Refusal(404, "resource not found")
        return self._answer(shown_record(record, _names(request)))

    async def _change(self, request: Request, number: str) -> Response:
        owner = self.account.owner_of(number)
        self._enter(request, owner=owner)
        record = self.account.get(number)
        properties = written_properties(await _body(request))
        if self._take("empty_fields", request=request, owner=owner):
            return self._answer({**shown_record(record, []), "properties": dict.fromkeys(properties)})
        changed = changed_record(record, properties, stamp=self.account.stamps.next())
        return self._answer(shown_record(self._put(changed, owner=owner), properties))

    async def _archive(self, request: Request, number: str) -> Response:
        owner = self.account.owner_of(number)
        self._enter(request, owner=owner)
        record = self.account.find(number)
        if record is None:
            raise Refusal(404, "resource not found")
        if not record["archived"]:
            self._put(archived_record(record, stamp=self.account.stamps.next()), owner=owner)
        return Response(status_code=204)

    async def _read_batch(self, request: Request) -> Response:
        self._enter(request)
        body = await _body(request)
        asked = [str(item.get("id")) for item in body.get("inputs") or []]
        found = {number: self.account.find(number) for number in asked}
        live = [record for record in found.values() if record is not None and not record["archived"]]
        missing = [number for number, record in found.items() if record is None or record["archived"]]
        now = self.account.stamps.next()
        shown = [shown_record(record, body.get("properties") or []) for record in live]
        answer = {"status": "COMPLETE", "results": shown, "startedAt": now, "completedAt": now}
        if not missing:
            return self._answer(answer)
        error = Refusal(404, "Could not get some MEETING_EVENT objects, they may be deleted or not exist.").body()
        return self._answer({**answer, "numErrors": 1, "errors": [{**error, "context": {"ids": missing}}]}, status=207)

    async def _connect(self, request: Request) -> Response:
        return JSONResponse(self.pushes.connect(await request.body()))

    # What the handlers share

    def _enter(self, request: Request, *, owner: str | None = None, searching: bool = False) -> None:
        """Raises: Refusal if this token may not do this, or the account is too fast, or a fault is armed."""
        if self._take("version_gone", request=request, owner=owner):
            raise _NotServed
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.startswith("pat-"):
            raise Refusal(401, "Authentication credentials not found. This API supports OAuth 2.0 authentication.")
        writes = request.method in ("PATCH", "DELETE") or request.url.path.endswith("/meetings")
        forbidden = request.method != "GET" and writes and token.endswith("-reader")
        if forbidden or self._take("missing_scopes", request=request, owner=owner):
            message = "This app hasn't been granted all required scopes to make this call."
            raise Refusal(403, message, category="MISSING_SCOPES", errors=[{"message": message}])
        self._refuse_by_fault(request, owner=owner)
        policy = self.limits.exceeded(searching=searching)
        if policy is not None:
            self.books.limits_exceeded[policy] += 1
            raise limit_refusal(policy)

    def _refuse_by_fault(self, request: Request, *, owner: str | None) -> None:
        if self._take("burst_limit", request=request, owner=owner):
            raise limit_refusal("TEN_SECONDLY_ROLLING")
        if self._take("daily_limit", request=request, owner=owner):
            raise limit_refusal("DAILY")
        if self._take("locked", request=request, owner=owner):
            raise Refusal(423, "The resource is locked.")
        if fault := self.faults.take("migrating", calendar=owner, request=_asked(request)):
            refusal = Refusal(477, "The account is being migrated to another location.")
            refusal.headers["Retry-After"] = str(int(fault.seconds or 1))
            raise refusal

    def _take(self, *kinds: str, request: Request, owner: str | None) -> str | None:
        fault = self.faults.take(*kinds, calendar=owner, request=_asked(request))
        return fault.kind if fault else None

    def _put(self, record: dict[str, Any], *, owner: str | None, created_by: str = "app") -> dict[str, Any]:
        late = self.faults.take("late_in_search", calendar=owner)
        before = self.account.find(str(record["_number"]))
        if not self.faults.take("lost_push", calendar=owner):
            self.pushes.tell(before, record, times=2 if self.faults.take("duplicate_push", calendar=owner) else 1)
        return self.account.put(record, created_by=created_by, late=(late.seconds or 1.0) if late else 0.0)

    def _answer(self, body: dict[str, Any], *, status: int = 200) -> Response:
        return JSONResponse(body, status_code=status, headers=self.limits.headers())


def _names(request: Request) -> list[str]:
    """Separated by commas, as documented, or repeated, as HubSpot's own library sends them."""
    return [name for value in request.query_params.getlist("properties") for name in value.split(",") if name]


def _wants_archived(request: Request) -> bool:
    return request.query_params.get("archived", "").lower() == "true"


def _whole(query: Mapping[str, str], name: str, otherwise: int) -> int:
    value = query.get(name) or str(otherwise)
    if not value.isdecimal():
        raise Refusal(400, f"Invalid value for {name}.")
    return int(value)


def _asked(request: Request) -> str:
    return f"{request.method} {request.url.path}"


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body() or b"{}")
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Refusal(400, "Invalid input JSON")
    return body
