"""vdirsyncer 0.21.0 and a CalDAV server in an environment of their own, made for one run: what the same work costs there."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import requests

from workers.programs import Address

PACKAGES = ("vdirsyncer==0.21.0", "radicale==3.9.0")
INSTALL_SECONDS = 300
READY_SECONDS = 30
COLLECTION = "collection-root/u/c"

# In the same process as vdirsyncer, so that the cost of starting Python and of its imports stays outside.
RUN = """
import json, sys
sys.path.append(sys.argv.pop(1))
from tests.benchmarks.expense import measured
sys.path.pop()
from vdirsyncer.cli import app
with measured() as expense:
    app(sys.argv[1:], standalone_mode=False)
print(json.dumps(vars(expense)))
"""


class AwayError(Exception):
    """The package registry does not answer, so there is nothing to compare with."""


@dataclass
class Peer:
    """``far`` is what the server keeps, one file for an event."""

    folder: Path
    python: Path
    url: str

    @property
    def far(self) -> Path:
        return self.folder / "server" / COLLECTION

    def fill(self, events: int) -> None:
        for number in range(events):
            self.put(number, f"Viewing {number}, Main Street")

    def put(self, number: int, title: str) -> None:
        (self.far / f"e{number}.ics").write_text(_ics(number, title), encoding="utf-8")

    def remove(self, number: int) -> None:
        (self.far / f"e{number}.ics").unlink()

    def asked(self) -> int:
        return (self.folder / "server.log").read_text(encoding="utf-8").count(" request for ")

    def sync(self, *command: str) -> dict[str, float]:
        """One run: CPU, memory, and requests at the server."""
        before = self.asked()
        config = ("-c", str(self.folder / "config"), "-v", "ERROR")
        root = str(Path(__file__).parents[2])
        out = subprocess.run(
            [self.python, "-c", RUN, root, *config, *(command or ("sync",))],
            check=True,
            capture_output=True,
            text=True,
            cwd=self.folder,
        )
        return {**json.loads(out.stdout.splitlines()[-1]), "requests": self.asked() - before}


def install(folder: Path) -> Path:
    """The interpreter of a fresh environment with both programs.

    Raises:
        AwayError: they cannot be had.
    """
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    command: Sequence[str | Path] = (
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        *PACKAGES,
    )
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_SECONDS)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise AwayError(f"{' and '.join(PACKAGES)} cannot be installed") from error
    return python


@contextlib.contextmanager
def peer(folder: Path, python: Path) -> Iterator[Peer]:
    """A CalDAV server with an empty calendar, and vdirsyncer set up to bring it into a folder."""
    address = Address.choose()
    found = Peer(folder, python, address.url)
    found.far.mkdir(parents=True)
    (found.far / ".Radicale.props").write_text('{"tag": "VCALENDAR"}')
    (folder / "near").mkdir()
    (folder / "radicale").write_text(_server(folder, address))
    (folder / "config").write_text(_config(folder, address))
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen([python, "-m", "radicale", "-C", folder / "radicale"], stdout=log, stderr=log)
    try:
        _await(address)
        yield found
    finally:
        server.terminate()
        server.wait(20)


def _await(address: Address) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        with contextlib.suppress(requests.ConnectionError):
            requests.get(f"{address.url}/.web/", timeout=5)
            return
        assert time.monotonic() < deadline, "the CalDAV server does not answer"
        time.sleep(0.1)


def _server(folder: Path, address: Address) -> str:
    return (
        f"[server]\nhosts = 127.0.0.1:{address.port}\n[auth]\ntype = none\n"
        f"[storage]\nfilesystem_folder = {folder / 'server'}\n[logging]\nlevel = info\n"
    )


def _config(folder: Path, address: Address) -> str:
    return (
        f'[general]\nstatus_path = "{folder / "status"}"\n'
        '[pair one]\na = "near"\nb = "far"\ncollections = null\n'
        f'[storage near]\ntype = "filesystem"\npath = "{folder / "near"}"\nfileext = ".ics"\n'
        f'[storage far]\ntype = "caldav"\nurl = "{address.url}/u/c/"\n'
    )


def _ics(number: int, title: str) -> str:
    start = datetime(2030, 1, 1, tzinfo=UTC) + number * timedelta(minutes=8)
    lines = (
        *("BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//watertight//bench//EN", "BEGIN:VEVENT", f"UID:e{number}"),
        *("DTSTAMP:20290101T000000Z", f"DTSTART:{start:%Y%m%dT%H%M%SZ}", "DURATION:PT5M", f"SUMMARY:{title}"),
        *("ATTENDEE:mailto:buyer@example.com", f"ATTENDEE:mailto:seller{number % 50}@example.com"),
        *("END:VEVENT", "END:VCALENDAR", ""),
    )
    return "\r\n".join(lines)
