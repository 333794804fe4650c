"""What vendors push: who is believed, and what is understood. Pure; over HTTP see tests/integration/test_webhooks.py."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.calcom import hooks as calcom
from providers.google import hooks as google
from providers.hubspot import hooks as hubspot
from providers.outlook import hooks as outlook
from providers.received import DEEPEST, Proof, Received
from sync.domain import CalendarId, Job
from sync.errors import Malformed, Unproven
from sync.pushes import Notice, Push, Secrets, Told, key_of

NOW = datetime(2027, 3, 8, 15, tzinfo=UTC)
SECRETS = Secrets(b"k" * 32)
PROOF = Proof(SECRETS, b"app-secret")
SEVEN = CalendarId(7)
URL = "https://watertight.example/webhooks/hubspot"
Headers = dict[str, str]


def notification(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 - as JSON has them
    plain = {
        "subscriptionId": "sub-1",
        "clientState": SECRETS.token("outlook", SEVEN),
        "changeType": "updated",
        "resourceData": {"id": "event-1", "@odata.etag": 'W/"1"'},
    }
    return {name: value for name, value in (plain | fields).items() if value is not None}


def graph(*items: object) -> list[Push]:
    return outlook.read(received(json.dumps({"value": items})), PROOF, now=NOW)


def received(
    body: str | bytes, headers: Mapping[str, str] | None = None, query: Mapping[str, str] | None = None
) -> Received:
    content = body.encode() if isinstance(body, str) else body
    return Received(headers or {}, query or {}, content, URL)


def channel(**headers: str | None) -> list[Push]:
    plain: dict[str, str | None] = {
        "x-goog-channel-token": SECRETS.token("google", SEVEN),
        "x-goog-channel-id": "channel-1",
        "x-goog-resource-state": "exists",
        "x-goog-message-number": "2",
    }
    told = plain | {name.replace("_", "-"): value for name, value in headers.items()}
    return google.read(
        received(b"", {name: value for name, value in told.items() if value is not None}), PROOF, now=NOW
    )


def crm(*events: object, secret: bytes = b"app-secret", age: timedelta = timedelta(), url: str = URL) -> list[Push]:
    body = json.dumps(events).encode()
    stamp = str(int((NOW - age).timestamp() * 1000))
    mac = hmac.new(secret, b"POST" + url.encode() + body + stamp.encode(), hashlib.sha256).digest()
    headers = {"x-hubspot-signature-v3": base64.b64encode(mac).decode(), "x-hubspot-request-timestamp": stamp}
    return hubspot.read(received(body, headers), PROOF, now=NOW)


def meeting(**fields: object) -> dict[str, object]:
    plain = {"portalId": 1, "subscriptionType": "object.creation", "objectId": 12, "occurredAt": 5, "eventId": 1}
    return plain | fields


def booking(trigger: str = "BOOKING_CREATED", **fields: object) -> bytes:
    envelope = {"triggerEvent": trigger, "createdAt": "2027-03-08T15:00:00Z", "payload": {"uid": "abc"}}
    return json.dumps(envelope | fields).encode()


def cal(body: bytes, *, signature: str | None = None, calendar: str = "7") -> list[Push]:
    mac = hmac.new(SECRETS.of("calcom", SEVEN).encode(), body, hashlib.sha256).hexdigest()
    headers = {"x-cal-signature-256": mac if signature is None else signature}
    return calcom.read(received(body, headers, {"calendar": calendar}), PROOF, now=NOW)


# The secrets


def test_a_calendar_s_token_names_it_and_fits_every_vendor() -> None:
    token = SECRETS.token("outlook", SEVEN)
    assert SECRETS.calendar_of("outlook", token) == 7
    assert len(SECRETS.token("google", CalendarId(2**31 - 1))) <= 64
    assert "k" * 32 not in repr(SECRETS)


@pytest.mark.parametrize(
    "token",
    ["", "7", "7.", f"8.{SECRETS.of('outlook', SEVEN)}", f"7.{SECRETS.of('google', SEVEN)}", f"07.{SECRETS.of('outlook', SEVEN)}", f"7.{Secrets(b'other').of('outlook', SEVEN)}", "7." + "ä" * 43],
)  # fmt: skip
def test_no_other_token_is_believed(token: str) -> None:
    assert SECRETS.calendar_of("outlook", token) is None


# Graph


@pytest.mark.parametrize(
    ("change", "told", "jobs"),
    [
        ("created", Told.CREATED, (Job.NEW,)),
        ("updated", Told.UPDATED, (Job.UPDATE,)),
        ("deleted", Told.DELETED, (Job.CANCEL,)),
    ],
)
def test_a_notification_names_calendar_channel_and_job(change: str, told: Told, jobs: tuple[Job, ...]) -> None:
    (push,) = graph(notification(changeType=change))
    assert (push.calendar_id, push.channel, push.told, push.jobs, push.event) == (7, "sub-1", told, jobs, "event-1")


def test_the_same_change_has_the_same_key_under_whatever_name_it_is_sent() -> None:
    first, again, later = graph(
        notification(id="n-1"),
        notification(id="n-2"),
        notification(resourceData={"id": "event-1", "@odata.etag": 'W/"2"'}),
    )
    assert first.key == again.key != later.key


@pytest.mark.parametrize(
    ("event", "notice", "jobs"),
    [
        ("missed", Notice.MISSED, tuple(Job)),
        ("subscriptionRemoved", Notice.REMOVED, tuple(Job)),
        ("reauthorizationRequired", Notice.RENEW, ()),
    ],
)
def test_a_notice_is_about_the_channel(event: str, notice: Notice, jobs: tuple[Job, ...]) -> None:
    (push,) = graph(notification(lifecycleEvent=event, changeType=None, resourceData=None))
    assert (push.notice, push.jobs) == (notice, jobs)


def test_a_notice_that_comes_again_another_day_is_another_one() -> None:
    body = received(json.dumps({"value": [notification(lifecycleEvent="missed")]}))
    keys = [
        outlook.read(body, PROOF, now=NOW + later)[0].key
        for later in (timedelta(0), timedelta(1), timedelta(seconds=1))
    ]
    assert keys[0] == keys[2] != keys[1]


@pytest.mark.parametrize("state", [None, "", 7, "7.forged", SECRETS.token("google", SEVEN)])
def test_one_forged_item_spoils_all(state: object) -> None:
    forged = notification() | {"clientState": state}
    with pytest.raises(Unproven):
        graph(notification(), forged)


@pytest.mark.parametrize(
    ("item", "field"),
    [
        (notification(changeType="moved"), "value.0.changeType"),
        (notification(changeType=None), "value.0.changeType"),
        (notification(subscriptionId=7), "value.0.subscriptionId"),
        (notification(resourceData=None), "value.0.resourceData"),
        (notification(resourceData={}), "value.0.resourceData.id"),
        (notification(lifecycleEvent="odd"), "value.0.lifecycleEvent"),
        ("odd", "value.0"),
    ],
)
def test_what_graph_never_sends_is_refused_by_field(item: object, field: str) -> None:
    with pytest.raises(Malformed) as refused:
        graph(item)
    assert refused.value.field == field


# Google


def test_a_channel_s_message_says_that_something_changed() -> None:
    (push,) = channel()
    assert (push.calendar_id, push.channel, push.told, push.jobs) == (7, "channel-1", None, tuple(Job))
    assert push == channel()[0] != channel(x_goog_message_number="3")[0]


def test_sync_says_nothing() -> None:
    assert channel(x_goog_resource_state="sync") == []


def test_a_wrong_token_is_refused_before_anything_is_looked_at() -> None:
    for token in (None, "", SECRETS.token("outlook", SEVEN)):
        with pytest.raises(Unproven):
            channel(x_goog_channel_token=token, x_goog_resource_state="odd")


@pytest.mark.parametrize("name", ["X-Goog-Channel-ID", "X-Goog-Resource-State", "X-Goog-Message-Number"])
@pytest.mark.parametrize("value", [None, "", "odd" * 10])
def test_a_bad_header_is_named(name: str, value: str | None) -> None:
    if (name, value) == ("X-Goog-Channel-ID", "odd" * 10):
        return
    with pytest.raises(Malformed) as refused:
        channel(**{name.lower().replace("-", "_"): value})
    assert refused.value.field == name


# HubSpot


def test_events_name_the_meeting_and_what_happened() -> None:
    pushes = crm(
        meeting(),
        meeting(subscriptionType="object.propertyChange", propertyName="hs_meeting_title", propertyValue="x"),
        meeting(subscriptionType="object.deletion"),
        meeting(subscriptionType="object.restore"),
        meeting(objectTypeId="0-1", objectId=99),
    )
    assert [push.told for push in pushes] == [Told.CREATED, Told.UPDATED, Told.DELETED, None]
    assert {push.event for push in pushes} == {"12"}
    assert len({push.key for push in pushes}) == 4


def test_an_event_s_number_is_no_key() -> None:
    first, again, later = crm(meeting(eventId=1), meeting(eventId=2), meeting(eventId=1, occurredAt=6))
    assert first.key == again.key != later.key


def test_a_meeting_that_changes_hands_concerns_the_new_owner_too() -> None:
    (push,) = crm(
        meeting(subscriptionType="object.propertyChange", propertyName="hubspot_owner_id", propertyValue="42")
    )
    assert (push.owner, push.jobs) == ("42", tuple(Job))


@pytest.mark.parametrize(
    "sent",
    [
        lambda: crm(meeting(), secret=b"other"),
        lambda: crm(meeting(), url=URL + "/"),
        lambda: crm(meeting(), age=timedelta(seconds=301)),
        lambda: crm(meeting(), age=timedelta(seconds=-301)),
        lambda: hubspot.read(received(b"[]"), PROOF, now=NOW),
        lambda: hubspot.read(received(b"[]"), Proof(SECRETS), now=NOW),
    ],
)
def test_what_the_app_did_not_sign_lately_is_refused(sent: Callable[[], list[Push]]) -> None:
    with pytest.raises(Unproven):
        sent()


def test_of_a_signed_body_the_time_is_signed_too() -> None:
    body, stamp = b"[]", str(int((NOW - timedelta(hours=1)).timestamp() * 1000))
    mac = base64.b64encode(
        hmac.new(b"app-secret", b"POST" + URL.encode() + body + stamp.encode(), hashlib.sha256).digest()
    )
    fresh = str(int(NOW.timestamp() * 1000))
    headers = {"x-hubspot-signature-v3": mac.decode(), "x-hubspot-request-timestamp": fresh}
    with pytest.raises(Unproven, match="wrong_signature"):
        hubspot.read(received(body, headers), PROOF, now=NOW)


def test_more_than_a_hundred_events_are_none_of_hubspot_s() -> None:
    assert len(crm(*[meeting(objectId=n) for n in range(100)])) == 100
    with pytest.raises(Malformed, match="more than 100"):
        crm(*[meeting(objectId=n) for n in range(101)])


@pytest.mark.parametrize("number", [None, True, "x", 1.5, []])
def test_a_meeting_without_number_is_refused(number: object) -> None:
    with pytest.raises(Malformed, match=r"0\.objectId"):
        crm(meeting(objectId=number))


# Cal.com


@pytest.mark.parametrize(
    ("trigger", "told"),
    [
        ("BOOKING_CREATED", Told.CREATED),
        ("BOOKING_RESCHEDULED", Told.UPDATED),
        ("BOOKING_CANCELLED", Told.DELETED),
        ("BOOKING_REJECTED", Told.DELETED),
        ("BOOKING_REQUESTED", None),
    ],
)
def test_a_trigger_chooses_the_job(trigger: str, told: Told | None) -> None:
    (push,) = cal(booking(trigger))
    assert (push.calendar_id, push.channel, push.told, push.event) == (7, None, told, "abc")


def test_the_same_body_is_the_same_push() -> None:
    assert cal(booking())[0].key == cal(booking())[0].key != cal(booking(createdAt="2027-03-08T15:00:01Z"))[0].key


def test_triggers_about_no_booking_tell_nothing() -> None:
    flat = json.dumps({"triggerEvent": "MEETING_STARTED", "id": 1, "uid": "abc", "title": "x"}).encode()
    assert cal(flat) == cal(booking("RECORDING_READY")) == []


@pytest.mark.parametrize("signature", ["", "no-secret-provided", "0" * 64, "ä"])
def test_what_the_webhook_s_secret_did_not_sign_is_refused(signature: str) -> None:
    with pytest.raises(Unproven):
        cal(booking(), signature=signature)


def test_one_calendar_s_signature_is_no_other_s() -> None:
    with pytest.raises(Unproven):
        cal(booking(), calendar="8")


@pytest.mark.parametrize("calendar", ["", "x", "-1", "07", "9" * 12])
def test_an_address_without_calendar_is_refused(calendar: str) -> None:
    with pytest.raises(Malformed, match="calendar"):
        cal(booking(), calendar=calendar)


@pytest.mark.parametrize(("body", "field"), [(booking(payload=None), "payload"), (booking(payload={}), "payload.uid")])
def test_a_booking_without_uid_is_refused(body: bytes, field: str) -> None:
    with pytest.raises(Malformed) as refused:
        cal(body)
    assert refused.value.field == field


# All of them


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b"null", b"NaN", b'{"a":1,"a":2}', nested(DEEPEST + 1), nested(100_000)]
)
def test_what_is_no_json_or_too_deep_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed, match="body"):
        outlook.read(received(body), PROOF, now=NOW)
    with pytest.raises(Malformed, match="body"):
        cal(body)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["value", "clientState", "subscriptionId", "changeType", "resourceData", "id", "payload"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=8,
    )
)
def test_whatever_is_sent_is_understood_or_refused(body: Any) -> None:  # noqa: ANN401 - any JSON
    reads: tuple[Callable[[], list[Push]], ...] = (
        lambda: graph(*body) if isinstance(body, list) else outlook.read(received(json.dumps(body)), PROOF, now=NOW),
        lambda: crm(body),
        lambda: cal(json.dumps(body).encode()),
    )
    for read in reads:
        with contextlib.suppress(Malformed, Unproven):
            assert isinstance(read(), list)


def test_a_key_keeps_its_parts_apart() -> None:
    assert key_of("a", "bc") != key_of("ab", "c")
    assert len(key_of("x" * 10_000)) == 64
