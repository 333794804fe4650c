"""What every page of the console has: who is signed in, the moment it tells of, and what was just done."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from sync.catalogue import entry_of
from workers.app import settings
from workers.web.console import wording
from workers.web.console.door import visit_of
from workers.web.rendering import HEADERS, render

WORDS = SimpleNamespace(
    iso=wording.iso,
    plain=wording.plain,
    seconds=wording.seconds,
    ago=wording.ago,
    until=wording.until,
    value=wording.value,
    public=wording.public,
)
DONE = {
    "period": "The period is changed.",
    "paused": "The job is paused. Nothing of it runs until somebody resumes it.",
    "resumed": "The job runs again.",
    "repair": "Repairs are asked for: the commit task puts right what still differs, each after a live look at the master.",
    "nothing": "Nothing more is to be repaired: it was asked for already, or only people can settle it.",
    "released": "The calendar is released: its jobs go on with their next run.",
}


def page(request: Request, template: str, *, now: datetime, section: str, **context: Any) -> Response:  # noqa: ANN401 - whatever its template wants
    """A page for whoever is signed in, as things stood at ``now`` (by the database's clock)."""
    done = DONE.get(request.query_params.get("done", ""), "")
    shown: dict[str, Any] = {"visit": visit_of(request), "now": now, "section": section, "words": WORDS, "done": done}
    shown |= {"entry_of": entry_of, "runbook_url": settings().runbook_url}
    return render(f"console/{template}", **shown, **context)


def back(path: str, *, done: str) -> Response:
    """After a change: to a page that can be reloaded and says what was done."""
    return RedirectResponse(f"{quote(path)}?done={done}", HTTPStatus.SEE_OTHER, HEADERS)
