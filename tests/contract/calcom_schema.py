"""What Cal.com's own output types allow, as JSON schemas: the emulator is held to them.

Written from calcom/cal.com, ``packages/platform/types/bookings/2024-08-13/outputs/booking.output.ts`` and
``packages/platform/types/…/pagination.output.ts``. Nothing beyond the named fields is allowed.
"""

from __future__ import annotations

from typing import Any

import jsonschema

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
WORD: Schema = {"type": "string", "minLength": 1}
WHOLE: Schema = {"type": "integer"}
FLAG: Schema = {"type": "boolean"}
TIME: Schema = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?(Z|\+00:00)$"}


def closed(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    return {
        "type": "object",
        "properties": required | (optional or {}),
        "required": list(required),
        "additionalProperties": False,
    }


def nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


HOST = closed(
    {"id": WHOLE, "name": TEXT, "email": WORD, "displayEmail": WORD, "username": WORD, "timeZone": WORD},
)
ATTENDEE = closed(
    {"name": TEXT, "email": WORD, "displayEmail": WORD, "timeZone": WORD, "absent": FLAG},
    {"language": TEXT, "phoneNumber": TEXT},
)
BOOKING = closed(
    {
        "id": WHOLE,
        "uid": WORD,
        "title": TEXT,
        "description": TEXT,
        "hosts": {"type": "array", "items": HOST, "minItems": 1},
        "status": {"enum": ["accepted", "pending", "cancelled", "rejected"]},
        "start": TIME,
        "end": TIME,
        "duration": WHOLE,
        "eventTypeId": WHOLE,
        "eventType": closed({"id": WHOLE, "slug": WORD}),
        "location": TEXT,
        "absentHost": FLAG,
        "createdAt": TIME,
        "updatedAt": nullable(TIME),
        "metadata": {"type": "object"},
        "attendees": {"type": "array", "items": ATTENDEE},
        "bookingFieldsResponses": {"type": "object"},
    },
    {
        "cancellationReason": TEXT,
        "cancelledByEmail": TEXT,
        "reschedulingReason": TEXT,
        "rescheduledByEmail": TEXT,
        "rescheduledFromUid": WORD,
        "rescheduledToUid": WORD,
        "meetingUrl": TEXT,
        "rating": nullable(WHOLE),
        "icsUid": TEXT,
        "guests": {"type": "array", "items": WORD},
        "recurringBookingUid": WORD,
    },
)
PAGINATION = closed(
    {
        **dict.fromkeys(
            ("returnedItems", "totalItems", "itemsPerPage", "remainingItems", "currentPage", "totalPages"), WHOLE
        ),
        "hasNextPage": FLAG,
        "hasPreviousPage": FLAG,
    }
)
SUCCESS: Schema = {"const": "success"}
ONE = closed({"status": SUCCESS, "data": BOOKING})
SERIES = closed({"status": SUCCESS, "data": {"type": "array", "items": BOOKING, "minItems": 1}})
PAGE = closed({"status": SUCCESS, "data": {"type": "array", "items": BOOKING}, "pagination": PAGINATION})
ERROR = closed(
    {
        "status": {"const": "error"},
        "timestamp": TIME,
        "path": {"type": "string", "pattern": "^/v2/"},
        "error": closed({"code": WORD, "message": TEXT}),
    }
)


def must_be(schema: Schema, body: object) -> None:
    jsonschema.validate(body, schema, cls=jsonschema.Draft202012Validator)
