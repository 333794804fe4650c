"""Who asks: a bearer token with scopes, or a program of this machine where the API is open (``workers.web.loopback``).

A route's scope is asked for before its body is read. A token is looked up once in ``REMEMBERED_SECONDS``, so a revoked one
works no longer than that; what is not even written like a token costs nothing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from models.session import transaction
from sync.errors import Malformed
from sync.tokens import Scope, TokenRecord, digest_of, find_token, is_token
from workers.app import runtime, settings
from workers.web.loopback import is_from_here
from workers.web.rates import Rate, connected

REMEMBERED_SECONDS = 2.0
REMEMBERED = 1_000  # tokens

bearer = HTTPBearer(
    auto_error=False, description="`Authorization: Bearer wt_…`, made by `watertight tokens create`; docs/api.md."
)
Handler = Callable[[Request], Coroutine[Any, Any, Response]]

_known: dict[str, tuple[float, TokenRecord]] = {}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. Without a token: a program of this machine, which may do everything."""

    token: TokenRecord | None

    def may(self, scope: Scope) -> bool:
        return self.token is None or scope in self.token.scopes

    def key(self, key: str) -> str:
        """The caller's idempotency key, which meets no other caller's.

        Raises:
            Malformed: it looks like another's.
        """
        if self.token is not None:
            return f"t{self.token.id}:{key}"
        if re.match(r"t\d+:", key):
            raise Malformed("idempotency-key", "may not begin like a token's: t, a number and a colon")
        return key


def caller_of(request: Request) -> Caller:
    """Whom the route let in."""
    caller: Caller = request.state.caller
    return caller


CallerOf = Annotated[Caller, Depends(caller_of)]


def guarded(scope: Scope) -> type[APIRoute]:
    """The kind of route that only callers with this scope get through."""

    class Guarded(APIRoute):
        def get_route_handler(self) -> Handler:
            return _guard(super().get_route_handler(), scope)

    return Guarded


def _guard(handle: Handler, scope: Scope) -> Handler:
    async def handler(request: Request) -> Response:
        caller, rate = await admit(request, scope)
        request.state.caller = caller
        response = await handle(request)
        if rate is not None:
            response.headers.update(rate.headers())
        return response

    return handler


async def admit(request: Request, scope: Scope) -> tuple[Caller, Rate | None]:
    """Who asks, and what is left of the token's rate.

    Raises:
        HTTPException: 401, 403 or 429.
    """
    caller = await _identify(request)
    if not caller.may(scope):
        raise HTTPException(403, f"this token has not the scope {scope}")
    return caller, await _count(caller)


async def _identify(request: Request) -> Caller:
    header = request.headers.get("authorization")
    if header is None and settings().api_open and is_from_here(request):
        return Caller(None)
    scheme, _, token = (header or "").partition(" ")
    found = await _find(token.strip()) if scheme.lower() == "bearer" else None
    if found is None:
        detail = (
            "a token is needed: Authorization: Bearer …" if header is None else "this is no token, or it was revoked"
        )
        raise HTTPException(401, detail, {"WWW-Authenticate": "Bearer"})
    return Caller(found)


async def _find(token: str) -> TokenRecord | None:
    if not is_token(token):
        return None
    digest = digest_of(token)
    until, known = _known.get(digest, (0.0, None))
    if known is not None and time.monotonic() < until:
        return known
    found = await run_in_threadpool(_look_up, token)
    _known.pop(digest, None)
    if found is not None:
        if len(_known) >= REMEMBERED:
            _known.clear()
        _known[digest] = (time.monotonic() + REMEMBERED_SECONDS, found)
    return found


def _look_up(token: str) -> TokenRecord | None:
    with transaction(runtime().sessions) as session:
        return find_token(session, token)


async def _count(caller: Caller) -> Rate | None:
    """One more request of this token.

    Raises:
        HTTPException: 429; it was one too many.
    """
    if caller.token is None:
        return None
    rate = await run_in_threadpool(connected().take, f"token-{caller.token.id}", caller.token.per_minute)
    if not rate.taken:
        raise HTTPException(429, f"this token may send {rate.most} requests a minute", rate.headers())
    return rate
