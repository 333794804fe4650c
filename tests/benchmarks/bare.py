"""The floor of what is asked over HTTP: a FastAPI application that does nothing, in the same kind of process as ours.

``GET /bytes/N`` answers a body of N bytes of JSON, ``POST /accept`` takes a body and answers 202.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import requests
from fastapi import FastAPI, Request, Response

from workers.programs import Address


def app() -> FastAPI:
    bare = FastAPI(openapi_url=None)

    @bare.get("/bytes/{count}")
    def of_size(count: int) -> Response:
        return Response(b"[" + b"0" * (count - 2) + b"]", media_type="application/json")

    @bare.post("/accept")
    async def accept(request: Request) -> Response:
        await request.body()
        return Response(status_code=202)

    return bare


@dataclass(frozen=True)
class Bare:
    url: str
    pid: int


@contextlib.contextmanager
def serving() -> Iterator[Bare]:
    """With the options of our own web process."""
    address = Address.choose()
    command = [sys.executable, "-m", "uvicorn", "--factory", "tests.benchmarks.bare:app", "--no-access-log"]
    process = subprocess.Popen([*command, "--port", str(address.port), "--log-level", "critical"], env=dict(os.environ))
    try:
        deadline = time.monotonic() + 60
        while not _answers(address.url):
            assert process.poll() is None, "the bare process has ended"
            assert time.monotonic() < deadline, "the bare process does not answer"
            time.sleep(0.1)
        yield Bare(address.url, process.pid)
    finally:
        process.terminate()
        process.wait(20)


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/bytes/2", timeout=5).ok
    except requests.ConnectionError:
        return False
