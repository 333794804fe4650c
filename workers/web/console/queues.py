"""How many messages wait at the broker."""

from __future__ import annotations

from providers.limits import SOCKET_SECONDS
from workers.app import app
from workers.queues import lengths

QUEUES = ("new", "cancel", "update", "commit", "upkeep")


def find_lengths() -> dict[str, int] | None:
    """By queue, what no worker has taken yet; None while the broker is away. Waits no longer than a page may take."""
    patience = {"socket_timeout": SOCKET_SECONDS, "socket_connect_timeout": SOCKET_SECONDS}
    connection = app.connection_for_read(transport_options=app.conf.broker_transport_options | patience)
    return lengths(connection, QUEUES, seconds=SOCKET_SECONDS)
