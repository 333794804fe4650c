"""Push channels: opened, renewed before they end, made again when they are lost. No vendor is asked inside a transaction.

A channel that cannot be had costs nothing but time: its calendar is polled at the full rate.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

import structlog
from sqlalchemy import ColumnElement, func, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from models.agents import Agent, Calendar
from models.listings import UNHEALTHY
from models.push import Channel
from models.session import Sessions, database_now, transaction
from sync.domain import CalendarRef, Subscription
from sync.errors import NotFound, Transient, WatertightError
from sync.failures import open_alert, resolve_alert
from sync.ports import CalendarSubscriber, Subscribers
from sync.records import calendar_ref
from sync.retry import RetryPolicy

LEASE = timedelta(seconds=180)  # longer than the few requests that a renewal makes
PAUSE = timedelta(seconds=60)  # whatever a vendor answers, no channel is renewed more often
OVERLAP = timedelta(hours=1)  # for so long pushes of the channel before still count
RENEW_SHARE = 0.5  # of its life: with two days once a day, which also finds out that a vendor has lost it in silence
SILENT = timedelta(hours=1)  # a channel that tells nothing is made again this often
ALERT_FAILURES = 3
BACKOFF = RetryPolicy(max_attempts=1, base=60.0, cap=4 * 3600.0)

log = structlog.get_logger(__name__)


class Action(StrEnum):
    """What a channel needs."""

    OPEN = "open"
    RENEW = "renew"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class Door:
    """Where a vendor is to push about one calendar, and the secret by which we shall know it."""

    url: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Held:
    """A channel as it stands. ``subscription`` is None while there is none; ``until`` is the end of our claim on it."""

    subscription: Subscription | None = None
    url: str = ""
    opened_at: datetime | None = None
    unannounced: int = 0
    not_before: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """What one round did."""

    done: int = 0
    failed: int = 0
    left: int = 0

    def sentence(self) -> str:
        later = f", {self.left} left for the next time" if self.left else ""
        return f"{self.done} channels opened or renewed, {self.failed} failed{later}"


def decide_action(held: Held, door: Door, *, now: datetime, life: timedelta) -> Action | None:
    """What to do about a channel now; None if nothing."""
    if held.not_before is not None and held.not_before > now:
        return None
    if held.subscription is None:
        return Action.OPEN
    if held.url != door.url:
        return Action.REPLACE
    is_silent = held.unannounced >= UNHEALTHY and held.opened_at is not None and held.opened_at <= now - SILENT
    if is_silent:
        return Action.REPLACE
    return Action.RENEW if held.subscription.expires - now <= life * RENEW_SHARE else None


_ADDRESS = func.split_part(func.coalesce(Channel.url, ""), "?", 1)  # a door's, but for what names the calendar


def _may_need_care(soon: datetime) -> ColumnElement[bool]:
    """All for which ``decide_action`` may have something to do, so that those that are well need not be loaded."""
    return or_(
        Channel.remote_id.is_(None),
        Channel.expires_at.is_(None),
        Channel.expires_at <= soon,
        Channel.unannounced >= UNHEALTHY,
    )


class Channels:
    """Keeps the channels of all calendars for which there is a door. Holds no state between rounds.

    Whether there is a ``door``, and its address without the query, depend on the vendor and the role alone.
    """

    def __init__(
        self,
        sessions: Sessions,
        subscribers: Subscribers,
        *,
        door: Callable[[CalendarRef], Door | None],
        life: timedelta,
        rand: Callable[[], float],
    ) -> None:
        self._sessions = sessions
        self._subscribers = subscribers
        self._door = door
        self._life = life
        self._rand = rand

    def keep_all(self, *, seconds: float) -> Kept:
        """See to every channel that needs it, beginning none after ``seconds``.

        Raises:
            Exception: a bug met on the way, after everybody else has been served (P9).
        """
        ends = time.monotonic() + seconds
        due, done, failed, bugs = self._list_due(), 0, 0, list[Exception]()
        for position, (ref, door) in enumerate(due):
            if time.monotonic() > ends:
                return Kept(done, failed, len(due) - position)
            try:
                kept = self._keep(ref, door)
            except Exception as error:  # noqa: BLE001 - raised below
                bugs.append(error)
            else:
                done, failed = done + (kept is True), failed + (kept is False)
        for bug in bugs:
            raise bug
        return Kept(done, failed)

    def _list_due(self) -> list[tuple[CalendarRef, Door]]:
        with transaction(self._sessions) as session:
            now = database_now(session)
            kinds, moved = self._doors(session)
            rows = session.execute(
                select(Calendar, Agent, Channel)
                .join(Agent)
                .outerjoin(Channel, Channel.calendar_id == Calendar.id)
                .where(Calendar.stopped_code.is_(None), tuple_(Calendar.provider, Calendar.role).in_(kinds))
                .where(or_(_may_need_care(now + self._life * RENEW_SHARE), _ADDRESS.in_(moved)))
                .order_by(Calendar.id)
            ).all()
            refs = [(calendar_ref(calendar, agent), _held(channel)) for calendar, agent, channel in rows]
        with_doors = [(ref, held, door) for ref, held in refs if (door := self._door(ref)) is not None]
        return [(ref, door) for ref, held, door in with_doors if decide_action(held, door, now=now, life=self._life)]

    def _doors(self, session: Session) -> tuple[list[tuple[str, str]], list[str]]:
        """Kinds of calendars (vendor, role) that can push, and addresses to which some still do though they should not any more.

        Asked of one calendar for each kind and address: these are few, however many calendars there are.
        """
        one = select(func.min(Calendar.id)).outerjoin(Channel, Channel.calendar_id == Calendar.id)
        ids = session.scalars(one.group_by(Calendar.provider, Calendar.role, _ADDRESS)).all()
        rows = session.execute(
            select(Calendar, Agent, _ADDRESS)
            .join(Agent)
            .outerjoin(Channel, Channel.calendar_id == Calendar.id)
            .where(Calendar.id.in_(ids))
        ).all()
        found = [
            ((calendar.provider, calendar.role), address, self._door(calendar_ref(calendar, agent)))
            for calendar, agent, address in rows
        ]
        kinds = {kind for kind, _, door in found if door is not None}
        moved = {address for _, address, door in found if door is not None and address != door.url.partition("?")[0]}
        return sorted(kinds), sorted(address for address in moved if address)

    def _keep(self, ref: CalendarRef, door: Door) -> bool | None:
        """Whether it worked; None if somebody else has seen to this channel, or it needs nothing any more."""
        held, action = self._claim(ref, door)
        if action is None:
            return None
        try:
            subscription = self._act(self._subscribers.subscriber(ref), held, door, action)
        except WatertightError as error:
            self._fail(ref, held, error)
            return False
        return self._store(ref, held, door, subscription) or None

    def _claim(self, ref: CalendarRef, door: Door) -> tuple[Held, Action | None]:
        with transaction(self._sessions) as session:
            session.execute(insert(Channel).values(calendar_id=ref.id).on_conflict_do_nothing())
            row = session.get(Channel, ref.id, with_for_update=True)
            held, now = _held(row), database_now(session)
            action = decide_action(held, door, now=now, life=self._life)
            if action is None or row is None:
                return held, None
            row.not_before = now + LEASE
            session.flush()
            return _held(row, until=row.not_before), action

    def _act(self, subscriber: CalendarSubscriber, held: Held, door: Door, action: Action) -> Subscription:
        with transaction(self._sessions) as session:
            expires = database_now(session) + self._life
        if action is Action.REPLACE and held.subscription is not None:
            _end(subscriber, held.subscription)
        elif action is Action.RENEW and held.subscription is not None:
            try:
                return subscriber.renew(held.subscription, url=door.url, secret=door.secret, expires=expires)
            except NotFound:
                pass  # the vendor has lost it
        return subscriber.subscribe(url=door.url, secret=door.secret, expires=expires)

    def _store(self, ref: CalendarRef, held: Held, door: Door, subscription: Subscription) -> bool:
        """A new channel counts from now on: what it told before we knew its name was turned away."""
        with transaction(self._sessions) as session:
            now = database_now(session)
            values: dict[str, object] = {
                "remote_id": subscription.id,
                "resource_id": subscription.resource_id,
                "url": door.url,
                "expires_at": subscription.expires,
                "not_before": now + PAUSE,
                "failures": 0,
                "last_error_code": None,
            }
            before = held.subscription
            if before is None or before.id != subscription.id:
                values["opened_at"] = now
                values |= {"previous_id": before.id, "previous_until": now + OVERLAP} if before else {}
            resolve_alert(session, f"push_lost:{ref.id}")
            return _finish(session, ref, held, values)

    def _fail(self, ref: CalendarRef, held: Held, error: WatertightError) -> None:
        """Later again, and later each time; never before the vendor's own delay. People hear of it after a few times."""
        log.warning("channel.failed", calendar_id=ref.id, code=error.code)
        with transaction(self._sessions) as session:
            failures = 1 + (session.scalar(select(Channel.failures).where(Channel.calendar_id == ref.id)) or 0)
            asked = error.retry_after if isinstance(error, Transient) else None
            seconds = max(BACKOFF.delay(failures, rand=self._rand()), asked or 0.0)
            values = {
                "failures": failures,
                "not_before": database_now(session) + timedelta(seconds=seconds),
                "last_error_code": error.code,
            }
            if _finish(session, ref, held, values) and failures >= ALERT_FAILURES:
                detail = {"calendar": ref.id, "code": error.code}
                open_alert(session, f"push_lost:{ref.id}", code="push_lost", detail=detail, calendar_id=ref.id)


def _held(row: Channel | None, *, until: datetime | None = None) -> Held:
    if row is None:
        return Held()
    subscription = None
    if row.remote_id is not None and row.expires_at is not None:
        subscription = Subscription(row.remote_id, row.expires_at, row.resource_id)
    return Held(
        subscription=subscription,
        url=row.url,
        opened_at=row.opened_at,
        unannounced=row.unannounced,
        not_before=row.not_before,
        until=until,
    )


def _end(subscriber: CalendarSubscriber, subscription: Subscription) -> None:
    try:
        subscriber.unsubscribe(subscription)
    except WatertightError as error:
        # It ends by itself, and what it pushes until then is turned away or repeats a hint.
        log.warning("channel.not_ended", code=error.code)


def _finish(session: Session, ref: CalendarRef, held: Held, values: dict[str, object]) -> bool:
    """Record what came of a claim, unless it ran out and somebody else has taken over; whether it was recorded."""
    finishing = update(Channel).where(Channel.calendar_id == ref.id, Channel.not_before == held.until)
    recorded = session.execute(finishing.values(**values).returning(Channel.calendar_id)).first() is not None
    if not recorded:
        log.warning("channel.taken_over", calendar_id=ref.id)
    return recorded
