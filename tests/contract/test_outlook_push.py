"""Subscriptions and notifications, between the Outlook client, the emulator and a receiver of ours."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, Queue
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from providers.outlook.push import LONGEST_SUBSCRIPTION
from sync.domain import Subscription
from sync.errors import NotFound, Rejected, WriteOutcomeUnknown
from tests.contract.outlook_world import Desk, World, open_desk, served

EXPIRES = datetime.now(UTC) + timedelta(days=1)


@dataclass
class Receiver:
    url: str = ""
    got: Queue[dict[str, Any]] = field(default_factory=Queue)

    def next(self) -> dict[str, Any]:
        return self.got.get(timeout=5)

    def nothing(self) -> bool:
        try:
            self.got.get(timeout=0.3)
        except Empty:
            return True
        return False


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with served() as world:
        yield world


@pytest.fixture
def desk(world: World) -> Iterator[Desk]:
    yield open_desk(world)
    world.emulator.faults.clear()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            token = parse_qs(urlsplit(self.path).query).get("validationToken", [""])[0].encode()
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if not token:
                receiver.got.put(_json(body))
            self.send_response(200 if token else 202)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(token)))
            self.end_headers()
            self.wfile.write(token)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    receiver.url = f"http://127.0.0.1:{server.server_port}/webhooks/outlook"
    yield receiver
    server.shutdown()
    server.server_close()


def test_subscriber_hears_of_every_kind_of_change(desk: Desk, receiver: Receiver) -> None:
    subscription = desk.client.subscribe(url=receiver.url, secret="hush", expires=EXPIRES)
    event = desk.types()
    (item,) = receiver.next()["value"]
    assert (item["subscriptionId"], item["clientState"], item["changeType"]) == (subscription.id, "hush", "created")
    assert item["resourceData"]["id"] == event
    desk.act("change", id=event, event={"title": "Moved"})
    assert receiver.next()["value"][0]["changeType"] == "updated"
    desk.act("delete", id=event)
    assert receiver.next()["value"][0]["changeType"] == "deleted"


def test_neighbour_hears_nothing(world: World, desk: Desk, receiver: Receiver) -> None:
    desk.client.subscribe(url=receiver.url, secret="hush", expires=EXPIRES)
    open_desk(world).types()
    assert receiver.nothing()


def test_expiry_is_brought_forward_to_what_graph_allows(desk: Desk, receiver: Receiver) -> None:
    far = datetime.now(UTC) + timedelta(days=300)
    subscription = desk.client.subscribe(url=receiver.url, secret="hush", expires=far)
    assert subscription.expires <= datetime.now(UTC) + LONGEST_SUBSCRIPTION


def test_renewal_extends(desk: Desk, receiver: Receiver) -> None:
    first = desk.client.subscribe(url=receiver.url, secret="hush", expires=EXPIRES)
    later = EXPIRES + timedelta(hours=5)
    assert desk.client.renew(first, url=receiver.url, secret="hush", expires=later) == Subscription(first.id, later)


def test_lost_subscription_is_not_found_and_its_end_is_success(desk: Desk, receiver: Receiver) -> None:
    subscription = desk.client.subscribe(url=receiver.url, secret="hush", expires=EXPIRES)
    desk.client.unsubscribe(subscription)
    desk.client.unsubscribe(subscription)
    with pytest.raises(NotFound):
        desk.client.renew(subscription, url=receiver.url, secret="hush", expires=EXPIRES)
    desk.types()
    assert receiver.nothing()


def test_receiver_that_does_not_echo_the_token_is_rejected(desk: Desk) -> None:
    with pytest.raises(Rejected):
        desk.client.subscribe(url="http://127.0.0.1:9/", secret="hush", expires=EXPIRES)


def test_subscription_whose_answer_got_lost_is_replaced(desk: Desk, receiver: Receiver) -> None:
    desk.world.fault("truncated", match="POST /v1.0/subscriptions")
    with pytest.raises(WriteOutcomeUnknown):
        desk.client.subscribe(url=receiver.url, secret="first", expires=EXPIRES)
    desk.client.subscribe(url=receiver.url, secret="second", expires=EXPIRES)
    desk.types()
    assert receiver.next()["value"][0]["clientState"] == "second"
    assert receiver.nothing()


def test_subscription_of_another_installation_is_left_alone(desk: Desk, receiver: Receiver) -> None:
    desk.client.subscribe(url=f"{receiver.url}/other", secret="theirs", expires=EXPIRES)
    with pytest.raises(Rejected):
        desk.client.subscribe(url=receiver.url, secret="ours", expires=EXPIRES)


def _json(body: bytes) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(body)
    return read
