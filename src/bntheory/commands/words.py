"""``words``: the vocabulary in which claims are written."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import typer

from bntheory.commands.common import clear_errors, wrapped
from bntheory.commands.options import Json
from bntheory.report.strict_json import json_text

_SIGNS = """
+ - * /        between scalars; vectors add, subtract and scale
**             whole powers and, in a file, halves: x**0.5 is sqrt(x)
<= < >= > ==   between scalars; == and != between vectors, or a vector and 0;
               in a file: le lt ge gt eq
and or not     between relations; in a file: all_of any_of negate, and
               implies(hypothesis, conclusion)
0.1            one tenth: numbers are exact
"""
_FREE = """
--scalar a:positive   scalar a; in a file:
                      LayerDomain(scalars={"a": "positive"})
                      and layer.scalar("a")
--vector u            vector u; in a file:
                      LayerDomain(vectors=("u",)) and layer.vector("u")
--vector e@case       one example's basis vector: dot(y, e@case) is an entry
--operator K:psd      K(v); in a file:
                      LayerDomain(operators={"K": "psd"})
                      and layer.operator("K")(v)
"""


@clear_errors
def words(as_json: Json = False) -> None:
    """The words that a claim may use, what they mean, and what to write in place of words that are none.

    In a file of claims gamma is layer.gamma and norm2(v) is layer.norm2(v); sqrt, batch_mean, centre and standardise are imported from
    bntheory, and the last three take the layer first: centre(layer, v).

    Examples:
      bntheory words
      bntheory words --json
    """
    from bntheory.layer.words import NEAREST, SECOND, UNIT_B, WORDS

    if as_json:
        tables = {"words": WORDS, "second_batch": SECOND, "unit_b": UNIT_B}
        found: dict[str, Any] = {
            table: {
                name: {"kind": w.kind, "takes": w.takes and list(w.takes), "meaning": w.meaning}
                for name, w in entries.items()
            }
            for table, entries in tables.items()
        }
        typer.echo(json_text({**found, "nearest": NEAREST}))
        return
    plain = {
        kind: {n: w for n, w in WORDS.items() if w.takes is None and w.kind == kind} for kind in ("scalar", "vector")
    }
    _table("Scalars", plain["scalar"])
    _table("Vectors", plain["vector"])
    _table("Functions", {n: w for n, w in WORDS.items() if w.takes is not None})
    _table("The same layer at a second batch y@2, with one loss", SECOND)
    _table("Another unit b of the layer", UNIT_B)
    for title, text, indent in (
        ("Signs", _SIGNS, 17),
        ("Free quantities, for which a claim must hold whatever they are", _FREE, 24),
    ):
        typer.echo("\n" + wrapped(f"{title}\n{textwrap.indent(text.strip(), '  ')}", indent))
    outside: dict[str, list[str]] = {}
    for name, hint in NEAREST.items():
        outside.setdefault(hint, []).append(name)
    typer.echo("\nNot in the vocabulary")
    for hint, names in outside.items():
        typer.echo(wrapped(f"  {', '.join(names)}: {hint}", 6))


_LETTERS = {"scalar": "x", "vector": "v", "operator": "A"}


def _table(title: str, entries: Mapping[str, Any]) -> None:
    typer.echo(f"\n{wrapped(title)}")
    for name, word in entries.items():
        arguments = [_LETTERS[kind] for kind in word.takes or ()]
        if arguments == ["v", "v"]:
            arguments = ["u", "v"]
        shown = f"{name}({', '.join(arguments)})" if word.takes is not None else name
        typer.echo(wrapped(f"  {shown:<15} {word.meaning}", 18))
