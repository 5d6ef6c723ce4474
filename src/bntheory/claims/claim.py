"""What a claim is, and the registry of all claims.

A claim is data and one function. The data: a permanent id, where it was printed, the statement as printed (LaTeX), the
domain on which it is asserted. The function states it over a vocabulary and decides nothing: for ``kind="layer"`` it
receives a layer (:mod:`bntheory.layer.vocabulary`) and returns relations; for the other kinds it receives a
:class:`Study` and returns the :class:`~bntheory.evidence.checks.Check` s that it made, from which a judge computes the
verdict.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from bntheory.errors import UserError
from bntheory.evidence.checks import Check
from bntheory.evidence.study import Effort, Study
from bntheory.layer.domain import LayerDomain
from bntheory.layer.relations import Statement

__all__ = ["Claim", "Effort", "Kind", "Registry", "Source", "Study", "claim", "collecting", "readings", "registry"]

Kind = Literal["layer", "landscape", "dynamics", "network", "experiment"]
Seen = Literal["seen", "second hand", "recalled", "own"]

_ID = re.compile(r"[a-z][a-z0-9]*(\.[a-z0-9][a-z0-9-]*(\.[0-9]+)?)+")


@dataclass(frozen=True)
class Source:
    """Where a claim was printed.

    key: the source's key in ``papers/references.bib``. place: theorem, section or figure. version: which printing.
    seen: whether the statement was read in the source itself, in somebody's transcription, or is recalled. printed:
    whether the source prints the statement in these words or symbols; a reading or a threshold of ours is not printed,
    and is shown "as read here".
    """

    key: str
    place: str
    version: str = ""
    seen: Seen = "seen"
    printed: bool = True

    def __str__(self) -> str:
        return ", ".join(part for part in (self.key, self.place, self.version) if part)

    def as_json(self) -> dict[str, str]:
        """The stable object of ``--json``."""
        return {"key": self.key, "place": self.place, "version": self.version, "seen": self.seen}


@dataclass(frozen=True)
class Claim:
    """One claim, written once.

    check: the function that states it. assume: for layer claims, a function ``layer -> relations`` with further
    hypotheses. reading: how an ambiguous print was read. repairs: the id of the printed claim that this one puts right.
    note: what a reader should know. candidates: layers (the ``layer`` block of a witness file) that somebody believes
    to be counterexamples; the judges try them first and believe nothing.
    """

    id: str
    kind: Kind
    source: Source
    statement: str
    check: Callable[[Any], Any]
    domain: LayerDomain | None = None
    assume: Callable[[Any], Any] | None = None
    reading: str = ""
    repairs: str | None = None
    note: str = ""
    candidates: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        self._check_types()
        if not _ID.fullmatch(self.id):
            raise ValueError(
                f"claim id {self.id!r}: an id is lower-case words joined by dots, the source's key first, as in "
                "'santurkar2018.theorem-4.1.arxiv'"
            )
        if self.kind not in get_args(Kind):
            raise ValueError(f"claim {self.id}: kind {self.kind!r} is not one of {', '.join(get_args(Kind))}")
        if self.kind == "layer" and self.domain is None:
            object.__setattr__(self, "domain", LayerDomain())
        if self.kind != "layer" and (self.domain is not None or self.assume is not None):
            raise ValueError(
                f"claim {self.id}: domain and assume belong to layer claims; this one is of kind {self.kind!r}"
            )

    def _check_types(self) -> None:
        """What is plainly no claim, in words of the person who wrote it."""
        said = f"claim {self.id!r:.60}"
        for name in ("id", "statement", "reading", "note"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{said}: {name} is {_shown(getattr(self, name))}; it is a text")
        if not isinstance(self.source, Source):
            raise ValueError(f"{said}: source is {_shown(self.source)}; write Source('author2018', 'Theorem 4.1')")
        if self.domain is not None and not isinstance(self.domain, LayerDomain):
            raise ValueError(f"{said}: domain is {_shown(self.domain)}; write LayerDomain(eps='zero', min_m=3)")
        if self.assume is not None and not callable(self.assume):
            raise ValueError(
                f"{said}: assume is {_shown(self.assume)}; it is a function of the layer that returns relations: "
                "assume=lambda layer: [gt(layer.gamma, 0)]"
            )
        for name, function in (("its function", self.check), ("assume", self.assume)):
            wrong = "" if function is None else _wrong_parameters(function)
            if wrong:
                raise ValueError(
                    f"{said}: {name} {wrong}; it takes the layer and nothing else. A further vector u is free: "
                    "LayerDomain(vectors=('u',)) and layer.vector('u')"
                )

    @property
    def key(self) -> str:
        """The source's key."""
        return self.source.key


def _shown(x: Any) -> str:
    return f"{x!r:.60}, a {type(x).__name__}"


