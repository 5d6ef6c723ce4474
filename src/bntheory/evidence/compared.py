"""Checks written as they are read: what is compared and how exactly, then the two sides, ``exact("area", "r = 1").le(a,
b)``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bntheory.evidence.checks import Check, Exactness


@dataclass(frozen=True)
class Compared:
    """A :class:`~bntheory.evidence.checks.Check` without its sides, which are given as anything that ``float``
    takes."""

    name: str
    exactness: Exactness
    scope: str
    rest: Mapping[str, Any]

    def le(self, left: Any, right: Any) -> Check:
        """left <= right."""
        return Check(self.name, float(left), "le", float(right), self.exactness, self.scope, **self.rest)

    def lt(self, left: Any, right: Any) -> Check:
        """left < right."""
        return Check(self.name, float(left), "lt", float(right), self.exactness, self.scope, **self.rest)

    def eq(self, left: Any, right: Any) -> Check:
        """left == right."""
        return Check(self.name, float(left), "eq", float(right), self.exactness, self.scope, **self.rest)


def proof(name: str, scope: str, **rest: Any) -> Compared:
    """Sides that hold on the whole scope of the claim. rest: as of :class:`~bntheory.evidence.checks.Check`, here and
    below."""
    return Compared(name, "proof", scope, rest)


def exact(name: str, scope: str, **rest: Any) -> Compared:
    """Sides in rational or ball arithmetic, at one point."""
    return Compared(name, "exact", scope, rest)


def numerical(name: str, scope: str, **rest: Any) -> Compared:
    """Sides in floating point."""
    return Compared(name, "numerical", scope, rest)


def statistical(name: str, scope: str, **rest: Any) -> Compared:
    """Sides of which one is an estimate."""
    return Compared(name, "statistical", scope, rest)
