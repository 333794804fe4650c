"""A receiver of pushes: a real HTTP server that keeps what arrives."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Arrived:
    body: bytes
    headers: Message


@dataclass
class Inbox:
    url: str = ""
    arrived: queue.SimpleQueue[Arrived] = field(default_factory=queue.SimpleQueue)

    def next(self) -> Arrived:
        return self.arrived.get(timeout=20)

    def is_empty(self) -> bool:
        """Nothing has come. Messages leave in order, so what was told before the last one that came has arrived."""
        return self.arrived.empty()


@contextmanager
def receiver(*, statuses: tuple[int, ...] = ()) -> Iterator[Inbox]:
    """``statuses`` are answered first, 200 afterwards."""
    inbox, planned = Inbox(), list(statuses)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            inbox.arrived.put(Arrived(body, self.headers))
            self.send_response(planned.pop(0) if planned else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        inbox.url = f"http://127.0.0.1:{http.server_port}/hook?calendar=7"
        yield inbox
        http.shutdown()
        thread.join()
