"""The declarative base: UTC-only instants, named constraints, intervals as ranges."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, DateTime, MetaData, any_, bindparam
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute
from sqlalchemy.types import TypeDecorator

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
    "ex": "ex_%(table_name)s_%(constraint_name)s",
}


class UtcDateTime(TypeDecorator[datetime]):
    """``timestamptz`` that refuses naive values and hands out UTC, whatever the session's zone (P8).

    Raises:
        TypeError: a value without offset.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is not None and value.utcoffset() is None:
            message = f"naive datetime {value!r}: every instant needs its offset"
            raise TypeError(message)
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return value if value is None or value.tzinfo is UTC else value.astimezone(UTC)


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map = {datetime: UtcDateTime, dict[str, Any]: JSONB, list[dict[str, Any]]: JSONB}  # noqa: RUF012 - SQLAlchemy's API


def is_among(column: InstrumentedAttribute[Any], values: Collection[Any]) -> ColumnElement[bool]:
    """Whether the column holds one of ``values``, sent as one array: a list has as many parameters, and 65,535 at the most."""
    return column == any_(bindparam(None, list(values), ARRAY(column.type)))


def is_among_the(column: InstrumentedAttribute[Any], name: str) -> ColumnElement[bool]:
    """``is_among`` for a statement that is built before its values are known: they are the parameter ``name``, a list."""
    return column == any_(bindparam(name, type_=ARRAY(column.type)))
