"""AuditDrift: what the vendors show, read live, against the ledger; and repairs, which only the commit task carries out (P2).

The jobs notice changes and the commit task writes; an audit believes neither. What it finds once may be under way, so only
what a later audit finds again counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from models.agents import Agent
from models.audits import Audit
from models.drift import OpenWork, find_newest_audit, list_judged, list_open_work
from models.figures import BookingFigure, list_bookings
from models.queries import list_writes
from models.session import Sessions, database_now, transaction
from sync.audit import Booking, EventRef, Finding, Shown, compare
from sync.changes import Brake
from sync.domain import AppointmentId, CalendarId, CalendarRef, Interval, ProposalId, RemoteEvent, RemoteId
from sync.errors import MassChange, WatertightError
from sync.failures import open_alert, resolve_alert
from sync.intake import insert_repair
from sync.ports import Calendars
from sync.records import calendar_ref, list_revived, select_calendars

OVERLAP, STILL_BUSY = "overlap", "still_busy"
GRAVE = (OVERLAP, "missing", "unnoticed")  # on a master these are what P1 and P2 are about


@dataclass(frozen=True, slots=True)
class Audited:
    """What one audit found of one agent."""

    id: int
    agent: str
    state: str
    drift: int
    suspects: int
    reads: int
    code: str | None = None


class Auditor:
    """Compares one agent at a time. ``reach`` is how far ahead; ``confirm`` how long a finding must stand to be drift."""

    def __init__(self, sessions: Sessions, calendars: Calendars, *, reach: timedelta, confirm: timedelta) -> None:
        self._sessions = sessions
        self._calendars = calendars
        self._reach = reach
        self._confirm = confirm

    def audit(self, agent_id: int) -> Audited:
        """Read every calendar of the agent, compare, and keep what was found. A calendar that cannot be read is no drift."""
        with transaction(self._sessions) as session:
            agent = session.get_one(Agent, agent_id)
            rows = session.scalars(select_calendars(agent_id=agent_id)).all()
            refs = [calendar_ref(row, agent) for row in rows]
            silent = {CalendarId(row.id) for row in rows if row.on_refusal == "leave"}
            now = database_now(session)
        window = Interval(now, now + self._reach)
        try:
            events = {ref: tuple(self._calendars.reader(ref).read_window(window)) for ref in refs}
        except WatertightError as error:
            return self._keep_unreadable(agent_id, error, reads=len(refs))
        with transaction(self._sessions) as session:
            found = _Comparison(session, agent_id, events, window=window, silent=silent).findings()
            return self._keep(session, agent_id, found, reads=len(refs))

    def _keep_unreadable(self, agent_id: int, error: WatertightError, *, reads: int) -> Audited:
        """What was found before stays found: nothing is known now."""
        with transaction(self._sessions) as session:
            before = find_newest_audit(session, agent_id)
            row = Audit(agent_id=agent_id, state="unreadable", requests=reads, code=error.code)
            row.findings = before.findings if before is not None else []
            return _store(session, row)

    def _keep(self, session: Session, agent_id: int, found: Found, *, reads: int) -> Audited:
        before, now = find_newest_audit(session, agent_id), database_now(session)
        known = {_identity(one): one["since"] for one in (before.findings if before is not None else [])}
        findings = []
        for one in found.findings:
            since = datetime.fromisoformat(known.get(_identity(one), now.isoformat()))
            findings.append(one | {"since": since.isoformat(), "confirmed": now - since >= self._confirm})
        drift = sum(one["confirmed"] for one in findings)
        state = "drift" if drift else "suspect" if findings else "clean"
        row = Audit(agent_id=agent_id, state=state, findings=findings, drift=drift, requests=reads)
        row.appointments = found.appointments
        _tell(session, agent_id, [one for one in findings if one["confirmed"]])
        return _store(session, row)


@dataclass(frozen=True, slots=True)
class Found:
    """The differences as they are kept, and how many appointments were compared."""

    findings: list[dict[str, Any]]
    appointments: int


class _Comparison:
    """The ledger at one moment against what was read just before."""

    def __init__(
        self,
        session: Session,
        agent_id: int,
        events: Mapping[CalendarRef, tuple[RemoteEvent, ...]],
        *,
        window: Interval,
        silent: set[CalendarId],
    ) -> None:
        self._session = session
        self._events = events
        self._silent = silent
        self._open = list_open_work(session, agent_id)
        figures = list_bookings(session, start=window.start, end=window.end, agent_id=agent_id)
        self._bookings = [booking_of(figure) for figure in figures]

    def findings(self) -> Found:
        refs: set[EventRef] = {
            (ref.id, RemoteId(remote_id))
            for ref, events in self._events.items()
            for remote_id in list_judged(self._session, ref.id, [event.remote_id for event in events])
        }
        shown = [Shown(ref, events, self._ours(ref, events)) for ref, events in self._events.items()]
        drift = compare(self._bookings, shown, judged=refs)
        kept = [self._dump(finding) for finding in drift.broken if self._counts(finding)]
        return Found(kept, len(self._bookings))

    def _ours(self, ref: CalendarRef, events: Sequence[RemoteEvent]) -> frozenset[RemoteId]:
        """Events that writes of ours made.

        A person's copy of one carries its key too, under another id; and one that a person took out of the bin is theirs.
        """
        theirs = list_revived(self._session, ref.id)
        keys = {
            event.remote_id: event.key for event in events if event.key is not None and event.remote_id not in theirs
        }
        writes = list_writes(self._session, ref.id, list(keys.values()))
        return frozenset(
            remote_id for remote_id, key in keys.items() if key in writes and writes[key].remote_id == remote_id
        )

    def _counts(self, finding: Finding) -> bool:
        """Whether it is more than work under way, or a refusal that its owner is not to be told of."""
        if finding.what == STILL_BUSY and finding.calendar in self._silent:
            return False
        return not _under_way(finding, self._open)

    def _dump(self, finding: Finding) -> dict[str, Any]:
        """With the event that is to be put right and the version in which it was seen; none for one that is missing."""
        remote_id, version = self._target(finding)
        return {
            "what": finding.what,
            "calendar": finding.calendar,
            "start": finding.interval.start.isoformat(),
            "end": finding.interval.end.isoformat(),
            "appointments": list(finding.appointments),
            "events": list(finding.events),
            "remote_id": remote_id,
            "version": version,
        }

    def _target(self, finding: Finding) -> tuple[str | None, str | None]:
        if finding.events:
            shown = [event for ref, those in self._events.items() if ref.id == finding.calendar for event in those]
            versions = {event.remote_id: event.version for event in shown}
            return finding.events[0], versions.get(finding.events[0])
        carried = [one.events.get(finding.calendar) for one in self._bookings if one.id in finding.appointments]
        return (carried[0], None) if carried else (None, None)


def booking_of(figure: BookingFigure) -> Booking:
    return Booking(
        id=AppointmentId(figure.id),
        agent=figure.agent,
        interval=Interval(figure.starts_at, figure.ends_at),
        holds_slot=figure.holds_slot,
        by_person=figure.placed_by == "master",
        checked_at=figure.placed_at,
        events={CalendarId(number): RemoteId(remote_id) for number, remote_id in figure.events.items()},
    )


def _under_way(finding: Finding, work: OpenWork) -> bool:
    if work.appointments.intersection(finding.appointments):
        return True
    return any((finding.calendar, remote_id) in work.events for remote_id in finding.events)


def _identity(finding: Mapping[str, Any]) -> tuple[object, ...]:
    """The same difference, found again: whatever changed about it in between makes it a new one."""
    names = ("what", "calendar", "start", "end", "remote_id", "version")
    return (*(finding[name] for name in names), *finding["appointments"], *finding["events"])


def _store(session: Session, row: Audit) -> Audited:
    session.add(row)
    session.flush()
    return _audited(session, row)


def _audited(session: Session, row: Audit) -> Audited:
    agent = session.get_one(Agent, row.agent_id).slug
    suspects = len(row.findings) - (row.drift or 0) if row.state != "unreadable" else 0
    return Audited(row.id, agent, row.state, row.drift or 0, suspects, row.requests, row.code)


def _tell(session: Session, agent_id: int, confirmed: Sequence[Mapping[str, Any]]) -> None:
    """One alert for an agent, by what is worst; it ends with the first audit that does not find it any more."""
    masters = {row.id for row in session.scalars(select_calendars(agent_id=agent_id)) if row.role == "master"}
    grave = any(one["calendar"] in masters and one["what"] in GRAVE for one in confirmed)
    code = ("drift_master" if grave else "drift") if confirmed else None
    for other in {"drift_master", "drift"} - {code}:
        resolve_alert(session, f"{other}:{agent_id}")
    if code is not None:
        slug = session.get_one(Agent, agent_id).slug
        detail = {"agent": slug, "drift": len(confirmed), "kinds": sorted({one["what"] for one in confirmed})}
        open_alert(session, f"{code}:{agent_id}", code=code, detail=detail)


def find_audited(session: Session, audit_id: int) -> tuple[Audited | None, bool]:
    """What this audit found, and whether it is the agent's newest."""
    row = session.get(Audit, audit_id)
    if row is None:
        return None, False
    newest = find_newest_audit(session, row.agent_id)
    return _audited(session, row), newest is not None and newest.id == row.id


