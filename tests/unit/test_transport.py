"""The one door to the network, against a real HTTP server on this machine."""

from __future__ import annotations

import inspect
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests
import structlog
import tenacity

from providers.transport import Method, Transport, by_status, map_exception, no_guard, retry_after
from sync.errors import (
    CredentialReadOnly,
    CredentialRevoked,
    Forbidden,
    NeedsHuman,
    NeedsReread,
    NoSuchRight,
    NotFound,
    Permanent,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
    Rejected,
    StaleVersion,
    Transient,
    WatertightError,
    WriteOutcomeUnknown,
)

BRANCHES = (Transient, NeedsReread, Permanent, NeedsHuman)
EXCEPTIONS = [
    kind
    for _, kind in inspect.getmembers(requests.exceptions, inspect.isclass)
    if issubclass(kind, requests.RequestException)
]
READ: Method = "GET"
WRITES: tuple[Method, ...] = ("POST", "PUT", "PATCH", "DELETE")
NOW = datetime(2027, 3, 8, 15, 0, tzinfo=UTC)
SECRET = "dana@example.com"


@dataclass
class Reply:
    status: int = 200
    body: bytes = b'{"ok": true}'
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Vendor:
    """A server that gives the planned replies in turn, the last one for ever, and notes what it was asked."""

    url: str = ""
    replies: list[Reply] = field(default_factory=lambda: [Reply()])
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def next(self) -> Reply:
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


class Tokens:
    """A token flow that counts."""

    def __init__(self) -> None:
        self.number = 1
        self.forgotten: list[str] = []

    def token(self) -> str:
        return f"token-{self.number}"

    def forget(self, token: str) -> None:
        self.forgotten.append(token)
        self.number += 1


@pytest.fixture(scope="module")
def server() -> Iterator[Vendor]:
    vendor = Vendor()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            vendor.asked.append((self.command, self.path, dict(self.headers)))
            reply = vendor.next()
            self.send_response(reply.status)
            for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - the base class's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        vendor.url = f"http://127.0.0.1:{http.server_port}/users/{SECRET}/events"
        yield vendor
        http.shutdown()
        thread.join()


@pytest.fixture
def vendor(server: Vendor, monkeypatch: pytest.MonkeyPatch) -> Vendor:
    monkeypatch.setattr("providers.transport._JITTER", tenacity.wait_none())  # only the waiting, not the retrying
    server.replies = [Reply()]
    server.asked = []
    return server


def nothing_special(status: int, headers: Mapping[str, str], body: dict[str, Any]) -> WatertightError | None:  # noqa: ARG001 - Classify
    return None


def transport(*, auth: Tokens | None = None, guard: Callable[[], None] = no_guard, seconds: float = 5.0) -> Transport:
    return Transport("acme", auth=auth or Tokens(), classify=nothing_special, guard=guard, timeout=(seconds, seconds))


def ask(vendor: Vendor, method: Method = "GET", *, door: Transport | None = None, **how: Any) -> Any:  # noqa: ANN401 - passed on
    return (door or transport()).request(method, vendor.url, route="/users/{user}/events", **how)


def branch_of(error: WatertightError) -> type[WatertightError]:
    (branch,) = [branch for branch in BRANCHES if isinstance(error, branch)]
    return branch


# The mapping is complete


@pytest.mark.parametrize("kind", EXCEPTIONS, ids=lambda kind: str(kind.__name__))
@pytest.mark.parametrize("reading", [True, False], ids=["read", "write"])
def test_every_exception_of_requests_is_transient(kind: type[requests.RequestException], *, reading: bool) -> None:
    error = map_exception(_raised(kind), vendor="acme", route="GET /x", reading=reading)
    assert branch_of(error) is Transient
    unknown = not reading and not issubclass(kind, requests.ConnectTimeout)
    assert isinstance(error, WriteOutcomeUnknown) is unknown
    assert SECRET not in str(error)


def _raised(kind: type[requests.RequestException]) -> requests.RequestException:
    if issubclass(kind, requests.exceptions.JSONDecodeError):
        return kind(f"at {SECRET}", "{", 0)
    return kind(f"https://vendor/{SECRET}?token=abc")


def test_the_list_of_exceptions_is_not_empty() -> None:
    assert len(EXCEPTIONS) > 15


@pytest.mark.parametrize("status", range(400, 600))
def test_every_refusal_lands_in_one_branch(status: int) -> None:
    error = by_status(status, where="acme GET /x")
    assert error is not None
    expected: dict[int, type[WatertightError]] = {
        401: CredentialRevoked,
        403: Forbidden,
        404: NotFound,
        408: ProviderUnavailable,
        410: NotFound,
        412: StaleVersion,
        425: ProviderUnavailable,
        429: RateLimited,
    }
    assert type(error) is expected.get(status, Rejected if status < 500 else ProviderUnavailable)
    assert branch_of(error)


@pytest.mark.parametrize("status", [*range(200, 230)])
def test_success_is_no_error(status: int) -> None:
    assert by_status(status, where="acme GET /x") is None


