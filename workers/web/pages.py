"""The booking page as HTML: openings by day in UTC, and a plain form for whoever runs no script.

With a script the browser shows the same openings in the visitor's own zone (``static/book.js``): no zone is known here.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from http import HTTPStatus
from itertools import groupby
from typing import Annotated
from urllib.parse import parse_qsl, quote, urlencode

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse
from pydantic import ValidationError
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted

from sync.availability import Availability
from sync.domain import Interval, ProposalId
from sync.errors import Malformed, NotFound
from sync.intake import Received
from workers.web import visits
from workers.web.outcome import find
from workers.web.rendering import render
from workers.web.visitors import admit, read_body
from workers.web.visits import Answer, Offer
from workers.web.wishes import AGENT, SECRET, FormWish

PAGE = timedelta(days=31)
FORM_WAIT_SECONDS = 2.0

router = APIRouter(prefix="/book", include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Shown:
    """What one page shows: the openings that begin in ``window``, and where the pages before and after it begin."""

    who: Availability
    window: Interval
    days: list[tuple[date, list[Offer]]]
    earlier: str | None
    later: str | None


@router.get("/{agent}")
def page(agent: str, day: Annotated[str, Query(alias="from", max_length=10)] = "") -> Response:
    """The openings from a day on, or from now."""
    try:
        shown = _shown(agent, _first(day))
    except NotFound:
        return _nobody()
    except (OperationalError, PoolExhausted):
        return render("message.html", status=HTTPStatus.SERVICE_UNAVAILABLE, message="away")
    return render("book.html", shown=shown, current=visits.is_current(shown.who), link=_link)


@router.get("/{agent}/form")
def form(agent: str, request: Request) -> Response:
    """One opening, and who wants it. The secret of the visit is in the address, so whoever comes back has it still."""
    asked = dict(request.query_params)
    if "visit" not in asked:
        query = urlencode(asked | {"visit": secrets.token_urlsafe(16)})
        return RedirectResponse(f"/book/{quote(agent)}/form?{query}", HTTPStatus.SEE_OTHER)
    return _form(agent, asked, wrong=False)


@router.post("/{agent}/form")
async def submit(agent: str, request: Request, _: Annotated[str, Depends(admit)]) -> Response:
    """Book it, and lead to the page that tells the truth about it, which can be reloaded."""
    if request.headers.get("content-type", "").partition(";")[0] != "application/x-www-form-urlencoded":
        return _nobody(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    typed = dict(parse_qsl((await read_body(request)).decode(errors="replace"), keep_blank_values=True))
    try:
        wish = FormWish.model_validate(typed)
        asked = await run_in_threadpool(_ask, agent, wish)
    except (ValidationError, Malformed):
        return await run_in_threadpool(_form, agent, typed, wrong=True)
    except NotFound:
        return _nobody()
    if asked is None:
        return await run_in_threadpool(_refused, agent, wish)
    await visits.decided(request, agent, asked, seconds=FORM_WAIT_SECONDS)
    return RedirectResponse(f"/book/{agent}/form/{wish.visit}", HTTPStatus.SEE_OTHER)


@router.get("/{agent}/form/{visit}")
def result(agent: str, visit: str) -> Response:
    """What became of a booking that was sent by the form."""
    try:
        if re.fullmatch(SECRET, visit) is None:
            return _nobody()
        record = find(visits.get_booking(_named(agent), visit))
        answer = visits.tell_booking(agent, record)
    except NotFound:
        return _nobody()
    return _told(agent, answer, visits.interval_of(record), visit)


def _named(agent: str) -> str:
    """Raises NotFound: nobody can be called that."""
    if re.fullmatch(AGENT, agent) is None:
        raise NotFound("no such agent")
    return agent


def _ask(agent: str, wish: FormWish) -> Received | None:
    """Once for a visit, whatever is typed when it is sent again."""
    agent = _named(agent)
    try:
        return Received(ProposalId(visits.get_booking(agent, wish.visit)), created=False)
    except NotFound:
        return visits.ask_booking(agent, wish.interval(), wish.guest(), secret=wish.visit, version=wish.version)


def _refused(agent: str, wish: FormWish) -> Response:
    return _told(agent, visits.refused(agent, wish.interval()), wish.interval(), wish.visit)


def _first(day: str) -> datetime:
    """When the page begins: never before now, and now for what is no day."""
    now = datetime.now(UTC)
    try:
        asked = datetime.combine(date.fromisoformat(day), time(), tzinfo=UTC)
    except ValueError:
        return now
    return max(now, min(asked, now + timedelta(days=366)))


def _shown(agent: str, first: datetime) -> Shown:
    window = Interval(first, first + PAGE)
    who = visits.look(_named(agent), window)
    earlier = max(who.now, first - PAGE)
    return Shown(
        who=who,
        window=window,
        days=_by_day([Offer.of(one) for one in who.openings]),
        earlier=f"{earlier:%Y-%m-%d}" if first > who.now + timedelta(days=1) else None,
        later=f"{window.end:%Y-%m-%d}" if window.end < who.until else None,
    )


def _by_day(offers: Sequence[Offer]) -> list[tuple[date, list[Offer]]]:
    return [(day, list(those)) for day, those in groupby(offers, key=lambda offer: offer.start.date())]


def _link(agent: str, offer: Offer) -> str:
    """Where the form for an opening is."""
    return f"/book/{agent}/form?{urlencode(offer.model_dump(mode='json'))}"


def _form(agent: str, typed: dict[str, str], *, wrong: bool) -> Response:
    """The form with what was typed. A time that cannot be understood leads nowhere."""
    try:
        wanted = FormWish.model_validate({**typed, "name": "-", "email": "-@-"}).interval()
        who = _shown(agent, datetime.now(UTC)).who
    except (ValidationError, Malformed, NotFound):
        return _nobody()
    status = HTTPStatus.UNPROCESSABLE_ENTITY if wrong else HTTPStatus.OK
    return render("form.html", status=status, who=who, wanted=wanted, typed=typed, wrong=wrong)


def _told(agent: str, answer: Answer, wanted: Interval, visit: str) -> Response:
    who = _shown(agent, datetime.now(UTC)).who
    return render("result.html", who=who, answer=answer, wanted=wanted, visit=visit, link=_link)


def _nobody(status: int = HTTPStatus.NOT_FOUND) -> Response:
    return render("message.html", status=status, message="nobody")
