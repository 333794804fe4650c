"""Upkeep: tasks that keep the others honest."""

from __future__ import annotations

from models.queries import list_due
from models.session import transaction
from workers.app import app, runtime
from workers.nudge import nudge, waiting

LIMIT = 500


@app.task(name="ResumeCommits")
def resume_commits() -> str:
    """Wake the commit task for every row that is due, or whose worker did not come back.

    Not while a message for each may still wait: woken again in every period, a backlog would grow faster than a slow
    machine works it off. It runs down by itself, and then what had none is found here.
    """
    with transaction(runtime().sessions) as session:
        due = list_due(session, limit=LIMIT)
    if due and (messages := waiting()) >= len(due):
        return f"0 of {len(due)} resumed: {messages} messages wait already"
    return f"{nudge(due, about='resumed')} of {len(due)} resumed"
