"""Which relations of a certificate make a claim fail.

A certificate lists every relation; its ``structure`` says how ``and`` and ``or`` join them. A relation that is false where another
part of its disjunction is true breaks nothing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

from bntheory.layer.relations import AllOf, AnyOf

Checked = Mapping[str, Any]  #: a relation of a certificate, as :meth:`CheckedRelation.as_json` has it
_MOST = 8  # needs that are written out of one disjunction


def structure_of(statement: Any) -> Any:
    """How a statement joins its relations: ``{"and": [...]}``, ``{"or": [...]}``, a relation as its place from left to right."""
    places = itertools.count()

    def written(part: Any) -> Any:
        if isinstance(part, (AllOf, AnyOf)):
            return {"and" if isinstance(part, AllOf) else "or": [written(p) for p in part.parts]}
        return next(places)

    return written(statement)


def needs(certificate: Mapping[str, Any]) -> list[tuple[Checked, ...]]:
    """What the claim would need and has not: of each of these at least one relation, and all of them are false.

    Of a certificate without structure, as older files have it, every relation that is false, each alone.
    """
    relations = certificate.get("relations", ())
    structure = certificate.get("structure")
    if structure is None:
        return [(r,) for r in relations if r.get("holds") is False]
    return [tuple(relations[i] for i in need) for need in _needs(structure, relations) or ()]


def failing(certificate: Mapping[str, Any]) -> list[Checked]:
    """The relations for whose sake the claim fails, each once."""
    found = {id(r): r for need in needs(certificate) for r in need}
    return list(found.values())


def _needs(part: Any, relations: Any) -> list[tuple[int, ...]] | None:
    """None where the part is not false."""
    if isinstance(part, int):
        return [(part,)] if relations[part].get("holds") is False else None
    ((word, parts),) = part.items()
    below = [_needs(p, relations) for p in parts]
    if word == "and":
        return [need for found in below if found for need in found] or None
    if None in below:
        return None
    each = [found for found in below if found]
    if math.prod(map(len, each)) > _MOST:  # one of each is needed too
        each = [found[:1] for found in each]
    return [tuple(dict.fromkeys(itertools.chain(*chosen))) for chosen in itertools.product(*each)]
