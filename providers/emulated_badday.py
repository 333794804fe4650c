"""A bad day at a vendor: every request draws from one seed whether it is hit, and by which of the vendor's known lies.

A drawn fault is a fault like an armed one, for this request alone: it is taken where its kind is asked for, and counted
then. One that finds nothing to spoil (a duplicate of an empty page) is no hit.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

ANY = ""
CALL = r"^(?!\S+ \S*(/token|/\.well-known/))"  # what needs a token, not what gets one
READ = r"^GET (?!\S*/\.well-known/)"
WRITE = r"^(POST|PUT|PATCH|DELETE) (?!\S*(/token|/search|/batch/read|/getSchedule))"


@dataclass(frozen=True, slots=True)
class Kind:
    """A fault that passes by itself and needs no person. ``match`` is searched in ``METHOD /path?query``."""

    name: str
    weight: int = 10
    match: str = CALL
    seconds: float | None = None


COMMON = (
    Kind("latency", 30, ANY, seconds=0.7),
    Kind("rate_limited", 10, CALL, seconds=1.0),
    Kind("server_error", 15, ANY),
    Kind("unavailable", 15, ANY),
    Kind("commit_then_timeout", 20, WRITE),
    Kind("commit_then_error", 20, WRITE),
    Kind("commit_then_unavailable", 10, WRITE),
    Kind("commit_then_limited", 10, WRITE, seconds=1.0),
    Kind("error_in_ok", 10, CALL),
    Kind("empty_body", 10, CALL),
    Kind("html", 10, CALL),
    Kind("truncated", 10, CALL),
)


class Profile(BaseModel):
    """``POST /_control/bad-day``: ``share`` of the requests are hit; without ``kinds`` by all that suit a bad day."""

    model_config = ConfigDict(extra="forbid")

    seed: int
    share: float = Field(ge=0.0, le=1.0)
    kinds: list[str] | None = None


@dataclass(slots=True)
class _Drawn:
    kind: Kind
    used: bool = False


_drawn: ContextVar[_Drawn | None] = ContextVar("drawn", default=None)


@dataclass(slots=True)
class BadDay:
    """Two draws for each request, hit or not, so that one seed and one sequence of requests give the same hits."""

    known: Sequence[Kind] = COMMON
    profile: Profile | None = None
    requests: int = 0
    by_kind: Counter[str] = field(default_factory=Counter)
    _rand: random.Random = field(default_factory=random.Random)
    _kinds: Sequence[Kind] = ()

    def begin(self, profile: Profile) -> None:
        """A new day with new counts.

        Raises:
            KeyError: a kind that does not suit a bad day here.
        """
        names = [kind.name for kind in self.known]
        if unknown := [name for name in profile.kinds or () if name not in names]:
            raise KeyError(unknown[0])
        self._kinds = [kind for kind in self.known if profile.kinds is None or kind.name in profile.kinds]
        self._rand.seed(profile.seed)
        self.profile, self.requests = profile, 0
        self.by_kind.clear()

    def end(self) -> None:
        """The counts stay until the next one begins."""
        self.profile = None

    @contextmanager
    def over(self, asked: str) -> Iterator[None]:
        """Draw for the request ``asked`` (``METHOD /path?query``), and hold what was drawn ready while it is served."""
        token = _drawn.set(self._draw(asked))
        try:
            yield
        finally:
            _drawn.reset(token)

    def take(self, kinds: Sequence[str]) -> Kind | None:
        """What was drawn for the request that is being served, if it is one of ``kinds``; counted, and gone."""
        drawn = _drawn.get()
        if drawn is None or drawn.used or drawn.kind.name not in kinds:
            return None
        drawn.used = True
        self.by_kind[drawn.kind.name] += 1
        return drawn.kind

    def as_dict(self) -> dict[str, Any]:
        return {
            "profile": self.profile.model_dump() if self.profile else None,
            "requests": self.requests,
            "hits": self.by_kind.total(),
            "by_kind": dict(self.by_kind),
        }

    def _draw(self, asked: str) -> _Drawn | None:
        if self.profile is None:
            return None
        self.requests += 1
        is_hit, place = self._rand.random() < self.profile.share, self._rand.random()
        suitable = [kind for kind in self._kinds if re.search(kind.match, asked)]
        return _Drawn(_weighed(suitable, place)) if is_hit and suitable else None


def _weighed(kinds: Sequence[Kind], place: float) -> Kind:
    """The kind at ``place`` in [0, 1), each as wide as its weight."""
    left = place * sum(kind.weight for kind in kinds)
    for kind in kinds:
        left -= kind.weight
        if left < 0:
            return kind
    return kinds[-1]
