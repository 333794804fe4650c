"""What visitors of the booking page send. Anything unexpected is refused by its field."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from workers.web.bodies import Text, TimeBody, Version
from workers.web.visits import Guest

AGENT = "^[a-z0-9][a-z0-9-]{0,62}$"
SECRET = "^[A-Za-z0-9_-]{16,64}$"  # noqa: S105 - what one looks like

Secret = Annotated[str, Field(pattern=SECRET)]
Name = Annotated[Text, Field(max_length=200, pattern="\\S")]
Email = Annotated[Text, Field(max_length=320, pattern="^[^@\\s]+@[^@\\s]+$")]


class HoldWish(TimeBody):
    """``key`` is the visitor's own, long and random, so that a repetition after a lost answer is harmless."""

    version: Version = None
    key: Secret


class GuestWish(TimeBody):
    """A time, and for whom."""

    name: Name
    email: Email

    def guest(self) -> Guest:
        return Guest(" ".join(self.name.split()), self.email)


class BookingWish(GuestWish):
    """``hold`` is the secret of the hold that the visitor has, or had."""

    hold: Secret


class FormWish(GuestWish):
    """The form of whoever runs no script has no hold; ``visit`` is its own secret, so that sent twice it is one booking."""

    version: Version = None
    visit: Secret
