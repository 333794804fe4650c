"""Pushes of the vendors: ``POST /webhooks/{outlook,google,hubspot,calcom}``. They are hints, and decide nothing.

Anybody can reach these addresses, so the cheap questions come first: nothing asks the database before the proof is checked.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus

import structlog
from fastapi import APIRouter, Request, Response
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException

from providers.calcom import hooks as calcom
from providers.google import hooks as google
from providers.hubspot import hooks as hubspot
from providers.outlook import hooks as outlook
from providers.received import Proof, Received
from sync.errors import Malformed, NotFound, Unproven
from sync.hints import Received as Delivery
from sync.hints import Taken, take_all
from sync.pushes import Push, Secrets
from workers.app import runtime, settings
from workers.doors import secrets_of
from workers.nudge import ask_renewal, wake
from workers.web import problems
from workers.web.requests import bounded_body, called_url, content_type
from workers.web.tray import Tray

MOST_BYTES = 256 * 1024
JSON = "application/json"

log = structlog.get_logger(__name__)
router = APIRouter()

Read = Callable[..., list[Push]]


@dataclass(frozen=True, slots=True)
class Vendor:
    """How one vendor pushes. One that sends no body may say of it what it likes."""

    name: str
    read: Read
    has_body: bool = True
    accepted: HTTPStatus = HTTPStatus.ACCEPTED


VENDORS = (
    Vendor(outlook.PROVIDER, outlook.read),
    Vendor(google.PROVIDER, google.read, has_body=False, accepted=HTTPStatus.OK),
    Vendor(hubspot.PROVIDER, hubspot.read),
    Vendor(calcom.PROVIDER, calcom.read),
)


def install() -> Tray:
    """A tray over the database of this process."""
    return Tray(_keep)


def _keep(deliveries: Sequence[Delivery]) -> list[Taken | NotFound]:
    return take_all(runtime().sessions, deliveries)


@functools.lru_cache(maxsize=1)
def _proof() -> Proof | None:
    """What this process can check pushes with, read once; None where nothing can be believed."""
    app_secret = settings().hubspot_client_secret
    known = secrets_of(settings())
    if known is None and app_secret is None:
        return None
    return Proof(known or Secrets(b""), app_secret.get_secret_value().encode() if app_secret is not None else b"")


def _connected(vendor: Vendor) -> Proof:
    """Raises: HTTPException, 404: we have nothing to know this vendor by."""
    proof = _proof()
    secret = proof and (proof.app_secret if vendor.name == hubspot.PROVIDER else proof.secrets.key)
    if proof is None or not secret:
        raise HTTPException(404, f"{vendor.name} is not connected")
    return proof


async def _receive(vendor: Vendor, request: Request) -> Response:
    """Take a delivery: what is new is kept and acknowledged, and only then is anybody woken."""
    proof = _connected(vendor)
    if vendor.has_body and content_type(request) != JSON:
        raise HTTPException(415, f"send {JSON}")
    received = Received(
        headers=request.headers,
        query=request.query_params,
        body=await bounded_body(request, most=MOST_BYTES),
        url=called_url(request),
    )
    pushes = _understood(vendor, received, proof)
    if not pushes:
        return Response(status_code=HTTPStatus.OK)
    tray: Tray = request.app.state.tray
    taken = await tray.take(vendor.name, pushes)
    status = vendor.accepted if taken.new else HTTPStatus.OK
    return Response(status_code=status, background=BackgroundTask(_wake, taken) if taken.new else None)


def _understood(vendor: Vendor, received: Received, proof: Proof) -> Sequence[Push]:
    """What a delivery tells.

    Raises:
        HTTPException: 401, it does not prove where it comes from. Why, only the log says.
        Malformed: it makes no sense; names the field.
    """
    try:
        return vendor.read(received, proof, now=datetime.now(UTC))
    except Unproven as error:
        log.warning("webhooks.refused", vendor=vendor.name, reason=str(error))
        raise HTTPException(401, "the push does not prove where it comes from") from None
    except Malformed as error:
        log.warning("webhooks.malformed", vendor=vendor.name, field=error.field, bytes=len(received.body))
        raise


def _wake(taken: Taken) -> None:
    """After the answer: vendors wait only seconds, and a broker that is away takes as long."""
    if wake(taken.nudges) == len(taken.nudges) and taken.renew:
        ask_renewal()


async def _receive_outlook(vendor: Vendor, request: Request) -> Response:
    """Graph asks every address, before it uses it, to send back what it was told: as plain text, whatever it was."""
    token = request.query_params.get("validationToken")
    if token is None:
        return await _receive(vendor, request)
    if not 0 < len(token) <= outlook.LONGEST_VALIDATION:
        raise Malformed("validationToken", f"has not between 1 and {outlook.LONGEST_VALIDATION} characters")
    return Response(token, media_type="text/plain", headers={"X-Content-Type-Options": "nosniff"})


def _endpoint(vendor: Vendor) -> Callable[[Request], Awaitable[Response]]:
    receive = _receive_outlook if vendor.name == outlook.PROVIDER else _receive

    async def push(request: Request) -> Response:
        return await receive(vendor, request)

    push.__doc__ = f"A push of {vendor.name}: 200 for one that was here before, or that tells nothing."
    return push


for _vendor in VENDORS:
    router.add_api_route(
        f"/webhooks/{_vendor.name}",
        _endpoint(_vendor),
        name=f"push_{_vendor.name}",
        methods=["POST"],
        status_code=_vendor.accepted,
        response_class=Response,
        responses={200: {"description": "nothing new"}, **problems.documented(401, 404, 413, 415, 422, 503)},
    )
