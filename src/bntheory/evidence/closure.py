"""What a function rests on inside this package, found by reading the source: everything whose change could change its numbers.

A *definition* is a function, a class or a value at the top of a module. It reaches the definitions that its text names, through
imports at the top, imports inside functions, re-exports and the lazy tables of a room; a class is reached whole, so that methods
need no types to be found; what a module does on import (a registration, a loop) is reached with each of its definitions. Data files
are reached by the code that opens them with ``files(package)``. Names are over-approximated: a local variable that is called like
something of the module counts as it. Attributes that are spelt out at run time are not followed.

A fingerprint leaves out what computes nothing (docstrings, comments, layout, annotations) and where things lie: moving a definition
to another module changes no fingerprint; changing a line of it, or what one of its names stands for, does. Libraries are not in it.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["Package", "Place", "package", "place_of"]

#: Arguments of the decorator ``claim`` that say something about a claim and compute nothing.
_SAID = frozenset({"note", "repairs", "source"})
#: How far what a name stands for is hashed together with the name; what lies further off is hashed beside it.
_STEPS = 4

Place = tuple[str, str]
"""A module and a name in it. The name "" is what the module does on import, "*" the module itself."""


@dataclass
class _Module:
    """One file: its definitions by name, where its names are imported from, what it does on import, its lazy names."""

    name: str
    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, Place] = field(default_factory=dict)
    acts: list[ast.stmt] = field(default_factory=list)
    lazy: dict[str, Place] = field(default_factory=dict)


class Package:
    """The source of one package, read but never run.

    root: the folder of the package, whose name is the package's.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.name = root, root.name
        self._modules: dict[str, _Module | None] = {}
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
                bound = {**module.imports, **_imports(ast.walk(statement), place[0])}
                for name, targets in self._reached(statement, module, bound):
                    edges[name] = edges.get(name, frozenset()) | (targets - {place})
                text += [_text(statement, self._is_own), *self._data(statement)]
            self._definitions[place] = "\n".join(text), edges
        return self._definitions[place]

    def _reached(
        self, statement: ast.stmt, module: _Module, bound: dict[str, Place]
    ) -> Iterator[tuple[str, frozenset[Place]]]:
        whole: set[int] = set()  # names that are the start of a dotted name, which says more
        for node in _code(statement):
            if isinstance(node, ast.Attribute) and id(node) not in whole:
                chain, start = [node.attr], node.value
                while isinstance(start, ast.Attribute):
                    whole.add(id(start))
                    chain, start = [start.attr, *chain], start.value
                if isinstance(start, ast.Name) and bound.get(start.id, ("", ""))[1] == "*":
                    whole.add(id(start))
                    yield ".".join([start.id, *chain]), self._dotted(bound[start.id][0], chain)
        for node in _code(statement):
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

    def _module(self, name: str) -> _Module | None:
        """The module of this name; None where this package has none."""
        if name not in self._modules:
            self._modules[name] = None
            if self._is_own(name):
                base = self.root.joinpath(*name.split(".")[1:])
                for path in (base / "__init__.py", base.with_suffix(".py")):
                    if path.is_file():
                        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
                        self._modules[name] = _read(name, package, path.read_text(encoding="utf-8"))
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
                parts = [node.right.value, *parts] if _is_text(node.right) else []
                node = node.left
                inside.add(id(node))
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "files" and node.args:
                where = node.args[0]
                if not (_is_text(where) and self._is_own(where.value)):
                    raise LookupError(
                        f"files({ast.unparse(where)}): name the package as text, so that its data can be found"
                    )
                folder = self.root.joinpath(*where.value.split(".")[1:], *parts)
                for path in [folder] if folder.is_file() else sorted(folder.rglob("*")):
                    if path.is_file() and path.suffix not in (".py", ".pyc"):
                        yield f"{path.relative_to(folder.parent)} {hashlib.sha256(path.read_bytes()).hexdigest()}"


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _is_text(node: Any) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _read(name: str, package: str, source: str) -> _Module:
    module = _Module(name)
    for statement in ast.parse(source).body:
        _file(statement, module, package)
    if (
        "__getattr__" in module.definitions
    ):  # names that load on first use, from a table {module: "name name"}
        for statements in module.definitions.values():
            for node in ast.walk(ast.Module(statements, [])):
                if isinstance(node, ast.Dict) and all(
                    map(_is_text, (*filter(None, node.keys), *node.values))
                ):
                    for key, value in zip(node.keys, node.values, strict=True):
                        origin = (
                            key.value
                            if key.value.startswith(package.split(".")[0] + ".")
                            else f"{name}.{key.value}"
                        )
                        module.lazy |= {n: (origin, n) for n in value.value.split()}
    return module


