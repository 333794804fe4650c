"""Have runs that gave up run again, when what was wrong has been put right. Safe to repeat: the second time does nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.failures import DeadLetter
from models.letters import DeadLetterRecord, list_dead_letters
from models.schedule import BeatJob
from models.session import Sessions, transaction
from sync.actions import Actor, record_action
from sync.domain import CalendarId, Job
from sync.failures import close_dead_letter, resolve_alert
from sync.hints import Nudge, hint
from sync.patience import try_again
from workers.dead_letters import COMMIT, JOBS, cause_of
from workers.nudge import nudge_at_once, start, wake

REFERENCES = ("proposal", "write", "hold")

How = Literal["commit", "job", "beat", "nothing"]


@dataclass(frozen=True, slots=True)
class Replay:
    """What a replay of one dead letter would do; ``sentence`` says it to people."""

    id: int
    task: str
    reference: str
    code: str
    calendar_id: int | None
    how: How
    sentence: str


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of it. ``done`` is false where a person must do something else first, or somebody was faster."""

    id: int
    done: bool
    sentence: str


def plan_replay(session: Session, *, ids: Collection[int] | None = None, code: str | None = None) -> list[Replay]:
    """Open dead letters, the oldest first: those with these ids, those with this code, or all."""
    letters = list_dead_letters(session, ids=ids, code=code, limit=None)
    by_beat = set(session.scalars(select(BeatJob.task)))
    return [_plan(letter, by_beat) for letter in reversed(letters)]


def _plan(letter: DeadLetterRecord, by_beat: set[str]) -> Replay:
    how, sentence = _how(letter, by_beat)
    return Replay(letter.id, letter.task, letter.reference, letter.code, letter.calendar_id, how, sentence)


def _how(letter: DeadLetterRecord, by_beat: set[str]) -> tuple[How, str]:
    name, _, number = letter.reference.partition(":")
    if letter.task == COMMIT and name in REFERENCES and number.isdigit():
        return "commit", f"work on {name} {number} at once"
    if letter.task in JOBS and letter.reference.isdigit():
        return "job", f"let {letter.task.partition('.')[0]} read calendar {letter.reference} at once"
    if letter.task in by_beat and not letter.reference:
        return "beat", f"run {letter.task} once, out of its turn"
    return "nothing", "close it: there is nothing that could run again"


def carry_out(sessions: Sessions, plan: Sequence[Replay], *, by: Actor) -> list[Replayed]:
    """Close each with its alert, then have it run. The rows are the truth: a message that gets lost only delays."""
    return [_carry_out(sessions, replay, by=by) for replay in plan]


def _carry_out(sessions: Sessions, replay: Replay, *, by: Actor) -> Replayed:
    with transaction(sessions) as session:
        nudges: tuple[Nudge, ...] = ()
        if not _is_open(session, replay):
            return Replayed(replay.id, done=False, sentence="somebody has closed it already")
        if replay.how == "job":
            job, calendar_id = Job(JOBS[replay.task]), CalendarId(int(replay.reference))
            if (stopped := try_again(session, job, calendar_id)) is not None:
                return Replayed(replay.id, done=False, sentence=_stopped(calendar_id, stopped))
            nudges = hint(session, {(calendar_id, job)})
        _close(session, replay, by=by)
    return Replayed(replay.id, done=True, sentence=_send(replay, nudges))


def _stopped(calendar_id: int, code: str) -> str:
    return f"calendar {calendar_id} is stopped ({code}): watertight calendars release {calendar_id}"


def _is_open(session: Session, replay: Replay) -> bool:
    """Asked under a lock on the row, so of two replays at once one finds it open."""
    letter = session.get(DeadLetter, replay.id, with_for_update=True)
    return letter is not None and letter.state == "open"


def _close(session: Session, replay: Replay, *, by: Actor) -> None:
    close_dead_letter(session, replay.id, state="replayed", by=str(by))
    if not _has_others(session, replay):
        resolve_alert(
            session,
            cause_of(replay.task, reference=replay.reference, code=replay.code, calendar_id=replay.calendar_id),
        )
    after = {"task": replay.task, "reference": replay.reference, "code": replay.code}
    record_action(session, by, "failures.replay", about=f"dead_letter:{replay.id}", after=after)


def _has_others(session: Session, replay: Replay) -> bool:
    """Whether other open dead letters stand behind the same alert: a commit's is one for each calendar and code."""
    if replay.task != COMMIT or replay.calendar_id is None:
        return False
    same = select(DeadLetter.id).where(
        DeadLetter.state == "open",
        DeadLetter.task == replay.task,
        DeadLetter.calendar_id == replay.calendar_id,
        DeadLetter.code == replay.code,
    )
    return session.scalar(same.limit(1)) is not None


def _send(replay: Replay, nudges: Sequence[Nudge]) -> str:
    if replay.how == "nothing":
        return "closed"
    if replay.how == "commit":
        sent = nudge_at_once(replay.reference)
    elif replay.how == "beat":
        sent = start(replay.task)
    else:
        sent = not nudges or wake(nudges) == len(nudges)
    return "runs again" if sent else "runs again as soon as the broker is back"
