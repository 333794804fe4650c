"""Where alerts arrive in tests: a real HTTP server in a thread, which can be told to refuse."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Receiver:
    """``url`` is for Apprise; ``got`` holds what was accepted, ``refused`` counts what was not."""

    url: str = ""
    refusing: bool = False
    refused: int = 0
    got: list[dict[str, str]] = field(default_factory=list)

    @property
    def titles(self) -> list[str]:
        return [one["title"] for one in self.got]


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if receiver.refusing:
                receiver.refused += 1
            else:
                receiver.got.append(json.loads(body))
            self.send_response(503 if receiver.refusing else 200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"json://127.0.0.1:{server.server_port}/?token=swordfish"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
