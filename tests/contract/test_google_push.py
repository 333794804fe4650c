"""The emulator's push messages, received by a real HTTP server."""

from __future__ import annotations

import queue
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from sync.domain import WriteKey
from tests.fixtures.google.serving import Stage, World, draft, stage

Inbox = queue.SimpleQueue[Message]


@pytest.fixture(scope="module")
def server() -> Iterator[Stage]:
    with stage() as running:
        yield running


@pytest.fixture
def google(server: Stage) -> World:
    return server.world()


@contextmanager
def receiver(*, statuses: tuple[int, ...] = ()) -> Iterator[tuple[str, Inbox]]:
    """An address and what arrives there; ``statuses`` are given first, 200 afterwards."""
    inbox: Inbox = queue.SimpleQueue()
    planned = list(statuses)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers.get("Content-Length", "0") == "0"
            inbox.put(self.headers)
            self.send_response(planned.pop(0) if planned else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}/hook", inbox
        http.shutdown()
        thread.join()


def subscribe(google: World, url: str) -> None:
    google.calendar.subscribe(url=url, secret="s3cret", expires=datetime.now(UTC) + timedelta(hours=1))


def states(inbox: Inbox, count: int) -> list[tuple[str, str]]:
    messages = [inbox.get(timeout=5) for _ in range(count)]
    return [(message["X-Goog-Resource-State"], message["X-Goog-Message-Number"]) for message in messages]


def test_a_channel_begins_with_sync_and_tells_of_every_change(google: World) -> None:
    with receiver() as (url, inbox):
        subscribe(google, url)
        first = inbox.get(timeout=5)
        assert first["X-Goog-Resource-State"] == "sync"
        assert first["X-Goog-Message-Number"] == "1"
        assert first["X-Goog-Channel-Token"] == "s3cret"
        assert first["X-Goog-Channel-Expiration"].endswith("GMT")
        for name in ("X-Goog-Channel-ID", "X-Goog-Resource-ID", "X-Goog-Resource-URI"):
            assert first[name]
        created = google.calendar.create(draft(), key=_key())
        google.human_creates(3, 4)
        google.calendar.delete(created.remote_id, version=created.version)
        assert states(inbox, 3) == [("exists", "2"), ("exists", "3"), ("exists", "4")]


def test_pushes_can_be_lost_and_doubled(google: World) -> None:
    with receiver() as (url, inbox):
        subscribe(google, url)
        google.arm("lost_push")
        google.human_creates(0, 1)
        google.arm("duplicate_push")
        google.human_creates(1, 2)
        google.human_creates(2, 3)
        assert [state for state, _ in states(inbox, 4)] == ["sync", "exists", "exists", "exists"]
        assert inbox.empty()


def test_a_busy_receiver_is_told_again(google: World) -> None:
    with receiver(statuses=(503,)) as (url, inbox):
        subscribe(google, url)
        assert states(inbox, 2) == [("sync", "1"), ("sync", "1")]


def test_a_stopped_channel_is_silent(google: World) -> None:
    with receiver() as (url, inbox):
        expires = datetime.now(UTC) + timedelta(hours=1)
        old = google.calendar.subscribe(url=f"{url}?old", secret="s", expires=expires)
        assert states(inbox, 1) == [("sync", "1")]
        google.calendar.unsubscribe(old)
        google.human_creates()
        subscribe(google, url)
        assert states(inbox, 1) == [("sync", "1")]
        assert inbox.empty()


def test_an_expired_channel_is_silent(google: World) -> None:
    with receiver() as (url, inbox):
        google.calendar.subscribe(url=url, secret="s", expires=datetime.now(UTC) - timedelta(seconds=1))
        assert states(inbox, 1) == [("sync", "1")]
        google.human_creates()
        subscribe(google, url)
        assert states(inbox, 1) == [("sync", "1")]


def test_changes_of_others_are_not_told(google: World) -> None:
    with receiver() as (url, inbox):
        subscribe(google, url)
        google.calendar_of("ben@example.com").create(draft(), key=_key())
        google.human_creates()
        assert states(inbox, 2) == [("sync", "1"), ("exists", "2")]


def _key() -> WriteKey:
    return WriteKey(uuid.uuid4().hex)
