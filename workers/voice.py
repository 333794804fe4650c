"""Which of several processes speaks for all where the database cannot say so: whoever has put its name into the broker's memory."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

OVER = " over"  # after the name of whoever has said the last word
HELD_SECONDS = 120  # without a word of the one who speaks; then another may
LINGER_SECONDS = 60  # after the last word, for whoever notices the end a little later
ASK_SECONDS = 2.0
ONCE = Retry(NoBackoff(), retries=0)


@dataclass(frozen=True, slots=True)
class Voice:
    """One process's claim to speak about ``subject``. Without a Valkey or Redis (``url`` None) everybody speaks."""

    url: str | None = field(repr=False)
    subject: str
    name: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def _key(self) -> str:
        return f"watertight:voice:{self.subject}"

    def claim(self) -> bool:
        """Whether this process is the one to speak; to be repeated while it does. Told twice is better than never."""
        if self.url is None:
            return True
        try:
            with _connect(self.url) as client:
                if client.set(self._key, self.name, nx=True, ex=HELD_SECONDS):
                    return True
                if client.get(self._key) not in {self.name, self.name + OVER}:
                    return False
                client.set(self._key, self.name, ex=HELD_SECONDS)
        except redis.RedisError:
            pass
        return True

    def is_over(self) -> bool:
        """Whether somebody has said the last word already."""
        if self.url is None:
            return False
        try:
            with _connect(self.url) as client:
                return str(client.get(self._key) or "").endswith(OVER)
        except redis.RedisError:
            return False

    def release(self) -> None:
        """The last word has been said: soon another may speak."""
        self._end(self.name + OVER)

    def waive(self) -> None:
        """Nobody hears this process: another may speak at once."""
        self._end(None)

    def _end(self, last: str | None) -> None:
        if self.url is None:
            return
        try:
            with _connect(self.url) as client:
                if client.get(self._key) != self.name:
                    return
                if last is None:
                    client.delete(self._key)
                else:
                    client.set(self._key, last, ex=LINGER_SECONDS)
        except redis.RedisError:
            return  # it is forgotten by itself


def _connect(url: str) -> redis.Redis:
    return redis.Redis.from_url(
        url, retry=ONCE, socket_timeout=ASK_SECONDS, socket_connect_timeout=ASK_SECONDS, decode_responses=True
    )
