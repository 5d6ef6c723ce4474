"""What a function rests on inside this package, found by reading the source: everything whose change could change its
numbers.

A *definition* is a function, a class or a value at the top of a module. It reaches the definitions that its text names,
through imports at the top, imports inside functions, re-exports and the lazy tables of a room; a class is reached
whole (but for methods that are marked as only showing it), so that methods need no types to be found; what a module does
on import (a registration, a loop) is reached with each of its definitions. Data files are reached by the code that opens them with ``files(package)``. Names are
over-approximated: a local variable that is called like something of the module counts as it. Attributes that are spelt
out at run time are not followed.

A fingerprint leaves out what computes nothing (docstrings, comments, layout, annotations) and where things lie: moving
a definition to another module changes no fingerprint; changing a line of it, or what one of its names stands for, does.
Libraries are not in it.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from bntheory.evidence.source import Module, Place, computing, imported, literal, normalised, read_module

#: How far what a name stands for is hashed together with the name; what lies further off is hashed beside it.
_STEPS = 4


class Package:
    """The source of one package, read but never run.

    root: the folder of the package, whose name is the package's.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.name = root, root.name
        self._modules: dict[str, Module | None] = {}
        self._definitions: dict[Place, tuple[str, dict[str, frozenset[Place]]]] = {}
        self._hashes: dict[tuple[Place, int], str] = {}

    def holds(self, module: str) -> bool:
        """Whether a module is one of this package."""
        return self._module(module) is not None

    def has(self, place: Place) -> bool:
        """Whether a name stands at the top of one of its modules."""
        found = self._module(place[0])
        return found is not None and place[1] in found.definitions

    def closure(self, roots: Iterable[Place]) -> frozenset[Place]:
        """Every definition, and everything done on import, that the roots reach; the roots included."""
        reached: set[Place] = set()
        waiting = [place for root in roots for place in self._resolve(*root)]
        while waiting:
            place = waiting.pop()
            if place not in reached:
                reached.add(place)
                waiting += [t for targets in self._definition(place)[1].values() for t in targets]
        return frozenset(reached)

    def fingerprint(self, roots: Iterable[Place]) -> str:
        """16 hexadecimal digits for all that the roots reach."""
        return _hash(*sorted(self._hashed(place, _STEPS) for place in self.closure(roots)))[:16]

    def text(self, roots: Iterable[Place], room: str) -> str:
        """16 hexadecimal digits for what the roots reach inside one room (the start of its modules' names), and nothing
        beyond it."""
        inside = sorted(place for place in self.closure(roots) if place[0].startswith(room))
        return _hash(*(self._hashed(place, 0) for place in inside))[:16]

    def _hashed(self, place: Place, steps: int) -> str:
        """The definition's text, and by name the hashes of what it reaches, this many steps deep."""
        if (place, steps) not in self._hashes:
            text, edges = self._definition(place)
            found = [text]
            if steps:
                for name in sorted(edges):
                    found += [name, *sorted(self._hashed(target, steps - 1) for target in edges[name])]
            self._hashes[place, steps] = _hash(*found)
        return self._hashes[place, steps]

    # -- names ---------------------------------------------------------------------------------------------------------

    def _resolve(self, module: str, name: str) -> frozenset[Place]:
        """The definitions that a name of a module stands for, with what the modules on the way do on import.

        Raises LookupError where the module has no such name.
        """
        found = self._module(module)
        if found is None:
            return frozenset()  # of another package
        here: set[Place] = {(module, "")} if found.acts else set()
        if name == "*":
            every = (self._resolve(module, n) for n in (*found.definitions, *found.imports))
            return frozenset(here.union(*every))
        if name in found.definitions:
            return frozenset(here | {(module, name)})
        origin = found.imports.get(name) or found.lazy.get(name)
        if origin is not None:
            return frozenset(here | self._resolve(*origin))
        if self._module(f"{module}.{name}") is not None:
            return self._resolve(f"{module}.{name}", "*")
        if "__getattr__" in found.definitions:
            return frozenset(here | {(module, "__getattr__")})
        raise LookupError(f"{module} has no {name!r}")

    def _definition(self, place: Place) -> tuple[str, dict[str, frozenset[Place]]]:
        """The normalised text of a place, and the places that each of its names reaches."""
        if place not in self._definitions:
            module = self._module(place[0])
            assert module is not None
            statements = module.acts if place[1] == "" else module.definitions[place[1]]
            edges: dict[str, frozenset[Place]] = {}
            text = []
            for statement in statements:
                bound = {**module.imports, **imported(ast.walk(statement), place[0])}
                for name, targets in self._reached(statement, module, bound):
                    edges[name] = edges.get(name, frozenset()) | (targets - {place})
                text += [normalised(statement, self._is_own), *self._data(statement)]
            self._definitions[place] = "\n".join(text), edges
        return self._definitions[place]

    def _reached(
        self, statement: ast.stmt, module: Module, bound: dict[str, Place]
    ) -> Iterator[tuple[str, frozenset[Place]]]:
        whole: set[int] = set()  # names that are the start of a dotted name, which says more
        for node in computing(statement):
            if isinstance(node, ast.Attribute) and id(node) not in whole:
                chain, start = [node.attr], node.value
                while isinstance(start, ast.Attribute):
                    whole.add(id(start))
                    chain, start = [start.attr, *chain], start.value
                if isinstance(start, ast.Name) and bound.get(start.id, ("", ""))[1] == "*":
                    whole.add(id(start))
                    yield ".".join([start.id, *chain]), self._dotted(bound[start.id][0], chain)
        for node in computing(statement):
            if isinstance(node, ast.Name) and id(node) not in whole:
                if node.id in bound:
                    yield node.id, self._resolve(*bound[node.id])
                elif node.id in module.definitions:
                    yield node.id, self._resolve(module.name, node.id)

    def _dotted(self, module: str, chain: list[str]) -> frozenset[Place]:
        """What module.a.b stands for: as far as the dots lead through modules."""
        for i, name in enumerate(chain):
            if not self._is_own(module):
                return frozenset()
            inner = f"{module}.{name}"
            if self._module(inner) is None or i == len(chain) - 1:
                return self._resolve(module, name)
            module = inner
        return self._resolve(module, "*")

    def _is_own(self, module: str) -> bool:
        return module.split(".")[0] == self.name

    # -- files ---------------------------------------------------------------------------------------------------------

    def _module(self, name: str) -> Module | None:
        """The module of this name; None where this package has none."""
        if name not in self._modules:
            self._modules[name] = None
            if self._is_own(name):
                base = self.root.joinpath(*name.split(".")[1:])
                for path in (base / "__init__.py", base.with_suffix(".py")):
                    if path.is_file():
                        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
                        self._modules[name] = read_module(name, package, path.read_text(encoding="utf-8"))
                        break
        return self._modules[name]

    def _data(self, statement: ast.stmt) -> Iterator[str]:
        """The contents of the files that a statement may open: those below ``files("package") / "folder"``."""
        inside: set[int] = set()
        for node in ast.walk(statement):
            parts: list[str] = []
            if id(node) in inside:
                continue
            while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
                spelt = literal(node.right)
                parts = [] if spelt is None else [spelt, *parts]
                node = node.left
                inside.add(id(node))
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "files" and node.args:
                home = literal(node.args[0])
                if home is None or not self._is_own(home):
                    raise LookupError(f"{ast.unparse(node)}: spell the package out, so that its data can be found")
                folder = self.root.joinpath(*home.split(".")[1:], *parts)
                for path in [folder] if folder.is_file() else sorted(folder.rglob("*")):
                    if path.is_file() and path.suffix not in (".py", ".pyc"):
                        yield f"{path.relative_to(folder.parent)} {hashlib.sha256(path.read_bytes()).hexdigest()}"


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@cache
def package() -> Package:
    """This package's own source."""
    return Package(Path(__file__).parents[1])


def own_version() -> str:
    """The version of this package, as it was installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("bntheory")
    except PackageNotFoundError:  # a source tree on the path without an installation
        return "0+source"


def place_of(function: Callable[..., Any]) -> Place:
    """The top-level definition in which a function or class stands."""
    return function.__module__, function.__qualname__.split(".")[0]
