"""Serves one vendor's emulator over HTTP, for this machine only (design §8)."""

from __future__ import annotations

import argparse
import ipaddress
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from providers.emulation import Emulator

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
    import uvicorn  # noqa: PLC0415 - only who serves needs a server: the command line reads the names above

    from providers.emulation import build_app  # noqa: PLC0415 - as above

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


def main() -> int:
    """What ``watertight up`` starts for each vendor: the command line would load three times as much."""
    parser = argparse.ArgumentParser(prog="python -m workers.emulate", description=__doc__)
    parser.add_argument("provider", choices=PROVIDERS)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--journal", type=Path)
    told = parser.parse_args()
    try:
        serve(told.provider, port=told.port, journal=told.journal)
    except OSError as error:
        sys.stderr.write(f"watertight: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
