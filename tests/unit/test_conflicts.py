"""What blocks a time and what does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sync.conflicts import Buffers, Own, find_blockers
from sync.domain import Interval, RemoteEvent, RemoteId, WriteKey

TEN = datetime(2027, 3, 8, 10, tzinfo=UTC)
WANTED = Interval(TEN, TEN + timedelta(hours=1))
KEY = WriteKey("key")


def event(
    minutes: int, *, length: int = 60, blocks: bool = True, remote_id: str = "e", key: WriteKey | None = None
) -> RemoteEvent:
    start = TEN + timedelta(minutes=minutes)
    return RemoteEvent(
        RemoteId(remote_id), "1", TEN, Interval(start, start + timedelta(minutes=length)), blocks=blocks, key=key
    )


@pytest.mark.parametrize(
    ("minutes", "length", "blocked"),
    [(-60, 60, False), (60, 60, False), (-60, 61, True), (59, 60, True), (10, 5, True), (-600, 1200, True)],
)
def test_only_what_shares_an_instant_blocks(minutes: int, length: int, blocked: bool) -> None:  # noqa: FBT001 - a table
    found = find_blockers([event(minutes, length=length)], wanted=WANTED, own=Own(KEY))
    assert bool(found) == blocked


def test_what_is_shown_as_free_does_not_block() -> None:
    assert find_blockers([event(0, blocks=False)], wanted=WANTED, own=Own(KEY)) == []


def test_our_own_event_does_not_block() -> None:
    ours = event(0, remote_id="ours", key=KEY)
    assert find_blockers([ours], wanted=WANTED, own=Own(KEY)) == []
    assert find_blockers([ours], wanted=WANTED, own=Own(KEY, RemoteId("ours"))) == []


def test_a_copy_of_our_event_blocks_once_ours_is_known() -> None:
    copied = event(0, remote_id="copied", key=KEY)
    assert find_blockers([copied], wanted=WANTED, own=Own(KEY, RemoteId("ours"))) == [copied]


def test_blockers_come_earliest_first() -> None:
    late, early = event(30, remote_id="late"), event(-30, remote_id="early")
    assert find_blockers([late, early], wanted=WANTED, own=Own(KEY)) == [early, late]


def test_between_two_appointments_the_longer_buffer_counts() -> None:
    buffers = Buffers(before=timedelta(minutes=30), after=timedelta(minutes=10))
    assert str(buffers.around(WANTED)) == "2027-03-08T09:30Z/2027-03-08T11:10Z"
    assert str(buffers.apart(WANTED)) == "2027-03-08T09:30Z/2027-03-08T11:30Z"
