"""Every error of the HTTP application as RFC 9457 wants it: ``application/problem+json``, naming the field at fault."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from starlette.exceptions import HTTPException

from sync.errors import Malformed, NotFound
from workers.web.guards import EVERYWHERE

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = "5"
CODES = {422: Malformed.code, 503: "unavailable"}

log = structlog.get_logger(__name__)


class Problem(BaseModel):
    """``type`` ends in a stable code; ``errors`` has ``field`` and ``reason`` of each, where the request is at fault."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[dict[str, str]] = []


def install(app: FastAPI) -> None:
    """From here on the application answers no error in any other form."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Malformed, _malformed)
    app.add_exception_handler(NotFound, _not_found)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(SQLAlchemyError, _database)
    app.add_exception_handler(Exception, _bug)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For OpenAPI: these answers are problems."""
    return {status: {"description": HTTPStatus(status).phrase, "content": _content(status)} for status in statuses}


def _content(status: int) -> dict[str, Any]:
    code = CODES.get(status, _code_of(status))
    example: dict[str, Any] = {"type": f"urn:watertight:{code}", "title": code.replace("_", " "), "status": status}
    example["detail"] = HTTPStatus(status).phrase
    if code == Malformed.code:
        example |= {"detail": "end: is not after start", "errors": [{"field": "end", "reason": "is not after start"}]}
    return {MEDIA_TYPE: {"schema": Problem.model_json_schema(), "example": example}}


def _code_of(status: int) -> str:
    return HTTPStatus(status).phrase.lower().replace(" ", "_")


def problem(
    status: int,
    *,
    code: str,
    detail: str,
    errors: list[dict[str, str]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    body = Problem(
        type=f"urn:watertight:{code}", title=code.replace("_", " "), status=status, detail=detail, errors=errors or []
    )
    content = body.model_dump(exclude=None if errors else {"errors"})
    return JSONResponse(content, status_code=status, media_type=MEDIA_TYPE, headers=dict(headers or {}))


def _named(errors: list[dict[str, str]]) -> Response:
    detail = "; ".join(f"{one['field']}: {one['reason']}" for one in errors)
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, code=Malformed.code, detail=detail, errors=errors)


async def _invalid(_: Request, error: Exception) -> Response:
    items = error.errors() if isinstance(error, RequestValidationError) else []
    return _named([{"field": _field(item), "reason": _reason(item)} for item in items])


def _field(item: Mapping[str, Any]) -> str:
    """Where, without "body": what was sent is all body. A body that is no JSON at all has no field but itself."""
    place = item["loc"]
    if item["type"] == "json_invalid" or place == ("body",):
        return "body"
    return ".".join(str(part) for part in place[1:])


def _reason(item: Mapping[str, Any]) -> str:
    if item["type"] == "json_invalid":
        return f"is not JSON ({item.get('ctx', {}).get('error', 'cannot be parsed')})"
    return str(item["msg"]).removeprefix("Value error, ")


async def _malformed(_: Request, error: Exception) -> Response:
    field, reason = (error.field, error.reason) if isinstance(error, Malformed) else ("body", str(error))
    return _named([{"field": field, "reason": reason}])


async def _not_found(_: Request, error: Exception) -> Response:
    return problem(HTTPStatus.NOT_FOUND, code=NotFound.code, detail=str(error))


async def _http(request: Request, error: Exception) -> Response:
    """What the framework itself refuses: an unknown path, a wrong method."""
    status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.INTERNAL_SERVER_ERROR
    phrase = HTTPStatus(status).phrase
    detail = str(getattr(error, "detail", phrase))
    shown = f"{request.method} {request.url.path}: {phrase}" if detail == phrase else detail
    return problem(status, code=_code_of(status), detail=shown, headers=getattr(error, "headers", None))


async def _database(request: Request, error: Exception) -> Response:
    """Only the type is logged: the text of a refused statement holds what people typed (P12)."""
    log.error("web.database_error", error=type(error).__name__, exc_info=error)
    if isinstance(error, OperationalError | PoolExhausted):
        detail = "the database does not answer; the same request with the same key may be sent again"
        return problem(
            HTTPStatus.SERVICE_UNAVAILABLE, code="unavailable", detail=detail, headers={"Retry-After": RETRY_SECONDS}
        )
    return await _bug(request, error)


async def _bug(_: Request, __: Exception) -> Response:
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR, code="bug", detail="an error of ours; it is in the log", headers=EVERYWHERE
    )
