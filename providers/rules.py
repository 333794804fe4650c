"""The vendors' limits as a table. The figures come from settings (``workers.limit_settings``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

SLACK_SECONDS = 1
"""Added to every window: a vendor counts when a request arrives, we when it leaves, and no two take the same time."""


class Per(StrEnum):
    """Who has a limit to himself."""

    APP = "app"  # one credential, whatever the account
    ACCOUNT = "account"  # one mailbox, person, portal or key, whoever asks
    BOTH = "both"  # one credential at one account


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``most`` requests within ``seconds``, or, with ``seconds`` 0, under way at once.

    It counts the requests whose route template contains ``route``.
    """

    per: Per
    most: int
    seconds: int = 0
    route: str = ""

    def counts(self, route: str) -> bool:
        return self.route in route

    @property
    def name(self) -> str:
        """What keeps its count apart from another limit's of the same vendor."""
        return f"{self.per}:{self.seconds}{self.route.replace('/', ':')}"


@dataclass(frozen=True, slots=True)
class Rules:
    """All limits by vendor. ``blind_share`` is what one process takes of each rate while the fleet's count is away."""

    vendors: Mapping[str, tuple[Limit, ...]]
    blind_share: float = 0.1

    def of(self, vendor: str) -> tuple[Limit, ...]:
        return tuple(self.vendors.get(vendor, ()))
