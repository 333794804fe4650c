"""``watertight audit``: compare the ledger with the calendars now, and have drift repaired."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer
from sqlalchemy import select

from models.agents import Agent
from models.audits import Audit
from models.session import transaction
from sync.errors import NotFound
from workers.audits import Repaired, auditor, repair_by_hand
from workers.listing import AsJson, show
from workers.terminal import operator, runtime

Slug = Annotated[str | None, typer.Option("--agent", metavar="AGENT", help="Only this one; see agents list.")]
Repair = Annotated[bool, typer.Option("--repair", help="Have confirmed drift put right by the commit task.")]
AtMost = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="With --repair: so many for each agent, whatever the brake says.")
]
Confirm = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="SECONDS",
        help="How long a finding must have been there to be drift; default WATERTIGHT_AUDIT_CONFIRM_SECONDS.",
    ),
]


def audit(
    agent: Slug = None,
    repairing: Repair = False,  # noqa: FBT002 - a command-line flag
    at_most: AtMost = None,
    confirm_after: Confirm = None,
    json: AsJson = False,  # noqa: FBT002 - a command-line flag
) -> None:
    """Read every calendar live and compare it with the ledger. Exit code 1 while drift is found or a calendar cannot be read.

    What is found for the first time may only be under way, and is called suspect; found again later, it is drift.
    """
    connected = runtime()
    confirm = None if confirm_after is None else timedelta(seconds=confirm_after)
    looking, actor = auditor(connected, confirm=confirm), operator()
    rows = []
    for agent_id in _chosen(agent):
        found = looking.audit(agent_id)
        repaired = Repaired()
        if repairing and found.drift:
            repaired = repair_by_hand(connected, found, actor=actor, at_most=at_most)
        rows.append(
            {
                "agent": found.agent,
                "state": found.state if found.code is None else f"{found.state}: {found.code}",
                "drift": found.drift,
                "suspects": found.suspects,
                "reads": found.reads,
                "repairs": repaired.braked or repaired.asked,
                "what": _what(found.id),
            }
        )
    show(rows, as_json=json)
    if any(row["drift"] or str(row["state"]).startswith("unreadable") for row in rows):
        raise typer.Exit(1)


def _chosen(slug: str | None) -> list[int]:
    with transaction(runtime().sessions) as session:
        ids = list(
            session.scalars(select(Agent.id).where(Agent.slug == slug if slug else Agent.id > 0).order_by(Agent.slug))
        )
    if not ids:
        raise NotFound(f"no agent {slug!r}" if slug else "no agents yet: watertight agents import FILE")
    return ids


def _what(audit_id: int) -> list[str]:
    """The findings in words: ids and times only."""
    with transaction(runtime().sessions) as session:
        findings = session.get_one(Audit, audit_id).findings
    return [f"{one['what']} on calendar {one['calendar']} at {one['start'][:16]}Z" for one in findings]
