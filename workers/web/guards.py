"""What holds for every answer, whoever made it: its headers, and how much of a request is read."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 256 * 1024
API = "/api"
EVERYWHERE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
TWO_YEARS = "max-age=63072000"


def is_api(path: str) -> bool:
    return path == API or path.startswith(f"{API}/")


class SecurityHeaders:
    """Adds what an answer does not say itself: a page has its own Content-Security-Policy."""

    def __init__(self, app: ASGIApp, *, public_url: str) -> None:
        self._app = app
        self._headers = EVERYWHERE | (
            {"Strict-Transport-Security": TWO_YEARS} if public_url.startswith("https://") else {}
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                if is_api(scope["path"]):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, answer)


class BodyLimit:
    """Reads no more than ``MOST_BYTES`` of a request to the API, whatever its length is said to be."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        limited = scope["type"] == "http" and is_api(scope["path"])
        await self._app(scope, _limited(scope, receive) if limited else receive, send)


def _limited(scope: Scope, receive: Receive) -> Receive:
    declared = Headers(scope=scope).get("content-length", "0")
    read = 0

    async def limited() -> Message:
        nonlocal read
        if declared.isdecimal() and int(declared[:20]) > MOST_BYTES:
            raise _too_much()
        message = await receive()
        read += len(message.get("body", b""))
        if read > MOST_BYTES:
            raise _too_much()
        return message

    return limited


def _too_much() -> HTTPException:
    return HTTPException(413, f"a request has at most {MOST_BYTES} bytes", {"Connection": "close"})