@pytest.mark.parametrize("status", [*range(300, 309), 100, 199, 600, 999])
def test_what_is_neither_success_nor_refusal_is_an_error(status: int) -> None:
    error = by_status(status, where="acme GET /x")
    assert isinstance(error, ProviderUnavailable)


@pytest.mark.parametrize("status", [s for s in range(400, 600) if s != 401])
def test_every_status_over_the_wire_lands_in_one_branch(vendor: Vendor, status: int) -> None:
    vendor.replies = [Reply(status, b"{}")]
    with pytest.raises(WatertightError) as caught:
        ask(vendor, "PATCH")
    assert branch_of(caught.value)
    assert isinstance(caught.value, WriteOutcomeUnknown) is (status >= 500 or status in (408, 425))
    assert len(vendor.asked) == 1


def test_redirects_are_not_followed(vendor: Vendor) -> None:
    vendor.replies = [Reply(302, b"{}", {"Location": f"{vendor.url}/elsewhere"})]
    with pytest.raises(ProviderUnavailable):
        ask(vendor)
    assert {path for _, path, _ in vendor.asked} == {f"/users/{SECRET}/events"}


# The body is checked too

NONSENSE = {
    "html": b"<html>Sign in</html>",
    "empty": b"",
    "truncated": b'{"items": [{"id": "a"',
    "list": b'[{"id": "a"}]',
    "text": b'"fine"',
    "null": b"null",
    "nested": b'{"a":' + b"[" * 100_000,
}


@pytest.mark.parametrize("body", NONSENSE.values(), ids=NONSENSE)
def test_a_success_without_an_object_is_an_error(vendor: Vendor, body: bytes) -> None:
    vendor.replies = [Reply(200, body)]
    with pytest.raises(ProviderUnavailable):
        ask(vendor)


@pytest.mark.parametrize("method", WRITES)
@pytest.mark.parametrize("body", NONSENSE.values(), ids=NONSENSE)
def test_a_write_without_a_readable_answer_is_of_unknown_outcome(vendor: Vendor, method: Method, body: bytes) -> None:
    vendor.replies = [Reply(200, body)]
    with pytest.raises(WriteOutcomeUnknown):
        ask(vendor, method)
    assert len(vendor.asked) == 1


def test_an_answer_cut_short_is_no_answer(vendor: Vendor) -> None:
    vendor.replies = [Reply(200, b'{"a": 1}', {"Content-Length": "4000", "Connection": "close"})]
    with pytest.raises(ProviderUnavailable):
        ask(vendor, door=transport(seconds=0.3))


def test_an_empty_answer_is_fine_where_it_is_expected(vendor: Vendor) -> None:
    vendor.replies = [Reply(204, b"")]
    assert ask(vendor, "DELETE", empty=True).body == {}


def test_a_body_that_is_too_big_is_not_read_as_an_answer(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("providers.bodies.MAX_BODY_BYTES", 5)
    with pytest.raises(ProviderUnavailable):
        ask(vendor)


# Waiting and repeating


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0),
        ("Mon, 08 Mar 2027 09:01:00 -0600", 60.0),
        ("Mon, 08 Mar 2027 15:00:00 -0000", None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("²", None),
        ("٣", None),
    ],
)
def test_retry_after_in_both_spellings(value: str, seconds: float | None) -> None:
    assert retry_after({"Retry-After": value}, now=lambda: NOW) == seconds


def test_no_retry_after_is_none() -> None:
    assert retry_after({}) is None


def test_a_limit_carries_the_vendors_delay(vendor: Vendor) -> None:
    vendor.replies = [Reply(429, b"{}", {"Retry-After": "120"})]
    with pytest.raises(RateLimited) as caught:
        ask(vendor)
    assert caught.value.retry_after == 120
    assert len(vendor.asked) == 1  # two minutes are not for a sleeping thread


def test_a_short_limit_is_waited_for(vendor: Vendor) -> None:
    vendor.replies = [Reply(429, b"{}", {"Retry-After": "0"}), Reply()]
    assert ask(vendor).body == {"ok": True}


@pytest.mark.parametrize(
    ("method", "how", "sent"),
    [
        ("GET", {}, 3),
        ("POST", {"keyed": True}, 3),
        ("POST", {"reading": True}, 3),
        ("POST", {}, 1),
        ("PUT", {}, 1),
        ("PATCH", {}, 1),
        ("DELETE", {}, 1),
    ],
)
def test_only_what_may_be_repeated_is_repeated(vendor: Vendor, method: Method, how: dict[str, Any], sent: int) -> None:
    vendor.replies = [Reply(503, b"{}")]
    with pytest.raises(Transient):
        ask(vendor, method, **how)
    assert len(vendor.asked) == sent