def _wrong_parameters(function: Any) -> str:
    """Why a function cannot be called with one argument, "" where it can."""
    if not callable(function):
        return f"is {_shown(function)}, no function"
    if inspect.iscoroutinefunction(function):
        return "is declared with async"
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a builtin says nothing of itself
        return ""
    try:
        signature.bind(None)
    except TypeError:
        return f"has the parameters {signature}"
    return ""


@dataclass
class Registry:
    """Claims by id, in the order of their definition.

    lenient: a claim that cannot be added is kept in ``rejected``, with the reason, instead of raising: how a user's
    file is read to its end.
    """

    _claims: dict[str, Claim] = field(default_factory=dict)
    lenient: bool = False
    rejected: list[tuple[Callable[[Any], Any], str]] = field(default_factory=list)

    def add(self, new: Claim) -> None:
        """Add a claim; its id must be new, unless it was typed in this session and is typed again."""
        typed_again = new.id in self._claims and all(
            getattr(c.check, "__module__", "") == "__main__" for c in (self._claims[new.id], new)
        )
        if new.id in self._claims and not typed_again:
            old = self._claims[new.id].check
            raise ValueError(
                f"claim id {new.id!r} is taken (by {old.__module__}.{old.__qualname__}); ids are permanent and unique: choose another"
            )
        self._claims[new.id] = new

    def __getitem__(self, claim_id: str) -> Claim:
        try:
            return self._claims[claim_id]
        except KeyError:
            from difflib import get_close_matches

            near = get_close_matches(claim_id, self._claims, n=3)
            hint = f"; did you mean {' or '.join(near)}?" if near else "; `bntheory claims` lists them"
            raise UserError(f"no claim has the id {claim_id!r}{hint}") from None

    def __contains__(self, claim_id: object) -> bool:
        return claim_id in self._claims

    def __iter__(self) -> Iterator[Claim]:
        return iter(self._claims.values())

    def __len__(self) -> int:
        return len(self._claims)

    def select(self, *, key: str | None = None, kind: str | None = None) -> tuple[Claim, ...]:
        """The claims of one source, of one kind, or both."""
        return tuple(c for c in self if (key is None or c.key == key) and (kind is None or c.kind == kind))

    def sources(self) -> tuple[str, ...]:
        """The sources' keys, in order of first appearance."""
        return tuple(dict.fromkeys(c.key for c in self))


_PRINTED = Registry()
_collecting: list[Registry] = []


def registry() -> Registry:
    """The claims of the literature, all of :mod:`bntheory.claims.sources` loaded."""
    from bntheory.claims.sources import load_all

    load_all()
    return _PRINTED


@contextmanager
def collecting(into: Registry) -> Iterator[Registry]:
    """Within this block ``@claim`` adds to ``into``: how a user's file is read without touching the printed claims."""
    _collecting.append(into)
    try:
        yield into
    finally:
        _collecting.pop()


def claim(
    id: str,
    *,
    statement: str | None = None,
    source: Source | None = None,
    kind: Kind = "layer",
    domain: LayerDomain | None = None,
    assume: Callable[[Any], Statement | Iterable[Statement]] | None = None,
    reading: str = "",
    repairs: str | None = None,
    note: str = "",
    candidates: tuple[Mapping[str, Any], ...] = (),
) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Register the decorated function as a claim and give the function back unchanged.

    Raises ValueError where the id is malformed or taken, and where a part has the wrong type.
    """
    if callable(id):
        raise TypeError("@claim is called with an id: @claim('mine.my-claim', statement='...')")
    if statement is None:
        raise TypeError(f"claim {id!r:.60} has no statement; give what is claimed in words or LaTeX: statement='...'")

    def register(function: Callable[[Any], Statement | Iterable[Statement] | Check | Iterable[Check]]) -> Any:
        # a user's file may be the first to import a module of the literature
        printed = str(getattr(function, "__module__", "")).startswith("bntheory.claims.sources.")
        target = _collecting[-1] if _collecting and not printed else _PRINTED
        try:
            new = Claim(
                id=id,
                kind=kind,
                source=Source(str(id).split(".")[0], "", seen="own") if source is None else source,
                statement=statement,
                check=function,
                domain=domain,
                assume=assume,
                reading=reading,
                repairs=repairs,
                note=note,
                candidates=candidates,
            )
            target.add(new)
        except ValueError as error:
            if not target.lenient:
                raise
            target.rejected.append((function, str(error)))
        return function

    return register


def readings(
    *claims: Callable[[Callable[[Any], Any]], Callable[[Any], Any]],
) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Register the decorated function under several claims, ``readings(claim(...), claim(...))``: one statement on
    several domains."""

    def register(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        for one in claims:
            one(function)
        return function

    return register
