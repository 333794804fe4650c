"""What six form tools would post for the same answers, and how each signs it. Which shapes are sure: docs/providers/forms.md."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

JSON: Final = "application/json"
URLENCODED: Final = "application/x-www-form-urlencoded"
_BOUNDARY: Final = "------------------------1f0d8c6b2a4e"


@dataclass(frozen=True, slots=True)
class Answers:
    """What a visitor typed. ``start`` is aware; tools without offsets show it as a wall clock in ``zone``."""

    id: str
    agent: str
    start: datetime
    minutes: int
    zone: str
    name: str
    email: str
    topic: str

    @property
    def wall(self) -> datetime:
        return self.start.astimezone(ZoneInfo(self.zone))


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool: its payload, the body it makes of it, and the headers that prove where it comes from."""

    payload: Callable[[Answers], dict[str, Any]]
    content_type: str
    encode: Callable[[dict[str, Any]], bytes]
    sign: Callable[[bytes, str, str], dict[str, str]]


def _typeform(answers: Answers) -> dict[str, Any]:
    def answer(ref: str, kind: str, value: object) -> dict[str, Any]:
        return {"type": kind, kind: value, "field": {"id": ref[::-1], "type": kind, "ref": ref}}

    response = {
        "form_id": "lT4Z3j",
        "token": answers.id,
        "landed_at": "2027-03-01T09:00:00Z",
        "submitted_at": "2027-03-01T09:02:00Z",
        "hidden": {"agent": answers.agent, "timezone": answers.zone},
        "definition": {"id": "lT4Z3j", "title": "Book a demo", "fields": []},
        "answers": [
            answer("name", "text", answers.name),
            answer("email", "email", answers.email),
            answer("topic", "text", answers.topic),
            answer("day", "date", f"{answers.wall:%Y-%m-%d}"),
            answer("hour", "choice", {"label": f"{answers.wall:%H:%M}"}),
        ],
    }
    return {"event_id": uuid.uuid4().hex, "event_type": "form_response", "form_response": response}


def _tally(answers: Answers) -> dict[str, Any]:
    rows = {
        "Name": ("INPUT_TEXT", answers.name),
        "Email": ("INPUT_EMAIL", answers.email),
        "Day": ("INPUT_DATE", f"{answers.wall:%Y-%m-%d}"),
        "Hour": ("INPUT_TIME", f"{answers.wall:%H:%M}"),
        "agent": ("HIDDEN_FIELDS", answers.agent),
        "timezone": ("HIDDEN_FIELDS", answers.zone),
    }
    fields = [
        {"key": f"question_{number}", "label": label, "type": kind, "value": value}
        for number, (label, (kind, value)) in enumerate(rows.items())
    ]
    stamp = "2027-03-01T09:02:00.000Z"
    data = {"responseId": answers.id, "submissionId": answers.id, "formId": "mV425y", "createdAt": stamp}
    return {
        "eventId": str(uuid.uuid4()),
        "eventType": "FORM_RESPONSE",
        "createdAt": stamp,
        "data": {**data, "formName": "Book a demo", "fields": fields},
    }


def _jotform(answers: Answers) -> dict[str, Any]:
    raw = {
        "slug": "submit/243231271343446",
        "q3_name": {"first": answers.name.partition(" ")[0], "last": answers.name.partition(" ")[2]},
        "q4_email": answers.email,
        "q5_agent": answers.agent,
        "q6_appointment": {
            "implementation": "new",
            "date": f"{answers.wall:%Y-%m-%d %H:%M}",
            "duration": str(answers.minutes),
            "timezone": f"{answers.zone} (GMT+06:30)",
        },
    }
    return {"formID": "243231271343446", "submissionID": answers.id, "pretty": "", "rawRequest": json.dumps(raw)}


def _gravity(answers: Answers) -> dict[str, Any]:
    return {
        "id": answers.id,
        "form_id": "7",
        "date_created": "2027-03-01 09:02:00",
        "1.3": answers.name.partition(" ")[0],
        "1.6": answers.name.partition(" ")[2],
        "2": answers.email,
        "3": f"{answers.wall:%Y-%m-%d}",
        "4": f"{answers.wall:%I:%M %p}".lower(),
        "5": answers.agent,
    }


def _hubspot(answers: Answers) -> dict[str, Any]:
    values = {
        "firstname": answers.name,
        "email": answers.email,
        "meeting_start": str(int(answers.start.timestamp() * 1000)),
        "meeting_agent": answers.agent,
    }
    submitted = {"conversion-id": answers.id, "timestamp": int(time.time() * 1000), "form-id": "a1b2", "title": "Demo"}
    return {
        "vid": 1204726,
        "portal-id": 27123836,
        "properties": {name: {"value": value, "versions": []} for name, value in values.items()},
        "form-submissions": [submitted],
    }


def _html(answers: Answers) -> dict[str, Any]:
    return {
        "submission": answers.id,
        "agent": answers.agent,
        "when": f"{answers.wall:%Y-%m-%dT%H:%M}",
        "timezone": answers.zone,
        "minutes": str(answers.minutes),
        "name": answers.name,
        "email": answers.email,
    }


def _json(payload: dict[str, Any]) -> bytes:
    return json.dumps(payload, ensure_ascii=False).encode()


def _multipart(payload: dict[str, Any]) -> bytes:
    parts = [
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in payload.items()
    ]
    return ("".join(parts) + f"--{_BOUNDARY}--\r\n").encode()


def _urlencoded(payload: dict[str, Any]) -> bytes:
    return urlencode(payload).encode()


def _mac(secret: str, content: bytes) -> str:
    return base64.b64encode(hmac.new(secret.encode(), content, hashlib.sha256).digest()).decode()


def _typeform_signs(body: bytes, _: str, secret: str) -> dict[str, str]:
    return {"Typeform-Signature": f"sha256={_mac(secret, body)}"}


def _tally_signs(body: bytes, _: str, secret: str) -> dict[str, str]:
    return {"Tally-Signature": _mac(secret, body)}


def _hubspot_signs(body: bytes, url: str, secret: str, *, age_seconds: float = 0) -> dict[str, str]:
    stamp = str(int((time.time() - age_seconds) * 1000))
    content = b"POST" + url.encode() + body + stamp.encode()
    return {"X-HubSpot-Request-Timestamp": stamp, "X-HubSpot-Signature-v3": _mac(secret, content)}


def old_signature(body: bytes, url: str, secret: str) -> dict[str, str]:
    """What the tool that signs a timestamp would have sent an hour ago."""
    return _hubspot_signs(body, url, secret, age_seconds=3600)


def _header_token(_: bytes, __: str, secret: str) -> dict[str, str]:
    return {"X-Form-Token": secret}  # typed into the tool as one of its request headers


def _nothing(_: bytes, __: str, ___: str) -> dict[str, str]:
    return {}


TOOLS: Final[dict[str, Tool]] = {
    "typeform": Tool(_typeform, JSON, _json, _typeform_signs),
    "tally": Tool(_tally, JSON, _json, _tally_signs),
    "jotform": Tool(_jotform, f"multipart/form-data; boundary={_BOUNDARY}", _multipart, _nothing),
    "gravity-forms": Tool(_gravity, JSON, _json, _header_token),
    "hubspot": Tool(_hubspot, JSON, _json, _hubspot_signs),
    "html": Tool(_html, URLENCODED, _urlencoded, _nothing),
}
