"""People who operate: who may sign in to the console, and the logins of their browsers."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Interval, delete, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from models.operations import Login, User
from models.session import database_now
from sync.actions import Actor, record_action
from sync.errors import Malformed, NotFound
from sync.passwords import hash_password

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")
IDLE = timedelta(hours=12)
LONGEST_LOGIN = timedelta(days=7)
NOTED_EVERY = timedelta(minutes=1)


class Role(StrEnum):
    """What somebody may do in the console."""

    VIEWER = "viewer"  # see everything
    OPERATOR = "operator"  # and change the schedule, replay, release


@dataclass(frozen=True, slots=True)
class UserRecord:
    """Somebody, without the password."""

    id: int
    name: str
    role: str
    created_at: datetime
    disabled_at: datetime | None

    @property
    def operates(self) -> bool:
        return self.role == Role.OPERATOR


def create_user(session: Session, name: str, *, role: Role, password: str, by: Actor) -> UserRecord:
    """Somebody new.

    Raises:
        Malformed: the name is taken (a disabled user keeps theirs) or cannot be one, or the password is too short.
    """
    if NAME.fullmatch(name) is None:
        raise Malformed("name", "is not 1 to 63 letters, digits or any of . _ @ -, beginning with a letter or digit")
    values = {"name": name, "role": role.value, "password": hash_password(password)}
    statement = insert(User).values(values).on_conflict_do_nothing(index_elements=["name"]).returning(User)
    row = session.scalars(statement).one_or_none()
    if row is None:
        raise Malformed("name", "is taken")
    record_action(session, by, "users.create", about=f"user:{row.id}", after={"role": role.value})
    return _record(row)


def set_password(session: Session, name: str, password: str, *, by: Actor) -> None:
    """A new password; every login of theirs ends.

    Raises:
        NotFound: no such user.
        Malformed: it is too short.
    """
    row = _get(session, name)
    row.password = hash_password(password)
    _end_logins(session, row)
    record_action(session, by, "users.password", about=f"user:{row.id}")


def disable_user(session: Session, name: str, *, by: Actor) -> None:
    """Nobody gets in by this name any more, and whoever is in is out at once. Once more does no harm.

    Raises:
        NotFound: no such user.
    """
    row = _get(session, name)
    if row.disabled_at is not None:
        return
    row.disabled_at = database_now(session)
    _end_logins(session, row)
    record_action(session, by, "users.disable", about=f"user:{row.id}")


def list_users(session: Session) -> list[UserRecord]:
    """Everybody who ever was one, oldest first."""
    return [_record(row) for row in session.scalars(select(User).order_by(User.id))]


def has_users(session: Session) -> bool:
    return session.scalar(select(User.id).limit(1)) is not None


def find_password(session: Session, name: str) -> tuple[UserRecord, str] | None:
    """Somebody who may sign in, and what is kept of their password."""
    row = session.scalars(select(User).where(User.name == name, User.disabled_at.is_(None))).one_or_none()
    return None if row is None else (_record(row), row.password)


def open_login(session: Session, user_id: int) -> str:
    """The secret by which one browser is known from now on; only its digest is kept."""
    secret = secrets.token_urlsafe(32)
    expires_at = database_now(session) + IDLE
    session.add(Login(digest=_digest(secret), user_id=user_id, expires_at=expires_at))
    return secret


def find_login(session: Session, secret: str) -> UserRecord | None:
    """Who has this secret, if they were here in the last ``IDLE`` and signed in less than ``LONGEST_LOGIN`` ago."""
    now = func.clock_timestamp()
    row = session.execute(
        select(User, Login)
        .join(Login, Login.user_id == User.id)
        .where(Login.digest == _digest(secret), Login.expires_at > now, User.disabled_at.is_(None))
    ).one_or_none()
    if row is None:
        return None
    user, login = row
    session.execute(
        update(Login)
        .where(Login.digest == login.digest, Login.last_used_at < now - NOTED_EVERY)
        .values(
            last_used_at=now, expires_at=func.least(now + IDLE, Login.created_at + literal(LONGEST_LOGIN, Interval))
        )
        .execution_options(synchronize_session=False)
    )
    return _record(user)


def end_login(session: Session, secret: str) -> None:
    """Sign out. Whoever is not signed in stays so."""
    session.execute(delete(Login).where(Login.digest == _digest(secret)))


def _get(session: Session, name: str) -> User:
    row = session.scalars(select(User).where(User.name == name).with_for_update()).one_or_none()
    if row is None:
        raise NotFound(f"no user {name!r}")
    return row


def _end_logins(session: Session, user: User) -> None:
    session.execute(delete(Login).where(Login.user_id == user.id))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _record(row: User) -> UserRecord:
    return UserRecord(row.id, row.name, row.role, row.created_at, row.disabled_at)
