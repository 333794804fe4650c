"""Passwords of people: kept as a salted scrypt hash that names its own parameters, so that they can grow."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from base64 import b64decode, b64encode

from sync.errors import Malformed

SHORTEST_PASSWORD = 12  # characters
LONGEST_PASSWORD = 1024
COST, BLOCK, PARALLEL = 2**15, 8, 3  # 32 MiB and a fifth of a second, as OWASP recommends
SALT_BYTES = 16
AT_ONCE = 2  # hashes: a crowd at the door must not take the memory of the house

_turns = threading.BoundedSemaphore(AT_ONCE)


def hash_password(password: str) -> str:
    """What is kept of it.

    Raises:
        Malformed: it is too short, or absurdly long.
    """
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise Malformed("password", f"has not {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters")
    salt = secrets.token_bytes(SALT_BYTES)
    digest = _scrypt(password, salt=salt, cost=COST, block=BLOCK, parallel=PARALLEL)
    return f"scrypt${COST}${BLOCK}${PARALLEL}${b64encode(salt).decode()}${b64encode(digest).decode()}"


def is_password(password: str, kept: str | None) -> bool:
    """Whether it is the one that was hashed. Nobody's (None) takes as long as a wrong one."""
    _, cost, block, parallel, salt, digest = (kept or DECOY).split("$")
    found = _scrypt(
        password[: LONGEST_PASSWORD + 1],
        salt=b64decode(salt),
        cost=int(cost),
        block=int(block),
        parallel=int(parallel),
    )
    return hmac.compare_digest(found, b64decode(digest)) and kept is not None


def _scrypt(password: str, *, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    with _turns:
        return hashlib.scrypt(
            password.encode("utf-8", "surrogatepass"),
            salt=salt,
            n=cost,
            r=block,
            p=parallel,
            maxmem=256 * cost * block,
            dklen=32,
        )


DECOY = "$".join(
    ("scrypt", str(COST), str(BLOCK), str(PARALLEL), b64encode(bytes(16)).decode(), b64encode(bytes(32)).decode())
)
