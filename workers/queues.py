"""How many messages wait in a queue, whatever broker it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import structlog
from kombu.exceptions import OperationalError

if TYPE_CHECKING:
    from kombu.connection import Connection

log = structlog.get_logger(__name__)


def length(connection: Connection, queue: str) -> int:
    """A queue that nobody has written to yet need not exist, and asking for it closes the channel.

    Raises:
        kombu.exceptions.OperationalError, or what the library of the broker raises: it is away.
    """
    channel = connection.channel()
    try:
        return int(channel.queue_declare(queue, passive=True).message_count)
    except connection.channel_errors:
        return 0
    finally:
        channel.close()


def lengths(connection: Connection, queues: Iterable[str], *, seconds: float) -> dict[str, int] | None:
    """By queue; None while the broker is away. Closes the connection, and waits ``seconds`` at most to have one."""
    try:
        with connection:
            connection.ensure_connection(max_retries=1, timeout=seconds)
            return {queue: length(connection, queue) for queue in queues}
    except (OperationalError, OSError, *connection.connection_errors) as error:
        log.warning("broker.away", error=type(error).__name__)
        return None
