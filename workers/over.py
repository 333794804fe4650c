"""Close what has come to an end by itself: alerts whose reason is gone, and dead letters whose matter is settled (P11)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.endings import list_conflicts, list_quarantines, list_recovered, list_solved, list_unreadable_forms
from models.failures import Alert
from sync.errors import NeedsReread, Transient, WatertightError
from sync.failures import close_dead_letter, resolve_alert, resolve_alerts
from workers.dead_letters import JOBS, cause_of

UNSEEN = timedelta(days=1)
BY_ITSELF = "by itself"


def close_over(session: Session) -> None:
    """What nobody needs to be told of any longer."""
    causes = _open_causes(session)
    over = {*_unseen(session, causes), *_settled(session, causes)}
    over |= list_recovered(session, {error.code for root in (Transient, NeedsReread) for error in tree(root)})
    if over:
        resolve_alerts(session, over)
    for letter in list_solved(session, JOBS):
        if close_dead_letter(session, letter.id, state="solved", by=BY_ITSELF):
            cause = cause_of(letter.task, reference=letter.reference, code=letter.code, calendar_id=letter.calendar_id)
            if cause.startswith("task:"):  # the others are closed by what succeeded
                resolve_alert(session, cause)


def tree(root: type[WatertightError]) -> Iterator[type[WatertightError]]:
    """The class and everything below it."""
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


def _open_causes(session: Session) -> dict[str, set[str]]:
    """What is open of the kinds that end in silence, by kind: the rest of each cause."""
    causes: dict[str, set[str]] = {
        "quarantine:": set(),
        "unreadable:form:": set(),
        "master_conflict:appointment:": set(),
    }
    for cause in session.scalars(select(Alert.cause).where(Alert.resolved_at.is_(None))):
        for kind, found in causes.items():
            if cause.startswith(kind):
                found.add(cause.removeprefix(kind))
    return causes


def _unseen(session: Session, causes: dict[str, set[str]]) -> Iterator[str]:
    """Whatever could not be read has not come again for a day."""
    if calendars := causes["quarantine:"]:
        seen = {str(number) for number in list_quarantines(session, within=UNSEEN)}
        yield from (f"quarantine:{number}" for number in calendars - seen)
    if forms := causes["unreadable:form:"]:
        yield from (f"unreadable:form:{form}" for form in forms - list_unreadable_forms(session, within=UNSEEN))


def _settled(session: Session, causes: dict[str, set[str]]) -> Iterator[str]:
    """People have moved one of the two, or both are past."""
    if appointments := {int(number) for number in causes["master_conflict:appointment:"]}:
        still = list_conflicts(session, appointments)
        yield from (f"master_conflict:appointment:{number}" for number in appointments - still)
