"""A submission at the edge: what a form tool posts in, a frozen value out, read as the form's mapping file says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final

import jmespath
from jmespath.exceptions import JMESPathError

from providers.webform.mapping import LONGEST_MINUTES, SLUG, FormMapping, When
from providers.webform.moments import find_clock, parse_halves, parse_whole, to_instant
from sync.domain import Attendee, Interval, is_storable
from sync.errors import Malformed

LONGEST_KEY: Final = 200
LONGEST_TITLE: Final = 300
LONGEST_NAME: Final = 200
LONGEST_EMAIL: Final = 320

_SLUG: Final = re.compile(SLUG)
_KEY: Final = re.compile(r"[!-~]{1,200}")
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+")
_MINUTES: Final = re.compile(r"\d{1,5}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Submission:
    """What somebody asked for. ``key`` is the tool's own id of it: the same again is the same wish (P5)."""

    form: str
    key: str
    agent: str
    interval: Interval
    title: str
    attendees: tuple[Attendee, ...]


def parse_submission(form: str, mapping: FormMapping, data: object) -> Submission:
    """What ``data`` says, read with ``mapping``.

    Raises:
        Malformed: names the field of the mapping whose answer is missing or wrong.
    """
    answers = _Answers(data)
    return Submission(
        form=form,
        key=_key(mapping, answers),
        agent=_agent(mapping, answers),
        interval=_interval(mapping, answers),
        title=_title(form, mapping, answers),
        attendees=_attendees(mapping, answers),
    )


@dataclass(frozen=True, slots=True)
class _Answers:
    data: object

    def find(self, path: str, *, field: str) -> Any:  # noqa: ANN401 - whatever JSON can hold
        try:
            return jmespath.search(path, self.data)
        except (JMESPathError, TypeError, ValueError, ArithmeticError, AttributeError, LookupError, RecursionError):
            # A function was handed what it cannot take: an answer is missing, or is of another kind. Its own error says
            # so only of arguments, not of what a list holds: max_by compares a text with a number and fails.
            raise Malformed(field, "is missing, or not of the kind that its path expects") from None

    def text(self, path: str, *, field: str) -> str:
        """One line of text, or a whole number as text; empty if it is not there."""
        value = self.find(path, field=field)
        if value is None:
            return ""
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise Malformed(field, "is not text")
        text = " ".join(str(value).split())
        if not is_storable(text):
            raise Malformed(field, "contains characters that no database stores (NUL or half of a pair)")
        return text

    def needed(self, path: str, *, field: str) -> str:
        text = self.text(path, field=field)
        if not text:
            raise Malformed(field, "is missing")
        return text


def _key(mapping: FormMapping, answers: _Answers) -> str:
    key = answers.needed(mapping.id, field="id")
    if not _KEY.fullmatch(key):
        raise Malformed("id", f"is not {LONGEST_KEY} or fewer printable ASCII characters without a blank")
    return key


def _agent(mapping: FormMapping, answers: _Answers) -> str:
    whose = mapping.agent
    if whose.path is None:
        return whose.slug or ""
    said = answers.needed(whose.path, field="agent")
    if whose.names and said not in whose.names:
        raise Malformed("agent", "is none of the names in the mapping")
    slug = whose.names.get(said, said)
    if not _SLUG.fullmatch(slug):
        raise Malformed("agent", "is not an agent's slug")
    return slug


def _interval(mapping: FormMapping, answers: _Answers) -> Interval:
    start = _instant(mapping, mapping.start, answers, field="start")
    if mapping.end is not None:
        end = _instant(mapping, mapping.end, answers, field="end")
        if end - start > timedelta(minutes=LONGEST_MINUTES):
            raise Malformed("end", "is more than 31 days after start")
        return Interval(start, end)
    return Interval(start, start + _duration(mapping, answers))


def _duration(mapping: FormMapping, answers: _Answers) -> timedelta:
    minutes = mapping.minutes
    if minutes is None or minutes.path is None:
        return timedelta(minutes=(minutes and minutes.fixed) or 0)
    text = answers.needed(minutes.path, field="minutes")
    if not _MINUTES.fullmatch(text) or not 1 <= int(text) <= LONGEST_MINUTES:
        raise Malformed("minutes", f"is not a whole number from 1 to {LONGEST_MINUTES}")
    return timedelta(minutes=int(text))


def _instant(mapping: FormMapping, when: When, answers: _Answers, *, field: str) -> datetime:
    moment = _moment(when, answers, field=field)
    if moment.tzinfo is not None:
        return moment
    zone = _zone(mapping, answers)
    if zone is None:
        raise Malformed(field, "has neither zone nor offset")
    return to_instant(moment, zone, field=field)


def _moment(when: When, answers: _Answers, *, field: str) -> datetime:
    if when.at is not None:
        return parse_whole(answers.find(when.at, field=field), when.format, field=field)
    day = answers.needed(when.date or "", field=f"{field}.date")
    clock = answers.needed(when.clock or "", field=f"{field}.clock")
    return parse_halves(day, clock, forms=(when.date_format, when.clock_format), field=field)


def _zone(mapping: FormMapping, answers: _Answers) -> tzinfo | None:
    """The zone that the mapping or the submission names. One that should be there and is not is never guessed."""
    if mapping.zone is None:
        return None
    path = mapping.zone.path
    name = answers.needed(path, field="zone") if path is not None else mapping.zone.fixed or ""
    return find_clock(name, field="zone")


def _title(form: str, mapping: FormMapping, answers: _Answers) -> str:
    words = {"form": form, "name": "", "email": ""}
    paths = {name: path for name, path in (("name", mapping.name), ("email", mapping.email)) if path is not None}
    for name, path in (mapping.fields | paths).items():
        words[name] = answers.text(path, field=name)
    title = " ".join(mapping.title.format_map(words).split())
    if not title:
        raise Malformed("title", "is empty")
    return title if len(title) <= LONGEST_TITLE else f"{title[: LONGEST_TITLE - 1]}…"


def _attendees(mapping: FormMapping, answers: _Answers) -> tuple[Attendee, ...]:
    if mapping.email is None:
        return ()
    email = answers.needed(mapping.email, field="email")
    if not _EMAIL.fullmatch(email) or len(email) > LONGEST_EMAIL:
        raise Malformed("email", "is not an e-mail address")
    name = answers.text(mapping.name, field="name") if mapping.name is not None else ""
    if len(name) > LONGEST_NAME:
        raise Malformed("name", f"is longer than {LONGEST_NAME} characters")
    return (Attendee(name, email),)
