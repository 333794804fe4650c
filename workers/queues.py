"""How many messages wait in a queue, whatever broker it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kombu.connection import Connection


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
