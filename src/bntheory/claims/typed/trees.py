"""Looking into the syntax tree of a typed claim."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator

from bntheory.claims.typed.syntax import Binary, Call, Compare, Junction, Name, Node, Not, Sign

__all__ = ["calls_of", "names_of", "parts", "same"]


def parts(node: Node) -> tuple[Node, ...]:
    """The nodes right below one, from left to right."""
    if isinstance(node, Call):
        return node.arguments
    if isinstance(node, (Sign, Not)):
        return (node.operand,)
    if isinstance(node, Binary):
        return (node.left, node.right)
    if isinstance(node, Compare):
        return (node.first, *node.rest)
    return node.parts if isinstance(node, Junction) else ()


def calls_of(tree: Node, names: Container[str]) -> Iterator[Call]:
    """Every call of one of these names, from left to right."""
    if isinstance(tree, Call) and tree.name in names:
        yield tree
    for part in parts(tree):
        yield from calls_of(part, names)


def same(one: Node, other: Node) -> bool:
    """Whether two trees are equal but for their columns."""
    bare = (re.sub(r", column=\d+", "", repr(node)) for node in (one, other))
    return next(bare) == next(bare)


def names_of(tree: Node) -> set[str]:
    """Every name in it, of functions and operators too; a part that occurs often is looked at once."""
    waiting, seen = [tree], {id(tree): tree}
    while waiting:
        new = {id(part): part for part in parts(waiting.pop()) if id(part) not in seen}
        seen |= new
        waiting += new.values()
    return {node.name for node in seen.values() if isinstance(node, (Name, Call))}
