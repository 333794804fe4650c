"""Records that cannot be understood are kept raw, with the reason, before the cursor moves past them (P7)."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from typing import Any

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from models.feeds import Quarantine, UnreadableSubmission
from sync.domain import CalendarId, Unparsed
from sync.errors import Malformed
from sync.failures import open_alert

DEEPEST = 50  # levels of a record that are kept: enough to see what it is, and no stack overflows


def quarantine(session: Session, calendar_id: CalendarId, records: Iterable[Unparsed]) -> None:
    """Store each record once; the same bytes again are counted. One warning per calendar says that there are some."""
    kept = 0
    for record in records:
        raw = _storable(record.raw)
        row = insert(Quarantine).values(
            calendar_id=calendar_id,
            digest=_digest(raw),
            remote_id=_storable(record.remote_id),
            field=record.field,
            reason=record.reason,
            raw=raw if isinstance(raw, dict) else {"text": raw},
        )
        session.execute(
            row.on_conflict_do_update(
                index_elements=["calendar_id", "digest"],
                set_={"times": Quarantine.times + 1, "last_seen": func.clock_timestamp()},
            )
        )
        kept += 1
    if kept:
        open_alert(
            session,
            f"quarantine:{calendar_id}",
            code="malformed",
            detail={"calendar": calendar_id, "records": kept},
            calendar_id=calendar_id,
        )


def keep_submission(session: Session, form: str, error: Malformed, *, content_type: str, raw: bytes) -> None:
    """Keep a form's submission once; sent again, it is counted. One warning per form says that there are some."""
    row = insert(UnreadableSubmission).values(
        form=form,
        digest=hashlib.sha256(raw).hexdigest(),
        field=error.field,
        reason=error.reason,
        content_type=_storable(content_type),
        raw=raw,
    )
    session.execute(
        row.on_conflict_do_update(
            index_elements=["form", "digest"],
            set_={"times": UnreadableSubmission.times + 1, "last_seen": func.clock_timestamp()},
        )
    )
    open_alert(session, f"unreadable:form:{form}", code=error.code, detail={"form": form})


def _digest(raw: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    return hashlib.sha256(json.dumps(raw, sort_keys=True, default=str).encode()).hexdigest()


def _storable(value: Any, *, level: int = 0) -> Any:  # noqa: ANN401 - whatever JSON holds, NaN included
    """The same value with a replacement for what PostgreSQL cannot keep, and for what is nested beyond all measure."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if not isinstance(value, dict | list):
        return value
    if level == DEEPEST:
        return "(nested deeper)"
    if isinstance(value, dict):
        return {_storable(key): _storable(item, level=level + 1) for key, item in value.items()}
    return [_storable(item, level=level + 1) for item in value]
