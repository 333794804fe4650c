"""Push channels: opened, renewed with overlap, made again when lost, left alone for a while when they cannot be had."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from models.session import refuse_inside_transaction
from providers.memory import MemoryCalendar
from sync.channels import Action, Channels, Door, Held, Kept, decide_action
from sync.domain import CalendarRef, Subscription
from sync.errors import CredentialRevoked, NotFound, ProviderUnavailable, RateLimited
from sync.pushes import Notice, Push
from tests.integration.pushing import take
from tests.integration.world import World

LIFE = timedelta(days=2)
NOW = datetime(2027, 3, 8, 15, tzinfo=UTC)
MASTER, MIRROR = "dana-master", "dana-mirror"


@dataclass(frozen=True)
class Outside:
    """A vendor that must not be asked inside a transaction."""

    vendor: MemoryCalendar

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the vendor has
        refuse_inside_transaction()
        return getattr(self.vendor, name)


@dataclass
class Office:
    """A world in which only the mirror's vendor can push."""

    world: World
    url: str = "https://watertight.example/webhooks"

    def door(self, calendar: CalendarRef) -> Door | None:
        return Door(self.url, f"secret of {calendar.id}") if calendar.remote == MIRROR else None

    def keep(self, *, seconds: float = 10.0) -> Kept:
        world = self.world
        channels = Channels(world.app, self, door=self.door, life=LIFE, rand=lambda: 0.0)
        return channels.keep_all(seconds=seconds)

    def subscriber(self, calendar: CalendarRef) -> Any:  # noqa: ANN401 - a subscriber, and watched
        return Outside(self.world.calendars.of(calendar.remote))

    def row(self, *columns: str) -> tuple[Any, ...]:
        (row,) = self.world.sql(f"SELECT {', '.join(columns)} FROM channels")  # noqa: S608
        return tuple(row)

    def later(self, **age: str) -> None:
        """Turn back clocks: of each column, by an interval."""
        for column, interval in age.items():
            with self.world.app() as session, session.begin():
                session.connection().exec_driver_sql(
                    f"UPDATE channels SET {column} = {column} - interval '{interval}'"  # noqa: S608
                )

    def alerts(self) -> list[tuple[str, str]]:
        return self.world.alerts()

    @property
    def subscriptions(self) -> dict[str, Subscription]:
        return self.world.mirror.subscriptions

    @property
    def calls(self) -> list[str]:
        return [call for call in self.world.mirror.calls if "subscribe" in call or call == "renew"]


@pytest.fixture
def office(world: World) -> Office:
    return Office(world)


def test_a_channel_is_opened_once_where_there_is_a_door(office: Office) -> None:
    assert office.keep() == Kept(done=1)
    assert office.keep() == Kept()
    assert list(office.subscriptions) == [office.row("remote_id")[0]]
    assert office.row("url", "failures", "opened_at IS NOT NULL", "previous_id") == (office.url, 0, True, None)
    assert office.world.sql("SELECT expires_at - opened_at > interval '47 hours' FROM channels") == [(True,)]


def test_it_is_renewed_once_a_day_and_stays_the_same(office: Office) -> None:
    office.keep()
    (before,) = office.row("remote_id")
    office.later(not_before="1 hour", expires_at="23 hours")
    assert office.keep() == Kept()
    office.later(expires_at="2 hours")
    assert office.keep() == Kept(done=1)
    assert office.calls == ["subscribe", "renew"]
    assert office.row("remote_id", "previous_id", "expires_at > now() + interval '47 hours'") == (before, None, True)


def test_a_channel_that_is_replaced_overlaps_with_the_new_one(office: Office) -> None:
    office.keep()
    (before,) = office.row("remote_id")
    office.later(not_before="1 hour", opened_at="2 hours")
    office.url = "https://moved.example/webhooks"
    assert office.keep() == Kept(done=1)
    assert office.calls == ["subscribe", "unsubscribe", "subscribe"]
    after, previous, url = office.row("remote_id", "previous_id", "url")
    assert (previous, url, after == before) == (before, office.url, False)
    assert office.row("opened_at > now() - interval '1 minute'", "previous_until > now()") == (True, True)
    for channel in (before, after):
        assert take(office.world.app, "memory", [Push(channel, office.world.ids[MIRROR], channel)]).new == 1
    office.later(previous_until="2 hours")
    with pytest.raises(NotFound):
        take(office.world.app, "memory", [Push("late", office.world.ids[MIRROR], before)])


def test_one_that_the_vendor_has_lost_is_made_again(office: Office) -> None:
    office.keep()
    office.subscriptions.clear()
    office.later(not_before="1 hour", expires_at="25 hours", opened_at="1 day")
    assert office.keep() == Kept(done=1)
    assert office.calls == ["subscribe", "renew", "subscribe"]
    assert list(office.subscriptions) == [office.row("remote_id")[0]]
    assert office.row("opened_at > now() - interval '1 minute'") == (True,)


@pytest.mark.parametrize(("notice", "call"), [(Notice.REMOVED, "subscribe"), (Notice.RENEW, "renew")])
def test_a_notice_of_the_vendor_is_followed_at_once(office: Office, notice: Notice, call: str) -> None:
    office.keep()
    (channel,) = office.row("remote_id")
    assert take(office.world.app, "memory", [Push("n", office.world.ids[MIRROR], channel, notice=notice)]).renew
    assert office.keep() == Kept(done=1)
    assert office.calls == ["subscribe", call]


