"""What a claim's function is handed, in every world: the words of the vocabulary and what Python's operators mean between them.

The worlds in which a claim is judged have number types of their own: polynomials, symbols, balls, arrays. What ``==``, ``if``,
``max`` or ``np.sqrt`` would do differs from one to the next, and some of it is silent. A claim never meets them: it sees scalars and
vectors of this module, which do what is meant, the same everywhere, or raise one error that names the word to write. An error that
the claim itself catches counts all the same.
"""

from __future__ import annotations

import operator
import traceback
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

from bntheory.errors import ClaimError, OutsideVocabulary, Signal, UserError
from bntheory.layer.constants import exact
from bntheory.layer.domain import LayerDomain
from bntheory.layer.relations import AllOf, AnyOf, Relation, Statement, as_statement
from bntheory.layer.vocabulary import sqrt
from bntheory.layer.words import WORDS, Word, nearest

__all__ = ["ScalarValue", "VectorValue", "View", "state"]

_MOST_BITS, _HIGHEST_POWER = 20_000, 64
_PACKAGE = Path(__file__).parents[1]


def state(function: Callable[[Any], Any], world: Any, domain: LayerDomain | None = None) -> Statement:
    """The statement that a claim's function makes about a world's layer, its sides numbers of that world.

    Raises ClaimError, which names the line, where the function breaks or returns no statement. What the world itself raises passes
    (an ArithmeticError: a division by zero at this layer); it is no mistake of the claim.
    """
    view = View(world, domain)
    try:
        statement = as_statement(function(view))  # a generator runs here
        if view._raised is not None:
            raise view._raised
        return _own_numbers(view, statement)
    except (Exception, SystemExit) as error:
        first = view._raised or error
        if view._from_world or isinstance(first, (OutsideVocabulary, Signal, UserError)):
            raise first from None
        raise ClaimError(f"{_said(first)}{_place(first, function)}") from first


def _said(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"SystemExit: the claim calls exit({error.code!r:.40})"
    return f"{type(error).__name__}: {error}"


def _place(error: BaseException, function: Any) -> str:
    """Where in the claim's own code it happened: the last line of its file on the way, or where the function begins."""
    function = getattr(function, "func", function)
    code = getattr(function, "__code__", None)
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if code is not None and f.filename == code.co_filename]
    foreign = [
        f for f in frames if not Path(f.filename).is_relative_to(_PACKAGE) and "/lib/" not in f.filename
    ]
    for found in (own, foreign):
        if found:
            return f" ({_shown(found[-1].filename)}:{found[-1].lineno})"
    return "" if code is None else f" ({_shown(code.co_filename)}:{code.co_firstlineno})"


def _shown(filename: str) -> str:
    path = Path(filename)
    return str(path.relative_to(_PACKAGE.parent)) if path.is_relative_to(_PACKAGE) else filename