def test_a_post_that_only_asks_is_no_write(vendor: Vendor) -> None:
    """Nothing is unknown after it, and that it is forbidden says nothing of writing."""
    heard: list[str] = []
    door = Transport("acme", auth=Tokens(), classify=lambda *_: NoSuchRight("no"), refused=heard.append)
    with pytest.raises(NoSuchRight):
        ask(vendor, "POST", reading=True, door=door)
    with pytest.raises(CredentialReadOnly):
        ask(vendor, "POST", door=door)
    assert heard == ["POST /users/{user}/events at acme"]
    vendor.replies = [Reply(200, b"<html>")]
    with pytest.raises(ProviderUnavailable):
        ask(vendor, "POST", reading=True)


def test_a_keyed_write_goes_through_when_the_vendor_recovers(vendor: Vendor) -> None:
    vendor.replies = [Reply(503, b"{}"), Reply()]
    assert ask(vendor, "POST", keyed=True, json={"id": "k"}).status == 200
    assert len(vendor.asked) == 2


@pytest.mark.parametrize("status", [400, 403, 404, 409, 410, 412])
def test_a_refusal_is_never_repeated(vendor: Vendor, status: int) -> None:
    vendor.replies = [Reply(status, b"{}")]
    with pytest.raises(WatertightError):
        ask(vendor)
    assert len(vendor.asked) == 1


def test_no_answer_in_time() -> None:
    with silent_server() as url:
        slow = Vendor(url)
        with pytest.raises(ProviderTimeout):
            ask(slow, door=transport(seconds=0.1))
        with pytest.raises(ProviderTimeout):
            ask(slow, "POST", reading=True, door=transport(seconds=0.1))
        with pytest.raises(WriteOutcomeUnknown):
            ask(slow, "POST", keyed=False, door=transport(seconds=0.1))


@contextmanager
def silent_server() -> Iterator[str]:
    """Takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"


def test_nothing_listening(vendor: Vendor) -> None:
    nowhere = Vendor("http://127.0.0.1:9/")
    with pytest.raises(ProviderUnavailable):
        ask(nowhere)
    with pytest.raises(WriteOutcomeUnknown):
        ask(nowhere, "POST")
    assert vendor.asked == []


# Tokens


def test_a_refused_token_is_replaced_once(vendor: Vendor) -> None:
    vendor.replies = [Reply(401, b"{}"), Reply()]
    tokens = Tokens()
    assert ask(vendor, "POST", door=transport(auth=tokens)).status == 200
    assert tokens.forgotten == ["token-1"]
    assert [headers["Authorization"] for _, _, headers in vendor.asked] == ["Bearer token-1", "Bearer token-2"]


def test_a_second_refusal_is_believed(vendor: Vendor) -> None:
    vendor.replies = [Reply(401, b"{}")]
    with pytest.raises(CredentialRevoked):
        ask(vendor)
    assert len(vendor.asked) == 2


def test_no_caller_can_replace_the_token(vendor: Vendor) -> None:
    ask(vendor, headers={"Authorization": "Bearer mine", "If-Match": '"1"'})
    (_, _, headers) = vendor.asked[0]
    assert (headers["Authorization"], headers["If-Match"]) == ("Bearer token-1", '"1"')


# Guard, redaction, threads


@pytest.mark.parametrize("method", [READ, *WRITES])
def test_the_guard_comes_before_the_request(vendor: Vendor, method: Method) -> None:
    def refuse() -> None:
        raise AssertionError("a transaction is open")

    with pytest.raises(AssertionError, match="transaction"):
        ask(vendor, method, door=transport(guard=refuse))
    assert vendor.asked == []


@pytest.mark.parametrize(
    "reply",
    [
        Reply(),
        Reply(500, f'{{"error": "{SECRET}"}}'.encode()),
        Reply(403, f"{SECRET} may not".encode()),
        Reply(200, SECRET.encode()),
        Reply(429, b"{}", {"Retry-After": "600", "X-Who": SECRET}),
    ],
    ids=["fine", "500", "403", "nonsense", "429"],
)
def test_nothing_personal_and_no_token_leaves_through_errors_or_logs(vendor: Vendor, reply: Reply) -> None:
    vendor.replies = [reply]
    with structlog.testing.capture_logs() as lines:
        told = _told_by(vendor) + _told_by(Vendor(f"http://127.0.0.1:9/{SECRET}"))
    assert lines
    assert SECRET not in f"{told} {lines}"
    assert "token-1" not in f"{told} {lines}"
    assert all(line["route"] == "POST /users/{user}/events" for line in lines)


def _told_by(vendor: Vendor) -> str:
    try:
        ask(vendor, "POST", json={"attendee": SECRET}, params={"q": SECRET})
    except WatertightError as error:
        return f"{error!r} {error.__cause__!r}"
    return ""


def test_each_thread_has_a_session_of_its_own(vendor: Vendor) -> None:
    door = transport()
    sessions = [door._session()]
    thread = threading.Thread(target=lambda: sessions.append(door._session()))
    thread.start()
    thread.join()
    assert sessions[0] is not sessions[1]
    assert door._session() is sessions[0]
    assert not sessions[0].trust_env
    assert vendor.asked == []
