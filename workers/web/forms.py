"""Submissions of web forms: ``POST /webhooks/forms/{form}``. What each form sends is in its mapping file.

Anybody can reach this address, so the cheap questions come first: nothing asks the database before the proof is checked.
"""

from __future__ import annotations

import functools
import os
from datetime import UTC, datetime
from http import HTTPStatus

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from models.queries import ProposalRecord, find_proposal
from models.session import transaction
from providers.webform.bodies import CONTENT_TYPES, is_welcome, read_body
from providers.webform.client import Delivery, Form, Forms, load_forms
from providers.webform.payloads import Submission, parse_submission
from sync import intake
from sync.errors import Malformed, NotFound
from sync.quarantine import keep_submission
from workers.app import runtime, settings
from workers.nudge import nudge
from workers.settings import SECRETS_DIR
from workers.web import problems
from workers.web.requests import bounded_body, called_url

MOST_BYTES = 64 * 1024

log = structlog.get_logger(__name__)
router = APIRouter()


@functools.lru_cache(maxsize=1)
def connected() -> Forms:
    """The forms of this process's settings, read once. A mapping that cannot be used is logged and takes down its own form."""
    forms = load_forms(settings().forms_dir, secrets=SECRETS_DIR, env=os.environ)
    for name, reason in forms.broken.items():
        log.error("forms.broken_mapping", form=name, reason=reason)
    return forms


@router.post(
    "/webhooks/forms/{form}",
    status_code=HTTPStatus.ACCEPTED,
    response_model=None,
    responses=problems.documented(401, 404, 413, 415, 422, 503),
)
async def submit(form: str, request: Request) -> Response:
    """Take a submission: 202 for a new one, 200 for one that was sent before, or the form's own redirect."""
    found = _find_form(form)
    if not is_welcome(found.mapping, _content_type(request)):
        raise HTTPException(415, f"send {' or '.join(CONTENT_TYPES[found.mapping.content])}")
    body = await bounded_body(request, most=MOST_BYTES)
    objection = found.objection(_delivery(request, body), now=datetime.now(UTC))
    if objection is not None:
        log.warning("forms.refused", form=form, reason=objection)
        raise HTTPException(401, "the submission is not signed as it should be")
    return await run_in_threadpool(_take, found, _content_type(request), body)


def _keep_unreadable(form: Form, error: Malformed, *, content_type: str, body: bytes) -> None:
    """Keep what could not be understood, so that a person can book it by hand. Only ids go into the log (P12).

    Some tools repeat the address that they call, and with it its token.
    """
    raw = body.replace(form.secret, b"***") if form.secret else body
    with transaction(runtime().sessions) as session:
        keep_submission(session, form.name, error, content_type=content_type, raw=raw)
    log.warning("forms.unreadable", form=form.name, field=error.field, reason=error.reason, bytes=len(body))


def _find_form(name: str) -> Form:
    forms = connected()
    if name in forms.broken:
        # The tool sends it again later, and by then somebody may have mended the mapping.
        raise HTTPException(503, "the mapping of this form cannot be used; the log says why", {"Retry-After": "300"})
    if name not in forms.known:
        raise NotFound("no such form")
    return forms.known[name]


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "")


def _delivery(request: Request, body: bytes) -> Delivery:
    return Delivery(headers=request.headers, query=request.query_params, body=body, url=called_url(request))


def _take(form: Form, content_type: str, body: bytes) -> Response:
    try:
        submission = parse_submission(form.name, form.mapping, read_body(form.mapping, content_type, body))
        received = _receive(submission)
    except Malformed as error:
        _keep_unreadable(form, error, content_type=content_type, body=body)
        raise
    return _answer(form, received, _find(received))


def _answer(form: Form, received: intake.Received, record: ProposalRecord) -> Response:
    """The nudge leaves after the answer: form tools wait only seconds, and a broker that is away takes as long."""
    about = f"{record.agent} via form:{form.name}"
    after = BackgroundTask(nudge, [f"proposal:{received.id}"], about=about) if received.created else None
    if form.mapping.redirect is not None:
        return RedirectResponse(form.mapping.redirect, HTTPStatus.SEE_OTHER, background=after)
    status = HTTPStatus.ACCEPTED if received.created else HTTPStatus.OK
    return JSONResponse({"id": record.id, "state": record.state}, status, background=after)


def wish_of(submission: Submission) -> intake.Request:
    return intake.Request(
        key=f"form:{submission.form}:{submission.key}",
        agent=submission.agent,
        interval=submission.interval,
        title=submission.title,
        origin=f"form:{submission.form}",
        attendees=submission.attendees,
    )


def _receive(submission: Submission) -> intake.Received:
    """Store the wish.

    Raises:
        Malformed: there is no such agent; or the same submission was sent before and said something else.
    """
    try:
        return intake.receive(runtime().sessions, wish_of(submission))
    except NotFound:
        raise Malformed("agent", "is nobody here") from None
    except Malformed as error:
        raise Malformed("id" if error.field == "key" else error.field, error.reason) from None


def _find(received: intake.Received) -> ProposalRecord:
    with transaction(runtime().sessions) as session:
        record = find_proposal(session, received.id)
    if record is None:
        raise NotFound(f"no proposal {received.id}")
    return record
