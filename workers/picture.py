"""What the demo's screen shows at one moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from models.figures import ProposalFigure, count_open_alerts, list_proposals
from models.listings import CalendarRecord, list_calendars
from models.queries import count_decisions, list_open
from models.session import transaction
from workers.diary import Diary, now
from workers.up import Running

RECENT = 14


@dataclass(frozen=True, slots=True)
class Picture:
    taken_at: datetime
    act: str
    elapsed: float
    web: str
    flower: str
    calendars: Sequence[CalendarRecord]
    recent: Sequence[ProposalFigure]
    decisions: dict[str, int]
    open_proposals: int
    open_writes: int
    alerts: dict[str, int]
    changes: int
    errors: dict[str, int]

    @property
    def accepted(self) -> int:
        return self.decisions.get("accepted", 0) + self.decisions.get("already_done", 0)

    @property
    def decided(self) -> int:
        return sum(self.decisions.values())

    def lag(self, role: str, job: str) -> float | None:
        """Seconds since the job's oldest read of a calendar of this role; None before the first."""
        reads = [calendar.read_at.get(job) for calendar in self.calendars if calendar.role == role]
        known = [read for read in reads if read is not None]
        return (self.taken_at - min(known)).total_seconds() if known and len(known) == len(reads) else None


def take_picture(running: Running, *, act: str, elapsed: float, diary: Diary, after: int) -> Picture:
    """How things stand, of the proposals after ``after``."""
    with transaction(running.sessions) as session:
        proposals, writes = list_open(session)
        return Picture(
            taken_at=now(),
            act=act,
            elapsed=elapsed,
            web=running.web,
            flower=running.flower,
            calendars=list_calendars(session),
            recent=list_proposals(session, after=after, newest=RECENT),
            decisions=count_decisions(session, after_proposal=after),
            open_proposals=proposals,
            open_writes=writes,
            alerts=count_open_alerts(session),
            changes=diary.count(),
            errors=diary.errors(),
        )
