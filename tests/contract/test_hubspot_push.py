"""The emulator's webhooks, judged by HubSpot's own library and understood by our receiver."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import requests
from hubspot.utils.signature import Signature

from providers.emulated_faults import Fault
from providers.emulation import HumanAction, HumanEvent, build_app
from providers.hubspot import hooks
from providers.hubspot.emulator import HubSpotEmulator
from providers.received import Proof, Received
from sync.pushes import Secrets, Told
from tests.contract.pushed import Arrived, Inbox, receiver
from tests.fixtures.google.serving import MORNING, serving

SECRET = "the-secret-of-the-app"
KEYS = {"eventId", "subscriptionId", "portalId", "appId", "occurredAt", "subscriptionType", "attemptNumber", "objectId"}


@pytest.fixture
def emulator() -> HubSpotEmulator:
    return HubSpotEmulator()


@pytest.fixture
def inbox(emulator: HubSpotEmulator) -> Iterator[Inbox]:
    with receiver(statuses=(503,)) as inbox, serving(build_app(emulator)) as url:
        target = {"url": inbox.url, "secret": SECRET}
        requests.post(f"{url}/_control/webhook", json=target, timeout=10).raise_for_status()
        yield inbox


def act(emulator: HubSpotEmulator, action: str, number: str | None = None, title: str = "Viewing") -> str:
    event = HumanEvent(start=MORNING, end=MORNING.replace(hour=16), title=title)
    return str(emulator.act(HumanAction(action=action, calendar="42", id=number, event=event))["id"])


def told(arrived: Arrived, url: str) -> list[Told | None]:
    received = Received({name.lower(): value for name, value in arrived.headers.items()}, {}, arrived.body, url)
    return [push.told for push in hooks.read(received, Proof(Secrets(b""), SECRET.encode()), now=datetime.now(UTC))]


def test_a_message_is_signed_and_repeated_while_we_are_busy(emulator: HubSpotEmulator, inbox: Inbox) -> None:
    number = act(emulator, "create")
    first, again = inbox.next(), inbox.next()
    assert first.body == again.body
    headers = again.headers
    assert Signature.is_valid(
        signature=headers["X-HubSpot-Signature-v3"],
        client_secret=SECRET,
        request_body=again.body.decode(),
        http_uri=inbox.url,
        http_method="POST",
        signature_version="v3",
        timestamp=headers["X-HubSpot-Request-Timestamp"],
    )
    (event,) = json.loads(again.body)
    assert event.keys() >= KEYS
    assert (str(event["objectId"]), event["subscriptionType"], event["objectTypeId"]) == (
        number,
        "object.creation",
        "0-47",
    )


def test_our_receiver_understands_each_kind(emulator: HubSpotEmulator, inbox: Inbox) -> None:
    number = act(emulator, "create")
    assert [told(inbox.next(), inbox.url) for _ in range(2)] == [[Told.CREATED]] * 2
    act(emulator, "change", number, title="Renamed")
    assert told(inbox.next(), inbox.url) == [Told.UPDATED]
    act(emulator, "delete", number)
    assert told(inbox.next(), inbox.url) == [Told.DELETED]


def test_pushes_can_be_lost_and_doubled(emulator: HubSpotEmulator, inbox: Inbox) -> None:
    act(emulator, "create")
    emulator.faults.arm(Fault(kind="lost_push"))
    act(emulator, "create")
    emulator.faults.arm(Fault(kind="duplicate_push"))
    act(emulator, "create")
    bodies = [inbox.next().body for _ in range(4)]
    assert bodies[0] == bodies[1] != bodies[2] == bodies[3]


def test_more_than_a_hundred_events_are_more_than_one_message(emulator: HubSpotEmulator, inbox: Inbox) -> None:
    events = [{"objectId": number} for number in range(150)]
    emulator.pushes.send(events)
    inbox.next()
    assert [len(json.loads(inbox.next().body)) for _ in range(2)] == [100, 50]