def _own_numbers(view: View, statement: Statement) -> Statement:
    if isinstance(statement, (AllOf, AnyOf)):
        return type(statement)(tuple(_own_numbers(view, part) for part in statement.parts))
    s = statement
    vectors = isinstance(s.left, VectorValue), isinstance(s.right, VectorValue)
    if any(vectors):
        if s.op != "eq":
            raise TypeError(
                f"{s.op}(a, b) compares numbers; vectors can only be equal, eq(u, v), or compared by norm2(v)"
            )
        other = s.right if vectors[0] else s.left
        if not all(vectors) and view._constant(other, "a side of eq(u, v)") != 0:
            raise TypeError(
                "a vector is compared with a scalar; norm2(v) or dot(u, v) make a scalar of a vector"
            )
    denies = s.denies
    if denies is not None:
        denies = _own_numbers(view, denies)  # type: ignore[assignment]
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
            return _Function(self, name, word)
        return self._wrapped(self._do(getattr, self._world, name), word.kind)

    def scalar(self, name: str) -> ScalarValue:
        """A free scalar of the domain."""
        self._declared("scalar", name)
        return self._wrapped(self._do(self._world.scalar, name), "scalar")  # type: ignore[no-any-return]

    def vector(self, name: str) -> VectorValue:
        """A free vector of the domain."""
        self._declared("vector", name)
        return self._wrapped(self._do(self._world.vector, name), "vector")  # type: ignore[no-any-return]

    def operator(self, name: str) -> _Function:
        """A free symmetric operator of the domain."""
        self._declared("operator", name)
        return _Function(self, name, Word("vector", "", ("vector",)), self._do(self._world.operator, name))

    def __setattr__(self, name: str, value: Any) -> None:
        raise self._refusal(
            AttributeError, f"layer.{name} cannot be set: a claim states relations and changes nothing"
        )

    # -- inside ------------------------------------------------------------------------------------------------------

    def _declared(self, what: str, name: Any) -> None:
        if self._domain is None:
            return
        known: Any = getattr(self._domain, what + "s")
        if name not in known:
            raise self._refusal(
                ValueError,
                f"the claim uses the free {what} {name!r}, which its LayerDomain does not declare (declared: "
                f"{', '.join(known) or 'none'}); add it to LayerDomain({what}s=...)",
            )

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
        if kind == "vector":
            return VectorValue(self, raw)
        return ScalarValue(self, Fraction(raw) if isinstance(raw, int) else raw)

    def _constant(self, x: Any, what: str) -> Fraction:
        """A number of Python's, exactly. TypeError says that ``what`` is none."""
        try:
            return exact(x)
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
        if isinstance(x, _Value):
            if x._view is not self:
                raise self._refusal(
                    TypeError,
                    f"{what} was kept from another call of the claim; take it from the layer that this call was given",
                )
            x = x._raw
            return self._number(x) if isinstance(x, Fraction) else x
        return self._number(self._constant(x, what))


def _unknown_word(name: str) -> str:
    if name in WORDS:
        arguments = "x" if name == "sqrt" else "layer, v"
        return f"layer.{name} is written {name}({arguments}); from bntheory import {name}"
    hint = nearest(name) or "`bntheory words` lists the words"
    return f"layer.{name} is no word of the vocabulary; {hint}"


_NO_TRUTH = (
    "has no truth value: a claim speaks of every layer at once. Write implies(hypothesis, conclusion) for 'if', all_of(...) for 'and', "
    "any_of(...) for 'or', negate(...) for 'not'"
)
_NO_ORDER = (
    "between parts of a claim is not recorded (min, max, sorted and a < b < c use it as well): write le(a, b), lt(a, b), and "
    "all_of(...) for several; max(a, b) <= c is all_of(le(a, c), le(b, c))"
)
_NO_NUMBER = "asks for a number, and a part of a claim has none: it stands for every layer. Square roots are sqrt(x), from bntheory import sqrt"
_NO_ENTRIES = (
    "asks for single entries: a vector has as many as the batch, whatever its size. dot(e, v) with a free vector e@case is an "
    "entry, layer.dot(layer.one, v) the sum"
)
_ABS = (
    "|x| <= b is all_of(le(x, b), le(-x, b)), |x| >= b is any_of(ge(x, b), ge(-x, b)), and sqrt(x**2) is |x|"
)
_NO_WHOLE = "is no operation of real numbers in the vocabulary, which has + - * / ** and sqrt"