def test_one_that_is_silent_about_changes_is_made_again_every_hour(office: Office) -> None:
    office.keep()
    with office.world.app() as session, session.begin():
        session.connection().exec_driver_sql("UPDATE channels SET unannounced = 2")
    office.later(not_before="1 hour", opened_at="59 minutes")
    assert office.keep() == Kept()
    office.later(opened_at="2 minutes")
    assert office.keep() == Kept(done=1)
    assert office.calls == ["subscribe", "unsubscribe", "subscribe"]
    assert office.row("unannounced") == (2,), "only a hint proves that it works again"


def test_one_that_cannot_be_had_is_tried_later_and_later_and_people_are_told_once(office: Office) -> None:
    waits = []
    for number in range(4):
        office.world.mirror.fail("subscribe", ProviderUnavailable("503"))
        assert office.keep() == Kept(failed=1)
        assert office.keep() == Kept(), "not before its time"
        assert office.alerts() == ([("push_lost", "warning")] if number >= 2 else [])
        ((seconds,),) = office.world.sql("SELECT extract(epoch FROM not_before - clock_timestamp()) FROM channels")
        waits.append(round(float(seconds) / 30))
        office.later(not_before="1 day")
    assert waits == [1, 2, 4, 8]
    assert office.row("failures", "last_error_code") == (4, "provider_unavailable")
    assert office.keep() == Kept(done=1)
    assert (office.alerts(), office.row("failures", "last_error_code")) == ([], (0, None))


def test_a_vendor_s_own_delay_is_obeyed(office: Office) -> None:
    office.world.mirror.fail("subscribe", RateLimited("429", retry_after=3600))
    office.keep()
    assert office.row("not_before > now() + interval '59 minutes'") == (True,)


def test_a_renewal_that_fails_leaves_the_channel_as_it_is(office: Office) -> None:
    office.keep()
    before = office.row("remote_id", "opened_at")
    office.later(not_before="1 hour", expires_at="25 hours")
    office.world.mirror.fail("renew", CredentialRevoked("401"))
    assert office.keep() == Kept(failed=1)
    assert office.row("remote_id", "opened_at") == before


def test_a_stopped_calendar_is_left_alone(office: Office) -> None:
    office.world.configure(MIRROR, stopped_code="mass_change")
    assert (office.keep(), office.calls) == (Kept(), [])


def test_two_rounds_at_once_open_one_channel(office: Office) -> None:
    inside, kept = threading.Event(), list[Kept]()

    def meanwhile() -> None:
        inside.set()
        other.join(20)

    def at_once() -> None:
        inside.wait(20)
        kept.append(office.keep())

    other = threading.Thread(target=at_once, daemon=True)
    office.world.mirror.on("subscribe", meanwhile)
    other.start()
    kept.append(office.keep())
    assert kept == [Kept(), Kept(done=1)]
    assert len(office.subscriptions) == 1


def test_a_round_that_was_overtaken_records_nothing(office: Office) -> None:
    def overtaken() -> None:
        office.later(not_before="1 hour")
        assert office.keep() == Kept(done=1)

    office.world.mirror.on("subscribe", overtaken)
    assert office.keep() == Kept()
    assert office.row("failures", "remote_id") == (0, "dana-mirror-sub-1")


def test_a_bug_at_one_calendar_does_not_stop_the_others(office: Office) -> None:
    second = office.world.add_mirror("dana-second")
    both = {MIRROR, "dana-second"}
    office.door = lambda calendar: Door(office.url, "s") if calendar.remote in both else None  # type: ignore[method-assign]
    office.world.mirror.fail("subscribe", ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError):
        office.keep()
    assert len(second.subscriptions) == 1


def test_what_takes_too_long_is_left_for_the_next_time(office: Office) -> None:
    assert office.keep(seconds=-1) == Kept(left=1)
    assert Kept(left=1).sentence() == "0 channels opened or renewed, 0 failed, 1 left for the next time"


OPEN = Held(Subscription("c", NOW + LIFE), "https://a.example", NOW)


@pytest.mark.parametrize(
    ("held", "action"),
    [
        (Held(), Action.OPEN),
        (Held(not_before=NOW + timedelta(seconds=1)), None),
        (Held(not_before=NOW), Action.OPEN),
        (OPEN, None),
        (replace(OPEN, url="https://b.example"), Action.REPLACE),
        (replace(OPEN, subscription=Subscription("c", NOW + LIFE / 2)), Action.RENEW),
        (replace(OPEN, subscription=Subscription("c", NOW - LIFE)), Action.RENEW),
        (replace(OPEN, unannounced=2), None),
        (replace(OPEN, unannounced=2, opened_at=NOW - timedelta(hours=1)), Action.REPLACE),
        (replace(OPEN, unannounced=1, opened_at=NOW - timedelta(hours=1)), None),
    ],
)
def test_what_a_channel_needs(held: Held, action: Action | None) -> None:
    door = Door("https://a.example", "s")
    assert decide_action(held, door, now=NOW, life=LIFE) is action


def test_a_door_does_not_show_its_secret() -> None:
    assert "hush" not in repr(Door("https://a.example", "hush"))
