"""The file that says how the submissions of one form are read, as its author writes it (docs/providers/forms.md)."""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Final, Literal, Self

import jmespath
import yaml
from jmespath.exceptions import ArityError, JMESPathError, UnknownFunctionError
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from providers.webform.moments import find_clock
from sync.errors import Malformed

LONGEST_MINUTES: Final = 31 * 24 * 60
LONGEST_WAIT_SECONDS: Final = 10  # as long as the most patient form tools
SLUG: Final = "^[a-z0-9][a-z0-9-]{0,62}$"

_DATE_FORMATS: Final = ({"Y", "m", "d"}, {"Y", "b", "d"}, {"Y", "B", "d"})
_CLOCK_FORMATS: Final = ({"H", "M"}, {"H", "M", "S"}, {"I", "M", "p"}, {"I", "M", "S", "p"})
_TITLE_WORDS: Final = {"name", "email", "form"}
_SIGNED_WORDS: Final = {"method", "url", "body", "timestamp"}


def placeholders(text: str) -> list[str]:
    """The names in ``{}``, in their order.

    Raises:
        ValueError: a brace too many, or more than a name between two.
    """
    parts = [part for part in Formatter().parse(text) if part[1] is not None]
    for _, name, spec, conversion in parts:
        if not str(name).isidentifier() or spec or conversion:
            raise ValueError("has more than a plain name between { and }")
    return [str(name) for _, name, _, _ in parts]


def _a_path(text: str) -> str:
    try:
        jmespath.compile(text).search(None)
    except (UnknownFunctionError, ArityError) as error:
        raise ValueError(f"is not a JMESPath expression: {error}") from None
    except JMESPathError as error:
        # The trial on nothing may fail where a real submission would not: only what can never work is refused.
        if not hasattr(error, "function_name"):
            raise ValueError(f"is not a JMESPath expression: {str(error).splitlines()[0]}") from None
    return text


def _directives(text: str) -> list[str]:
    return re.findall("%(.?)", text)


def _a_date_format(text: str) -> str:
    if not any(sorted(_directives(text)) == sorted(known) for known in _DATE_FORMATS):
        raise ValueError("must have %Y, %d and one of %m, %b, %B, once each, and nothing else")
    return text


def _a_clock_format(text: str) -> str:
    if not any(sorted(_directives(text)) == sorted(known) for known in _CLOCK_FORMATS):
        raise ValueError("must have %H and %M, or %I, %M and %p, once each, and may have %S")
    return text


def _a_time_format(text: str) -> str:
    whole = (sorted([*date, *clock]) for date in _DATE_FORMATS for clock in _CLOCK_FORMATS)
    if text != "epoch_ms" and sorted(_directives(text)) not in whole:
        raise ValueError("must be epoch_ms, or have what a date and a time of day need, once each")
    return text


def _a_zone(text: str) -> str:
    try:
        find_clock(text, field="zone")
    except Malformed:
        raise ValueError("is neither a known zone nor an offset") from None
    return text


def _in(name: str) -> BeforeValidator:
    """What is written without a name of its own stands for the part's main field."""
    return BeforeValidator(lambda value: value if isinstance(value, dict) else {name: value})


JmesPath = Annotated[str, AfterValidator(_a_path)]
Header = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
DateFormat = Annotated[str, AfterValidator(_a_date_format)]
ClockFormat = Annotated[str, AfterValidator(_a_clock_format)]
TimeFormat = Annotated[str, AfterValidator(_a_time_format)]
ZoneName = Annotated[str, AfterValidator(_a_zone)]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def _exactly_one_of(self, *names: str) -> None:
        if sum(bool(getattr(self, name)) for name in names) != 1:
            raise ValueError(f"needs exactly one of {', '.join(names)}")


class When(Part):
    """``at`` is a whole time; or ``date`` and ``clock`` are its two halves."""

    at: JmesPath | None = None
    format: TimeFormat | None = None
    date: JmesPath | None = None
    date_format: DateFormat | None = None
    clock: JmesPath | None = None
    clock_format: ClockFormat | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        halves = {self.date is not None, self.clock is not None}
        if (self.at is not None) in halves or len(halves) != 1:
            raise ValueError("needs either at, or date and clock")
        if self.at is None and self.format is not None:
            raise ValueError("has format without at; the halves have date_format and clock_format")
        if self.at is not None and (self.date_format or self.clock_format):
            raise ValueError("has date_format or clock_format with at, which has format")
        return self