_REFUSED = {
    **dict.fromkeys(("__lt__", "__le__", "__gt__", "__ge__"), "{op} " + _NO_ORDER),
    "__eq__": "== between parts of a claim is not recorded ('in' uses it as well): write eq(a, b), and implies(eq(a, b), ...) for 'if a == b'",
    "__ne__": "!= between parts of a claim is not recorded: write any_of(lt(a, b), lt(b, a)), or negate(eq(a, b))",
    "__bool__": "a part of a claim " + _NO_TRUTH,
    "__hash__": "a part of a claim cannot be hashed (a set, a key, a cache): it stands for every layer and equals nothing; eq(a, b) states an equality",
    **{
        f"__{f}__": f"{f}() " + _NO_NUMBER
        for f in ("float", "int", "complex", "index", "round", "trunc", "floor", "ceil")
    },
    **{f"__{f}__": f"{f}() " + _NO_ENTRIES for f in ("len", "iter", "reversed")},
    **dict.fromkeys(("__getitem__", "__setitem__", "__contains__"), "an index " + _NO_ENTRIES),
    "__abs__": "abs() is no word of the vocabulary: " + _ABS,
    **{
        f"__{r}{f}__": f"{s} {_NO_WHOLE}"
        for r in ("", "r")
        for f, s in (("floordiv", "//"), ("mod", "%"), ("divmod", "divmod()"))
    },
    **dict.fromkeys(
        ("__matmul__", "__rmatmul__"),
        "@ is written layer.dot(u, v) for vectors, layer.hess(v) for the Hessian",
    ),
    **{
        f"__{r}{f}__": "a bit operation is no word of the vocabulary: write all_of(...), any_of(...), negate(...)"
        for r in ("", "r")
        for f in ("and", "or", "xor", "lshift", "rshift")
    },
    "__invert__": "~ is written negate(statement)",
    "__rpow__": "an exponent that is a part of the layer: powers are whole numbers or halves, x**2",
    "__array__": "a numpy function of a part of a claim: write + - * / ** and sqrt from bntheory, layer.dot(u, v), layer.norm2(v)",
    "_sympy_": "a sympy function of a part of a claim: write + - * / ** and sqrt from bntheory",
    "_mpmath_": "an mpmath function of a part of a claim: write + - * / ** and sqrt from bntheory",
}
_SIGNS = {"__lt__": "<", "__le__": "<=", "__gt__": ">", "__ge__": ">="}


class _Value:
    """What scalars, vectors and functions of a layer have in common: what they refuse."""

    __slots__ = ("_raw", "_view")
    kind = "part"

    def __init__(self, view: View, raw: Any) -> None:
        self._view, self._raw = view, raw

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("_raw", "_view"):
            raise AttributeError(name)
        hint = nearest(name) or "it adds, subtracts and scales; `bntheory words` lists the words"
        raise self._view._refusal(AttributeError, f"a {self.kind} of a claim has no .{name}; {hint}")

    def __repr__(self) -> str:
        return f"<a {self.kind} of the claim's layer: {self._raw!r:.200}>"

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """numpy's +, -, *, /, **, square and sqrt of numpy's numbers and parts of a layer are Python's."""
        meant = _UFUNCS.get(ufunc.__name__)
        if meant is None or method != "__call__" or options:
            raise self._view._refusal(
                TypeError, f"np.{ufunc.__name__}: {_REFUSED['__array__']}; " + nearest(ufunc.__name__)
            )
        return meant(*(x if isinstance(x, _Value) else self._view._constant(x, "an operand") for x in inputs))

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        part = next(x for x in arguments if isinstance(x, _Value))
        name = getattr(function, "__name__", "")
        raise part._view._refusal(
            TypeError, f"torch.{name}: {_REFUSED['__array__'].replace('numpy', 'torch')}"
        )


def _refusing(name: str, message: str) -> Callable[..., Any]:
    def refuse(self: _Value, *_: Any, **__: Any) -> NoReturn:
        raise self._view._refusal(TypeError, message.format(op=_SIGNS.get(name)))

    refuse.__name__ = name
    return refuse


for _name, _message in _REFUSED.items():
    setattr(_Value, _name, _refusing(_name, _message))


