"""The commit engine: claim → check → write → verify → settle, and what happens when a step fails (design §5.2)."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from sqlalchemy import func, update

from models.ledger import Write
from models.proposals import Proposal
from models.session import Sessions, single_statement, transaction
from sync.boundaries import Boundary, cross
from sync.commit.claim import Follow, Mend, Stray, claim, snooze_proposal
from sync.commit.copies import CopyRun
from sync.commit.copy_order import CopyOrder, claim_write
from sync.commit.follow import follow_master, remove_stray
from sync.commit.holds import release_expired
from sync.commit.lease import hold_on, progress
from sync.commit.master import Blocked, Master
from sync.commit.mend import mend
from sync.commit.order import Order
from sync.commit.outcome import Outcome, Skipped, Snoozed, Written
from sync.commit.reference import parse_reference, reference_of
from sync.commit.settle import refuse, settle
from sync.commit.trouble import keep_failure, keep_try
from sync.commit.wait import hurry, put_back
from sync.domain import Kind, Reason, RemoteEvent, RemoteId, Role
from sync.errors import Contention, Permanent, Rejected, WatertightError
from sync.ports import Calendars
from sync.retry import RetryIn, RetryPolicy

POLICY = RetryPolicy(max_attempts=6, base=1.0, cap=60.0)
PARKED_SECONDS = 300.0  # how often a write is tried again that gave up but may already stand at the vendor


class CommitEngine:
    """Decides proposals and performs every write. Holds no state between calls."""

    def __init__(
        self, sessions: Sessions, calendars: Calendars, *, rand: Callable[[], float], policy: RetryPolicy = POLICY
    ) -> None:
        self._sessions = sessions
        self._calendars = calendars
        self._rand = rand
        self._policy = policy

    def commit(self, reference: str) -> Outcome:
        """Work on ``proposal:ID``, ``write:ID`` or ``hold:ID`` (one that may have run out). Safe to call any number of times, by any number of workers.

        Raises:
            NotFound: no such row.
            Malformed: not a reference.
        """
        name, number = parse_reference(reference)
        return {"proposal": self._proposal, "write": self._write, "hold": self._release}[name](number)

    def hurry(self, reference: str) -> None:
        """Let the row's wait be over, as somebody who has it run again wants; a lease is respected all the same.

        Raises:
            Malformed: not a reference.
        """
        name, number = parse_reference(reference)
        with transaction(self._sessions) as session:
            hurry(session, name, number)

    def _release(self, proposal_id: int) -> Outcome:
        with transaction(self._sessions) as session:
            released = release_expired(session, proposal_id)
        cross(Boundary.RELEASED)
        return released

    def _proposal(self, proposal_id: int) -> Outcome:
        cross(Boundary.CLAIM)
        with transaction(self._sessions) as session:
            claimed = claim(session, proposal_id)
            cross(Boundary.CLAIMING)
        if isinstance(claimed, Follow | Stray | Mend):
            return self._follow(claimed)
        if not isinstance(claimed, Order):
            return claimed
        cross(Boundary.CLAIMED if claimed.attempt == 1 else Boundary.RESUMED)
        try:
            return self._decide(claimed)
        except Contention as error:  # another worker has it: nothing that this one found counts any more
            return Skipped(str(error))

    def _decide(self, order: Order) -> Outcome:
        try:
            return self._carry_through(order)
        except Contention:
            raise
        except WatertightError as error:
            return self._failed(order, error)

    def _carry_through(self, order: Order) -> Outcome:
        master = Master(self._calendars, order)
        if order.kind is Kind.HOLD:
            return self._keep(order, master)
        if order.phase == "undone":
            return self._take_back(order, master)
        # A deletion is checked and written anew as long as it is not settled: a "gone" may have been untrue.
        unwritten = order.phase in {"claimed", "checked"} or order.kind is Kind.CANCEL
        written = self._write_master(order, master) if unwritten else order.remote_id
        if isinstance(written, Blocked):
            return self._refuse(order, master, written)
        verified = master.verify(written)
        cross(Boundary.VERIFY_READ)
        if isinstance(verified, Blocked):
            return self._refuse(order, master, verified)
        self._progress(order, "verified", evidence=verified.evidence)
        cross(Boundary.VERIFIED)
        return self._settle(order, verified.event)

    def _keep(self, order: Order, master: Master) -> Outcome:
        """A hold writes nothing: once the master is seen to be free, the time stays held for whoever asked."""
        clear = master.check()
        cross(Boundary.CHECK_READ)
        if isinstance(clear, Blocked):
            return self._refuse(order, master, clear)
        self._progress(order, "checked", evidence=clear.evidence)
        cross(Boundary.CHECKED)
        return self._settle(order, None)

    def _settle(self, order: Order, event: RemoteEvent | None) -> Outcome:
        with transaction(self._sessions) as session:
            settled = settle(session, order, event)
            cross(Boundary.SETTLING)
        cross(Boundary.SETTLED)
        return settled

    def _write_master(self, order: Order, master: Master) -> RemoteId | Blocked | None:
        clear = master.check()
        cross(Boundary.CHECK_READ)
        if isinstance(clear, Blocked):
            return clear
        self._progress(order, "checked", evidence=clear.evidence)
        cross(Boundary.CHECKED)
        try:
            event = master.write(clear)
        except Permanent as error:  # after a check in this very attempt, a plain "no" means that nothing was written
            self._tell(order.master.id, order, error)
            return Blocked(Reason.REJECTED, {"step": "write", "code": error.code})
        cross(Boundary.WROTE)
        written = event.remote_id if event is not None else order.remote_id
        self._progress(order, "written", remote_id=written)
        cross(Boundary.WRITTEN)
        return written

    def _refuse(self, order: Order, master: Master, blocked: Blocked) -> Outcome:
        """The refusal is certain before anything is undone: whoever resumes goes on undoing, and never says yes after all."""
        if blocked.event is None:
            if order.phase == "checked":
                master.outdate()
            return self._record_refusal(order, blocked.reason, evidence=blocked.evidence)
        self._progress(
            order, "undone", reason=blocked.reason.value, evidence=blocked.evidence, remote_id=blocked.event.remote_id
        )
        cross(Boundary.UNDOING)
        return self._take_back(order, master)

    def _take_back(self, order: Order, master: Master) -> Outcome:
        with transaction(self._sessions) as session:
            write = session.get_one(Write, order.write_id)
            reason, evidence = Reason(write.reason or Reason.MASTER_BUSY), write.evidence
            remote_id = RemoteId(str(write.remote_id))
        master.undo(remote_id)
        cross(Boundary.UNDONE)
        return self._record_refusal(order, reason, evidence=evidence)

    def _record_refusal(self, order: Order, reason: Reason, *, evidence: dict[str, Any]) -> Outcome:
        with transaction(self._sessions) as session:
            refused = refuse(session, order, reason, evidence=evidence)
            cross(Boundary.REFUSING)
        cross(Boundary.REFUSED)
        return refused

    def _progress(self, order: Order, state: str, **values: object) -> None:
        with single_statement(self._sessions) as session:
            progress(session, order, state=state, **values)

    def _failed(self, order: Order, error: WatertightError) -> Outcome:
        """Wait, refuse while nothing can have been written, or park: time is never freed on a guess (P6)."""
        cross(Boundary.FAILED)
        decision = self._policy.decide(error, attempt=order.attempt, rand=self._rand())
        if isinstance(decision, RetryIn):
            return self._try_again(order, error, seconds=decision.seconds)
        self._tell(order.master.id, order, error)
        with transaction(self._sessions) as session:
            if order.kind is Kind.HOLD or session.get_one(Proposal, order.proposal_id).state == "claimed":
                evidence = {"step": "check", "code": error.code, "attempts": order.attempt}
                return refuse(session, order, Reason.MASTER_UNREADABLE, evidence=evidence)
        return self._park(order, error)

    def _follow(self, order: Follow | Stray | Mend) -> Outcome:
        try:
            if isinstance(order, Mend):
                return mend(self._sessions, self._calendars, order)
            if isinstance(order, Stray):
                return remove_stray(self._sessions, self._calendars, order)
            return follow_master(self._sessions, self._calendars, order)
        except WatertightError as error:
            return self._follow_failed(order, error)

    def _follow_failed(self, order: Follow | Stray | Mend, error: WatertightError) -> Outcome:
        with transaction(self._sessions) as session:
            proposal = session.get_one(Proposal, order.proposal_id, with_for_update=True)
            proposal.attempt += 1
            reference, attempt = f"proposal:{order.proposal_id}", proposal.attempt
            decision = self._policy.decide(error, attempt=attempt, rand=self._rand())
            seconds = decision.seconds if isinstance(decision, RetryIn) else PARKED_SECONDS
            snooze_proposal(session, proposal, seconds=seconds)
            if isinstance(decision, RetryIn):
                keep_try(session, reference, error, number=attempt)
            else:
                keep_failure(session, order.calendar.id, reference, error, attempts=attempt)
        return Snoozed(seconds, error.code)

    def _write(self, write_id: int) -> Outcome:
        with transaction(self._sessions) as session:
            claimed = claim_write(session, write_id)
        if not isinstance(claimed, CopyOrder):
            return claimed
        cross(Boundary.COPY_CLAIMED)
        try:
            return CopyRun(self._sessions, self._calendars, claimed).carry_out()
        except Contention as error:
            return Skipped(str(error))
        except WatertightError as error:
            return self._copy_failed(claimed, error)

    def _copy_failed(self, order: CopyOrder, error: WatertightError) -> Outcome:
        decision = self._policy.decide(error, attempt=order.attempt, rand=self._rand())
        if isinstance(decision, RetryIn):
            return self._try_again(order, error, seconds=decision.seconds)
        self._tell(order.calendar.id, order, error)
        if isinstance(error, Rejected) and order.calendar.role is Role.SOURCE:
            return self._give_up(order, error)
        # A vendor also refuses the key of an event that a person deleted before we heard of it: start afresh later.
        fresh = {"key": uuid.uuid4().hex} if isinstance(error, Rejected) else {}
        return self._park(order, error, **fresh)

    def _give_up(self, order: CopyOrder, error: WatertightError) -> Outcome:
        """What a source cannot show (a booking tool: another length) it never will; people have been told."""
        with transaction(self._sessions) as session:
            session.execute(
                update(Write)
                .where(Write.id == order.write_id, Write.fence == order.fence, Write.state == "due")
                .values(
                    state="failed",
                    finished_at=func.clock_timestamp(),
                    leased_until=None,
                    last_error_code=error.code,
                )
            )
        cross(Boundary.SNOOZED)
        return Written("the source cannot show it; people are told")

    def _try_again(self, order: Order | CopyOrder, error: WatertightError, *, seconds: float) -> Outcome:
        with transaction(self._sessions) as session:
            held = put_back(session, order, error, seconds=seconds)
            if held:
                keep_try(session, reference_of(order), error, number=order.attempt)
        cross(Boundary.SNOOZED)
        return Snoozed(seconds, error.code) if held else Skipped("in another worker's hands")

    def _park(self, order: Order | CopyOrder, error: WatertightError, **fresh: str) -> Outcome:
        """What people have been told about is tried again all the same, now and then."""
        with transaction(self._sessions) as session:
            held = put_back(session, order, error, seconds=PARKED_SECONDS, **fresh)
        cross(Boundary.SNOOZED)
        return Snoozed(PARKED_SECONDS, error.code) if held else Skipped("in another worker's hands")

    def _tell(self, calendar_id: int, order: Order | CopyOrder, error: WatertightError) -> None:
        """Keep what went wrong and alert people.

        Raises:
            Contention: another worker took over, and will see for itself.
        """
        with transaction(self._sessions) as session:
            hold_on(session, order.write_id, order.fence)
            keep_failure(session, calendar_id, reference_of(order), error, attempts=order.attempt)
