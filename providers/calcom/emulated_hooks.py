"""The webhooks that are registered. They are remembered until a restart, and none is ever called yet."""

from __future__ import annotations

import uuid
from typing import Any

from providers.calcom.emulated_booking import Refusal

Hook = dict[str, Any]

_FIELDS = ("subscriberUrl", "triggers", "active", "secret", "payloadTemplate")


class Hooks:
    """By id, each its owner's."""

    def __init__(self) -> None:
        self._hooks: dict[str, Hook] = {}

    def open(self, body: Hook) -> Hook:
        """Register one.

        Raises:
            Refusal: 400, it has no address or no triggers.
        """
        if not body.get("subscriberUrl") or not body.get("triggers") or not isinstance(body.get("active"), bool):
            raise Refusal(400, "BadRequestException", "subscriberUrl, triggers and active are required")
        hook = {"id": str(uuid.uuid4()), **{name: body[name] for name in _FIELDS if name in body}}
        self._hooks[hook["id"]] = hook
        return hook

    def change(self, name: str, body: Hook | None) -> Hook:
        """Change one, or delete it for None; the answer is the webhook either way.

        Raises:
            Refusal: 404.
        """
        hook = self._hooks.pop(name, None)
        if hook is None:
            raise Refusal(404, "NotFoundException", f"Webhook with id {name} not found")
        if body is not None:
            hook = self._hooks[name] = hook | {field: body[field] for field in _FIELDS if field in body}
        return hook