class _Function(_Value):
    """A word that is applied, or a free operator."""

    __slots__ = ("_name", "_word")
    kind = "function"

    def __init__(self, view: View, name: str, word: Word, raw: Any = None) -> None:
        super().__init__(view, raw)
        self._name, self._word = name, word

    def __call__(self, *arguments: Any) -> Any:
        view, takes = self._view, self._word.takes or ()
        if len(arguments) != len(takes):
            raise view._refusal(
                TypeError,
                f"{self._name} takes {len(takes)} argument{'s' * (len(takes) != 1)}, not {len(arguments)}",
            )
        raws = []
        for x, kind in zip(arguments, takes, strict=True):
            if kind == "operator":
                raws.append(self._applied_by(x))
                continue
            if kind == "vector" and not isinstance(x, VectorValue):
                what = f"a {x.kind}" if isinstance(x, _Value) else f"{x!r:.40}"
                raise view._refusal(TypeError, f"{self._name} takes a vector, not {what}")
            raws.append(view._unwrapped(x, f"the argument of {self._name}"))
        return view._wrapped(view._do(self._own(), *raws), self._word.kind)

    def _own(self) -> Any:
        """The world's function."""
        return self._raw or self._view._do(getattr, self._view._world, self._name)

    def _applied_by(self, x: Any) -> Any:
        if isinstance(x, _Function) and x._word.is_operator and x._view is self._view:
            return x._own()
        raise self._view._refusal(
            TypeError,
            f"{self._name} takes layer.hess, layer.jac, layer.input_hess or a free operator, not {x!r:.60}",
        )

    def _no_sum(self, *_: Any) -> NoReturn:
        raise self._view._refusal(
            TypeError, f"{self._name} is a function of a vector: apply it, layer.{self._name}(v)"
        )

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __pow__ = (
        __neg__
    ) = _no_sum


class ScalarValue(_Value):
    """A number of the layer. A constant stays an exact fraction until it meets a number of the world."""

    __slots__ = ()
    kind = "scalar"

    def _raw_of(self, x: Any, sign: str) -> Any:
        """The other operand: a Fraction or a number of the world."""
        if isinstance(x, ScalarValue):
            if x._view is not self._view:
                self._view._unwrapped(x, "an operand")
            return x._raw
        if isinstance(x, _Value):
            raise self._view._refusal(
                TypeError,
                f"a scalar {sign} a {x.kind}: write s*layer.one for a constant vector, layer.dot(u, v) or layer.norm2(v) for a scalar",
            )
        return self._view._constant(x, f"an operand of {sign}")

    def _with(
        self, x: Any, sign: str, operation: Callable[[Any, Any], Any], turned: bool = False
    ) -> ScalarValue:
        view = self._view
        a, b = self._raw, self._raw_of(x, sign)
        if turned:
            a, b = b, a
        constant = isinstance(a, Fraction), isinstance(b, Fraction)
        if sign == "/" and constant[1] and b == 0:  # undefined here: in the world's own way
            return ScalarValue(
                view, view._do(operator.truediv, view._in_world(a) if constant[0] else a, view._in_world(b))
            )
        if all(constant):
            result = operation(a, b)
            if max(result.numerator.bit_length(), result.denominator.bit_length()) > _MOST_BITS:
                raise view._refusal(OutsideVocabulary, "the numbers in the claim grow beyond 6000 digits")
            return ScalarValue(view, result)
        a, b = (view._number(v) if isinstance(v, Fraction) else v for v in (a, b))
        return ScalarValue(view, view._do(operation, a, b))

    def __add__(self, x: Any) -> Any:
        return self._with(x, "+", operator.add)

    __radd__ = __add__

    def __sub__(self, x: Any) -> Any:
        return self._with(x, "-", operator.sub)

    def __rsub__(self, x: Any) -> Any:
        return self._with(x, "-", operator.sub, turned=True)

    def __mul__(self, x: Any) -> Any:
        return x * self if isinstance(x, VectorValue) else self._with(x, "*", operator.mul)

    __rmul__ = __mul__

    def __truediv__(self, x: Any) -> Any:
        if isinstance(x, VectorValue):
            raise self._view._refusal(
                TypeError, "nothing can be divided by a vector; layer.norm2(v) is a scalar"
            )
        return self._with(x, "/", operator.truediv)

    def __rtruediv__(self, x: Any) -> Any:
        return self._with(x, "/", operator.truediv, turned=True)

    def __neg__(self) -> ScalarValue:
        return ScalarValue(self._view, self._view._do(operator.neg, self._raw))

    def __pos__(self) -> ScalarValue:
        return self

    def __pow__(self, exponent: Any, modulus: Any = None) -> Any:
        view = self._view
        if isinstance(exponent, _Value) or modulus is not None:
            raise view._refusal(TypeError, _REFUSED["__rpow__"])
        n = view._constant(exponent, "an exponent")
        if n.denominator == 2:
            return sqrt(self) ** int(2 * n)
        if n.denominator != 1 or abs(n) > _HIGHEST_POWER:
            raise view._refusal(
                TypeError,
                f"the power {exponent}: powers are whole numbers or halves, up to {_HIGHEST_POWER}; others are no words of the vocabulary",
            )
        if n < 0:
            return 1 / self ** int(-n)
        if isinstance(self._raw, Fraction):
            return self._with(self._raw, "**", lambda a, _: a ** int(n))
        return ScalarValue(view, view._do(operator.pow, self._raw, int(n)))

    def sqrt(self) -> ScalarValue:
        """The non-negative square root."""
        view = self._view
        raw = self._raw
        if isinstance(raw, Fraction):
            roots = [_whole_root(n) for n in (raw.numerator, raw.denominator)]
            if None not in roots:
                return ScalarValue(view, Fraction(*roots))  # type: ignore[arg-type]
            raw = view._in_world(raw)
        return ScalarValue(view, view._do(sqrt, raw))


