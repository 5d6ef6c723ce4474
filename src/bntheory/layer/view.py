"""What a claim's function is handed, in every world: the words of the vocabulary and what Python's operators mean
between them.

The worlds in which a claim is judged have number types of their own: polynomials, symbols, balls, arrays. ``==``,
``if``, ``max`` and ``np.sqrt`` would do something else in each of them, sometimes without a word. So a claim never
meets these types. It is handed the scalars and vectors of :mod:`bntheory.layer.parts`, which mean the same in every
world, or raise an error that names the word to write. An error counts even where the claim's own code catches it.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from bntheory.errors import ClaimError, OutsideVocabulary, Signal, UserError
from bntheory.layer.constants import exact, too_long
from bntheory.layer.domain import LayerDomain
from bntheory.layer.parts import Function, Part, ScalarValue, VectorValue
from bntheory.layer.relations import Relation, Statement, as_statement
from bntheory.layer.three_valued import map_atoms
from bntheory.layer.vocabulary import stated
from bntheory.layer.words import WORDS, Word, nearest

_PACKAGE = Path(__file__).parents[1]


def state(function: Callable[[Any], Any], world: Any, domain: LayerDomain | None = None) -> Statement:
    """The statement that a claim's function makes about a world's layer, its sides numbers of that world.

    Raises ClaimError, which names the line, where the function breaks or returns no statement. What the world itself
    raises passes (an ArithmeticError: a division by zero at this layer); it is no mistake of the claim.
    """
    view = View(world, domain)
    within = stated.set(lambda x: view._wrapped(view._constant(x, "the argument of sqrt"), "scalar"))
    try:
        statement = as_statement(function(view))  # a generator runs here
        if view._raised is not None:
            raise view._raised
        told: Statement = map_atoms(statement, lambda relation: _relation_in_world(view, relation))
        return told
    except (Exception, SystemExit) as error:
        first = view._raised or error
        if view._from_world or isinstance(first, (OutsideVocabulary, Signal, UserError)):
            raise first from None
        raise ClaimError(f"{_said(first)}{_place(first, function)}") from first
    finally:
        stated.reset(within)


def _said(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"SystemExit: the claim calls exit({error.code!r:.40})"
    return f"{type(error).__name__}: {error}"


def _place(error: BaseException, function: Any) -> str:
    """Where in the claim's own code an error arose: the last line of its file in the traceback, or where the function begins."""
    code = _code(function)
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if code is not None and f.filename == code.co_filename]
    foreign = [f for f in frames if not Path(f.filename).is_relative_to(_PACKAGE) and "/lib/" not in f.filename]
    for found in (own, foreign):
        if found:
            return f" ({_shown(found[-1].filename)}:{found[-1].lineno})"
    return where_defined(function)


def _code(function: Any) -> Any:
    return getattr(getattr(function, "func", function), "__code__", None)


def where_defined(function: Any) -> str:
    """ " (file:line)", or "" where a function was not written in a file."""
    code = _code(function)
    return "" if code is None else f" ({_shown(code.co_filename)}:{code.co_firstlineno})"


def _shown(filename: str) -> str:
    path = Path(filename)
    return str(path.relative_to(_PACKAGE.parent)) if path.is_relative_to(_PACKAGE) else filename


def _relation_in_world(view: View, s: Relation) -> Relation:
    """A relation between parts of the view as one between numbers of its world."""
    vectors = isinstance(s.left, VectorValue), isinstance(s.right, VectorValue)
    if any(vectors):
        if s.op != "eq":
            raise TypeError(
                f"{s.op}(a, b) compares numbers; vectors can only be equal, eq(u, v), or compared by norm2(v)"
            )
        other = s.right if vectors[0] else s.left
        if not all(vectors) and view._constant(other, "a side of eq(u, v)") != 0:
            raise TypeError("a vector is compared with a scalar; norm2(v) or dot(u, v) make a scalar of a vector")
    denies = None if s.denies is None else _relation_in_world(view, s.denies)
    left, right = (view._unwrapped(side, f"a side of {s.op}(a, b)") for side in (s.left, s.right))
    return Relation(s.op, left, right, s.label, denies)


