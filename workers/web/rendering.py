"""Pages of ours: templates that escape everything, headers that let nobody else's code run, and the files that go with them."""

from __future__ import annotations

import functools
import hashlib
from http import HTTPStatus
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sync.errors import NotFound

HERE = Path(__file__)
TYPES = {
    "book.js": "text/javascript",
    "book.css": "text/css",
    "console.js": "text/javascript",
    "console.css": "text/css",
}
FOR_EVER = "public, max-age=31536000, immutable"
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:;"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with no-referrer a form of ours would not say where it comes from
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "geolocation=(), camera=(), microphone=()",
    "Cache-Control": "no-store",
}

router = APIRouter(include_in_schema=False)


def render(template: str, *, status: int = HTTPStatus.OK, **context: object) -> Response:
    """A page. Whatever people typed is text in it, never markup."""
    return HTMLResponse(_templates().get_template(template).render(**context), status, HEADERS)


@router.get("/static/{name}")
def static(name: str, request: Request) -> Response:
    """A file that belongs to a page, kept by browsers for good: its address changes with what is in it.

    Raises:
        NotFound: there is no such file.
    """
    if name not in TYPES:
        raise NotFound("no such file")
    content, digest = _file(name)
    known = request.query_params.get("v") == digest
    headers = {"Cache-Control": FOR_EVER if known else "no-cache", "X-Content-Type-Options": "nosniff"}
    return Response(content, media_type=TYPES[name], headers=headers)


def address(name: str) -> str:
    """Where a page finds the file as it is now."""
    return f"/static/{name}?v={_file(name)[1]}"


@functools.cache
def _file(name: str) -> tuple[bytes, str]:
    content = HERE.with_name("static").joinpath(name).read_bytes()
    return content, hashlib.sha256(content).hexdigest()[:16]


@functools.lru_cache(maxsize=1)
def _templates() -> Environment:
    loader = FileSystemLoader(HERE.with_name("templates"))
    found = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    found.globals["address"] = address
    return found
