"""A claim typed as one expression, in the words of the vocabulary.

>>> typed = parse_claim("norm2(input_grad) <= gamma**2/sigma**2 * norm2(grad)")
>>> typed.names
('gamma', 'grad', 'input_grad', 'norm2', 'sigma')

The text is parsed into a small syntax tree (:mod:`bntheory.claims.typed.syntax`), checked for the types scalar, vector
and relation, and then interpreted over whatever layer it is given: symbols, arrays, balls. It is never evaluated as
code. Numbers are exact: 0.1 is 1/10 in every world that has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from bntheory.claims.claim import Claim, Source
from bntheory.claims.typed.eigenvalues import bare_name_needed, with_directions
from bntheory.claims.typed.interpreter import Interpreter, Kind
from bntheory.claims.typed.syntax import Binary, Call, Compare, Junction, Name, Node, Number, Sign, complain, parse
from bntheory.claims.typed.transcript import text_of, transcribe
from bntheory.claims.typed.trees import calls_of, same
from bntheory.errors import UserError
from bntheory.layer.domain import LayerDomain, Normaliser
from bntheory.layer.relations import AllOf, Statement
from bntheory.layer.second_batch import free_of_second_batch, one_loss, refusal
from bntheory.layer.second_unit import CROSS, cross_block, free_of_unit_b, refusal_of_unit_b
from bntheory.layer.view import View, state
from bntheory.layer.words import SECOND, UNIT_B, WORDS, nearest

_WORDS = {**WORDS, **SECOND, **UNIT_B}
_SCALARS, _VECTORS = (
    tuple(name for name, word in _WORDS.items() if word.takes is None and word.kind == kind)
    for kind in ("scalar", "vector")
)
_FUNCTIONS: dict[str, tuple[tuple[Kind, ...], Kind]] = {
    name: (word.takes, word.kind) for name, word in _WORDS.items() if word.takes is not None
}
_OPERATORS = tuple(name for name, word in WORDS.items() if word.is_operator)
_ON_VECTORS: tuple[tuple[Kind, ...], Kind] = (("vector",), "vector")


@dataclass(frozen=True)
class TypedClaim:
    """A parsed and type-checked expression. ``names`` are the words of the vocabulary and the free names that it
    uses."""

    text: str
    tree: Node
    names: tuple[str, ...]
    scalars: tuple[str, ...] = ()
    vectors: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()
    normaliser: Normaliser = "batch"

    def __call__(self, layer: Any) -> Statement:
        """The statement about a layer of any world."""
        if not isinstance(layer, View):
            return state(self, layer)
        return Interpreter(self, layer).statement(self.tree)

    def kind_of(self, node: Node) -> Kind:
        """Whether a part of the tree is a scalar, a vector or a relation."""
        free = {"scalar": self.scalars, "vector": self.vectors, "operator": self.operators}
        return _Checker(self.text, free).kind(node)


def read_again(tree: Node, domain: LayerDomain) -> TypedClaim | None:
    """What was written down by :func:`~bntheory.claims.typed.transcript.transcribe`; None where a free name is a word
    too, so that it has two meanings."""
    free = tuple(domain.scalars), domain.vectors, tuple(domain.operators)
    if any(name in WORDS for names in free for name in names):
        return None
    return TypedClaim("", tree, (), *free, domain.normaliser)


def parse_claim(
    text: str,
    *,
    scalars: Iterable[str] = (),
    vectors: Iterable[str] = (),
    operators: Iterable[str] = (),
    assumed: bool = False,
    normaliser: Normaliser = "batch",
) -> TypedClaim:
    """Parse and check a typed claim; ``scalars``, ``vectors`` and ``operators`` are its free names; ``assumed`` for a
    hypothesis.

    normaliser: what the second batch of a word such as ``z@2`` goes through (:mod:`bntheory.layer.second_batch`). A
    bound on an eigenvalue adds a vector of its own (:mod:`bntheory.claims.typed.eigenvalues`) to the claim's. Raises
    UserError that points at the column, for anything outside the grammar, unknown names and types that do not fit.
    """
    free = {"scalar": tuple(scalars), "vector": tuple(vectors), "operator": tuple(operators)}
    for what, names in free.items():
        for name in names:
            if name in _SCALARS + _VECTORS or name in _FUNCTIONS or name in ("and", "or", "not"):
                raise UserError(f"the free {what} {name!r} has the name of a word of the vocabulary; choose another")
    known = (*_OPERATORS, *free["operator"])
    tree, directions = with_directions(text, parse(text), known, assumed=assumed)
    free["vector"] = tuple(dict.fromkeys((*free["vector"], *directions)))
    checker = _Checker(text, free)
    if checker.kind(tree) != "relation":
        raise UserError(
            f"the expression is a {checker.kind(tree)}, not a claim; it needs a comparison such as <=, < or == "
            f"between two sides:\n  {text[:200]}"
        )
    return TypedClaim(
        text, tree, tuple(sorted(checker.names)), free["scalar"], free["vector"], free["operator"], normaliser
    )


def claim_of_expression(
    text: str, assume: Iterable[str] = (), domain: LayerDomain | None = None, *, id: str = "typed.expression"
) -> Claim:
    """The claim that an expression states on a domain; the domain declares the free names.

    Raises UserError as :func:`parse_claim`.
    """
    domain, assume = domain or LayerDomain(), tuple(assume)
    free: dict[str, Any] = {
        "scalars": tuple(s for s in domain.scalars if s not in SECOND and s not in UNIT_B),
        "vectors": tuple(v for v in domain.vectors if v not in SECOND and v not in UNIT_B),
        "operators": tuple(domain.operators),
        "normaliser": domain.normaliser,
    }
    check = parse_claim(text, **free)
    if domain.normaliser in ("l1", "linf") and any(a.name == "jac" for a in _bounded_operators(text)):
        raise UserError(
            f"jac of {domain.normaliser} is not symmetric, so its eigenvalues bound nothing; write norm2(jac(u)) <= b**2*norm2(u)"
        )
    assumed = [parse_claim(a, **free, assumed=True) for a in assume]
    names = {name for part in (check, *assumed) for name in part.names}
    if reason := refusal(names, domain) or refusal_of_unit_b(names, domain):
        raise UserError(f"outside the vocabulary: {reason}")
    of_2, second = free_of_second_batch(names)
    of_b, unit_b = free_of_unit_b(names, domain)
    domain = domain.with_free({**of_2, **of_b}, (*check.vectors, *second, *unit_b))
    ties = _ties(check, assumed, domain)
    # a hypothesis that was written down from a file says it already
    if "grad@2" in second and text_of(transcribe(lambda layer: one_loss(layer, domain), domain)) not in assume:
        ties.append(lambda layer: one_loss(layer, domain))

    def assumptions(layer: Any) -> Statement:
        parts = [a(layer) for a in assumed]
        return AllOf((*parts, *(part for tie in ties for part in tie(layer))))

    return Claim(
        id=id,
        kind="layer",
        source=Source("typed", "", seen="own"),
        statement=rf"\texttt{{{_latex_escaped(text)}}}",
        check=check,
        domain=domain,
        assume=assumptions if assumed or ties else None,
    )


def _ties(
    check: TypedClaim, assumed: Iterable[TypedClaim], domain: LayerDomain
) -> list[Callable[[Any], list[Statement]]]:
    """What ties the block between the units to the vector that it is applied to; nothing where it is not."""
    crossed = _crossed(check.text, (check, *assumed))
    if crossed is None:
        return []
    through = crossed.arguments[0] if isinstance(crossed, Call) and crossed.name == "jac@b" else None

    def tie(layer: Any) -> list[Statement]:
        value = Interpreter(check, layer).value
        return cross_block(layer, domain, value(crossed), None if through is None else value(through))

    return [tie]


def _crossed(text: str, claims: Iterable[TypedClaim]) -> Node | None:
    """The one vector of unit b to which the block between the units is applied; None where it is not."""
    calls = [call for claim in claims for call in calls_of(claim.tree, CROSS)]
    if not calls:
        return None
    vectors = [c.arguments[0] if c.name == "cross" else Call("jac@b", c.arguments, c.column) for c in calls]
    for vector in vectors:
        if next(calls_of(vector, CROSS), None) is not None or not same(vector, vectors[0]):
            raise UserError(
                f"outside the vocabulary: the block between two units is applied to more than one vector in {text[:200]!r}; inside is one: "
                "input_cross(v) throughout (cross(jac@b(v)) is a part of it)"
            )
    return vectors[0]


def _bounded_operators(text: str) -> list[Name]:
    calls = calls_of(parse(text), ("max_eig", "min_eig"))
    return [a for call in calls for a in call.arguments if isinstance(a, Name)]


def _latex_escaped(text: str) -> str:
    return "".join("\\" + c if c in "_#$%&{}" else r"\^{}" if c == "^" else c for c in text)


class _Checker:
    """Types, and which names are used."""

    def __init__(self, text: str, free: Mapping[str, tuple[str, ...]]) -> None:
        self.text, self.free = text, free
        self.names: set[str] = set()

    def kind(self, node: Node) -> Kind:
        if isinstance(node, Number):
            return "scalar"
        if isinstance(node, Name):
            return self._name(node)
        if isinstance(node, Call):
            return self._call(node)
        if isinstance(node, Sign):
            return self._not_relation(node.operand, "a sign", node.column)
        if isinstance(node, Binary):
            return self._binary(node)
        if isinstance(node, Compare):
            return self._compare(node)
        parts = node.parts if isinstance(node, Junction) else (node.operand,)
        word = node.op if isinstance(node, Junction) else "not"
        for part in parts:
            kind = self.kind(part)
            if kind != "relation":
                complain(self.text, node.column, f"'{word}' joins relations, and one side of it is a {kind}")
        return "relation"

    def _name(self, node: Name) -> Kind:
        name = node.name
        self.names.add(name)
        if name in _SCALARS or name in self.free["scalar"]:
            return "scalar"
        if name in _VECTORS or name in self.free["vector"]:
            return "vector"
        if name in _FUNCTIONS or name in self.free["operator"]:
            example = {"dot": "dot(grad, y_hat)", "sqrt": "sqrt(m)"}.get(name, f"{name}(grad)")
            complain(self.text, node.column, f"{name} is applied to something: {example}")
        return self._unknown(node)

    def _unknown(self, node: Name | Call) -> NoReturn:
        free = (*self.free["scalar"], *self.free["vector"], *self.free["operator"])
        hint = nearest(node.name, free)
        if not hint and isinstance(node, Call):
            hint = f"the functions are {', '.join([*_FUNCTIONS, *self.free['operator']])}"
        elif not hint:
            known = ", ".join(n for n in (*_SCALARS, *_VECTORS, *_FUNCTIONS, *free) if "@" not in n or n in free)
            hint = f"`bntheory words` explains the names {known}; declare a free one with --scalar NAME:RANGE or --vector NAME"
        complain(self.text, node.column, f"unknown name {node.name!r:.60}; {hint}")

    def _call(self, node: Call) -> Kind:
        self.names.add(node.name)
        if node.name in self.free["operator"]:
            takes, gives = _ON_VECTORS
        elif node.name in _FUNCTIONS:
            takes, gives = _FUNCTIONS[node.name]
        elif node.name in _SCALARS + _VECTORS or node.name in self.free["scalar"] + self.free["vector"]:
            complain(self.text, node.column, f"{node.name} is no function (products need *)")
        else:
            self._unknown(node)
        if len(node.arguments) != len(takes):
            complain(
                self.text,
                node.column,
                f"{node.name} takes {len(takes)} argument{'s' * (len(takes) > 1)}, not {len(node.arguments)}",
            )
        for argument, wanted in zip(node.arguments, takes, strict=True):
            if wanted == "operator":
                self._operator(node, argument)
                continue
            kind = self.kind(argument)
            if kind != wanted:
                complain(self.text, argument.column, f"{node.name} takes a {wanted}, and this is a {kind}")
        return gives

    def _operator(self, node: Call, argument: Node) -> None:
        known = (*_OPERATORS, *self.free["operator"])
        if not isinstance(argument, Name) or argument.name not in known:
            complain(self.text, argument.column, bare_name_needed(node, known))
        self.names.add(argument.name)

    def _not_relation(self, node: Node, what: str, column: int) -> Kind:
        kind = self.kind(node)
        if kind == "relation":
            complain(self.text, column, f"{what} applies to scalars and vectors, not to a relation")
        return kind

    def _binary(self, node: Binary) -> Kind:
        left = self._not_relation(node.left, repr(node.op), node.column)
        right = self._not_relation(node.right, repr(node.op), node.column)
        if node.op in "+-" and left != right:
            complain(
                self.text,
                node.column,
                f"a {left} and a {right} cannot be {'added' if node.op == '+' else 'subtracted'}; "
                "write s*one for a constant vector, or dot(u, v) to make a scalar",
            )
        if node.op == "*" and left == right == "vector":
            complain(self.text, node.column, "two vectors cannot be multiplied; write dot(u, v)")
        if node.op == "/" and right == "vector":
            complain(self.text, node.column, "nothing can be divided by a vector")
        if node.op == "**" and left == "vector":
            complain(self.text, node.column, "a vector has no power; write norm2(v) for its squared norm")
        return "vector" if "vector" in (left, right) else "scalar"

    def _compare(self, node: Compare) -> Kind:
        sides = (node.first, *node.rest)
        kinds = [self._not_relation(side, "a comparison", node.column) for side in sides]
        for op, left, right, a, b in zip(node.ops, kinds, kinds[1:], sides, sides[1:], strict=False):
            if left == right == "vector" and op not in ("==", "!="):
                complain(self.text, node.column, f"vectors are not ordered by {op}; only == and != compare two vectors")
            zero = next((s for s, k in ((a, left), (b, right)) if k == "scalar"), None)
            if left != right and not (isinstance(zero, Number) and zero.value == 0 and op in ("==", "!=")):
                complain(
                    self.text, node.column, f"a {left} is compared with a {right}; norm2(v) or dot(u, v) make scalars"
                )
        return "relation"
