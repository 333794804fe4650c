"""Reads for the console: how everything stands now, in a bounded number of cheap statements. Frozen records only."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import false, func, select
from sqlalchemy.orm import Session

from models.agents import Agent, Calendar
from models.feeds import Cursor
from models.ledger import Decision, Write
from models.listings import is_healthy
from models.proposals import FINAL_STATES, Proposal
from models.push import Channel

JOBS = ("new", "cancel", "update")
NEWEST = 5_000  # decisions that are looked at: there is no index by time, and an hour has seldom more


@dataclass(frozen=True, slots=True)
class AgentNow:
    """An agent at this moment. ``read_at`` is the job's read of the master that lies longest ago, None where one never has.

    ``stopped`` are calendars that wait for a person, ``put_off`` such as some job leaves alone because it keeps failing.
    """

    slug: str
    zone: str
    calendars: int
    open_proposals: int
    read_at: datetime | None
    stopped: int
    put_off: int

    @property
    def ill(self) -> bool:
        return bool(self.stopped or self.put_off or self.read_at is None)


def list_agents(session: Session, *, now: datetime) -> list[AgentNow]:
    """All of them: first those that need somebody, then by the age of our picture."""
    reads, later = _list_cursors(session, now=now)
    open_proposals = _count_open(session)
    mine: defaultdict[int, list[Calendar]] = defaultdict(list)
    for calendar in session.scalars(select(Calendar)):
        mine[calendar.agent_id].append(calendar)
    found = [
        _agent_now(agent, mine[agent.id], reads=reads, later=later, open_proposals=open_proposals.get(agent.id, 0))
        for agent in session.scalars(select(Agent))
    ]
    return sorted(found, key=lambda one: (not one.ill, one.read_at.timestamp() if one.read_at else 0.0, one.slug))


def _list_cursors(session: Session, *, now: datetime) -> tuple[dict[int, dict[str, datetime]], set[int]]:
    """By calendar the last complete read of each job; and the calendars that a job leaves alone."""
    reads: defaultdict[int, dict[str, datetime]] = defaultdict(dict)
    later: set[int] = set()
    rows = session.execute(select(Cursor.calendar_id, Cursor.job, Cursor.read_at, Cursor.failures, Cursor.not_before))
    for calendar_id, job, read_at, failures, not_before in rows:
        if read_at is not None:
            reads[calendar_id][job] = read_at
        if failures and not_before is not None and not_before > now:
            later.add(calendar_id)
    return reads, later


def _count_open(session: Session) -> dict[int, int]:
    rows = session.execute(
        select(Proposal.agent_id, func.count()).where(Proposal.state.not_in(FINAL_STATES)).group_by(Proposal.agent_id)
    )
    return {int(agent_id): int(number) for agent_id, number in rows}


def _agent_now(
    agent: Agent,
    calendars: list[Calendar],
    *,
    reads: dict[int, dict[str, datetime]],
    later: set[int],
    open_proposals: int,
) -> AgentNow:
    master = next((reads.get(one.id, {}) for one in calendars if one.role == "master"), {})
    return AgentNow(
        slug=agent.slug,
        zone=agent.zone,
        calendars=len(calendars),
        open_proposals=open_proposals,
        read_at=min(master.values()) if len(master) == len(JOBS) else None,
        stopped=sum(one.stopped_code is not None for one in calendars),
        put_off=len({one.id for one in calendars} & later),
    )


@dataclass(frozen=True, slots=True)
class CalendarNow:
    """A calendar with each job's last complete read, and until when a job leaves it alone because it kept failing.

    ``pushed`` says whether its vendor tells us about changes: None where it is only asked.
    """

    id: int
    provider: str
    role: str
    stopped_code: str | None
    read_at: dict[str, datetime]
    put_off: dict[str, datetime]
    failures: int
    pushed: bool | None
    last_hint_at: datetime | None


@dataclass(frozen=True, slots=True)
class AgentRecord:
    """An agent's zone and calendars, the master first."""

    slug: str
    zone: str
    calendars: list[CalendarNow]


