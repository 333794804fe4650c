"""``watertight healthy NAME``: whether a process of this host does its work, for containers and whoever else restarts them.

A worker's heartbeat is written only while its main loop runs and the broker takes its events, and beat's with each look at its
table; the servers are asked over HTTP. A process that hangs is found as well as one that is gone.
"""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Annotated

import typer

from sync.errors import NotFound, ProviderTimeout
from workers.app import HEARTBEATS
from workers.settings import load

STALE_SECONDS = 60.0
ANSWER_SECONDS = 5.0
ADDRESSES = {"web": "http://127.0.0.1:{port}/readyz", "flower": "http://127.0.0.1:{port}/healthcheck"}

Name = Annotated[str, typer.Argument(metavar="NAME", help="new, cancel, update, commit, upkeep, beat, web or flower.")]
Port = Annotated[int, typer.Option(min=1, max=65535, help="Of web and flower.")]


def healthy(name: Name, port: Port = 8000) -> None:
    """Exit code 0 if the process works, 1 if it is gone, hangs, or cannot reach what it needs."""
    if name in ADDRESSES:
        _ask(name, ADDRESSES[name].format(port=port))
        return
    file = load().state_dir / HEARTBEATS / Path(name).name
    if not file.exists():
        raise NotFound(f"{name} has never said that it is alive here")
    age = time.time() - file.stat().st_mtime
    if age > STALE_SECONDS:
        raise ProviderTimeout(f"{name} said {age:.0f} s ago for the last time that it is alive")


def _ask(name: str, address: str) -> None:
    try:
        with urllib.request.urlopen(address, timeout=ANSWER_SECONDS):  # noqa: S310 - our own http address
            return
    except urllib.error.URLError as error:
        raise ProviderTimeout(f"{name} does not answer: {error.reason}") from None
