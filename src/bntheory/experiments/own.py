"""Measures in a user's own file, by the name "FILE.py:function": how they are found, and the code that records name.

A process loads them by itself, wherever it is. A record rests on the whole text of the file and on what that imports from
this package, so modules beside it, whose change nobody would see, are refused.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from bntheory.errors import UserError
from bntheory.evidence.closure import package
from bntheory.evidence.record import Json, digest, in_json, plain
from bntheory.evidence.source import imported


def is_own(name: str) -> bool:
    """Whether a measure of this name stands in a user's file."""
    return ".py:" in name


def own_code(name: str, training: str) -> str:
    """What a measure's records rest on, beside the code that trains. Raises UserError for a file that cannot be read."""
    source, places = _read(name)
    within = package()
    roots = [place for place in places if within.holds(place[0])]
    return digest([source, within.fingerprint(roots) if roots else "", training])


def own_values(name: str, situation: Any, options: Mapping[str, Any]) -> Json:
    """{name: the measure's values}; the network is left as it was.

    Raises UserError for a function that is not there, and for values that no record holds.
    """
    from bntheory.bridge.networks.state import state_guard

    path, _, function = name.rpartition(":")
    found = _loaded(path, _read(name)[0]).get(function)
    if not callable(found):
        raise UserError(f"measure {name}: {path} has no function {function!r}; give one of (situation, options)")
    with state_guard(situation.model):
        values = plain(found(situation, dict(options)))
    if values is None or not in_json(values):
        raise UserError(
            f"measure {name}: {values!r:.60} is nothing that a record holds; return numbers, lists or dicts"
        )
    return {name: values}


def _read(name: str) -> tuple[str, list[tuple[str, str]]]:
    """(the file's text, what it imports)."""
    path = Path(name.rpartition(":")[0])
    try:
        source = path.read_text("utf-8-sig")
        places = list(imported(ast.walk(ast.parse(source)), "").values())
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(
            f"measure {name}: {path} cannot be read ({error}); it is looked for from the folder here"
        ) from None
    for top in {module.partition(".")[0] for module, _ in places} - {"bntheory"}:
        if top == "" or (path.parent / f"{top}.py").is_file() or (path.parent / top / "__init__.py").is_file():
            raise UserError(
                f"measure {name}: {path} imports {top or 'from its own folder'}, whose change no record would show; put it into the file"
            )
    return source, places


@lru_cache(maxsize=64)
def _loaded(path: str, source: str) -> Mapping[str, Any]:
    space: dict[str, Any] = {"__name__": f"bntheory_own_{Path(path).stem}", "__file__": path}
    try:
        exec(compile(source, path, "exec"), space)
    except (Exception, SystemExit) as error:
        raise UserError(f"measure: {path} cannot be run ({type(error).__name__}: {error})") from error
    return space
