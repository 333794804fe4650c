"""Upkeep: tasks that keep the others honest."""

from __future__ import annotations

from models.queries import list_due, list_expired_holds
from models.session import transaction
from sync.boundaries import Boundary, cross
from workers.app import app, runtime
from workers.nudge import nudge

LIMIT = 500


@app.task(name="ResumeCommits")
def resume_commits() -> str:
    """Wake the commit task for every row that is due, or whose worker did not come back."""
    with transaction(runtime().sessions) as session:
        due = list_due(session, limit=LIMIT)
    cross(Boundary.DUE_FOUND)
    return f"{nudge(due, about='resumed')} of {len(due)} resumed"


@app.task(name="ReleaseHolds")
def release_holds() -> str:
    """Wake the commit task for every visitor's hold that has run out."""
    with transaction(runtime().sessions) as session:
        expired = list_expired_holds(session, limit=LIMIT)
    return f"{nudge(expired, about='expired')} of {len(expired)} holds ran out"
