"""Auditing as beat does it, within a budget, and as a person does it; repairs are proposed, and the commit task woken."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta

import structlog

from models.audits import Audit
from models.drift import list_due_agents
from models.session import transaction
from sync.actions import Actor, record_action
from sync.audits import Audited, Auditor, ask_repair
from sync.errors import MassChange
from workers.nudge import nudge
from workers.wiring import Runtime

RUN_SECONDS = 45.0  # then the rest is left to the next run: this shares its workers with other upkeep
POLICY = "policy"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Repaired:
    """How many repairs were asked for; ``braked`` says why none was."""

    asked: int = 0
    braked: str | None = None


def auditor(connected: Runtime, *, confirm: timedelta | None = None) -> Auditor:
    settings = connected.settings
    horizon = settings.horizon
    return Auditor(
        connected.sessions,
        connected.calendars,
        reach=horizon.ahead - horizon.reopen,
        confirm=timedelta(seconds=settings.audit_confirm_seconds) if confirm is None else confirm,
    )


def audit_due(connected: Runtime) -> str:
    """Audit whoever is due, longest ago first, until the budget of reads is spent. One agent's bug does not stop the others (P9)."""
    settings = connected.settings
    again = timedelta(seconds=settings.audit_confirm_seconds)
    with transaction(connected.sessions) as session:
        due = list_due_agents(session, every=timedelta(seconds=settings.audit_agent_every), again=again)
    found, bugs, deadline = list[Audited](), list[Exception](), time.monotonic() + RUN_SECONDS
    for agent_id in due:
        if sum(one.reads for one in found) >= settings.audit_reads or time.monotonic() > deadline:
            break
        try:
            found.append(_audit(connected, agent_id))
        except Exception as error:  # noqa: BLE001 - raised below, once the others had their turn
            bugs.append(error)
    if bugs:
        raise bugs[0]
    return _sentence(found, left=len(due) - len(found))


def _audit(connected: Runtime, agent_id: int) -> Audited:
    found = auditor(connected).audit(agent_id)
    if found.drift and connected.settings.audit_repair == "always":
        repaired = repair(connected, found, by=POLICY)
        if repaired.braked is not None:
            log.warning("audit.braked", agent_id=agent_id, drift=found.drift)
    return found


def repair(connected: Runtime, found: Audited, *, by: str, at_most: int | None = None) -> Repaired:
    """Have what this audit confirmed put right. More than the brake allows is left for a person to look at (P13)."""
    try:
        with transaction(connected.sessions) as session:
            audit = session.get_one(Audit, found.id, with_for_update=True)
            asked = ask_repair(session, audit, by=by, brake=connected.settings.brake, at_most=at_most)
    except MassChange as error:
        return Repaired(braked=str(error))
    nudge((f"proposal:{proposal}" for proposal in asked), about=f"{found.agent} via audit")
    return Repaired(len(asked))


def repair_by_hand(connected: Runtime, found: Audited, *, actor: Actor, at_most: int | None = None) -> Repaired:
    """The same at the wish of a person, kept with who it was."""
    repaired = repair(connected, found, by=str(actor), at_most=at_most)
    with transaction(connected.sessions) as session:
        after = {"audit": found.id, "repairs": repaired.asked, "braked": repaired.braked is not None}
        record_action(session, actor, "audit.repair", about=found.agent, after=after)
    return repaired


def _sentence(found: list[Audited], *, left: int) -> str:
    states = [(sum(one.state == state for one in found), state) for state in ("drift", "suspect", "unreadable")]
    parts = [f"{number} {state}" for number, state in states if number]
    parts += [f"{left} left for the next run"] if left else []
    return ", ".join([f"{len(found)} agents audited", *parts])
