"""Who may see and do what in the console: nobody without signing in, on loopback neither.

Every route says by its class what it asks for first. A change is a POST of a form that we made for this login, from a page
of ours: three things that another site cannot have at once.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, quote

import structlog
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from models.session import transaction
from sync.actions import Actor
from sync.errors import Malformed, NotFound
from sync.users import LONGEST_LOGIN, UserRecord, find_login
from workers.app import runtime, settings
from workers.web.rendering import HEADERS, render
from workers.web.requests import content_type
from workers.web.visitors import is_from_our_page, read_body

HOME = "/console"
SIGN_IN = f"{HOME}/sign-in"
LOGIN = "console"
PURPOSE = b"a form of the console"

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Check = Callable[[Request], Coroutine[Any, Any, Response | None]]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Visit:
    """A browser that has signed in. ``token`` stands in every form that is made for it."""

    user: UserRecord
    secret: str

    @property
    def token(self) -> str:
        return token_for(self.secret)

    @property
    def actor(self) -> Actor:
        return Actor(self.user.name, "console")


def visit_of(request: Request) -> Visit:
    """Whom the route let in."""
    visit: Visit = request.state.visit
    return visit


def form_of(request: Request) -> Mapping[str, str]:
    """What was sent with the form that the route let in."""
    form: Mapping[str, str] = request.state.form
    return form


def token_for(secret: str) -> str:
    """What proves that a form was made for whoever has this secret, and does not tell it."""
    return hmac.new(secret.encode(), PURPOSE, hashlib.sha256).hexdigest()


def cookie_name(name: str) -> str:
    """Over https browsers themselves hold that it is ours alone and never travels in the clear."""
    return f"__Host-{name}" if _is_https() else f"watertight-{name}"


def set_cookie(response: Response, name: str, value: str) -> None:
    """Of this host alone, unseen by scripts, and not sent along from other sites."""
    secure = _is_https()
    response.set_cookie(
        cookie_name(name),
        value,
        max_age=int(LONGEST_LOGIN.total_seconds()),
        path="/" if secure else HOME,  # a browser keeps __Host- only with /; other ports of a host share its cookies
        secure=secure,
        httponly=True,
        samesite="strict",
    )


def delete_cookie(response: Response, name: str) -> None:
    secure = _is_https()
    path = "/" if secure else HOME
    response.delete_cookie(cookie_name(name), path=path, secure=secure, httponly=True, samesite="strict")


def _is_https() -> bool:
    return settings().public_url.startswith("https://")


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form, each once.

    Raises:
        HTTPException: 413 or 415.
    """
    if content_type(request) != "application/x-www-form-urlencoded":
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send a form")
    return dict(parse_qsl((await read_body(request)).decode(errors="replace"), keep_blank_values=True))


def is_ours(request: Request, form: Mapping[str, str], *, secret: str) -> bool:
    """Whether the form was made for this browser, and a page of ours sent it."""
    told = form.get("token", "").encode("utf-8", "replace")
    return bool(secret) and is_from_our_page(request) and hmac.compare_digest(told, token_for(secret).encode())


def guarded(*checks: Check) -> type[APIRoute]:
    """The kind of route that answers only those whom every check lets through; its own troubles are pages too."""

    class Guarded(APIRoute):
        def get_route_handler(self) -> Handler:
            return _guard(super().get_route_handler(), checks)

    return Guarded


def _guard(handle: Handler, checks: tuple[Check, ...]) -> Handler:
    async def handler(request: Request) -> Response:
        try:
            for check in checks:
                refused = await check(request)
                if refused is not None:
                    return refused
            return await handle(request)
        except (OperationalError, PoolExhausted) as error:
            log.warning("console.database_away", error=type(error).__name__)
            return message(request, "away", status=HTTPStatus.SERVICE_UNAVAILABLE)
        except (RequestValidationError, NotFound):
            return message(request, "missing", status=HTTPStatus.NOT_FOUND)
        except Malformed as error:
            return message(request, "wrong", status=HTTPStatus.UNPROCESSABLE_ENTITY, detail=str(error))
        except HTTPException as error:
            return message(request, "wrong", status=error.status_code, detail=str(error.detail))

    return handler


def message(request: Request, kind: str, *, status: int, detail: str = "") -> Response:
    """A page of one sentence, for whoever asks: signed in or not."""
    visit: Visit | None = getattr(request.state, "visit", None)
    shown = {"visit": visit, "kind": kind, "detail": detail}
    return render("console/message.html", status=status, **shown)


async def signed_in(request: Request) -> Response | None:
    """Leads everybody else to the sign-in page, and from there back to where they wanted to go."""
    secret = request.cookies.get(cookie_name(LOGIN), "")
    user = await run_in_threadpool(_find, secret) if secret else None
    if user is not None:
        request.state.visit = Visit(user, secret)
        return None
    query = f"?{request.url.query}" if request.url.query else ""
    wanted = f"{request.url.path}{query}" if request.method == "GET" else HOME
    return RedirectResponse(f"{SIGN_IN}?next={quote(wanted, safe='')}", HTTPStatus.SEE_OTHER, HEADERS)


def _find(secret: str) -> UserRecord | None:
    with transaction(runtime().sessions) as session:
        return find_login(session, secret)


async def with_our_form(request: Request) -> Response | None:
    """Reads the form, and refuses one that another site sent or that was made for another login."""
    form = await read_form(request)
    if not is_ours(request, form, secret=visit_of(request).secret):
        return message(request, "foreign", status=HTTPStatus.FORBIDDEN)
    request.state.form = form
    return None


async def operates(request: Request) -> Response | None:
    """Refuses viewers."""
    if visit_of(request).user.operates:
        return None
    return message(request, "viewer", status=HTTPStatus.FORBIDDEN)


SEEING = guarded(signed_in)
LEAVING = guarded(signed_in, with_our_form)
DOING = guarded(signed_in, with_our_form, operates)
