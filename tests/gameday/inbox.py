"""Where a game day's alerts arrive: a real HTTP server that Apprise posts to, and a page that shows what it got."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LABEL = re.compile(r"^\[(\w+)\]")
WHERE = re.compile(r"\(([^()]*)\)(?:, \d+ at once)?$")
CODE = re.compile(r"^Runbook: \S*#(\w+)$", re.MULTILINE)
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Alerts</title><style>
body{{font:15px/1.45 system-ui,sans-serif;background:#fff;color:#1d1c1d;margin:0;padding:18px 24px;max-width:860px}}
article{{display:grid;grid-template-columns:40px 1fr;gap:10px;margin-bottom:20px}}
.who{{width:40px;height:40px;border-radius:8px;background:#1f5673;color:#fff;font-weight:700;text-align:center;line-height:40px}}
header{{color:#616061;font-size:13px}} header b{{color:#1d1c1d;font-size:15px}}
.post{{border-left:4px solid #888;border-radius:4px;padding:2px 0 2px 12px;margin-top:4px}}
.critical{{border-color:#c0232c}} .warning{{border-color:#d88a00}} .resolved{{border-color:#2a7d46}}
h2{{font-size:15px;margin:0 0 8px}} pre{{font:inherit;white-space:pre-wrap;margin:0}}
</style><body>{articles}</body></html>"""
ARTICLE = """<article><div class="who">W</div><div><header><b>watertight</b> {when} UTC</header>
<div class="post {label}"><h2>{title}</h2><pre>{body}</pre></div></div></article>"""


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it was posted. ``at`` is of the clock that only goes forward, ``when`` of the one on the wall (UTC)."""

    title: str
    body: str
    at: float
    when: str

    @property
    def label(self) -> str:
        """critical, warning or resolved."""
        found = LABEL.match(self.title)
        return found[1] if found else ""

    @property
    def code(self) -> str:
        """What it is about, by its link to the runbook."""
        found = CODE.search(self.body)
        return found[1] if found else ""

    @property
    def where(self) -> str:
        """The vendor or the task, if its title names one."""
        found = WHERE.search(self.title)
        return found[1] if found else ""


@dataclass(slots=True)
class Mailbox:
    """``url`` is for Apprise, ``page`` for a browser; ``got`` only grows."""

    url: str = ""
    page: str = ""
    got: list[Message] = field(default_factory=list)

    def since(self, at: float) -> list[Message]:
        return [one for one in list(self.got) if one.at >= at]


@contextmanager
def open_mailbox() -> Iterator[Mailbox]:
    mailbox = Mailbox()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(mailbox))
    mailbox.url = f"json://127.0.0.1:{server.server_port}/"
    mailbox.page = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield mailbox
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def render(messages: list[Message]) -> str:
    """The messages as a chat would show them: exactly the title and the body that were posted."""
    articles = (
        ARTICLE.format(when=escape(one.when), label=escape(one.label), title=escape(one.title), body=escape(one.body))
        for one in messages
    )
    return PAGE.format(articles="\n".join(articles))


def _handler(mailbox: Mailbox) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            when = time.strftime("%H:%M:%S", time.gmtime())
            mailbox.got.append(Message(posted["title"], posted["message"], time.monotonic(), when))
            self._answer("text/plain", b"")

        def do_GET(self) -> None:
            self._answer("text/html; charset=utf-8", render(list(mailbox.got)).encode())

        def _answer(self, kind: str, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            """Silent."""

    return Handler
