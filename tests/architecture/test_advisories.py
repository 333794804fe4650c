"""The audit of our packages tells a vulnerable one from a database that does not answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).parents[2]
ADVISORY = {
    "id": "GHSA-xxxx",
    "summary": "reads what it should not",
    "modified": "2026-01-01T00:00:00Z",
    "affected": [
        {
            "package": {"ecosystem": "PyPI", "name": "leaky"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.0"}]}],
            "versions": ["1.0"],
        }
    ],
}


class Osv(BaseHTTPRequestHandler):
    """``POST /v1/query`` as api.osv.dev answers it."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = asked["package"]["name"] == "leaky"
        body = json.dumps({"vulns": [ADVISORY]} if known else {}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Silent."""


@contextmanager
def osv() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Osv) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()


def audit(folder: Path, lock: str, *, url: str) -> subprocess.CompletedProcess[str]:
    (folder / "some.lock").write_text(lock)
    command = [sys.executable, "tests/advisories.py", str(folder / "some.lock")]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | {"OSV_URL": url}, capture_output=True, text=True, check=False
    )


def test_a_package_with_a_published_vulnerability_fails_and_is_named(tmp_path: Path) -> None:
    with osv() as url:
        told = audit(tmp_path, "fine==1.0\nleaky==1.0\n", url=url)
        assert (told.returncode, told.stderr) == (1, "audit: leaky 1.0: GHSA-xxxx (mended in 2.0)\n")
        assert (audit(tmp_path, "fine==1.0\n", url=url).returncode) == 0


def test_a_database_that_does_not_answer_is_told_and_no_failure(tmp_path: Path) -> None:
    told = audit(tmp_path, "fine==1.0\n", url="http://127.0.0.1:1/v1/query")
    assert (told.returncode, told.stderr.count("nothing was audited")) == (0, 1)


def test_a_lock_that_cannot_be_read_is_a_failure(tmp_path: Path) -> None:
    with osv() as url:
        assert audit(tmp_path, "fine=1.0\n", url=url).returncode == 1
