"""Formal vectors and their inner products, for a symbolic batch size.

A vector is a combination of *atoms*: a named vector with a word of symmetric operators applied to it, ``H K g``. Inner
products reduce to a table of scalars: by symmetry <H u, K v> = <u, H K v>, read from whichever end comes first in
lexical order. Nothing here knows of normalisation.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import comb, prod
from typing import Any

import sympy as sp

from bntheory.errors import OutsideVocabulary
from bntheory.layer.constants import exact, too_long
from bntheory.layer.number import Number, between
from bntheory.layer.relations import Uncompared

#: (name, word): the operators of the word applied to the named vector, the last one first
Atom = tuple[str, tuple[str, ...]]
Key = tuple[str, tuple[str, ...], str]  # <u, word v>


class Expression(Uncompared, Number):
    """A scalar: a sympy expression with the operators that a claim may use."""

    __slots__ = ("value",)
    __array_ufunc__ = None

    def __init__(self, value: Any) -> None:
        self.value = sp.sympify(value)

    def _own(self, x: Any) -> Any:
        return x if isinstance(x, Expression) else Expression(_value(x))

    @between
    def __add__(self, x: Any) -> Any:
        return Expression(self.value + x.value)

    @between
    def __mul__(self, x: Any) -> Any:
        return Expression(self.value * x.value)

    @between
    def __truediv__(self, x: Any) -> Any:
        return Expression(_quotient(self.value, x.value))

    def __neg__(self) -> Expression:
        return Expression(-self.value)

    def __pow__(self, n: Any) -> Expression:
        power = _value(n)
        if not power.is_Integer:
            raise OutsideVocabulary(f"the power {n}: only whole powers and sqrt are in the vocabulary")
        return Expression(self.value**power if power >= 0 else _quotient(1, self.value ** (-power)))

    def sqrt(self) -> Expression:
        """The non-negative square root."""
        refuse_large(self.value)
        return Expression(_root(factored(self.value)))

    def __repr__(self) -> str:
        return str(self.value)


def _value(x: Any) -> Any:
    """A scalar or a number as a sympy expression."""
    if isinstance(x, Expression):
        return x.value
    if isinstance(x, sp.Expr):
        return x
    number = exact(x)
    return sp.Rational(number.numerator, number.denominator)


_MOST_TERMS, _HIGHEST_DEGREE = 20_000, 64


def factored(x: Any) -> Any:
    """x as a product of irreducible polynomials.

    sympy evaluates it at points that it draws. With some of them, one draw in a few hundred, it takes for ever, so it
    is made to draw the same ones every time.
    """
    from sympy.core.random import rng

    before = rng.getstate()
    rng.seed(0)
    try:
        return sp.factor(x)
    finally:
        rng.setstate(before)


def refuse_large(x: Any) -> None:
    """OutsideVocabulary for what would have too many terms, or too long numbers, if it were multiplied out."""
    if _degree(x) > _HIGHEST_DEGREE:
        raise OutsideVocabulary(f"a power beyond {_HIGHEST_DEGREE} has no readable normal form")
    if _terms(x)[0] > _MOST_TERMS:
        raise OutsideVocabulary(f"an expression of more than {_MOST_TERMS} terms has no readable normal form")
    if any(too_long(Fraction(c.p, c.q) ** max(1, _degree(x))) for c in x.atoms(sp.Rational)):
        raise OutsideVocabulary("numbers of so many digits have no readable normal form")


def _degree(x: Any) -> int:
    parts = [_degree(part) for part in x.args] if x.is_Add or x.is_Mul else []
    if x.is_Pow and x.exp.is_Integer:
        return abs(int(x.exp)) * _degree(x.base)
    return (max if x.is_Add else sum)(parts) if parts else 1


def _terms(x: Any) -> tuple[int, dict[Any, int]]:
    """An upper bound on the terms of the numerator over a common denominator, and the factors of that denominator."""
    if x.is_Add or x.is_Mul:
        parts = [_terms(part) for part in x.args]
        below: dict[Any, int] = {}
        for _, factors in parts:
            for base, power in factors.items():
                below[base] = max(below.get(base, 0), power) if x.is_Add else below.get(base, 0) + power
        if x.is_Mul:
            return prod(min(top, _MOST_TERMS + 1) for top, _ in parts), below
        return sum(top * _expanded(below, own) for top, own in parts), below
    if x.is_Pow and x.exp.is_Integer:
        n, (top, below) = abs(int(x.exp)), _terms(x.base)
        if x.exp > 0:
            return comb(min(top, _MOST_TERMS) + n - 1, n), {base: n * power for base, power in below.items()}
        return _expanded({base: n * power for base, power in below.items()}, {}), {x.base: n}
    return 1, {}


def _expanded(factors: dict[Any, int], without: dict[Any, int]) -> int:
    """The terms of a product of powers, less what is divided out."""
    powers = ((base, power - without.get(base, 0)) for base, power in factors.items())
    sizes = ((len(sp.Add.make_args(base)), power) for base, power in powers if power > 0)
    return min(prod(comb(size + power - 1, power) for size, power in sizes), _MOST_TERMS + 1)


def _root(x: Any) -> Any:
    """sqrt(x). Where sympy takes it factor by factor, a factor whose sign is open may stand under its root only beside
    positive ones: sqrt(a^2 b) is 0 at a = 0 whatever b is, and a sqrt(b) is not."""
    root = sp.sqrt(x)
    half = sp.Rational(1, 2)
    loose = [p for p in root.atoms(sp.Pow) if p.exp in (half, -half) and not p.base.is_nonnegative]
    if root.has(sp.I) or (loose and not (len(loose) == 1 and (root / loose[0]).is_positive)):
        raise OutsideVocabulary("the root of a product, of which a factor may be negative")
    return root


def _quotient(a: Any, b: Any) -> Any:
    """a/b. OutsideVocabulary for b = 0, which has no normal form: what a claim says there, coordinates decide."""
    if b == 0:
        raise OutsideVocabulary("a division by zero")
    return a / b


class FormalVector:
    """A combination of atoms with sympy coefficients."""

    __slots__ = ("space", "terms")
    __array_ufunc__ = None

    def __init__(self, space: Space, terms: Mapping[Atom, Any]) -> None:
        self.space = space
        self.terms = {atom: c for atom, c in terms.items() if c != 0}

    def __add__(self, other: FormalVector) -> FormalVector:
        terms = dict(self.terms)
        for atom, c in other.terms.items():
            terms[atom] = terms.get(atom, sp.Integer(0)) + c
        return FormalVector(self.space, terms)

    def scaled(self, factor: Any) -> FormalVector:
        """The vector times a sympy expression."""
        return FormalVector(self.space, {atom: c * factor for atom, c in self.terms.items()})

    def __neg__(self) -> FormalVector:
        return self.scaled(-1)

    def __sub__(self, other: FormalVector) -> FormalVector:
        return self + other.scaled(-1)

    def norm2(self) -> Expression:
        """The squared Euclidean norm."""
        return Expression(self.space.dot(self, self))

    def __mul__(self, factor: Any) -> FormalVector:
        return self.scaled(_value(factor))

    __rmul__ = __mul__

    def __truediv__(self, factor: Any) -> FormalVector:
        return self.scaled(_quotient(1, _value(factor)))

    def reduced(self) -> FormalVector:
        """Every coefficient in lowest terms; coefficients that cancel are gone."""
        return FormalVector(self.space, {atom: sp.cancel(c) for atom, c in self.terms.items()})


class Space:
    """The table of inner products. ``known`` holds those that are no new symbols."""

    def __init__(self) -> None:
        self.known: dict[Key, Any] = {}
        self.table: dict[Key, sp.Symbol] = {}
        self.traces: dict[tuple[str, ...], Any] = {}  # of a word of operators; the empty word's is m
        self.named: dict[str, str] = {}  # name -> LaTeX, of vectors and operators
        self._texts: set[str] = set()  # of all symbols
        self.semidefinite: set[str] = set()

    def symbol(self, text: str, **assumptions: bool) -> sp.Symbol:
        """A new scalar, with primes where another has the same text."""
        while text in self._texts:
            text += "'"
        self._texts.add(text)
        return sp.Symbol(text, **assumptions)

    def show(self, name: str, latex: str) -> None:
        """Note the LaTeX of a vector or an operator, with primes where another has the same."""
        if name not in self.named:
            while latex in self.named.values():
                latex += "'"
            self.named[name] = latex

    def vector(self, name: str, latex: str | None = None) -> FormalVector:
        """A named vector."""
        self.show(name, latex or name)
        return FormalVector(self, {(name, ()): sp.Integer(1)})

    def zero(self) -> FormalVector:
        """The zero vector."""
        return FormalVector(self, {})

    def apply(self, operator: str, v: FormalVector) -> FormalVector:
        """A symmetric operator applied to a vector."""
        return FormalVector(self, {(name, (operator, *word)): c for (name, word), c in v.terms.items()})

    def dot(self, u: FormalVector, v: FormalVector) -> Any:
        """<u, v> as a sympy expression."""
        total = sp.Integer(0)
        for (a, left), c in u.terms.items():
            for (b, right), d in v.terms.items():
                total += c * d * self.product(a, (*reversed(left), *right), b)
        return total

    def product(self, a: str, word: tuple[str, ...], b: str) -> Any:
        """<a, word b>, from the table."""
        key = min((a, word, b), (b, tuple(reversed(word)), a))
        if key in self.known:
            return self.known[key]
        if key not in self.table:
            self.table[key] = self._symbol(key)
        return self.table[key]

    def trace(self, bilinear: Any, left: str, right: str) -> Any:
        """The trace of the map A with <left, A right> = ``bilinear``: the contraction of the two named vectors.

        <left, W right> becomes tr W, and <left, W a> <right, V b> becomes <W a, V b>.
        """
        expanded = sp.expand(bilinear)
        entries = {k: s for k, s in list(self.table.items()) if left in (k[0], k[2]) or right in (k[0], k[2])}
        total, rest = sp.Integer(0), expanded
        for (a, word, b), symbol in entries.items():
            if {a, b} == {left, right}:
                coefficient = expanded.coeff(symbol)
                total += coefficient * self._trace_of(word)
                rest -= coefficient * symbol
        single = [(k, s) for k, s in entries.items() if not {k[0], k[2]} <= {left, right}]
        for one, symbol in (pair for pair in single if left in pair[0]):
            along = expanded.coeff(symbol)
            for other, second in (pair for pair in single if right in pair[0]):
                coefficient = sp.expand(along).coeff(second)
                if coefficient != 0:
                    (u, from_left), (v, from_right) = _seen_from(one, left), _seen_from(other, right)
                    total += coefficient * self.product(u, (*reversed(from_left), *from_right), v)
                    rest -= coefficient * symbol * second
        if sp.expand(rest) != 0:
            raise OutsideVocabulary("the trace of a map that is not linear")
        return total

    def _trace_of(self, word: tuple[str, ...]) -> Any:
        """tr of a product of symmetric operators: the same for its cyclic shifts and for its reverse."""
        turned = [word[i:] + word[:i] for i in range(max(1, len(word)))]
        word = min([*turned, *(tuple(reversed(w)) for w in turned)])
        if word not in self.traces:
            positive = (len(word) == 1 and word[0] in self.semidefinite) or (len(word) == 2 and word[0] == word[1])
            text = rf"\operatorname{{tr}} {' '.join(self.named.get(operator, operator) for operator in word)}"
            self.traces[word] = self.symbol(text, **({"nonnegative": True} if positive else {"real": True}))
        return self.traces[word]

    def _symbol(self, key: Key) -> sp.Symbol:
        a, word, b = key
        middle = "".join(f"{self.named.get(operator, operator)} " for operator in word)
        text = rf"\langle {self.named.get(a, a)}, {middle}{self.named.get(b, b)} \rangle"
        palindrome = a == b and word == tuple(reversed(word))
        half = word[len(word) // 2] if len(word) % 2 else ""
        if palindrome and (not half or half in self.semidefinite):
            return self.symbol(text, nonnegative=True)
        return self.symbol(text, real=True)


def _seen_from(key: Key, name: str) -> Atom:
    """<name, word u> as the atom word u, from whichever end the table has it."""
    a, word, b = key
    return (b, word) if a == name else (a, tuple(reversed(word)))
