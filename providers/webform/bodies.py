"""What is posted, as plain data: JSON, or the fields of an HTML form in either of its two encodings."""

from __future__ import annotations

import json
from email.message import Message
from email.parser import BytesParser
from email.utils import collapse_rfc2231_value
from typing import Any, Final, NoReturn
from urllib.parse import parse_qsl

from providers.webform.mapping import FormMapping
from sync.errors import Malformed

CONTENT_TYPES: Final = {
    "json": ("application/json",),
    "form": ("application/x-www-form-urlencoded", "multipart/form-data"),
}
MOST_FIELDS: Final = 1000


def is_welcome(mapping: FormMapping, content_type: str) -> bool:
    """Whether a body of this type may be read at all."""
    return _essence(content_type) in CONTENT_TYPES[mapping.content]


def read_body(mapping: FormMapping, content_type: str, body: bytes) -> Any:  # noqa: ANN401 - whatever JSON can hold
    """The body as data: an HTML form becomes an object, a name that comes more than once a list.

    Raises:
        Malformed: it is not what its type says.
    """
    if mapping.content == "json":
        return _json(_utf8(body), field="body")
    pairs = _multipart(content_type, body) if _essence(content_type).startswith("multipart/") else _urlencoded(body)
    fields: dict[str, Any] = {}
    for name, value in pairs:
        fields[name] = value if name not in fields else [*_listed(fields[name]), value]
    for name in mapping.json_fields:
        if isinstance(fields.get(name), str):
            fields[name] = _json(fields[name], field=name)
    return fields


def _essence(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _utf8(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Malformed("body", "is not UTF-8") from None


def _json(text: str, *, field: str) -> Any:  # noqa: ANN401 - whatever JSON can hold
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Malformed(field, "is not JSON") from None


def _no_number(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _urlencoded(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(_utf8(body), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except ValueError:
        raise Malformed("body", "is not a form in UTF-8, or has too many fields") from None


def _multipart(content_type: str, body: bytes) -> list[tuple[str, str]]:
    """The fields that are no files (RFC 7578)."""
    head = b"Content-Type: " + content_type.encode("latin-1", "replace") + b"\r\n\r\n"
    message = BytesParser().parsebytes(head + body)
    parts = message.get_payload()
    if message.defects or not isinstance(parts, list) or len(parts) > MOST_FIELDS:
        raise Malformed("body", "is not a complete multipart form")
    fields = (part for part in parts if isinstance(part, Message) and part.get_filename() is None)
    return [(_name(part), _utf8(_payload(part))) for part in fields]


def _name(part: Message) -> str:
    name = part.get_param("name", header="content-disposition")
    return collapse_rfc2231_value(name) if isinstance(name, str | tuple) else ""


def _payload(part: Message) -> bytes:
    payload = part.get_payload(decode=True)
    if not isinstance(payload, bytes):
        raise Malformed("body", "has a form within the form")
    return payload
