"""The emulator's webhooks, received by a real HTTP server and judged by our receiver and by Cal.com's own words."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.contract.pushed import Arrived, Inbox, receiver
from tests.fixtures.calcom.serving import Stage, World, stage

SPELLED = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?(Z|\+00:00)$")
PAYLOAD = {"type", "title", "startTime", "endTime", "uid", "bookingId", "iCalUID", "status", "organizer", "attendees"}


@pytest.fixture(scope="module")
def server() -> Iterator[Stage]:
    with stage() as running:
        yield running


@pytest.fixture
def calcom(server: Stage) -> World:
    return server.world()


@pytest.fixture
def inbox(calcom: World) -> Iterator[Inbox]:
    with receiver() as inbox:
        calcom.calendar.subscribe(url=inbox.url, secret="s3cret", expires=datetime.now(UTC) + timedelta(hours=1))
        yield inbox


def trigger(arrived: Arrived) -> str:
    return str(json.loads(arrived.body)["triggerEvent"])


def test_every_step_of_a_booking_is_told_signed_and_once(calcom: World, inbox: Inbox) -> None:
    uid = calcom.books()
    moved = calcom.moves(uid, 3, 4)
    calcom.cancels(moved)
    arrived = [inbox.next() for _ in range(3)]
    assert [trigger(one) for one in arrived] == ["BOOKING_CREATED", "BOOKING_RESCHEDULED", "BOOKING_CANCELLED"]
    for one in arrived:
        mac = hmac.new(b"s3cret", one.body, hashlib.sha256).hexdigest()
        assert one.headers["X-Cal-Signature-256"] == mac
        assert one.headers["X-Cal-Webhook-Version"] == "2021-10-20"
        assert one.headers["Content-Type"] == "application/json"
        envelope = json.loads(one.body)
        assert envelope.keys() == {"triggerEvent", "createdAt", "payload"}
        assert envelope["payload"].keys() >= PAYLOAD
        assert SPELLED.match(envelope["payload"]["startTime"])
    payload = json.loads(arrived[1].body)["payload"]
    assert (payload["uid"], payload["rescheduleUid"], payload["status"]) == (moved, uid, "ACCEPTED")
    assert json.loads(arrived[2].body)["payload"]["startTime"].endswith("+00:00"), "a cancellation spells it so"
    assert inbox.is_empty()


def test_a_change_in_place_is_told_to_nobody(calcom: World, inbox: Inbox) -> None:
    uid = calcom.books()
    calcom.changes(uid, title="Renamed")
    calcom.cancels(uid)
    assert [trigger(inbox.next()) for _ in range(2)] == ["BOOKING_CREATED", "BOOKING_CANCELLED"]


def test_what_got_lost_is_not_sent_again(calcom: World) -> None:
    with receiver(statuses=(503,)) as inbox:
        calcom.calendar.subscribe(url=inbox.url, secret="s", expires=datetime.now(UTC) + timedelta(hours=1))
        uid = calcom.books()
        calcom.arm("lost_push")
        moved = calcom.moves(uid, 3, 4)
        calcom.cancels(moved)
        assert [trigger(inbox.next()) for _ in range(2)] == ["BOOKING_CREATED", "BOOKING_CANCELLED"]


def test_one_host_s_webhook_does_not_hear_of_another(calcom: World, inbox: Inbox) -> None:
    other = calcom.calendar_of("ben@example.com", key="cal_test_ben@example.com")
    hook = other.subscribe(url=inbox.url, secret="ben's", expires=datetime.now(UTC) + timedelta(hours=1))
    calcom.books()
    assert trigger(inbox.next()) == "BOOKING_CREATED"
    other.unsubscribe(hook)
    assert inbox.is_empty()