def _file(statement: ast.stmt, module: _Module, package: str) -> None:
    """Put one top-level statement where it belongs."""
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        module.imports |= _imports([statement], package)
    elif isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        module.definitions.setdefault(statement.name, []).append(statement)
        if any(_registers(d, module) for d in statement.decorator_list):
            module.acts.append(ast.Expr(ast.Name(statement.name, ast.Load())))
    elif isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        names = [
            n.id
            for t in targets
            for n in ast.walk(t)
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        ]
        for target in names:
            if target != "__all__":
                module.definitions.setdefault(target, []).append(statement)
        if not names:
            module.acts.append(statement)
    elif isinstance(statement, ast.If) and ast.unparse(statement.test) in (
        "TYPE_CHECKING",
        "__name__ == '__main__'",
    ):
        pass
    elif not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
        module.acts.append(statement)
        for inner in ast.iter_child_nodes(statement):
            if isinstance(
                inner, (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.FunctionDef, ast.ClassDef)
            ):
                _file(inner, module, package)


def _registers(decorator: ast.expr, module: _Module) -> bool:
    """Whether a decorator is the package's own, and so may keep the function somewhere; ``claim`` keeps it for the judges only."""
    while isinstance(decorator, (ast.Call, ast.Attribute)):
        decorator = decorator.func if isinstance(decorator, ast.Call) else decorator.value
    name = getattr(decorator, "id", "")
    own = module.name.split(".")[0]
    return name != "claim" and (
        name in module.definitions or module.imports.get(name, ("",))[0].split(".")[0] == own
    )


def _imports(nodes: Iterable[ast.AST], package: str) -> dict[str, Place]:
    """Local names that import statements bind, and what they stand for."""
    found: dict[str, Place] = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0],
                    "*",
                )
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            found |= {alias.asname or alias.name: (origin, alias.name) for alias in node.names}
    return found


# -- text --------------------------------------------------------------------------------------------------------------


def _code(statement: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a statement that compute something: no annotations, no words about a claim."""
    yield statement
    for name, value in ast.iter_fields(statement):
        if name in ("annotation", "returns"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _only_said(statement, child):
                yield from _code(child)


def _only_said(parent: ast.AST, child: ast.AST) -> bool:
    """Whether this is the decorator ``claim``, one of its arguments that computes nothing, or the package whose ``files`` are opened."""
    if not isinstance(parent, ast.Call):
        return False
    called = getattr(parent.func, "id", "")
    if called == "claim":
        return child is parent.func or (isinstance(child, ast.keyword) and child.arg in _SAID)
    return called == "files" and child in parent.args


def _text(node: Any, own: Callable[[str], bool], in_class: bool = False) -> str:
    """A statement as text that stays the same from one Python to the next; empty parts, places and annotations are left out."""
    if isinstance(node, list):
        return "[" + " ".join(filter(None, (_text(child, own, in_class) for child in node))) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    if isinstance(node, ast.Import) and all(own(a.name) for a in node.names):
        return ""
    if isinstance(node, ast.ImportFrom) and (node.level or own(node.module or "")):
        return ""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return ""
    parts = []
    for name, value in ast.iter_fields(node):
        kept_annotation = in_class and isinstance(node, ast.AnnAssign)  # the fields of a dataclass
        if (value in (None, []) and not isinstance(node, ast.Constant)) or name in (
            "kind",
            "type_comment",
            "ctx",
            "returns",
        ):
            continue
        if name == "annotation" and not kept_annotation:
            continue
        if isinstance(value, list):
            value = [child for child in value if not _only_said(node, child)]
        parts.append(f"{name}={_text(value, own, isinstance(node, ast.ClassDef))}")
    return f"{type(node).__name__}({' '.join(parts)})"


@cache
def package() -> Package:
    """This package's own source."""
    import bntheory

    return Package(Path(bntheory.__file__).parent)


def place_of(function: Callable[..., Any]) -> Place:
    """The top-level definition in which a function or class stands."""
    return function.__module__, function.__qualname__.split(".")[0]
