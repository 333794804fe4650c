"""Submissions of web forms: ``POST /webhooks/forms/{form}``. What each form sends is in its mapping file.

Anybody can reach this address, so the cheap questions come first: nothing asks the database before the proof is checked.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import urlencode, urlsplit, urlunsplit

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from models.decisions import DecisionRecord
from models.session import transaction
from providers.received import Received
from providers.webform.bodies import CONTENT_TYPES, is_welcome, read_body
from providers.webform.client import Form, Forms, load_forms
from providers.webform.payloads import Submission, parse_submission
from sync import intake
from sync.errors import Malformed, NotFound
from sync.quarantine import keep_submission
from workers.app import runtime, settings
from workers.settings import SECRETS_DIR
from workers.web import problems
from workers.web.answers import answer_of
from workers.web.nudges import nudge_soon
from workers.web.outcome import alternatives_of, find, outcome
from workers.web.requests import bounded_body, called_url

MOST_BYTES = 64 * 1024
OUTCOMES = {"settled": "booked", "refused": "refused"}
TOLD = {"id", "state", "reason", "alternatives"}

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
    received = await run_in_threadpool(_take, found, _content_type(request), body)
    record = await run_in_threadpool(find, received.id)
    if received.created:
        nudge_soon(request, record.id, about=f"{record.agent} via form:{form}")
    if not found.mapping.wait:
        return _answer(found, record, status=HTTPStatus.ACCEPTED if received.created else HTTPStatus.OK)
    return await run_in_threadpool(_tell, found, await outcome(request, record.id, wait=found.mapping.wait))


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


def _delivery(request: Request, body: bytes) -> Received:
    return Received(headers=request.headers, query=request.query_params, body=body, url=called_url(request))


def _take(form: Form, content_type: str, body: bytes) -> intake.Received:
    try:
        submission = parse_submission(form.name, form.mapping, read_body(form.mapping, content_type, body))
        return _receive(submission)
    except Malformed as error:
        _keep_unreadable(form, error, content_type=content_type, body=body)
        raise


def _answer(form: Form, record: DecisionRecord, *, status: HTTPStatus) -> Response:
    """That the submission was taken on: form tools try again after anything but success."""
    if form.mapping.redirect is not None:
        return RedirectResponse(form.mapping.redirect, HTTPStatus.SEE_OTHER)
    return JSONResponse({"id": record.id, "state": record.state}, status)


def _tell(form: Form, record: DecisionRecord) -> Response:
    """What became of the submission, as far as it is known by now."""
    if form.mapping.redirect is not None:
        said = {"outcome": OUTCOMES.get(record.state, "pending"), "reference": record.id}
        return RedirectResponse(_with_query(form.mapping.redirect, said), HTTPStatus.SEE_OTHER)
    answer = answer_of(record, alternatives_of(record)).model_dump(mode="json", include=TOLD, exclude_none=True)
    return JSONResponse(answer, HTTPStatus.OK if record.state in OUTCOMES else HTTPStatus.ACCEPTED)


def _with_query(address: str, values: Mapping[str, object]) -> str:
    """The address with these in its query, behind what is there already."""
    parts = urlsplit(address)
    query = "&".join(part for part in (parts.query, urlencode(values)) if part)
    return urlunsplit(parts._replace(query=query))


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
