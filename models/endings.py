"""What has come to an end by itself, so that nobody needs to be told any longer; and what waits for too long."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import and_, exists, func, or_, select
from sqlalchemy.orm import Session

from models.agents import Agent, Calendar
from models.failures import Alert, DeadLetter
from models.feeds import Cursor, Quarantine, UnreadableSubmission
from models.ledger import Appointment, Slot, Write
from models.letters import DeadLetterRecord, list_dead_letters
from models.proposals import FINAL_STATES, Proposal
from models.schedule import BeatJob

COMMIT = "Commit"
READING = ("new:", "cancel:", "update:")


@dataclass(frozen=True, slots=True)
class OldPicture:
    """A calendar that no job has read completely for too long. ``troubles`` are the codes of what is known to stop it."""

    calendar_id: int
    agent: str
    role: str
    read_at: datetime | None
    age_seconds: float
    troubles: frozenset[str]


def list_old_pictures(session: Session, *, limit_seconds: float) -> list[OldPicture]:
    """Of calendars that were not stopped for a person: those have an alert of their own."""
    newest = select(func.max(Cursor.read_at)).where(Cursor.calendar_id == Calendar.id).scalar_subquery()
    since = func.coalesce(newest, Calendar.created_at)
    age = func.extract("epoch", func.clock_timestamp() - since)
    trouble = (
        select(func.array_agg(Alert.code))
        .where(Alert.calendar_id == Calendar.id, Alert.resolved_at.is_(None))
        .where(or_(*(Alert.cause.startswith(prefix) for prefix in READING)))
        .scalar_subquery()
    )
    rows = session.execute(
        select(Calendar.id, Agent.slug, Calendar.role, newest, age, trouble)
        .join(Agent)
        .where(Calendar.stopped_code.is_(None), age > limit_seconds)
        .order_by(Calendar.id)
    )
    return [
        OldPicture(number, slug, role, read_at, float(seconds), frozenset(codes or ()))
        for number, slug, role, read_at, seconds, codes in rows
    ]


def find_oldest_due(session: Session, references: Collection[str]) -> float:
    """For how many seconds the longest waiting of these proposals and writes has been due; 0 without any."""
    numbers = {
        name: [int(reference.partition(":")[2]) for reference in references if reference.startswith(f"{name}:")]
        for name in ("proposal", "write")
    }
    proposals = session.scalar(select(func.min(Proposal.not_before)).where(Proposal.id.in_(numbers["proposal"])))
    writes = session.scalar(select(func.min(Write.not_before)).where(Write.id.in_(numbers["write"])))
    since = [moment for moment in (proposals, writes) if moment is not None]
    now = session.execute(select(func.clock_timestamp())).scalar_one()
    return max(((now - moment).total_seconds() for moment in since), default=0.0)


def list_quarantines(session: Session, *, within: timedelta) -> set[int]:
    """Calendars in which something unreadable was seen a short while ago."""
    recent = Quarantine.last_seen > func.clock_timestamp() - within
    return set(session.scalars(select(Quarantine.calendar_id).where(recent).distinct()))


def list_unreadable_forms(session: Session, *, within: timedelta) -> set[str]:
    recent = UnreadableSubmission.last_seen > func.clock_timestamp() - within
    return set(session.scalars(select(UnreadableSubmission.form).where(recent).distinct()))


def list_conflicts(session: Session, appointment_ids: Collection[int]) -> set[int]:
    """Those of the appointments that another one of the same agent still overlaps, now or later."""
    taken = exists().where(
        Slot.agent_id == Appointment.agent_id,
        Slot.state.in_(("held", "booked")),
        Slot.during.overlaps(func.tstzrange(Appointment.starts_at, Appointment.ends_at)),
        or_(Appointment.slot_id.is_(None), Slot.id != Appointment.slot_id),
    )
    query = select(Appointment.id).where(
        Appointment.id.in_(appointment_ids),
        Appointment.state == "confirmed",
        Appointment.ends_at > func.clock_timestamp(),
        taken,
    )
    return set(session.scalars(query))


def list_recovered(session: Session, codes: Collection[str]) -> set[str]:
    """Causes of commits' alerts with these codes, in whose calendar nothing is parked, and which was read since."""
    read = exists().where(Cursor.calendar_id == Alert.calendar_id, Cursor.read_at > Alert.last_seen)
    parked = exists().where(
        Write.calendar_id == Alert.calendar_id, Write.state == "due", Write.last_error_code.is_not(None)
    )
    waits = exists().where(Proposal.calendar_id == Alert.calendar_id, Proposal.state == "pending", Proposal.attempt > 0)
    open_now = (Alert.cause.startswith("commit:"), Alert.resolved_at.is_(None), Alert.code.in_(codes))
    return set(session.scalars(select(Alert.cause).where(*open_now, read, ~parked, ~waits)))


def list_solved(session: Session, jobs: dict[str, str]) -> list[DeadLetterRecord]:
    """Open dead letters whose matter has ended by itself; ``jobs`` are the jobs of tasks that read one calendar.

    A proposal or write has ended, and its alert is closed; a job has read the calendar again; beat's task has run again.
    """
    letters = list_dead_letters(session, limit=None)
    if not letters:
        return []
    ended = _list_ended(session, [letter for letter in letters if letter.task == COMMIT])
    again = _list_run_again(session, jobs)
    return [letter for letter in letters if letter.id in ended | again]


def _list_ended(session: Session, letters: list[DeadLetterRecord]) -> set[int]:
    told = set(
        session.scalars(select(Alert.cause).where(Alert.cause.startswith("commit:"), Alert.resolved_at.is_(None)))
    )
    numbers = {
        letter.id: (name, int(number))
        for letter in letters
        for name, _, number in [letter.reference.partition(":")]
        if number.isdigit() and f"commit:{letter.calendar_id}:{letter.code}" not in told
    }
    ids = [number for _, number in numbers.values()]
    decided = set(session.scalars(select(Proposal.id).where(Proposal.id.in_(ids), Proposal.state.in_(FINAL_STATES))))
    done = set(session.scalars(select(Write.id).where(Write.id.in_(ids), Write.state != "due")))
    over = {"proposal": decided, "hold": decided, "write": done}
    return {letter for letter, (name, number) in numbers.items() if number in over.get(name, ())}


def _list_run_again(session: Session, jobs: dict[str, str]) -> set[int]:
    read = [
        and_(
            DeadLetter.task == task,
            exists().where(
                Cursor.job == job,
                Cursor.calendar_id == DeadLetter.calendar_id,
                Cursor.read_at > DeadLetter.last_seen,
            ),
        )
        for task, job in jobs.items()
    ]
    ran = and_(
        DeadLetter.reference == "",
        exists().where(BeatJob.task == DeadLetter.task, BeatJob.ran_at > DeadLetter.last_seen),
    )
    return set(session.scalars(select(DeadLetter.id).where(DeadLetter.state == "open", or_(ran, *read))))