class View:
    """The layer of a claim: the words of :data:`~bntheory.layer.words.WORDS`, and the free quantities of its domain."""

    __slots__ = ("_domain", "_exact", "_from_world", "_numbers", "_raised", "_world")

    def __init__(self, world: Any, domain: LayerDomain | None) -> None:
        floats = getattr(world.gamma, "dtype", None)
        values = {
            "_world": world,
            "_domain": domain,
            "_exact": str(floats) in ("None", "object"),
            "_numbers": {},
            "_raised": None,
            "_from_world": False,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    # -- what a claim may ask --------------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        word = WORDS.get(name)
        if word is None or word.helper:
            raise self._refusal(AttributeError, _unknown_word(name))
        if word.takes is not None:
            return Function(self, name, word)
        return self._wrapped(self._do(getattr, self._world, name), word.kind)

    def scalar(self, name: str) -> ScalarValue:
        """A free scalar of the domain."""
        self._declared("scalar", name)
        return self._scalar(self._do(self._world.scalar, name))

    def vector(self, name: str) -> VectorValue:
        """A free vector of the domain."""
        self._declared("vector", name)
        return VectorValue(self, self._do(self._world.vector, name))

    def operator(self, name: str) -> Function:
        """A free symmetric operator of the domain."""
        self._declared("operator", name)
        return Function(self, name, Word("vector", "", ("vector",)), self._do(self._world.operator, name))

    def __setattr__(self, name: str, value: Any) -> None:
        raise self._refusal(AttributeError, f"layer.{name} cannot be set: a claim states relations and changes nothing")

    # -- inside ------------------------------------------------------------------------------------------------------

    def _declared(self, what: Literal["scalar", "vector", "operator"], name: Any) -> None:
        why = "" if self._domain is None else self._domain.undeclared(what, name)
        if why:
            raise self._refusal(ValueError, why)

    def _do(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Let the world work. What it raises is remembered, so that a claim cannot swallow it."""
        try:
            return function(*arguments)
        except Exception as error:
            self._note(error, from_world=True)
            raise

    def _note(self, error: Exception, *, from_world: bool = False) -> None:
        if self._raised is None:
            object.__setattr__(self, "_raised", error)
            object.__setattr__(self, "_from_world", from_world)

    def _refusal(self, kind: type[Exception], message: str) -> Exception:
        error = kind(message)
        self._note(error)
        return error

    def _wrapped(self, raw: Any, kind: str) -> Any:
        return VectorValue(self, raw) if kind == "vector" else self._scalar(raw)

    def _scalar(self, raw: Any) -> ScalarValue:
        return ScalarValue(self, Fraction(raw) if isinstance(raw, int) else raw)

    def _constant(self, x: Any, what: str) -> Fraction:
        """A Python number as an exact fraction. TypeError, which calls it ``what``, for anything else."""
        try:
            c = exact(x)
            if why := too_long(c):
                raise ValueError(why)
            return c
        except ValueError as error:
            raise self._refusal(ValueError, str(error)) from None
        except TypeError:
            pass
        if isinstance(x, bool):
            raise self._refusal(
                TypeError,
                f"{what} is the truth value {x}; write implies(hypothesis, conclusion) for a case distinction",
            )
        if getattr(x, "shape", ()):
            raise self._refusal(
                TypeError,
                f"{what} is an array of shape {tuple(x.shape)}: a claim speaks of every batch size, so its vectors are the layer's, "
                "or free ones: LayerDomain(vectors=...), layer.vector(NAME)",
            )
        raise self._refusal(
            TypeError, f"{what} is a {type(x).__name__} ({x!r:.60}), neither a number nor a part of the layer"
        )

    def _number(self, c: Fraction) -> Any:
        """A constant for the world to calculate with: exact where the world is."""
        if c not in self._numbers:
            try:
                self._numbers[c] = c if self._exact else float(c)
            except OverflowError:
                digits = len(str(abs(c.numerator)))
                raise self._refusal(
                    OutsideVocabulary, f"a number with {digits} digits is too large for floats"
                ) from None
        return self._numbers[c]

    def _in_world(self, c: Fraction) -> Any:
        """A constant as a scalar of the world's own type."""
        return self._do(lambda: self._world.gamma * 0 + self._number(c))

    def _unwrapped(self, x: Any, what: str) -> Any:
        if isinstance(x, Part):
            if x._view is not self:
                raise self._refusal(
                    TypeError,
                    f"{what} was kept from another call of the claim; take it from the layer that this call was given",
                )
            x = x._raw
            return self._number(x) if isinstance(x, Fraction) else x
        return self._number(self._constant(x, what))


def _unknown_word(name: str) -> str:
    if name in ("max_eig", "min_eig"):
        return (
            f"{name} is a word of typed claims; in a file a bound on all eigenvalues of A is stated with a free vector u: "
            "le(layer.dot(u, A(u)), b * layer.norm2(u))"
        )
    if name in WORDS and WORDS[name].takes != ("operator",):
        arguments = "x" if name == "sqrt" else "layer, v"
        return f"layer.{name} is written {name}({arguments}); from bntheory import {name}"
    hint = nearest("lambda_max" if name in WORDS else name) or "`bntheory words` lists the words"
    return f"layer.{name} is no word of the vocabulary; {hint}"