def find_agent(session: Session, slug: str, *, now: datetime) -> AgentRecord | None:
    """None if there is no such agent."""
    agent = session.scalars(select(Agent).where(Agent.slug == slug)).one_or_none()
    if agent is None:
        return None
    rows = session.execute(
        select(Calendar, Channel, func.coalesce(is_healthy(), false()))
        .outerjoin(Channel, Channel.calendar_id == Calendar.id)
        .where(Calendar.agent_id == agent.id)
        .order_by(Calendar.role, Calendar.id)  # "master" is before "mirror" and "source"
    ).all()
    cursors: defaultdict[int, list[Cursor]] = defaultdict(list)
    for cursor in session.scalars(select(Cursor).where(Cursor.calendar_id.in_([row.id for row, _, _ in rows]))):
        cursors[cursor.calendar_id].append(cursor)
    calendars = [
        _calendar_now(row, cursors[row.id], channel=channel, healthy=bool(healthy), now=now)
        for row, channel, healthy in rows
    ]
    return AgentRecord(agent.slug, agent.zone, calendars)


def _calendar_now(
    row: Calendar, cursors: list[Cursor], *, channel: Channel | None, healthy: bool, now: datetime
) -> CalendarNow:
    failing = [one for one in cursors if one.failures and one.not_before is not None and one.not_before > now]
    return CalendarNow(
        id=row.id,
        provider=row.provider,
        role=row.role,
        stopped_code=row.stopped_code,
        read_at={one.job: one.read_at for one in cursors if one.read_at is not None},
        put_off={one.job: one.not_before for one in failing if one.not_before is not None},
        failures=max((one.failures for one in cursors), default=0),
        pushed=healthy if channel is not None else None,
        last_hint_at=channel.last_hint_at if channel is not None else None,
    )


@dataclass(frozen=True, slots=True)
class JobLag:
    """How far a job is behind: its read of a calendar that lies longest ago, and how many calendars it never read."""

    job: str
    oldest: datetime | None
    never: int


def list_lags(session: Session) -> list[JobLag]:
    """Of the calendars that are not stopped for a person."""
    rows = session.execute(
        select(Cursor.job, func.min(Cursor.read_at), func.count(Cursor.read_at))
        .join(Calendar, Calendar.id == Cursor.calendar_id)
        .where(Calendar.stopped_code.is_(None))
        .group_by(Cursor.job)
    )
    known = {str(job): (oldest, int(number)) for job, oldest, number in rows}
    all_of_them = session.scalar(select(func.count()).select_from(Calendar).where(Calendar.stopped_code.is_(None))) or 0
    return [JobLag(job, known.get(job, (None, 0))[0], all_of_them - known.get(job, (None, 0))[1]) for job in JOBS]


@dataclass(frozen=True, slots=True)
class HourFigure:
    """The decisions of the last hour by reason, and how long they took from wish to decision, in seconds."""

    reasons: dict[str, int]
    half: float | None
    most: float | None
    open_proposals: int
    due_writes: int


def get_last_hour(session: Session) -> HourFigure:
    """Of at most the ``NEWEST`` decisions. ``half`` of them took no longer (p50), ``most`` is p99."""
    newest = (
        select(Decision.proposal_id, Decision.reason, Decision.decided_at)
        .order_by(Decision.id.desc())
        .limit(NEWEST)
        .subquery()
    )
    recent = newest.c.decided_at > func.clock_timestamp() - timedelta(hours=1)
    reasons = session.execute(select(newest.c.reason, func.count()).where(recent).group_by(newest.c.reason))
    # One by one, since an hour has few: for a join the planner reads all proposals that ever were.
    asked = select(Proposal.created_at).where(Proposal.id == newest.c.proposal_id).scalar_subquery()
    took = func.extract("epoch", newest.c.decided_at - asked)
    half, most = session.execute(
        select(func.percentile_cont(0.5).within_group(took.asc()), func.percentile_cont(0.99).within_group(took.asc()))
        .select_from(newest)
        .where(recent)
    ).one()
    due = session.scalar(select(func.count()).select_from(Write).where(Write.state == "due")) or 0
    return HourFigure(
        reasons={str(reason): int(number) for reason, number in reasons},
        half=None if half is None else float(half),
        most=None if most is None else float(most),
        open_proposals=sum(_count_open(session).values()),
        due_writes=due,
    )
