"""Serves one vendor's emulator over HTTP, for this machine only (design §8)."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

import uvicorn

from providers.emulation import Emulator, build_app

DRAIN_SECONDS = 2  # a request that hangs on purpose must not hold up the stop


def _outlook(journal: Path | None) -> Emulator:
    from providers.outlook.emulator import OutlookEmulator  # noqa: PLC0415  one process loads one emulator

    return OutlookEmulator(journal=journal)


def _google(journal: Path | None) -> Emulator:
    from providers.google.emulator import GoogleEmulator  # noqa: PLC0415  one process loads one emulator

    return GoogleEmulator(journal=journal)


def _webform(journal: Path | None) -> Emulator:
    from providers.webform.emulator import WebformEmulator  # noqa: PLC0415  one process loads one emulator

    return WebformEmulator(journal=journal)


def _hubspot(journal: Path | None) -> Emulator:
    from providers.hubspot.emulator import HubSpotEmulator  # noqa: PLC0415  one process loads one emulator

    return HubSpotEmulator(journal=journal)


def _calcom(journal: Path | None) -> Emulator:
    from providers.calcom.emulator import CalcomEmulator  # noqa: PLC0415  one process loads one emulator

    return CalcomEmulator(journal=journal)


LOADERS: Final[dict[str, Callable[[Path | None], Emulator]]] = {
    "outlook": _outlook,
    "google": _google,
    "webform": _webform,
    "hubspot": _hubspot,
    "calcom": _calcom,
}
PROVIDERS: tuple[str, ...] = tuple(LOADERS)


def make_google_key() -> dict[str, str]:
    """A service-account key of our own making, for the emulator."""
    from providers.google.emulator import make_service_account  # noqa: PLC0415  as above

    return make_service_account("watertight@emulated.iam.gserviceaccount.example")


def _unannounced(_url: str) -> None: ...


def serve(
    provider: str,
    *,
    port: int,
    journal: Path | None,
    host: str = "127.0.0.1",
    announce: Callable[[str], None] = _unannounced,
) -> None:
    """Serve until SIGINT or SIGTERM. Port 0 takes any free one; ``announce`` gets the URL once connections are accepted.

    Raises: ValueError for an unknown provider or a host that others can reach, OSError if the port is taken.
    """
    if provider not in LOADERS:
        raise ValueError(f"unknown provider {provider}: known are {', '.join(PROVIDERS)}")
    with _listen(host, port=port) as listener:
        app = build_app(LOADERS[provider](journal))
        config = uvicorn.Config(app, access_log=False, log_level="warning", timeout_graceful_shutdown=DRAIN_SECONDS)
        shown = f"[{host}]" if ":" in host else host
        announce(f"http://{shown}:{listener.getsockname()[1]}")
        uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, *, port: int) -> socket.socket:
    address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    if not address.is_loopback:
        raise ValueError(f"an emulator has no guard of its own and may only listen on this machine, not on {host}")
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET  # noqa: PLR2004
    try:
        listener = socket.create_server((str(address), port), family=family)
    except OSError as error:
        raise OSError(f"port {port} on {address} cannot be used: {os.strerror(error.errno or 0)}") from error
    # asyncio sets this on sockets of its own making only; without it each answer's body waits 40 ms for an acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