def ask_repair(
    session: Session, audit: Audit, *, by: str, brake: Brake, at_most: int | None = None
) -> tuple[ProposalId, ...]:
    """Propose a repair for what an audit has confirmed; asked again, nothing more. Overlaps are for people to settle.

    Raises:
        MassChange: so much is out of step that something else is likelier to be broken (P13). A person who has looked
            says how many to repair: ``at_most``.
    """
    wanted = [one for one in audit.findings if one["confirmed"] and one["what"] != OVERLAP]
    if at_most is None and brake.stops(gone=len(wanted), of=audit.appointments):
        raise MassChange(
            f"{len(wanted)} differences at {audit.appointments} appointments: look first, then say how many"
        )
    asked = [_ask(session, audit, number, one) for number, one in enumerate(wanted[:at_most])]
    made = tuple(proposal for proposal in asked if proposal is not None)
    if made:
        audit.repair_asked_by, audit.repaired_at = by, database_now(session)
        audit.repairs += len(made)
    return made


def _ask(session: Session, audit: Audit, number: int, finding: Mapping[str, Any]) -> ProposalId | None:
    key = f"repair:{audit.id}:{number}"
    if finding["remote_id"] is None:
        return insert_repair(session, key, agent_id=audit.agent_id, appointment_id=finding["appointments"][0])
    about = {
        "calendar_id": finding["calendar"],
        "remote_id": finding["remote_id"],
        "remote_version": finding["version"],
    }
    return insert_repair(session, key, agent_id=audit.agent_id, **about)
