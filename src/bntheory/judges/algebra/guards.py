"""A claim's divisors and radicands in the words of the claim itself.

So a proof says where it holds as its reader would, "wherever norm2(input_grad) != 0", and not in coordinates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from bntheory.claims.typed.expression import read_again
from bntheory.claims.typed.interpreter import Interpreter
from bntheory.claims.typed.latex import latex_of_tree
from bntheory.claims.typed.syntax import Binary, Call, Compare, Name, Node, Number
from bntheory.claims.typed.transcript import text_of, transcribe
from bntheory.claims.typed.trees import exchanged, factors_of, parts, terms_of
from bntheory.errors import OutsideVocabulary
from bntheory.judges.algebra.second_batch import words_of_others, written
from bntheory.layer.domain import LayerDomain
from bntheory.layer.view import View


@dataclass(frozen=True)
class Guard:
    """Something that must not vanish, or not be negative, for a claim to have a value.

    value: in the world of the layer that was asked; None where a free name is also a word, so that the text has two meanings.
    """

    kind: Literal["nonzero", "nonnegative"]
    node: Node
    value: Any = None

    @property
    def text(self) -> str:
        """The condition in the words of the vocabulary."""
        return f"{text_of(self.node, 400)} {'!= 0' if self.kind == 'nonzero' else '>= 0'}"

    @property
    def latex(self) -> str:
        """The condition as LaTeX."""
        zero, sign = Number(Fraction(0), 0), "!=" if self.kind == "nonzero" else ">="
        return latex_of_tree(Compare(self.node, (sign,), (zero,), 0))


def guards_of(check: Callable[[Any], Any], layer: Any, domain: LayerDomain) -> list[Guard]:
    """Every divisor and radicand of a claim that is no harmless constant, each once, with its value over ``layer`` where that has one."""
    tree = transcribe(check, domain)
    stated = read_again(tree, domain)
    reader = None if stated is None or layer is None else Interpreter(stated, View(layer, domain))
    found: dict[tuple[str, str], Guard] = {}
    others = words_of_others(domain)
    radicands = _radicands(others, domain)
    for kind, node in _met(tree):
        name = exchanged(node, others)
        if kind == "nonzero":
            name = radicands.get(text_of(node), name)
        guard, key = Guard(kind, name), (kind, _in_order(name))
        if key in found or (isinstance(node, Number) and _harmless(kind, node.value)):
            continue
        with suppress(OutsideVocabulary):  # a value that this world has not is not known
            value = None if reader is None else reader.layer._unwrapped(reader.value(node), "a divisor")
            if isinstance(value, Fraction) and _harmless(kind, value):
                continue
            guard = Guard(kind, name, value)
        found[key] = guard
    return list(found.values())


def _radicands(others: Mapping[str, Name], domain: LayerDomain) -> dict[str, Name]:
    """What stands under the root of another sigma, which vanishes where it does, by its text: sigma@2 and sigma@b."""
    roots = {sigma: written(sigma.name, domain) for sigma in others.values() if sigma.name.startswith("sigma@")}
    return {text_of(root.arguments[0]): sigma for sigma, root in roots.items() if isinstance(root, Call)}


def _in_order(node: Node) -> str:
    """The text of an expression whose sums and products have their parts in order: a + b and b + a are one condition."""
    terms = list(terms_of(node))
    if len(terms) > 1:
        return " + ".join(sorted(f"({c}) ({_in_order(term)})" for c, term in terms))
    factors = [(above, n) for c, term in terms for above, n in (*factors_of(term), (True, Number(c, 0)))]
    return " * ".join(sorted(f"{'' if above else '1/'}({text_of(n)})" for above, n in factors))


def _harmless(kind: str, constant: Fraction) -> bool:
    return constant != 0 if kind == "nonzero" else constant >= 0


def _met(node: Node) -> Iterator[tuple[Literal["nonzero", "nonnegative"], Node]]:
    """The divisors and radicands of a tree, the inner ones first."""
    inside_trace = isinstance(node, Call) and node.name == "trace"
    for part in () if inside_trace else parts(node):
        yield from _met(part)
    if isinstance(node, Binary):
        if node.op == "/":
            yield from (("nonzero", base) for base in _bases(node.right))
        if node.op == "**" and isinstance(node.right, Number) and node.right.value < 0:
            yield "nonzero", node.left
    if isinstance(node, Call) and node.name == "sqrt" and not _never_negative(node.arguments[0]):
        yield "nonnegative", node.arguments[0]


def _never_negative(node: Node) -> bool:
    """Whether the form of a radicand says so: squares, roots and what sums, products and quotients make of them."""
    if isinstance(node, Binary):
        if node.op == "**":
            return isinstance(node.right, Number) and node.right.value % 2 == 0
        return node.op != "-" and _never_negative(node.left) and _never_negative(node.right)
    if isinstance(node, Number):
        return node.value >= 0
    name = node.name if isinstance(node, (Name, Call)) else ""
    return name in ("m", "eps", "var", "sigma", "norm2", "sqrt")


def _bases(node: Node) -> Iterator[Node]:
    """What must not vanish for a divisor not to: a product vanishes where a factor does, a power where its base, a root where its radicand."""
    for above, factor in factors_of(node):
        if isinstance(factor, Binary) and factor.op == "**":
            yield from _bases(factor.left)
        elif isinstance(factor, Call) and factor.name == "sqrt":
            yield from _bases(factor.arguments[0])
        elif above:
            yield factor
