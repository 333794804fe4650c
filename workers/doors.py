"""Where vendors push to us, and by which secrets we know them: ``WATERTIGHT_PUBLIC_URL`` and ``WATERTIGHT_WEBHOOK_KEY``."""

from __future__ import annotations

import ipaddress
import secrets
from pathlib import Path
from urllib.parse import urlsplit

from providers.calcom.hooks import CALENDAR
from providers.registry import PUSHING, Provider
from sync.channels import Door
from sync.domain import CalendarRef
from sync.pushes import Secrets
from workers.settings import Settings

KEY_FILE = "webhook-key"
KEY_BYTES = 32


def secrets_of(settings: Settings) -> Secrets | None:
    """None where no key is set: then nobody is asked to push, and nobody believed."""
    if settings.webhook_key is None:
        return None
    return Secrets(settings.webhook_key.get_secret_value().encode())


def door_of(settings: Settings, calendar: CalendarRef) -> Door | None:
    """Where the vendor of this calendar is to push; None if it cannot, or cannot reach us."""
    known, provider = secrets_of(settings), calendar.provider
    if known is None or provider not in PUSHING or not can_push(settings, provider):
        return None
    url = f"{settings.public_url.rstrip('/')}/webhooks/{provider}"
    if provider == Provider.CALCOM:  # it sends no secret back but signs with it, and does not say whose booking it is
        return Door(f"{url}?{CALENDAR}={calendar.id}", known.of(provider, calendar.id))
    return Door(url, known.token(provider, calendar.id))


def can_push(settings: Settings, provider: str) -> bool:
    """Vendors push to https only; an emulator on this machine reaches any address of it."""
    return settings.public_url.startswith("https://") or _is_here(getattr(settings, f"{provider}_base_url", ""))


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def kept_key(state_dir: Path) -> str:
    """The key of this state directory, made at the first time, whole or not at all, and for nobody else's eyes."""
    file = state_dir / KEY_FILE
    if not file.exists():
        fresh = file.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_urlsafe(KEY_BYTES), encoding="ascii")
        fresh.replace(file)
    return file.read_text(encoding="ascii")
