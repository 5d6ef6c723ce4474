"""Looking into the syntax tree of a typed claim."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction

from bntheory.claims.typed.syntax import Binary, Call, Compare, Junction, Name, Node, Not, Number, Sign
from bntheory.claims.typed.transcript import text_of


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


def conjuncts_of(tree: Node) -> Iterator[Node]:
    """What is joined by ``and``, in any depth."""
    if isinstance(tree, Junction) and tree.op == "and":
        for part in tree.parts:
            yield from conjuncts_of(part)
    else:
        yield tree


def exchanged(tree: Node, table: Mapping[str, Node]) -> Node:
    """The tree with others for its parts of these texts, the largest first."""
    other = table.get(text_of(tree))
    if other is not None:
        return other
    return _with_parts(tree, tuple(exchanged(part, table) for part in parts(tree)))


def renamed(tree: Node, names: Mapping[str, str]) -> Node:
    """The tree with other names for these, of functions and operators too; a mark such as ``@2`` stays."""
    if not names:
        return tree
    new = tuple(renamed(part, names) for part in parts(tree))
    if isinstance(tree, (Name, Call)):
        head, at, mark = tree.name.partition("@")
        tree = replace(tree, name=names.get(head, head) + at + mark)
    return _with_parts(tree, new)


def _with_parts(tree: Node, new: tuple[Node, ...]) -> Node:
    """The node over other parts."""
    if isinstance(tree, Call):
        return replace(tree, arguments=new)
    if isinstance(tree, (Sign, Not)):
        return replace(tree, operand=new[0])
    if isinstance(tree, Binary):
        return replace(tree, left=new[0], right=new[1])
    if isinstance(tree, Compare):
        return replace(tree, first=new[0], rest=new[1:])
    return replace(tree, parts=new) if isinstance(tree, Junction) else tree


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


def terms_of(node: Node) -> Iterator[tuple[Fraction, Node]]:
    """A sum as its terms, each with a number before it; a quotient by zero is a term."""
    waiting = [(Fraction(1), node)]
    while waiting:
        c, node = waiting.pop()
        if isinstance(node, Sign):
            waiting.append((-c if node.negative else c, node.operand))
        elif isinstance(node, Binary) and node.op in ("+", "-"):
            waiting += [(c if node.op == "+" else -c, node.right), (c, node.left)]
        elif isinstance(node, Binary) and node.op == "*" and isinstance(node.left, Number):
            waiting.append((c * node.left.value, node.right))
        elif isinstance(node, Binary) and node.op == "*" and isinstance(node.right, Number):
            waiting.append((c * node.right.value, node.left))
        elif isinstance(node, Binary) and node.op == "/" and isinstance(node.right, Number) and node.right.value:
            waiting.append((c / node.right.value, node.left))
        elif c and node != Number(Fraction(0), node.column):
            yield c, node


def sum_of(terms: Iterable[tuple[Fraction, Node]], *, vector: bool = False) -> Node:
    """The inverse of :func:`terms_of`; without terms zero, or the zero vector."""
    nothing = Number(Fraction(0), 0)
    total: Node | None = None
    for c, node in terms:
        sized = node if abs(c) == 1 else Binary("*", Number(abs(c), 0), node, 0)
        if total is None:
            total = sized if c > 0 else Sign(sized, True, 0)
        else:
            total = Binary("+" if c > 0 else "-", total, sized, 0)
    return total or (Binary("*", nothing, Name("one", 0), 0) if vector else nothing)


def factors_of(node: Node) -> Iterator[tuple[bool, Node]]:
    """A product as its factors, each with whether it multiplies or divides."""
    waiting = [(True, node)]
    while waiting:
        above, node = waiting.pop()
        if isinstance(node, Binary) and node.op in ("*", "/"):
            waiting += [(above if node.op == "*" else not above, node.right), (above, node.left)]
        else:
            yield above, node


def product_of(factors: Iterable[tuple[bool, Node]]) -> Node:
    """The inverse of :func:`factors_of`; without factors one."""
    total: Node | None = None
    for above, node in factors:
        if total is None:
            total = node if above else Binary("/", Number(Fraction(1), 0), node, 0)
        else:
            total = Binary("*" if above else "/", total, node, 0)
    return total or Number(Fraction(1), 0)
