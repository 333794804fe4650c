"""A stand-in for form tools: people submit forms, and each submission is posted, signed, to where the form is connected.

``PUT /forms/FORM/webhook`` connects a form: ``{"tool", "url", "secret", "agent"?}``, tools as in ``emulated_tools``. A person
submits it with ``POST /_control/events`` (``calendar`` is the form; ``change`` sends an edited submission with its old id).
Beyond the faults of every emulator it knows, each for one submission: ``lost_push``, ``duplicate_push``, ``late_push``
(``seconds``), ``unsigned``, ``wrong_signature``, ``old_timestamp`` (where the tool signs one), ``wrong_content_type``,
``truncated_push``, ``oversized_push``, ``malformed_row`` (no time in it).
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from providers.emulation import Books, Entry, Faults, HumanAction, Store
from providers.webform.emulated_delivery import Deliveries, Post
from providers.webform.emulated_tools import TOOLS, Answers, old_signature

CONNECTIONS: Final = "connections"  # kept beside the forms, so that a restart remembers them
DEFAULT_MINUTES: Final = 30
OVERSIZE_BYTES: Final = 128 * 1024


class Connection(BaseModel):
    """Where a form's submissions go."""

    model_config = ConfigDict(extra="forbid")

    tool: str
    url: str
    secret: str = ""
    agent: str = "dana"


class WebformEmulator:
    """``providers.emulation.Emulator`` for tools that are never called, only heard."""

    name, missing = "webform", "not_found"

    def __init__(self, *, journal: Path | None = None) -> None:
        self.store = Store(journal)
        self.faults = Faults()
        self.books = Books()
        self._deliveries = Deliveries()

    # What providers.emulation asks for

    def routes(self) -> APIRouter:
        router = APIRouter()
        router.add_api_route("/forms/{form}/webhook", self._connect, methods=["PUT"], response_model=None)
        router.add_api_route("/forms/{form}/submissions", self._submissions, methods=["GET"], response_model=None)
        return router

    def mailbox_of(self, request: Request) -> str:
        parts = request.url.path.split("/")
        return parts[2] if parts[1:2] == ["forms"] and len(parts) > 2 else ""  # noqa: PLR2004 - "", forms, the form

    def show(self, calendar: str, entry: Entry) -> dict[str, Any]:
        if calendar == CONNECTIONS:
            return {name: value for name, value in entry.data.items() if name != "secret"}
        waiting = self._deliveries.waiting(entry.id)
        return {**entry.data, "deliveries": self._deliveries.answers(entry.id), "waiting": waiting}

    def error(self, status: int, code: str, message: str) -> Response:
        return JSONResponse({"error": {"code": code, "message": message}}, status_code=status)

    def act(self, action: HumanAction) -> dict[str, Any]:
        form = action.calendar
        connection = self._connection(form)
        known = self.store.get(form, action.id or "")
        if action.action != "create" and known is None:
            raise KeyError(action.id)
        if known is not None and action.action == "delete":
            return self.store.put(form, known.id, known.data, created_by="human", deleted=True).data
        submission = action.id or uuid.uuid4().hex
        payload = {**_payload(connection, action, submission), **(action.raw or {})}
        if self._take("malformed_row", form):
            payload = _without_times(payload)
        entry = self.store.put(form, submission, {"id": submission, "payload": payload}, created_by="human")
        self._send(form, connection, entry)
        return self.show(form, entry)

    # The tools' own side

    async def _connect(self, form: str, connection: Connection) -> Response:
        if connection.tool not in TOOLS:
            raise HTTPException(422, f"unknown tool: known are {', '.join(TOOLS)}")
        self.store.put(CONNECTIONS, form, connection.model_dump(), created_by="app")
        return JSONResponse({"form": form, "url": connection.url})

    async def _submissions(self, form: str) -> Response:
        entries = [entry for entry in self.store.entries(form) if not entry.deleted]
        return JSONResponse([self.show(form, entry) for entry in entries])

    def _connection(self, form: str) -> Connection:
        entry = self.store.get(CONNECTIONS, form)
        if entry is None:
            raise KeyError(form)
        return Connection.model_validate(entry.data)

    def _take(self, kind: str, form: str) -> float | None:
        """The seconds of the fault, if it is armed for this form."""
        fault = self.faults.take(kind, calendar=form)
        return None if fault is None else fault.seconds or 1.0

    def _send(self, form: str, connection: Connection, entry: Entry) -> None:
        if self._take("lost_push", form):
            return
        post = self._post(form, connection, entry)
        for _ in range(2 if self._take("duplicate_push", form) else 1):
            self._deliveries.send(post)

    def _post(self, form: str, connection: Connection, entry: Entry) -> Post:
        tool = TOOLS[connection.tool]
        body = tool.encode(entry.data["payload"])
        if self._take("truncated_push", form):
            body = body[: len(body) // 2]
        if self._take("oversized_push", form):
            body += b" " * OVERSIZE_BYTES
        content_type = "text/plain" if self._take("wrong_content_type", form) else tool.content_type
        proof = self._proof(form, connection, body)
        headers = {"Content-Type": content_type, **proof}
        return Post(entry.id, connection.url, headers, body, wait_seconds=self._take("late_push", form) or 0.0)

    def _proof(self, form: str, connection: Connection, body: bytes) -> dict[str, str]:
        sign = TOOLS[connection.tool].sign
        if self._take("unsigned", form):
            return {}
        if self._take("wrong_signature", form):
            return sign(body, connection.url, "not the secret of this form")
        if self._take("old_timestamp", form):
            sign = old_signature
        return sign(body, connection.url, connection.secret)


def _payload(connection: Connection, action: HumanAction, submission: str) -> dict[str, Any]:
    event = action.event
    start = (event.start or datetime.now(UTC) + timedelta(days=1)).astimezone(UTC)
    answers = Answers(
        id=submission,
        agent=connection.agent,
        start=start,
        minutes=DEFAULT_MINUTES,
        zone=event.zone or "UTC",
        name="Ann Onymous",
        email="ann@prospect.example",
        topic=event.title or "Demo",
    )
    if event.end is not None:
        answers = replace(answers, minutes=int((event.end - start).total_seconds() // 60))
    if event.attendees:
        answers = replace(answers, email=event.attendees[0])
    return TOOLS[connection.tool].payload(answers)


def _without_times(payload: dict[str, Any]) -> dict[str, Any]:
    """The same with every answer gone but the id: nobody could say when the meeting should be."""
    ids = {"id", "submission", "submissionID"}
    if "form_response" in payload:
        return {**payload, "form_response": {**payload["form_response"], "answers": []}}
    if "data" in payload:
        return {**payload, "data": {**payload["data"], "fields": []}}
    return {name: value for name, value in payload.items() if name in ids or name == "form-submissions"}
