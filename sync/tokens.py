"""Tokens of the API: shown once when they are made, kept by their SHA-256 alone, taken back by name."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from models.session import database_now
from models.tokens import ApiToken
from sync.errors import Malformed, NotFound

PREFIX = "wt_"
PER_MINUTE = 120
MOST_PER_MINUTE = 100_000
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,62}")
TOKEN = re.compile(r"wt_[A-Za-z0-9_-]{43}")
USED_EVERY = timedelta(minutes=1)


class Scope(StrEnum):
    """What a token may be used for."""

    READ = "read"  # availability, and proposals as they stand
    BOOK = "book"  # proposals and holds
    CHANGE = "change"  # moves and cancellations
    METRICS = "metrics"  # what monitoring reads; nothing of the API


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A token without itself. ``last_used_at`` is a minute behind at most."""

    id: int
    name: str
    scopes: tuple[str, ...]
    per_minute: int
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


def is_token(text: str) -> bool:
    """Whether it is written as a token is: what is not, need not be looked up."""
    return TOKEN.fullmatch(text) is not None


def digest_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def create_token(
    session: Session, name: str, *, scopes: Collection[Scope], per_minute: int = PER_MINUTE
) -> tuple[TokenRecord, str]:
    """A new token and what only its owner will know of it.

    Raises:
        Malformed: the name is taken (a revoked token keeps its own), or something is out of range.
    """
    if NAME.fullmatch(name) is None:
        raise Malformed(
            "name", "is not 1 to 63 letters, digits, spaces or any of . _ -, beginning with a letter or digit"
        )
    if not scopes:
        raise Malformed("scope", "is missing")
    if not 1 <= per_minute <= MOST_PER_MINUTE:
        raise Malformed("per_minute", f"is not between 1 and {MOST_PER_MINUTE}")
    token = PREFIX + secrets.token_urlsafe(32)
    values = {"name": name, "digest": digest_of(token), "scopes": sorted(set(scopes)), "per_minute": per_minute}
    statement = insert(ApiToken).values(values).on_conflict_do_nothing(index_elements=["name"]).returning(ApiToken)
    row = session.scalars(statement).one_or_none()
    if row is None:
        raise Malformed("name", "is taken")
    return _record(row), token


def revoke_token(session: Session, name: str) -> None:
    """From now on nobody gets in with it. Once more does no harm.

    Raises:
        NotFound: no token of that name.
    """
    row = session.scalars(select(ApiToken).where(ApiToken.name == name)).one_or_none()
    if row is None:
        raise NotFound(f"no token {name!r}")
    if row.revoked_at is None:
        row.revoked_at = database_now(session)


def list_tokens(session: Session) -> list[TokenRecord]:
    """Every token that was ever made, oldest first."""
    return [_record(row) for row in session.scalars(select(ApiToken).order_by(ApiToken.id))]


def find_token(session: Session, token: str) -> TokenRecord | None:
    """The token if it is one and was not revoked; notes that it is in use, once a minute."""
    valid = ApiToken.digest == digest_of(token), ApiToken.revoked_at.is_(None)
    row = session.scalars(select(ApiToken).where(*valid)).one_or_none()
    if row is None:
        return None
    now = func.clock_timestamp()
    unnoted = or_(ApiToken.last_used_at.is_(None), ApiToken.last_used_at < now - USED_EVERY)
    session.execute(
        update(ApiToken)
        .where(ApiToken.id == row.id, unnoted)
        .values(last_used_at=now)
        .execution_options(synchronize_session=False)
    )
    return _record(row)


def _record(row: ApiToken) -> TokenRecord:
    return TokenRecord(
        id=row.id,
        name=row.name,
        scopes=tuple(row.scopes),
        per_minute=row.per_minute,
        created_at=row.created_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
    )
