"""What every receiver asks of a request first: how much of it there is, and at which address its sender called us."""

from __future__ import annotations

from fastapi import Request
from starlette.exceptions import HTTPException

from workers.app import settings


async def bounded_body(request: Request, *, most: int) -> bytes:
    """The body as it was sent, which is what was signed; never more of it than ``most`` bytes.

    Raises:
        HTTPException: 413, it is longer, or says so.
    """
    declared = request.headers.get("content-length", "0")
    body = b""
    if not declared.isdecimal() or int(declared[:20]) <= most:
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                break
        else:
            return body
    raise HTTPException(413, f"at most {most} bytes are read", {"Connection": "close"})


def called_url(request: Request) -> str:
    """The address as its sender saw it: behind a proxy only the settings know the one that was called."""
    query = f"?{request.url.query}" if request.url.query else ""
    return f"{settings().public_url.rstrip('/')}{request.url.path}{query}"


def content_type(request: Request) -> str:
    """Without its parameters, in lower case."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
