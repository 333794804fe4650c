"""Which vendors there are. Adding one adds a line here and a folder beside; nothing in ``sync`` changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from providers.gates import UNLIMITED, Limits
from providers.google.client import GoogleCredentials, GoogleService
from providers.outlook.client import OutlookCredentials, OutlookService
from providers.transport import no_guard, nobody
from sync.domain import CalendarRef
from sync.errors import NotFound
from sync.ports import CalendarAdapter, CalendarReader, CalendarWriter


class Provider(StrEnum):
    """As written in agent files and stored with calendars."""

    OUTLOOK = "outlook"
    GOOGLE = "google"


class Service(Protocol):
    """One vendor under one credential set."""

    def calendar(self, ref: CalendarRef) -> CalendarAdapter: ...


@dataclass(frozen=True, slots=True)
class Credentials:
    """One credential set for every vendor; None where a vendor is not connected."""

    outlook: OutlookCredentials | None = None
    google: GoogleCredentials | None = None


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
    services: dict[str, Service] = {}
    if credentials.outlook is not None:
        services[Provider.OUTLOOK] = OutlookService(credentials.outlook, guard=guard, refused=refused, limits=limits)
    if credentials.google is not None:
        services[Provider.GOOGLE] = GoogleService(credentials.google, guard=guard, refused=refused, limits=limits)
    return Registry(services)


class Registry:
    """Hands out adapters; implements ``sync.ports.Calendars``."""

    def __init__(self, services: Mapping[str, Service]) -> None:
        self._services = services

    def reader(self, calendar: CalendarRef) -> CalendarReader:
        return self._adapter(calendar)

    def writer(self, calendar: CalendarRef) -> CalendarWriter:
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
