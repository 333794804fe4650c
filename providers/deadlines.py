"""Sessions whose answers have a deadline: the last byte counts, not only the pause between two.

requests bounds each read of a socket by its read timeout. A server that sends one byte of its headers or its body in each
such span would hold the thread for as long as it liked.
"""

from __future__ import annotations

import http.client
import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

DEADLINE_SECONDS = 25.0  # with the wait at a gate still less than the lease of a commit (30 s)

_thread = threading.local()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Every answer that this thread awaits in the block must be complete ``seconds`` from now."""
    before = getattr(_thread, "until", None)
    _thread.until = time.monotonic() + seconds
    try:
        yield
    finally:
        _thread.until = before


def new_session() -> requests.Session:
    """One that keeps to ``within``. No proxy or netrc of the machine decides where customer data goes."""
    session = requests.Session()
    session.trust_env = False
    session.mount("https://", _Adapter())
    session.mount("http://", _Adapter())
    return session


class _Reader(io.RawIOBase):
    """What comes out of a socket until the deadline; then TimeoutError."""

    def __init__(self, sock: socket.socket, raw: io.RawIOBase, until: float) -> None:
        super().__init__()
        self._sock = sock
        self._raw = raw
        self._until = until
        self._pause = sock.gettimeout()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401 - any writable buffer
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer is not complete in time")
        self._sock.settimeout(left if self._pause is None else min(self._pause, left))
        count: int | None = self._raw.readinto(buffer)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - http.client's own
        super().__init__(sock, *args, **kwargs)
        until = getattr(_thread, "until", None)
        if until is not None:
            self.fp = io.BufferedReader(_Reader(sock, self.fp.detach(), until))


class _Connection(HTTPConnection):
    response_class = _Response


class _SecureConnection(HTTPSConnection):
    response_class = _Response


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - requests' own
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
