"""A collector of traces and of Sentry's envelopes: an HTTP server in a thread that keeps what it is sent."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Seen:
    """One span."""

    trace: str
    span: str
    parent: str
    name: str
    attributes: dict[str, str]


@dataclass
class Collector:
    """``bodies`` are what was posted, by path."""

    url: str = ""
    bodies: list[tuple[str, bytes]] = field(default_factory=list)

    def spans(self) -> list[Seen]:
        posted = [body for path, body in list(self.bodies) if path == "/v1/traces"]
        return [span for body in posted for span in _spans(body)]

    def envelopes(self) -> list[dict[str, Any]]:
        """The items of Sentry's envelopes: each with its ``type``."""
        posted = [body for path, body in list(self.bodies) if path.endswith("/envelope/")]
        return [item for body in posted for item in _items(body)]


def _spans(body: bytes) -> Iterator[Seen]:
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                told = {one.key: str(one.value.string_value or one.value.int_value) for one in span.attributes}
                ids = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
                yield Seen(*ids, span.name, told)


def _items(body: bytes) -> Iterator[dict[str, Any]]:
    lines = [json.loads(line) for line in body.splitlines() if line]
    for header, payload in zip(lines[1::2], lines[2::2], strict=True):
        yield payload | {"type": header["type"]}


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            zipped = self.headers.get("Content-Encoding") == "gzip"
            collector.bodies.append((self.path, gzip.decompress(body) if zipped else body))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield collector
        server.shutdown()