class Whose(Part):
    """``slug`` is fixed. Else the answer at ``path`` is a slug, or one of ``names``."""

    slug: Annotated[str, Field(pattern=SLUG)] | None = None
    path: JmesPath | None = None
    names: dict[str, Annotated[str, Field(pattern=SLUG)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        self._exactly_one_of("slug", "path")
        if self.slug and self.names:
            raise ValueError("has names without path")
        return self


class Zone(Part):
    fixed: ZoneName | None = None
    path: JmesPath | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        self._exactly_one_of("fixed", "path")
        return self


class Minutes(Part):
    fixed: int | None = Field(default=None, ge=1, le=LONGEST_MINUTES)
    path: JmesPath | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        self._exactly_one_of("fixed", "path")
        return self


class Secret(Part):
    """Where the secret is, never the secret: mapping files are read and copied by many."""

    secret_env: Annotated[str, Field(pattern="^[A-Z][A-Z0-9_]{0,99}$")] | None = None
    secret_file: Annotated[str, Field(min_length=1, max_length=1000)] | None = None

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        self._exactly_one_of("secret_env", "secret_file")
        return self


class Timestamp(Part):
    header: Header
    unit: Literal["s", "ms"] = "s"
    window_seconds: int = Field(default=300, ge=1, le=86_400)


class Signature(Secret):
    """HMAC-SHA256 over ``signed``, in a header, after ``prefix``."""

    header: Header
    encoding: Literal["hex", "base64"]
    prefix: str = ""
    signed: str = "{body}"
    timestamp: Timestamp | None = None

    @model_validator(mode="after")
    def _signs_what_counts(self) -> Self:
        names = placeholders(self.signed)
        if unknown := sorted({*names} - _SIGNED_WORDS):
            raise ValueError(f"signed names {', '.join(unknown)}; known are {', '.join(sorted(_SIGNED_WORDS))}")
        if names.count("body") != 1 or self.signed.count("{body}") != 1:
            raise ValueError("signed must have {body} once, or anybody could change what is not signed")
        if ("timestamp" in names) != (self.timestamp is not None):
            raise ValueError("has a timestamp that is not signed, or signs one that no header gives")
        return self


class Token(Secret):
    """The secret itself comes along, for tools that sign nothing."""

    header: Header | None = None
    query: Annotated[str, Field(pattern="^[A-Za-z0-9_-]{1,50}$")] | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        self._exactly_one_of("header", "query")
        return self


class FormMapping(Part):
    """How one form is read."""

    content: Literal["json", "form"] = "json"
    json_fields: Annotated[tuple[str, ...], Field(strict=False)] = ()
    signature: Signature | None = None
    token: Token | None = None
    open: bool = False
    agent: Annotated[Whose, _in("slug")]
    zone: Annotated[Zone, _in("fixed")] | None = None
    start: Annotated[When, _in("at")]
    end: Annotated[When, _in("at")] | None = None
    minutes: Annotated[Minutes, _in("fixed")] | None = None
    title: Annotated[str, Field(min_length=1, max_length=300)]
    fields: dict[str, JmesPath] = Field(default_factory=dict)
    name: JmesPath | None = None
    email: JmesPath | None = None
    id: JmesPath
    redirect: Annotated[str, Field(pattern=r"^(https?://[!-~]+|/([!-.0-~][!-~]*)?)$", max_length=2000)] | None = None
    wait: Annotated[float, Field(ge=0, le=LONGEST_WAIT_SECONDS, allow_inf_nan=False)] = 0

    @model_validator(mode="after")
    def _complete(self) -> Self:
        self._exactly_one_of("signature", "token", "open")
        self._exactly_one_of("end", "minutes")
        if self.json_fields and self.content == "json":
            raise ValueError("json_fields are for content: form; JSON needs no unpacking")
        if unknown := sorted({*placeholders(self.title)} - _TITLE_WORDS - self.fields.keys()):
            raise ValueError(f"title names {', '.join(unknown)}; known are form, name, email and what fields lists")
        return self


class _StrictLoader(yaml.SafeLoader):
    """YAML allows a key twice and keeps the last, so half of what was written would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if len(keys) != len({str(key) for key in keys}):
            line = node.start_mark.line + 1
            raise yaml.constructor.ConstructorError(None, None, f"a key twice in the part at line {line}")
        return super().construct_mapping(node, deep=deep)


def read_mapping(file: Path) -> FormMapping:
    """The mapping in ``file``.

    Raises:
        Malformed: it cannot be read; names the file and the first field that is wrong.
    """
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), _StrictLoader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise Malformed(file.name, f"cannot be opened ({error.strerror})") from None
    except (yaml.YAMLError, ValueError) as error:
        raise Malformed(file.name, f"is not YAML ({' '.join(str(error).split())})") from None
    try:
        return FormMapping.model_validate(content)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(step) for step in wrong["loc"])
        reason = wrong["msg"].removeprefix("Value error, ")
        raise Malformed(": ".join(part for part in (file.name, place) if part), reason) from None
