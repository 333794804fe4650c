"""The file that says who has which calendars: ``watertight agents import FILE`` (YAML or TOML, docs/agents.md)."""

from __future__ import annotations

import itertools
import tomllib
import zoneinfo
from collections.abc import Hashable
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.agents import Agent, Calendar, usual_hours
from models.session import Sessions, transaction
from providers.registry import SERVICES
from sync.domain import Role
from sync.errors import Malformed
from sync.openings import WEEKDAYS

Item = TypeVar("Item")
SHOWN_ERRORS = 5


def _known_zone(name: str) -> str:
    if name not in zoneinfo.available_timezones():
        message = f"{name!r} is not an IANA zone such as America/Chicago"
        raise ValueError(message)
    return name


def _known_provider(name: str) -> str:
    if name not in SERVICES:
        message = f"input should be one of {', '.join(map(repr, map(str, SERVICES)))}"
        raise ValueError(message)
    return name


class CalendarEntry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    provider: Annotated[str, AfterValidator(_known_provider)]
    remote: Annotated[str, StringConstraints(min_length=1, max_length=1000, strip_whitespace=True)]
    role: Role
    on_refusal: Literal["mark", "leave", "delete"] = "mark"
    shows: Literal["title", "busy"] = "title"


class BusyEntry(BaseModel):
    """What counts as busy where people differ; what is left out is as ``sync.domain.BusyPolicy`` has it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    tentative: bool | None = None
    unanswered: bool | None = None
    working_elsewhere: bool | None = None
    focus_time: bool | None = None


def _in_order(hours: list[str]) -> list[str]:
    """Each ends after it begins, and the next begins no earlier. Text of one form compares as the times do."""
    ends = [part for one in hours for part in one.split("-")]
    if any(later <= earlier for earlier, later in zip(ends[::2], ends[1::2], strict=True)):
        raise ValueError("an interval ends before it begins")
    if any(later < earlier for earlier, later in itertools.pairwise(ends)):
        raise ValueError("the intervals of a day overlap or are out of order")
    return hours


def _weekdays(hours: dict[str, list[str]]) -> dict[str, list[str]]:
    if unknown := [day for day in hours if day not in WEEKDAYS]:
        raise ValueError(f"{unknown[0]!r} is not one of {', '.join(WEEKDAYS)}")
    return hours


Hours = Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d-(([01]\d|2[0-3]):[0-5]\d|24:00)$")]
Day = Annotated[list[Hours], AfterValidator(_in_order)]


class AgentEntry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    slug: str = Field(pattern="^[a-z0-9][a-z0-9-]{0,62}$")
    name: Annotated[str, StringConstraints(max_length=200, strip_whitespace=True)] = ""
    working_hours: Annotated[dict[str, Day], AfterValidator(_weekdays)] = Field(default_factory=usual_hours)
    minimum_notice_minutes: int = Field(default=60, ge=0, le=43_200)
    booking_days: int = Field(default=30, ge=1, le=365)
    appointment_minutes: int = Field(default=30, ge=5, le=1440)
    zone: Annotated[str, AfterValidator(_known_zone)]
    buffer_before_minutes: int = Field(default=0, ge=0, le=1440)
    buffer_after_minutes: int = Field(default=0, ge=0, le=1440)
    counts_as_busy: BusyEntry = BusyEntry()
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
        feeds = [(calendar.provider, calendar.remote.lower()) for agent in self.agents for calendar in agent.calendars]
        for name in [*_repeated(slugs), *(f"{provider} {remote}" for provider, remote in _repeated(feeds))]:
            message = f"{name} appears twice"
            raise ValueError(message)
        return self


class _StrictLoader(yaml.SafeLoader):
    """YAML allows a key twice and keeps the last, so half of what was written would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in _repeated(keys):
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} appears twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)


def read_agents(file: Path) -> AgentsFile:
    """Parse the file.

    Raises:
        Malformed: it cannot be read, or a field is wrong; names the field.
    """
    raw = _parse(file)
    if not isinstance(raw, dict):
        raise Malformed("agents", f"{file} has no such key; see docs/agents.md")
    try:
        return AgentsFile.model_validate(raw)
    except ValidationError as error:
        wrong = [(".".join(map(str, item["loc"])) or "agents", item["msg"]) for item in error.errors()]
        (field, reason), *others = [(field, reason.removeprefix("Value error, ")) for field, reason in wrong]
        more = [f"{field}: {reason}" for field, reason in others[: SHOWN_ERRORS - 1]]
        raise Malformed(field, "; ".join([reason, *more])) from None


def _parse(file: Path) -> object:
    try:
        content = file.read_text(encoding="utf-8")
        if file.suffix.lower() == ".toml":
            return tomllib.loads(content)
        return yaml.load(content, _StrictLoader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise Malformed(str(file), f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Malformed(str(file), "is not UTF-8 text") from None
    except (tomllib.TOMLDecodeError, yaml.YAMLError) as error:
        kind = "TOML" if isinstance(error, tomllib.TOMLDecodeError) else "YAML"
        cause = " ".join(str(error).replace('in "<unicode string>", ', "").split())
        raise Malformed(str(file), f"is not {kind}: {cause}") from None


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
    agent.name, agent.zone, agent.working_hours = entry.name, entry.zone, dict(entry.working_hours)
    agent.minimum_notice_minutes, agent.booking_days = entry.minimum_notice_minutes, entry.booking_days
    agent.appointment_minutes = entry.appointment_minutes
    agent.buffer_before_minutes, agent.buffer_after_minutes = entry.buffer_before_minutes, entry.buffer_after_minutes
    agent.counts_as_busy = entry.counts_as_busy.model_dump(exclude_none=True)
    session.flush()
    for calendar in entry.calendars:
        _store_calendar(session, agent, calendar)
    return is_new


def _store_calendar(session: Session, agent: Agent, entry: CalendarEntry) -> None:
    row = session.scalars(
        select(Calendar).where(Calendar.provider == entry.provider, func.lower(Calendar.remote) == entry.remote.lower())
    ).one_or_none()
    where = f"agents.{agent.slug}.calendars.{entry.provider} {entry.remote}"
    if row is None:
        if entry.role is Role.MASTER and _has_master(session, agent):
            raise Malformed(where, f"{agent.slug} has another master already")
        row = Calendar(agent_id=agent.id, provider=entry.provider, remote=entry.remote, role=entry.role.value)
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
