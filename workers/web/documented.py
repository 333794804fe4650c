"""What OpenAPI says of the API's answers: each with an example, and every refusal as the problem that it is."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, TypedDict

from workers.web.answers import BOOKED, HELD, PENDING, REASONS, REFUSED, ProposalAnswer, Refusal
from workers.web.problems import MEDIA_TYPE, documented

BOOKING = {HTTPStatus.CREATED: BOOKED, HTTPStatus.ACCEPTED: PENDING}
MOVING = BOOKING
CANCELLING = {HTTPStatus.CREATED: BOOKED | {"evidence": None}, HTTPStatus.ACCEPTED: PENDING}
HOLDING = {HTTPStatus.CREATED: HELD, HTTPStatus.ACCEPTED: PENDING | {"hold": HELD["hold"]}}
RELEASING = {HTTPStatus.OK: BOOKED | {"appointment": None, "evidence": None}, HTTPStatus.ACCEPTED: PENDING}
SAID = {
    HTTPStatus.OK: "decided: it is so",
    HTTPStatus.CREATED: "decided: it is so",
    HTTPStatus.ACCEPTED: "not decided yet: ask for Location again, or send the same with the same key",
}
EVERY = (400, 401, 403, 413, 422, 429, 503)
LOCATION = {"Location": {"description": "the proposal", "schema": {"type": "string"}}}

Responses = dict[int | str, dict[str, Any]]


class Told(TypedDict):
    """What a route is declared with."""

    status_code: int
    response_model: type[Any] | None
    responses: Responses


def wish(examples: dict[HTTPStatus, dict[str, Any]]) -> Told:
    """Of a route that takes a wish: decided, undecided, refused, and what can be wrong with any request."""
    answers: Responses = {
        int(status): {
            "description": SAID[status],
            "model": ProposalAnswer,
            "headers": LOCATION,
            "content": {"application/json": {"example": example}},
        }
        for status, example in examples.items()
    }
    refused = {"schema": _schema_of_refusal(), "example": _refusal()}
    answers[409] = {"description": "refused, and why", "headers": LOCATION, "content": {MEDIA_TYPE: refused}}
    first = next(iter(examples))
    return {"status_code": int(first), "response_model": None, "responses": answers | documented(404, *EVERY)}


class Read(TypedDict):
    response_model_exclude_unset: bool
    responses: Responses


def reading(*more: int) -> Read:
    """Of a route that only reads."""
    return {
        "response_model_exclude_unset": True,
        "responses": documented(*more, *(status for status in EVERY if status not in {400, 413})),
    }


def _schema_of_refusal() -> dict[str, Any]:
    schema = Refusal.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)  # components has them already: ProposalAnswer is made of the same
    return schema


def _refusal() -> dict[str, Any]:
    shared = {name: value for name, value in REFUSED.items() if name not in {"hold", "held_until"}}
    problem = {"type": "urn:watertight:master_busy", "title": "master busy", "status": 409}
    return problem | {"detail": REASONS["master_busy"]} | shared
