"""``python -m workers.health NAME``: whether a process of this host does its work, for containers and whoever restarts them.

A worker's heartbeat is written only while its main loop runs and the broker takes its events, and beat's with each look at its
table; the servers are asked over HTTP. So a process that hangs is found as well as one that is gone. Asked every few seconds
everywhere, this loads nothing but what comes with Python.
"""

from __future__ import annotations

import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

STALE_SECONDS = 60.0
ANSWER_SECONDS = 5.0
SERVERS = {"web": (8000, "readyz"), "flower": (5555, "healthcheck")}
USAGE = "usage: python -m workers.health new|cancel|update|commit|upkeep|beat|web|flower [PORT]"


def trouble(name: str, port: int | None = None) -> str | None:
    """What is wrong with the process, in a sentence; None if it works."""
    if name in SERVERS:
        usual, path = SERVERS[name]
        return _ask(f"http://127.0.0.1:{port or usual}/{path}")
    file = Path(os.environ.get("WATERTIGHT_STATE_DIR", ".watertight")) / "heartbeats" / name
    if not file.exists():
        return f"{name} has never said that it is alive here"
    age = time.time() - file.stat().st_mtime
    return f"{name} said {age:.0f} s ago for the last time that it is alive" if age > STALE_SECONDS else None


def _ask(address: str) -> str | None:
    try:
        with urllib.request.urlopen(address, timeout=ANSWER_SECONDS):  # noqa: S310 - our own http address
            return None
    except (urllib.error.URLError, OSError) as error:
        return f"{address} does not answer: {error}"


def main(arguments: list[str]) -> int:
    """The exit code: 0 it works, 1 it does not, 2 wrong arguments."""
    name, *port = arguments or [""]
    if not name.isidentifier() or len(port) > 1 or not all(one.isdecimal() for one in port):
        sys.stderr.write(f"{USAGE}\n")
        return 2
    found = trouble(name, *map(int, port))
    sys.stderr.write(f"{found}\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
