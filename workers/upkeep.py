"""Upkeep: tasks that keep the others honest."""

from __future__ import annotations

from models.listings import list_broken
from models.queries import list_due, list_expired_holds
from models.session import transaction
from sync.boundaries import Boundary, cross
from sync.hints import list_lost
from sync.pruning import prune
from workers.app import app, runtime
from workers.nudge import nudge, waiting, wake

LIMIT = 500
BROKEN_SECONDS = 300.0
RENEWING_SECONDS = 20.0


@app.task(name="ResumeCommits")
def resume_commits() -> str:
    """Wake the commit task for every row that is due, or whose worker did not come back.

    Not while a message for each may still wait: woken again in every period, a backlog would grow faster than a slow
    machine works it off. It runs down by itself, and then what had none is found here. And a row whose run ended in a bug,
    or killed its worker, waits: it would do so again every few seconds, and take the work of others with it.
    """
    with transaction(runtime().sessions) as session:
        broken = list_broken(session, "Commit", within_seconds=BROKEN_SECONDS)
        due = [row for row in list_due(session, limit=LIMIT) if row not in broken]
    cross(Boundary.DUE_FOUND)
    if due and (messages := waiting()) >= len(due):
        return f"0 of {len(due)} resumed: {messages} messages wait already"
    return f"{nudge(due, about='resumed')} of {len(due)} resumed"


@app.task(name="ReleaseHolds")
def release_holds() -> str:
    """Wake the commit task for every visitor's hold that has run out."""
    with transaction(runtime().sessions) as session:
        expired = list_expired_holds(session, limit=LIMIT)
    return f"{nudge(expired, about='expired')} of {len(expired)} holds ran out"


@app.task(name="RenewSubscriptions")
def renew_subscriptions() -> str:
    """Open, renew and replace push channels; send lost hints again.

    It shares its workers with the other two and asks vendors, who may be slow: so it begins nothing new after a while.
    """
    connected = runtime()
    with transaction(connected.sessions) as session:
        lost = list_lost(session)
    resent = wake(lost)
    kept = connected.channels().keep_all(seconds=RENEWING_SECONDS)
    return f"{kept.sentence()}; {resent} hints sent again" if lost else kept.sentence()


@app.task(name="Prune")
def prune_old() -> str:
    """Delete what is older than it is to be kept. A table that could not be pruned keeps no other from being so.

    Raises:
        SQLAlchemyError: what happened first, when all the others were done.
    """
    connected = runtime()
    pruned = prune(connected.sessions, connected.settings.kept)
    for error in pruned.failed.values():
        raise error
    return pruned.sentence()
