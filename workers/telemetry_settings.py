"""Settings of what others see of us: metrics, traces, errors, Flower."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings

from workers.credential_settings import Empty


def _users(value: SecretStr | None) -> SecretStr | None:
    for user in value.get_secret_value().split(",") if value is not None else ():
        name, colon, password = user.partition(":")
        if not (name and colon and password and user.isascii() and user == user.strip()):
            raise ValueError("is not name:password, or several with commas between them (ASCII, no spaces around)")
    return value


def _web(value: str) -> str:
    if value and not value.startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://")
    return value.rstrip("/")


def _dsn(value: SecretStr | None) -> SecretStr | None:
    if value is not None and not value.get_secret_value().startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://")
    return value


class TelemetrySettings(BaseSettings):
    """Everything here is off, or on this machine alone, until somebody sets it."""

    metrics_port: int = Field(
        default=0, ge=0, le=65535, description="where a worker serves its own metrics; 0: the web process shows them"
    )
    metrics_host: str = Field(default="127.0.0.1", description="on which address a worker serves them")
    otlp_endpoint: Annotated[str, AfterValidator(_web)] = Field(
        default="", description="where traces are sent by OTLP over HTTP, without /v1/traces"
    )
    sentry_dsn: Annotated[SecretStr | None, AfterValidator(_dsn), Empty] = None
    flower_address: str = Field(default="127.0.0.1", description="on which address Flower listens")
    flower_users: Annotated[SecretStr | None, AfterValidator(_users), Empty] = Field(
        default=None, description="name:password,…: who may see Flower"
    )
