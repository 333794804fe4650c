"""Who may use the API without a token: programs of this machine, and only where the operator decided so.

A browser on this machine is used by strangers too: any page it shows can send requests to loopback, and a name that its
owner points to 127.0.0.1 makes them look like our own (DNS rebinding). Host, Origin and Sec-Fetch-Site tell them apart;
pages cannot forge these three.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from workers.settings import Settings, SettingsError

DEFAULT_HOST = "127.0.0.1"  # uvicorn's
ELSEWHERE = ("--uds", "--fd")
FROM_ELSEWHERE = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")  # a proxy speaks for others
OUR_SITE = (None, "same-origin", "none")
HOST = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+))(?::\d{1,5})?")


def is_loopback(host: str) -> bool:
    """Whether the name or address reaches nobody but this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_loopback_url(url: str) -> bool:
    try:
        return is_loopback(urlsplit(url).hostname or "")
    except ValueError:
        return False


def require_loopback(settings: Settings, *, arguments: Sequence[str], env: Mapping[str, str]) -> None:
    """That an open API is served on loopback alone, as far as the server's command line tells.

    Raises:
        SettingsError: it is not, or nobody can tell.
    """
    if not settings.api_open:
        return
    host = _bound_to(arguments, env)
    if host is None or not is_loopback(host):
        raise SettingsError(f"WATERTIGHT_API_OPEN: only on loopback, and this process listens on {host or 'a socket'}")
    if not is_loopback_url(settings.public_url):
        raise SettingsError("WATERTIGHT_API_OPEN: only on loopback, and WATERTIGHT_PUBLIC_URL is known elsewhere")


def _bound_to(arguments: Sequence[str], env: Mapping[str, str]) -> str | None:
    """The host that uvicorn was told, or its default; None for a socket that it was handed."""
    names = [argument.partition("=")[0] for argument in arguments]
    if any(name in ELSEWHERE for name in names) or env.get("UVICORN_UDS") or env.get("UVICORN_FD"):
        return None
    if "--host" not in names:
        return env.get("UVICORN_HOST", DEFAULT_HOST)
    place = len(names) - 1 - names[::-1].index("--host")  # of two, uvicorn takes the last
    _, given, value = arguments[place].partition("=")
    return value if given else next(iter(arguments[place + 1 :]), None)


def _name_in(host: str) -> str:
    """The name or address in a Host header, without port; empty where it is neither."""
    found = HOST.fullmatch(host)
    return (found[1] or found[2]) if found else ""


def is_from_here(connection: HTTPConnection) -> bool:
    """Whether a request came over loopback, was meant for it, and no page of another site sent it."""
    headers = connection.headers
    host = headers.get("host", "")
    reached, _ = connection.scope.get("server") or ("", None)
    return (
        is_loopback(str(reached))
        and is_loopback(_name_in(host))
        and headers.get("origin") in {None, f"{connection.scope['scheme']}://{host}"}
        and headers.get("sec-fetch-site") in OUR_SITE
        and not any(name in headers for name in FROM_ELSEWHERE)
    )
