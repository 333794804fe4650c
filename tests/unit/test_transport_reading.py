"""What a server can do with the bytes of an answer, and what the transport makes of it. The server is a plain socket."""

from __future__ import annotations

import gzip
import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
import tenacity

from providers import bodies
from providers.bodies import MAX_DEPTH, parse_object
from providers.gates import OPEN, Gate, NoRoom, WritesExhausted
from providers.transport import Method, StaticToken, Transport
from sync.errors import (
    NotFound,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
    WatertightError,
    WriteOutcomeUnknown,
)

OK = b"HTTP/1.1 200 OK\r\n"
OBJECT = b'{"ok": true}'
PAUSE = 0.04
READ_SECONDS = 0.3
DEADLINE_SECONDS = 0.7

Send = Callable[[socket.socket], None]


def says(*parts: bytes) -> Send:
    def send(connection: socket.socket) -> None:
        for part in parts:
            connection.sendall(part)

    return send


def drips(before: bytes, dripping: Iterator[bytes]) -> Send:
    """Always in time for the next byte, and never done."""

    def send(connection: socket.socket) -> None:
        connection.sendall(before)
        for drop in dripping:
            time.sleep(PAUSE)
            connection.sendall(drop)

    return send


def whole(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    fields = (b"Content-Length: %d" % len(body), b"Connection: close", *headers)
    return b"HTTP/1.1 " + status + b"\r\n" + b"\r\n".join(fields) + b"\r\n\r\n" + body


def resets(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")


@dataclass
class RawServer:
    """Takes one request after another, each on a connection of its own, and answers with ``send``."""

    send: Send
    url: str = ""
    asked: list[str] = field(default_factory=list)

    def answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            request = b""
            while b"\r\n\r\n" not in request:
                request += connection.recv(65536)
            self.asked.append(request.split(b" ")[0].decode())
            self.send(connection)


@contextmanager
def serving(send: Send) -> Iterator[RawServer]:
    server = RawServer(send)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server.url = f"http://127.0.0.1:{listening.getsockname()[1]}/x"

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    threading.Thread(target=server.answer, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield server
        listening.shutdown(socket.SHUT_RDWR)


def nothing_special(status: int, headers: Mapping[str, str], body: dict[str, Any]) -> WatertightError | None:  # noqa: ARG001 - Classify
    return None


def door(gate: Gate = OPEN) -> Transport:
    return Transport(
        "acme",
        auth=StaticToken("key"),
        classify=nothing_special,
        timeout=(READ_SECONDS, READ_SECONDS),
        deadline=DEADLINE_SECONDS,
        gate=gate,
    )


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("providers.transport._JITTER", tenacity.wait_none())


# A server that drips

DRIPPING = {
    "status line": drips(b"HTTP/1.1 ", itertools.repeat(b"2")),
    "headers": drips(OK + b"X-Long: ", itertools.repeat(b"a")),
    "more headers": drips(OK, (b"X-%d: a\r\n" % number for number in itertools.count())),
    "continues": drips(b"", itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n")),
    "body": drips(OK + b"Content-Length: 100000\r\n\r\n", itertools.repeat(b" ")),
    "body without length": drips(OK + b"Connection: close\r\n\r\n", itertools.repeat(b" ")),
    "chunks": drips(OK + b"Transfer-Encoding: chunked\r\n\r\n", itertools.repeat(b"1\r\n \r\n")),
    "chunk size": drips(OK + b"Transfer-Encoding: chunked\r\n\r\n", itertools.repeat(b"0")),
    "trailers": drips(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", itertools.repeat(b"X: y\r\n")),
    "error body": drips(b"HTTP/1.1 404 Gone\r\nContent-Length: 100000\r\n\r\n", itertools.repeat(b" ")),
}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("send", DRIPPING.values(), ids=DRIPPING)
def test_dripping_bytes_hold_nobody_beyond_the_deadline(send: Send, method: Method) -> None:
    with serving(send) as server:
        started = time.monotonic()
        with pytest.raises(ProviderTimeout if method == "GET" else WriteOutcomeUnknown):
            door().request(method, server.url, route="/x")
        assert time.monotonic() - started < DEADLINE_SECONDS + READ_SECONDS
        assert server.asked == [method]  # a timeout is not repeated at once either


def test_a_slow_answer_within_the_deadline_is_an_answer() -> None:
    body = iter([bytes([byte]) for byte in OBJECT])
    with serving(drips(OK + b"Connection: close\r\n\r\n", body)) as server:
        assert door().request("GET", server.url, route="/x").body == {"ok": True}


# A body that is none

BOMB = gzip.compress(b" " * 3_000_000)
UNREADABLE = {
    "nothing at all": says(),
    "reset": resets,
    "another protocol": says(b"220 mail.example.com ESMTP\r\n"),
    "half a status line": says(b"HTTP/1.1 2"),
    "no status": says(b"HTTP/1.1\r\n\r\n"),
    "half the headers": says(OK + b"Content-Le"),
    "long header": says(OK + b"X: " + b"a" * 70_000 + b"\r\n\r\n"),
    "many headers": says(OK + b"X: y\r\n" * 200 + b"\r\n"),
    "two lengths": says(OK + b"Content-Length: 12\r\nContent-Length: 3\r\n\r\n" + OBJECT),
    "empty": says(whole(b"")),
    "html": says(whole(b"<!doctype html><p>Sign in", b"Content-Type: text/html")),
    "truncated json": says(whole(b'{"items": [{"id": 1')),
    "cut short": says(OK + b"Content-Length: 100\r\nConnection: close\r\n\r\n" + OBJECT),
    "cut in a chunk": says(OK + b"Transfer-Encoding: chunked\r\n\r\n20\r\n" + OBJECT),
    "no last chunk": says(OK + b"Transfer-Encoding: chunked\r\n\r\nc\r\n" + OBJECT + b"\r\n"),
    "no chunk size": says(OK + b"Transfer-Encoding: chunked\r\n\r\nlots\r\n" + OBJECT),
    "not gzip": says(whole(OBJECT, b"Content-Encoding: gzip")),
    "half gzip": says(whole(gzip.compress(OBJECT * 50)[:40], b"Content-Encoding: gzip")),
    "not deflate": says(whole(OBJECT, b"Content-Encoding: deflate")),
    "gzip unsaid": says(whole(gzip.compress(OBJECT))),
    "too big": says(whole(b" " * 2_000_000 + OBJECT)),
    "too big in chunks": says(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"40000\r\n" + b" " * 0x40000 + b"\r\n" * 1),
    "too big without length": says(OK + b"Connection: close\r\n\r\n", b" " * 2_000_000, OBJECT),
    "bomb": says(whole(BOMB, b"Content-Encoding: gzip")),
    "list": says(whole(b"[]")),
    "number": says(whole(b"1")),
    "null": says(whole(b"null")),
    "nan": says(whole(b'{"a": NaN}')),
    "deep": says(whole(b"[" * 200_000)),
    "not utf-8": says(whole(b'{"a": "\xff"}')),
    "redirect": says(whole(OBJECT, b"Location: http://127.0.0.1:1/", status=b"302 Found")),
    "informational": says(whole(OBJECT, status=b"999 Unheard of")),
}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("send", UNREADABLE.values(), ids=UNREADABLE)
def test_an_unreadable_answer_is_none(send: Send, method: Method, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MAX_BODY_BYTES", 1_000_000)
    with serving(send) as server:
        with pytest.raises(ProviderUnavailable if method == "GET" else WriteOutcomeUnknown):
            door().request(method, server.url, route="/x")
        assert "POST" not in server.asked[1:]  # what may have been done is never sent again without a key


def test_of_an_endless_body_no_more_is_read_than_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MAX_BODY_BYTES", 100_000)
    sent = 0

    def pour(connection: socket.socket) -> None:
        nonlocal sent
        connection.sendall(OK + b"Connection: close\r\n\r\n")
        while True:
            sent += connection.send(b" " * 65536)

    with serving(pour) as server, pytest.raises(WriteOutcomeUnknown):
        door().request("POST", server.url, route="/x")
    assert sent < 20_000_000  # what fits into the sockets' own buffers


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_limit_is_one_even_if_its_body_breaks_off(method: Method) -> None:
    broken = b"HTTP/1.1 429 No\r\nRetry-After: 60\r\nContent-Length: 100\r\nConnection: close\r\n\r\n{"
    with serving(says(broken)) as server, pytest.raises(RateLimited) as caught:
        door().request(method, server.url, route="/x")
    assert caught.value.retry_after == 60


def test_a_refusal_whose_body_breaks_off_is_not_believed() -> None:
    broken = b"HTTP/1.1 404 Gone\r\nContent-Length: 100\r\nConnection: close\r\n\r\n{"
    with serving(says(broken)) as server, pytest.raises(ProviderUnavailable):
        door().request("GET", server.url, route="/x")
    with serving(says(whole(b"<html>", status=b"404 Gone"))) as server, pytest.raises(NotFound):
        door().request("GET", server.url, route="/x")


@pytest.mark.parametrize("header", ["ä€", "a\r\nX: y"])
def test_a_header_that_cannot_be_sent_is_no_crash(header: str) -> None:
    with serving(says(whole(OBJECT))) as server, pytest.raises(ProviderUnavailable):
        door().request("GET", server.url, route="/x", headers={"If-Match": header})
    assert server.asked == []


def test_compressed_and_chunked_answers_are_read() -> None:
    packed = gzip.compress(OBJECT)
    chunked = b"".join(b"1\r\n" + bytes([byte]) + b"\r\n" for byte in packed) + b"0\r\n\r\n"
    head = OK + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    with serving(says(head, chunked)) as server:
        assert door().request("GET", server.url, route="/x").body == {"ok": True}


def test_a_connection_is_used_again() -> None:
    connections = 0

    def answer_twice(connection: socket.socket) -> None:
        nonlocal connections
        connections += 1
        for _ in range(2):
            connection.sendall(OK + b"Content-Length: %d\r\n\r\n" % len(OBJECT) + OBJECT)
            connection.recv(65536)

    with serving(answer_twice) as server:
        transport = door()
        for _ in range(2):
            assert transport.request("GET", server.url, route="/x").body == {"ok": True}
            time.sleep(DEADLINE_SECONDS)  # the deadline of the first is not the second's
    assert connections == 1


# JSON

REFUSED = {
    "repeated name": b'{"a": 1, "a": 1}',
    "repeated below": b'{"a": [{"b": 1, "b": 2}]}',
    "nan": b'{"a": NaN}',
    "infinity": b'{"a": -Infinity}',
    "infinite digits": b'{"a": 1e999}',
    "a thousand digits": b'{"a": ' + b"1" * 5000 + b"}",
    "deep lists": b'{"a": ' + b"[" * 500 + b"]" * 500 + b"}",
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "two values": b"{} {}",
    "trailing comma": b'{"a": 1,}',
    "single quotes": b"{'a': 1}",
    "comment": b'{"a": 1} // fine',
    "not utf-8": b'{"a": "\xe9"}',
    "nul bytes": b"\x00" * 100,
    "blank": b"  \n",
}


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED)
def test_what_two_readers_may_read_differently_is_not_read(content: bytes) -> None:
    assert parse_object(content) is None


@pytest.mark.parametrize("depth", [1, MAX_DEPTH - 2, MAX_DEPTH - 1])
def test_nesting_up_to_the_limit_is_read(depth: int) -> None:
    assert parse_object(b'{"a": ' + b"[" * depth + b"]" * depth + b"}") is not None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_ordinary_json_is_read(encoding: str) -> None:
    body = {"a": [1, -2.5e3, None, True, "ä\u2028\U0001f600"], "b": {"a": {}}, "": ""}
    assert parse_object(json.dumps(body, ensure_ascii=False).encode(encoding)) == body


# The gate


@dataclass
class Counted:
    """A gate that notes who comes by."""

    full: bool = False
    entered: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    parked: list[float | None] = field(default_factory=list)

    @contextmanager
    def enter(self, *, route: str) -> Iterator[None]:
        if self.full:
            raise NoRoom("acme: no room", retry_after=0.01)
        self.entered.append(route)
        try:
            yield
        finally:
            self.left.append(route)

    def park(self, seconds: float | None) -> None:
        self.parked.append(seconds)


@pytest.mark.parametrize(("method", "sent"), [("GET", 3), ("POST", 1)])
def test_every_send_passes_the_gate(method: Method, sent: int) -> None:
    gate = Counted()
    with serving(says(whole(b"{}", status=b"503 No"))) as server, pytest.raises(WatertightError):
        door(gate).request(method, server.url, route="/x/{id}")
    assert gate.entered == gate.left == ["/x/{id}"] * sent
    assert len(server.asked) == sent
    assert gate.parked == []


def test_a_new_token_does_not_slip_past_the_gate() -> None:
    gate = Counted()
    with serving(says(whole(b"{}", status=b"401 No"))) as server, pytest.raises(WatertightError):
        door(gate).request("GET", server.url, route="/x")
    assert len(gate.entered) == len(server.asked) == 2


def test_whoever_finds_no_room_sends_nothing_and_does_not_ask_again_at_once() -> None:
    with serving(says(whole(OBJECT))) as server, pytest.raises(NoRoom):
        door(Counted(full=True)).request("GET", server.url, route="/x")
    assert server.asked == []


@pytest.mark.parametrize(("header", "parked"), [(b"Retry-After: 60", 60.0), (b"X: y", None)])
def test_a_limit_parks_the_gate(header: bytes, parked: float | None) -> None:
    gate = Counted()
    with serving(says(whole(b"{}", header, status=b"429 No"))) as server, pytest.raises(RateLimited):
        door(gate).request("POST", server.url, route="/x")
    assert gate.parked == [parked]
    assert len(server.asked) == 1


def test_a_limit_of_writes_alone_parks_nothing() -> None:
    gate = Counted()

    def classify(status: int, headers: Mapping[str, str], body: dict[str, Any]) -> WatertightError:
        return WritesExhausted(f"{status} {len(headers)} {len(body)}", retry_after=3600)

    transport = Transport("acme", auth=StaticToken("key"), classify=classify, gate=gate)
    with serving(says(whole(b"{}", status=b"403 No"))) as server, pytest.raises(WritesExhausted):
        transport.request("POST", server.url, route="/x")
    assert gate.parked == []


def test_another_account_shares_the_connections_and_not_the_gate() -> None:
    mine, yours = Counted(), Counted()
    transport = door(mine)
    other = transport.behind(yours)
    with serving(says(whole(OBJECT))) as server:
        other.request("GET", server.url, route="/x")
    assert (len(mine.entered), len(yours.entered)) == (0, 1)
    assert other._session() is transport._session()