def _whole_root(n: int) -> int | None:
    from math import isqrt

    root = isqrt(n) if n >= 0 else -1
    return root if root * root == n else None


class VectorValue(_Value):
    """A vector of the layer."""

    __slots__ = ()
    kind = "vector"

    def _plus(self, x: Any, sign: int, word: str) -> VectorValue:
        view = self._view
        if isinstance(x, (int, float)) and not isinstance(x, bool) and x == 0:
            return self  # where a sum(...) starts
        if not isinstance(x, VectorValue):
            what = f"a {x.kind}" if isinstance(x, _Value) else f"{x!r:.40}"
            raise view._refusal(
                TypeError,
                f"a vector and {what} cannot be {word}; write s*layer.one for a constant vector, layer.dot(u, v) for a scalar",
            )
        other = view._unwrapped(x, "an operand")
        return VectorValue(view, view._do(operator.add if sign > 0 else operator.sub, self._raw, other))

    def __add__(self, x: Any) -> Any:
        return self._plus(x, 1, "added")

    __radd__ = __add__

    def __sub__(self, x: Any) -> Any:
        return self._plus(x, -1, "subtracted")

    def __rsub__(self, x: Any) -> Any:
        return -self + x

    def __neg__(self) -> VectorValue:
        return VectorValue(self._view, self._view._do(operator.neg, self._raw))

    def __pos__(self) -> VectorValue:
        return self

    def _scaled(self, x: Any, operation: Callable[[Any, Any], Any]) -> VectorValue:
        view = self._view
        if isinstance(x, _Value) and not isinstance(x, ScalarValue):
            raise view._refusal(
                TypeError,
                f"a vector times or over a {x.kind}: layer.dot(u, v) is the inner product; entries are not multiplied",
            )
        factor = view._unwrapped(x, "a factor")
        if operation is operator.truediv and isinstance(factor, (Fraction, float)) and factor == 0:
            factor = view._in_world(Fraction(0))
        return VectorValue(view, view._do(operation, self._raw, factor))

    def __mul__(self, x: Any) -> Any:
        return self._scaled(x, operator.mul)

    __rmul__ = __mul__

    def __truediv__(self, x: Any) -> Any:
        return self._scaled(x, operator.truediv)

    def __rtruediv__(self, x: Any) -> NoReturn:
        raise self._view._refusal(TypeError, "nothing can be divided by a vector; layer.norm2(v) is a scalar")

    def __pow__(self, exponent: Any, modulus: Any = None) -> NoReturn:
        raise self._view._refusal(TypeError, "a vector has no power; layer.norm2(v) is its squared norm")

    def norm2(self) -> Any:
        """The squared Euclidean norm, as :func:`~bntheory.layer.relations.negate` needs it."""
        return self._view.norm2(self)


_UFUNCS: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "true_divide": operator.truediv,
    "power": operator.pow,
    "float_power": operator.pow,
    "negative": operator.neg,
    "positive": operator.pos,
    "square": lambda x: x**2,
    "sqrt": sqrt,
    "reciprocal": lambda x: 1 / x,
}
