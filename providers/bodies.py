"""Bodies of answers: read up to a size, and understood as one JSON object or not at all."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable
from typing import Any, Never

import requests
import urllib3

MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 64  # a vendor's own are below 10; what walks a body later must not run out of stack

_CHUNK_BYTES = 64 * 1024


def read_body(response: requests.Response) -> bytes | None:
    """The body, decoded; None if it is more than ``MAX_BODY_BYTES``, of which no more is read. The connection is freed.

    Raises:
        requests.ReadTimeout: it did not come in time.
        requests.RequestException: it broke off, or is not encoded as it says.
    """
    content = bytearray()
    with contextlib.closing(response):
        try:
            for chunk in response.iter_content(_CHUNK_BYTES):
                content += chunk
                if len(content) > MAX_BODY_BYTES:
                    return None
        except requests.ConnectionError as error:
            if any(isinstance(cause, urllib3.exceptions.ReadTimeoutError) for cause in error.args):
                raise requests.ReadTimeout from error
            raise
    return bytes(content)


def parse_object(content: bytes) -> dict[str, Any] | None:
    """The JSON object that ``content`` is; None if it is anything else."""
    body = parse_json(content, depth=MAX_DEPTH)
    return body if isinstance(body, dict) else None


def parse_json(content: bytes, *, depth: int) -> object:
    """What ``content`` says, nested no deeper than ``depth``; None if it is no JSON, or the null that nobody sends.

    Stricter than Python's own reader: a name that comes twice, NaN, Infinity and numbers beyond a float are no JSON that
    two readers understand alike (RFC 8259 §4, §6), and nobody nests that deep in earnest.
    """
    try:
        body: object = json.loads(
            content, object_pairs_hook=_without_repetition, parse_constant=_refuse_constant, parse_float=_finite
        )
    except (ValueError, RecursionError):
        return None
    return body if _is_shallow(body, depth=depth) else None


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name twice in one object")
    return members


def _refuse_constant(_name: str) -> Never:
    raise ValueError("not a number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("too large for a float")
    return number


def _is_shallow(body: object, *, depth: int) -> bool:
    level = [body]
    for _ in range(depth):
        level = [child for item in level for child in _children(item)]
        if not level:
            return True
    return False


def _children(item: object) -> Iterable[object]:
    match item:
        case dict():
            return item.values()
        case list():
            return item
        case _:
            return ()
