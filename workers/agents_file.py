"""The file that says who has which calendars: ``watertight agents import FILE`` (YAML or TOML, docs/agents.md)."""

from __future__ import annotations

import tomllib
import zoneinfo
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.agents import Agent, Calendar
from models.session import Sessions, transaction
from providers.registry import Provider
from sync.domain import Role
from sync.errors import Malformed

Item = TypeVar("Item")


def _known_zone(name: str) -> str:
    if name not in zoneinfo.available_timezones():
        message = f"{name!r} is not an IANA zone such as America/Chicago"
        raise ValueError(message)
    return name


class CalendarEntry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    provider: Provider
    remote: str = Field(min_length=1)
    role: Role
    on_refusal: Literal["mark", "leave", "delete"] = "mark"
    shows: Literal["title", "busy"] = "title"


class AgentEntry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    slug: str = Field(pattern="^[a-z0-9][a-z0-9-]{0,62}$")
    zone: Annotated[str, AfterValidator(_known_zone)]
    buffer_before_minutes: int = Field(default=0, ge=0, le=1440)
    buffer_after_minutes: int = Field(default=0, ge=0, le=1440)
    calendars: list[CalendarEntry] = Field(min_length=1)

    @model_validator(mode="after")
    def _one_master(self) -> Self:
        masters = sum(1 for calendar in self.calendars if calendar.role is Role.MASTER)
        if masters != 1:
            message = f"{self.slug} has {masters} master calendars; an agent has exactly one"
            raise ValueError(message)
        return self


class AgentsFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    agents: list[AgentEntry]

    @model_validator(mode="after")
    def _everything_once(self) -> Self:
        slugs = [agent.slug for agent in self.agents]
        feeds = [(calendar.provider, calendar.remote) for agent in self.agents for calendar in agent.calendars]
        for name in [*_repeated(slugs), *(f"{provider} {remote}" for provider, remote in _repeated(feeds))]:
            message = f"{name} appears twice"
            raise ValueError(message)
        return self


def read_agents(file: Path) -> AgentsFile:
    """Parse the file.

    Raises:
        Malformed: it cannot be read, or a field is wrong; names the field.
    """
    try:
        content = file.read_text(encoding="utf-8")
        raw: Any = tomllib.loads(content) if file.suffix == ".toml" else yaml.safe_load(content)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, yaml.YAMLError) as error:
        raise Malformed(str(file), " ".join(str(error).split())) from None
    try:
        return AgentsFile.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "agents"
        raise Malformed(where, first["msg"].removeprefix("Value error, ")) from None


def store_agents(sessions: Sessions, entries: AgentsFile) -> tuple[int, int]:
    """Add what is new and update what may change, all or nothing; (added, updated) agents.

    Raises:
        Malformed: a calendar would change its role or its agent, which its appointments do not survive.
    """
    with transaction(sessions) as session:
        added = sum(_store_agent(session, entry) for entry in entries.agents)
    return added, len(entries.agents) - added


def _store_agent(session: Session, entry: AgentEntry) -> bool:
    agent = session.scalars(select(Agent).where(Agent.slug == entry.slug)).one_or_none()
    is_new = agent is None
    if agent is None:
        agent = Agent(slug=entry.slug)
        session.add(agent)
    agent.zone = entry.zone
    agent.buffer_before_minutes, agent.buffer_after_minutes = entry.buffer_before_minutes, entry.buffer_after_minutes
    session.flush()
    for calendar in entry.calendars:
        _store_calendar(session, agent, calendar)
    return is_new


def _store_calendar(session: Session, agent: Agent, entry: CalendarEntry) -> None:
    row = session.scalars(
        select(Calendar).where(Calendar.provider == entry.provider.value, Calendar.remote == entry.remote)
    ).one_or_none()
    where = f"agents.{agent.slug}.calendars.{entry.provider} {entry.remote}"
    if row is None:
        if entry.role is Role.MASTER and _has_master(session, agent):
            raise Malformed(where, f"{agent.slug} has another master already")
        row = Calendar(agent_id=agent.id, provider=entry.provider.value, remote=entry.remote, role=entry.role.value)
        session.add(row)
    if row.agent_id != agent.id:
        raise Malformed(where, "belongs to another agent already")
    if row.role != entry.role.value:
        raise Malformed(where, f"is a {row.role} already; a role never changes")
    row.on_refusal, row.shows = entry.on_refusal, entry.shows
    session.flush()


def _has_master(session: Session, agent: Agent) -> bool:
    query = select(Calendar.id).where(Calendar.agent_id == agent.id, Calendar.role == Role.MASTER.value)
    return session.scalar(query) is not None


def _repeated(items: list[Item]) -> list[Item]:
    return [item for position, item in enumerate(items) if item in items[:position]]
