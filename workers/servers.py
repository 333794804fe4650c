"""What the embedded servers share: one process under one locked folder, and errors for a person to read."""

from __future__ import annotations

import errno
import fcntl
import os
import pwd
import shutil
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Self, TypedDict

import psutil

from workers.supervisor import end_processes, until

START_SECONDS = 60.0
REASONS = {
    errno.ENOSPC: "the disk that holds {place} is full",
    errno.EDQUOT: "the disk quota for {place} is used up",
    errno.EACCES: "{place} is not writable for this user",
    errno.EPERM: "{place} is not writable for this user",
    errno.EROFS: "{place} is on a read-only disk",
    errno.ENOTDIR: "{place} is not a directory",
    errno.EEXIST: "{place} is not a directory",
}


class EmbeddedError(Exception):
    """An embedded server cannot run. The text is one sentence for the person who started it."""


class StateLock:
    """At most one living holder per directory; a killed holder releases it by dying."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: int | None = None

    def acquire(self) -> None:
        """Raises: EmbeddedError if another process holds it or the directory cannot be used."""
        if self._file is not None:
            return
        with explained(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            file = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(file)
            raise EmbeddedError(f"another watertight is already running on {self._folder}") from error
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


class Server(ABC):
    """One server: its folder, its lock, its process in a session of its own (so that Ctrl-C reaches only its owner)."""

    program: ClassVar[str]
    polite: ClassVar[signal.Signals]

    def __init__(self, state_dir: Path, *, folder: str) -> None:
        self._folder = state_dir.resolve() / folder
        self._home = self._folder  # the process's working directory, by which a leftover is recognised
        self._log = self._folder / f"{folder}.log"
        self._log_start = 0
        self._lock = StateLock(self._folder)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The server's process id; None when it does not run."""
        if self._process is None or self._process.poll() is not None:
            return None
        return self._process.pid

    def start(self) -> None:
        """The server answers afterwards. One that runs is left alone; one that crashed is started again at the same URL.

        One that is still dying counts as running: whoever keeps servers alive calls this again and again.

        Raises: EmbeddedError.
        """
        if self.pid is not None:
            return
        self._lock.acquire()
        try:
            with explained(self._folder):
                end_processes(leftovers(self.program, folder=self._home), polite=self.polite)
                self._launch()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """The server has ended afterwards, cleanly if it could."""
        self._end()
        self._lock.release()

    @abstractmethod
    def _launch(self) -> None: ...

    @abstractmethod
    def _answers(self) -> bool: ...

    def _end(self) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            end_processes([psutil.Process(self._process.pid)], polite=self.polite)
        self._process.wait()
        self._process = None

    def _spawn(self, command: Sequence[str | Path], *, account: pwd.struct_passwd | None = None) -> bool:
        """Start the program; whether it answers. If not, the log since then tells why."""
        with self._log.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(  # noqa: S603  a program of the wheels
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._home, env=environ(), start_new_session=True, **identity(account)
            )  # fmt: skip
        return until(lambda: self.pid is None or self._answers(), seconds=START_SECONDS) and self.pid is not None

    def _last_words(self) -> str:
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace").strip()

    def _failure(self, words: str) -> EmbeddedError:
        if "No space left on device" in words or not shutil.disk_usage(self._folder).free:
            return EmbeddedError(REASONS[errno.ENOSPC].format(place=self._folder))
        lines = words.splitlines() or ["no answer"]
        telling = [line for line in lines if "FATAL" in line or "rror" in line] or lines
        return EmbeddedError(f"{self.program} did not start: {telling[-1].strip()} (more in {self._log})")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@contextmanager
def explained(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = REASONS.get(error.errno or 0, "{place} cannot be used: " + str(error.strerror or error))
        raise EmbeddedError(reason.format(place=error.filename or place)) from error


def leftovers(program: str, *, folder: Path) -> list[psutil.Process]:
    places = {str(folder), f"{folder} (deleted)"}
    return [
        one for one in psutil.process_iter(["name", "cwd"]) if one.info["name"] == program and one.info["cwd"] in places
    ]


class Identity(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


def identity(account: pwd.struct_passwd | None) -> Identity:
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else {}


def environ() -> dict[str, str]:
    """Ours without PGDATA, PGPORT and the like, and with messages in English, which ``_failure`` reads."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}


def write_private(file: Path, *, text: str) -> None:
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(text)


def require(program: Path) -> None:
    if not os.access(program, os.X_OK):
        raise EmbeddedError(f"{program} is missing or cannot be run: install watertight again")
