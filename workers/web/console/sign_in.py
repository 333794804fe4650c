"""Signing in to the console and out of it. A wrong name and a wrong password look alike and take as long."""

from __future__ import annotations

import re
import secrets
from http import HTTPStatus

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool

from models.session import transaction
from sync.passwords import is_password
from sync.users import end_login, find_password, has_users, open_login
from workers.app import runtime
from workers.web.console.door import (
    HOME,
    LEAVING,
    LOGIN,
    SIGN_IN,
    cookie_name,
    delete_cookie,
    guarded,
    is_ours,
    message,
    read_form,
    set_cookie,
    token_for,
    visit_of,
)
from workers.web.rates import Rate, connected
from workers.web.rendering import HEADERS, render
from workers.web.visitors import address_of

BEFORE = "sign-in"  # the cookie that a sign-in form is made for
PER_NAME = 10  # attempts a minute
PER_ADDRESS = 20
OURS = re.compile(r"/console(?:/[A-Za-z0-9_@-]+)*/?(?:\?[A-Za-z0-9_=&.:%+-]*)?")

log = structlog.get_logger(__name__)

entering = APIRouter(include_in_schema=False, route_class=guarded())
leaving = APIRouter(include_in_schema=False, route_class=LEAVING)


@entering.get(SIGN_IN)
def ask(request: Request) -> Response:
    """The form, or how the first user is made."""
    with transaction(runtime().sessions) as session:
        known = has_users(session)
    return _form(request, wanted=request.query_params.get("next", ""), known=known)


@entering.post(SIGN_IN)
async def enter(request: Request) -> Response:
    """Let somebody in who knows name and password."""
    form = await read_form(request)
    wanted, name, password = (form.get(field, "") for field in ("next", "name", "password"))
    if not is_ours(request, form, secret=request.cookies.get(cookie_name(BEFORE), "")):
        return message(request, "foreign", status=HTTPStatus.FORBIDDEN)
    refused = await run_in_threadpool(_count, name, address_of(request))
    if refused is not None:
        shown = _form(request, wanted=wanted, wrong="often", status=HTTPStatus.TOO_MANY_REQUESTS)
        shown.headers.update(refused.headers())
        return shown
    secret = await run_in_threadpool(_sign_in, name, password)
    if secret is None:
        return _form(request, wanted=wanted, wrong="wrong", status=HTTPStatus.UNAUTHORIZED)
    response = RedirectResponse(_inside(wanted), HTTPStatus.SEE_OTHER, HEADERS)
    set_cookie(response, LOGIN, secret)
    delete_cookie(response, BEFORE)
    return response


@leaving.post(f"{HOME}/sign-out")
def leave(request: Request) -> Response:
    """This browser is a stranger again."""
    with transaction(runtime().sessions) as session:
        end_login(session, visit_of(request).secret)
    response = RedirectResponse(SIGN_IN, HTTPStatus.SEE_OTHER, HEADERS)
    delete_cookie(response, LOGIN)
    return response


def _form(
    request: Request, *, wanted: str, wrong: str = "", status: int = HTTPStatus.OK, known: bool = True
) -> Response:
    """Made for a cookie, so that nobody signs us in as somebody else from another site."""
    secret = request.cookies.get(cookie_name(BEFORE), "") or secrets.token_urlsafe(16)
    shown = {"token": token_for(secret), "wanted": _inside(wanted), "wrong": wrong, "known": known, "visit": None}
    response = render("console/sign_in.html", status=status, **shown)
    set_cookie(response, BEFORE, secret)
    return response


def _inside(wanted: str) -> str:
    """Where to go after signing in: nowhere but here."""
    return wanted if OURS.fullmatch(wanted) and not wanted.startswith(SIGN_IN) else HOME


def _count(name: str, address: str) -> Rate | None:
    """The rate that is used up, if one is."""
    asked = ((f"sign-in-name:{name}", PER_NAME), (f"sign-in-address:{address}", PER_ADDRESS))
    return next((rate for key, most in asked if not (rate := connected().take(key, most)).taken), None)


def _sign_in(name: str, password: str) -> str | None:
    """The secret of a new login. The hash is made outside any transaction: it takes a while."""
    with transaction(runtime().sessions) as session:
        found = find_password(session, name) if "\x00" not in name else None
    if not is_password(password, found[1] if found else None) or found is None:
        log.warning("console.sign_in_refused")
        return None
    with transaction(runtime().sessions) as session:
        secret = open_login(session, found[0].id)
    log.info("console.signed_in", user_id=found[0].id)
    return secret
