"""A second try at a proof: real arithmetic over the inner products themselves.

The normal forms of :mod:`~bntheory.judges.algebra.calculus` are handed to the solver with what every table of inner products
satisfies: principal minors of Gram matrices, and of <u, K v> for a positive semidefinite K, are not negative. These conditions
are necessary, so *unsat* is a proof and *sat* means nothing. Cauchy-Schwarz and its kin are immediate here and hard
in coordinates.
"""

from __future__ import annotations

import itertools
from typing import Any

from bntheory.errors import OutsideVocabulary
from bntheory.judges.algebra.calculus import Calculus
from bntheory.judges.algebra.encode import Formula, both, either, root_equation, where
from bntheory.judges.algebra.field import Field, Scalar, Sign
from bntheory.judges.algebra.vectors import determinant
from bntheory.layer.relations import Relation
from bntheory.layer.three_valued import false_where, map_atoms, true_where


class GramProblem:
    """The negation of a claim over inner products, in the form that :func:`bntheory.judges.algebra.solver.ask` takes."""

    def __init__(self, calculus: Calculus) -> None:
        self.calculus = calculus
        self.field = Field()
        self._symbols: dict[Any, Scalar] = {}
        self._roots: dict[Any, Scalar] = {}

    def scalar(self, x: Any) -> Scalar:
        """A sympy expression as a fraction of polynomials."""
        field = self.field
        if x.is_Rational:
            from fractions import Fraction

            return field.constant(Fraction(int(x.p), int(x.q)))
        if x.is_Symbol:
            if x not in self._symbols:
                sign: Sign = "any"
                if x.is_positive:
                    sign = "positive"
                elif x.is_nonnegative:
                    sign = "nonnegative"
                elif x.is_nonzero:
                    sign = "nonzero"
                self._symbols[x] = field.symbol(f"x{len(self._symbols)}", sign)
            return self._symbols[x]
        if x.is_Add:
            total = field.zero
            for term in x.args:
                total = total + self.scalar(term)
            return total
        if x.is_Mul:
            product = field.one
            for factor in x.args:
                product = product * self.scalar(factor)
            return product
        if x.func.__name__ == "Abs":
            return (self.scalar(x.args[0]) ** 2).sqrt()
        if x.is_Pow and x.exp.is_Rational and x.exp.q in (1, 2):
            base = self.scalar(x.base)
            return (base if x.exp.q == 1 else base.sqrt()) ** int(x.exp.p)
        raise OutsideVocabulary(f"{type(x).__name__} in a normal form")

    def _over_scalars(self, relation: Relation) -> Relation:
        from bntheory.layer.symbolic import Expression, FormalVector

        left, right = relation.left, relation.right
        if isinstance(left, FormalVector) or isinstance(right, FormalVector):
            if not (isinstance(left, FormalVector) and isinstance(right, FormalVector)):
                raise OutsideVocabulary("an equality of vectors")
            gap = left - right  # they are equal where its norm vanishes
            left, right = gap.norm2(), 0
        difference = self.scalar((Expression(0) + right - left).value)
        return Relation(relation.op, self.field.zero, difference, relation.label)

    def formulas(self, largest: int) -> list[Formula]:
        """The negation, the assumptions, and what inner products satisfy: minors up to size ``largest``."""
        layer, field = self.calculus.layer, self.field
        claim = map_atoms(self.calculus.claim, self._over_scalars)
        assumptions = map_atoms(self.calculus.assumptions, self._over_scalars)
        parts = [
            false_where(claim, lambda a: where(field, a, "false"), both, either),
            true_where(assumptions, lambda a: where(field, a, "true"), both, either),
        ]
        parts += [("ge", (self.scalar(layer._m) - layer.domain.min_m).num)]
        for matrix in self._matrices():
            for size in range(2, min(len(matrix), largest) + 1):
                for rows in itertools.combinations(range(len(matrix)), size):
                    parts.append(("ge", field.cleared(determinant([[matrix[i][j] for j in rows] for i in rows]))))
        for (op,), total in ((w, t) for w, t in layer.space.traces.items() if len(w) == 1):
            if op in layer.space.semidefinite:  # no direction has more than the trace
                for a, word, b in list(layer.space.table):
                    if a == b and word == (op,):
                        square, along = layer.space.product(a, (), a), layer.space.product(a, word, a)
                        parts.append(("ge", field.cleared(self.scalar(total * square - along))))
        parts += self._bounded_hessian(largest)
        if layer.domain.gradient == "unit-entries":
            parts.append(("ge", field.cleared(self.scalar(layer._m - layer.space.product("g", (), "g")))))
        variance = layer.var.value
        if variance.free_symbols:
            parts.append(("ge", field.cleared(self.scalar(variance))))
        generators = field.context.gens()
        parts += [root_equation(field, i) for i in field.roots if i not in field.partial]
        signs = {"positive": "gt", "nonnegative": "ge", "nonzero": "ne"}
        parts += [(signs[s], generators[i]) for i, s in enumerate(field.signs) if s != "any"]
        for name, kind in layer.domain.scalars.items():
            if kind == "unit":
                parts.append(("ge", (1 - self.scalar(layer.scalar(name).value)).num))
        return [p for p in parts if p[0] in ("and", "or") or not p[1].is_constant() or p[0] == "gt"]

    def _bounded_hessian(self, largest: int) -> list[Formula]:
        """||H|| <= b: minors of b G - T, b G + T and b^2 G - T2 with G = <u, v>, T = <u, H v>, T2 = <u, H H v>."""
        layer, space = self.calculus.layer, self.calculus.layer.space
        bound = layer.smoothness
        if bound is None:
            return []
        names = sorted({n for a, word, b in list(space.table) if set(word) == {"H"} for n in (a, b) if n[0] != "("})[:4]
        matrices = []
        for word, factor, signs in ((("H",), bound, (1, -1)), (("H", "H"), bound**2, (1,))):
            for sign in signs:
                matrices.append(
                    [
                        [
                            self.scalar(factor * space.product(a, (), b) - sign * space.product(a, word, b))
                            for b in names
                        ]
                        for a in names
                    ]
                )
        return [
            ("ge", self.field.cleared(determinant([[matrix[i][j] for j in rows] for i in rows])))
            for matrix in matrices
            for size in range(1, min(len(matrix), largest) + 1)
            for rows in itertools.combinations(range(len(matrix)), size)
        ]

    def _matrices(self) -> list[list[list[Scalar]]]:
        """Gram matrices of the vectors that occur, and the tables <u, K v> of semidefinite operators."""
        space = self.calculus.layer.space
        keys = [key for key in space.table if not key[0].startswith("(") and not key[2].startswith("(")]
        words = {"": (), **{op: (op,) for _, word, _ in keys for op in word}}
        tables = []
        plain = {(n, ()) for a, w, b in keys if not w for n in (a, b)}
        for op, word in words.items():
            moved = {(n, word) for a, w, b in keys if op and w == (op, op) for n in (a, b)}
            if op and moved:
                plain |= moved | {(n, ()) for n, _ in moved}
            if op in space.semidefinite:
                names = sorted({n for a, w, b in keys if w == (op,) for n in (a, b)})
                tables.append([[self.scalar(space.product(a, word, b)) for b in names] for a in names])
        atoms = sorted(plain | {("one", ()), ("y_hat", ())} if plain else plain)[:6]
        tables.append([[self.scalar(space.product(a, (*reversed(v), *w), b)) for b, w in atoms] for a, v in atoms])
        return [t for t in tables if t]


def gram_problem(calculus: Calculus) -> GramProblem:
    """The claim's negation over its inner products."""
    return GramProblem(calculus)
