"""One file of Python read as definitions: what stands at its top, where its names come from, what it does when it is
imported.

And the text of a statement without what computes nothing: docstrings, comments, layout, annotations, what is only said
about a claim, methods that only show a result.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def only_shows(method: F) -> F:
    """Mark a method that turns a result into words or a picture: nothing rests on it, so no fingerprint has it."""
    return method


#: Arguments of the decorator ``claim`` that say something about a claim and compute nothing.
_SAID = frozenset({"note", "repairs", "source"})
Place = tuple[str, str]
"""A module and a name in it. The name "" is what the module does on import, "*" the module itself."""


@dataclass
class Module:
    """One file: its definitions by name, where its names are imported from, what it does on import, its lazy names."""

    name: str
    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, Place] = field(default_factory=dict)
    acts: list[ast.stmt] = field(default_factory=list)
    lazy: dict[str, Place] = field(default_factory=dict)


def literal(node: ast.AST | None) -> str | None:
    """The text that a node spells out, if it does."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def read_module(name: str, package: str, source: str) -> Module:
    module = Module(name)
    for statement in ast.parse(source).body:
        _file(statement, module, package)
    if "__getattr__" in module.definitions:
        tables = ast.walk(ast.Module([s for group in module.definitions.values() for s in group], []))
        for table in (node for node in tables if isinstance(node, ast.Dict)):
            # names that load on first use, by the module that has them: {module: "name name"}
            for key, value in zip(map(literal, table.keys), map(literal, table.values), strict=True):
                if key and value:
                    origin = key if key.startswith(package.split(".")[0] + ".") else f"{name}.{key}"
                    module.lazy |= {n: (origin, n) for n in value.split()}
    return module


def _file(statement: ast.stmt, module: Module, package: str) -> None:
    """Put one top-level statement where it belongs."""
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        module.imports |= imported([statement], package)
    elif isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        module.definitions.setdefault(statement.name, []).append(statement)
        if any(_registers(d, module) for d in statement.decorator_list):
            module.acts.append(ast.Expr(ast.Name(statement.name, ast.Load())))
    elif isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        names = [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
        for target in names:
            if target != "__all__":
                module.definitions.setdefault(target, []).append(statement)
        if not names:
            module.acts.append(statement)
    elif isinstance(statement, ast.If) and ast.unparse(statement.test) in ("TYPE_CHECKING", "__name__ == '__main__'"):
        pass
    elif not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
        module.acts.append(statement)
        for inner in ast.iter_child_nodes(statement):
            if isinstance(
                inner, (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.FunctionDef, ast.ClassDef)
            ):
                _file(inner, module, package)


def _registers(decorator: ast.expr, module: Module) -> bool:
    """Whether a decorator is the package's own, and so may keep the function somewhere; ``claim`` keeps it for the
    judges only."""
    while isinstance(decorator, (ast.Call, ast.Attribute)):
        decorator = decorator.func if isinstance(decorator, ast.Call) else decorator.value
    name = getattr(decorator, "id", "")
    own = module.name.split(".")[0]
    return name != "claim" and (name in module.definitions or module.imports.get(name, ("",))[0].split(".")[0] == own)


def imported(nodes: Iterable[ast.AST], package: str) -> dict[str, Place]:
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


def computing(statement: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a statement that compute something: no annotations, no words about a claim."""
    yield statement
    for name, value in ast.iter_fields(statement):
        if name in ("annotation", "returns"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _only_said(statement, child):
                yield from computing(child)


def _only_said(parent: ast.AST, child: ast.AST) -> bool:
    """Whether this is the decorator ``claim``, one of its arguments that computes nothing, the package whose
    ``files`` are opened, or a method that only shows."""
    if isinstance(parent, ast.ClassDef) and isinstance(child, ast.FunctionDef):
        return any(getattr(d, "id", "") == only_shows.__name__ for d in child.decorator_list)
    if not isinstance(parent, ast.Call):
        return False
    called = getattr(parent.func, "id", "")
    if called == "claim":
        return child is parent.func or (isinstance(child, ast.keyword) and child.arg in _SAID)
    return called == "files" and child in parent.args


def normalised(node: Any, own: Callable[[str], bool], in_class: bool = False) -> str:
    """A statement as text that stays the same from one Python to the next; empty parts, places and annotations are left
    out."""
    if isinstance(node, list):
        return "[" + " ".join(filter(None, (normalised(child, own, in_class) for child in node))) + "]"
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
        parts.append(f"{name}={normalised(value, own, isinstance(node, ast.ClassDef))}")
    return f"{type(node).__name__}({' '.join(parts)})"
