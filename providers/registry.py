"""Which vendors there are. Adding one adds a line or two here and a folder beside; nothing in ``sync`` changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from providers.calcom.client import CalcomCredentials, CalcomService
from providers.gates import UNLIMITED, Limits
from providers.google.client import GoogleCredentials, GoogleService
from providers.hubspot.client import HubSpotCredentials, HubSpotService
from providers.outlook.client import OutlookCredentials, OutlookService
from providers.transport import no_guard, nobody
from sync.domain import CalendarRef
from sync.errors import NotFound
from sync.ports import CalendarAdapter, CalendarReader, CalendarSubscriber, CalendarWriter


class Provider(StrEnum):
    """As written in agent files and stored with calendars."""

    OUTLOOK = "outlook"
    GOOGLE = "google"
    HUBSPOT = "hubspot"
    CALCOM = "calcom"


# Whose channels can be opened by an API call. HubSpot pushes too, to an app that is set up there by hand.
PUSHING: frozenset[str] = frozenset({Provider.OUTLOOK, Provider.GOOGLE, Provider.CALCOM})


class Service(Protocol):
    """One vendor under one credential set."""

    def calendar(self, ref: CalendarRef) -> CalendarAdapter: ...


@dataclass(frozen=True, slots=True)
class Credentials:
    """One credential set for every vendor, under the vendor's name; None where a vendor is not connected."""

    outlook: OutlookCredentials | None = None
    google: GoogleCredentials | None = None
    hubspot: HubSpotCredentials | None = None
    calcom: CalcomCredentials | None = None


# The one table: agent files may name what stands here, and credentials are looked up under the same name.
SERVICES: dict[str, Callable[..., Service]] = {
    Provider.OUTLOOK: OutlookService,
    Provider.GOOGLE: GoogleService,
    Provider.HUBSPOT: HubSpotService,
    Provider.CALCOM: CalcomService,
}


def connect(
    credentials: Credentials,
    *,
    guard: Callable[[], None] = no_guard,
    refused: Callable[[str], None] = nobody,
    limits: Limits = UNLIMITED,
) -> Registry:
    """A service for every vendor that has credentials. Connects to nothing yet.

    ``guard`` is asked before every request; ``refused`` hears of every write that a vendor forbids this credential set;
    ``limits`` keep the fleet below the vendors' own.
    """
    own: dict[str, Any] = {name: getattr(credentials, name) for name in SERVICES}
    return Registry(
        {
            name: make(own[name], guard=guard, refused=refused, limits=limits)
            for name, make in SERVICES.items()
            if own[name] is not None
        }
    )


class Registry:
    """Hands out adapters; implements ``sync.ports.Calendars`` and ``sync.ports.Subscribers``."""

    def __init__(self, services: Mapping[str, Service]) -> None:
        self._services = services

    def reader(self, calendar: CalendarRef) -> CalendarReader:
        return self._adapter(calendar)

    def writer(self, calendar: CalendarRef) -> CalendarWriter:
        return self._adapter(calendar)

    def subscriber(self, calendar: CalendarRef) -> CalendarSubscriber:
        return self._adapter(calendar)

    def _adapter(self, calendar: CalendarRef) -> CalendarAdapter:
        """The adapter of a calendar.

        Raises:
            NotFound: no credentials are set for its vendor.
        """
        service = self._services.get(calendar.provider)
        if service is None:
            message = f"no credentials for {calendar.provider}, which calendar {calendar.id} needs"
            raise NotFound(message)
        return service.calendar(calendar)
