"""The scalars, vectors and functions of a layer as a claim sees them, the same in every world.

Each wraps the value with which its world calculates. A Python operator on them means what it says, or is refused with
a message that names the word to write in its place.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NoReturn, Protocol

from bntheory.errors import OutsideVocabulary
from bntheory.layer.constants import too_long
from bntheory.layer.number import OPERATIONS, BySign
from bntheory.layer.rational import root
from bntheory.layer.refusals import REFUSED, SIGNS
from bntheory.layer.vocabulary import sqrt
from bntheory.layer.words import Word, nearest

_HIGHEST_POWER = 64
_BY_A_VECTOR = "nothing can be divided by a vector; layer.norm2(v) is a scalar"


class Owner(Protocol):
    """What a part knows of the view (:class:`bntheory.layer.view.View`) that it belongs to."""

    _world: Any

    @property
    def norm2(self) -> Callable[[Any], ScalarValue]: ...
    def _do(self, function: Callable[..., Any], *arguments: Any) -> Any: ...
    def _refusal(self, kind: type[Exception], message: str) -> Exception: ...
    def _wrapped(self, raw: Any, kind: str) -> Any: ...
    def _constant(self, x: Any, what: str) -> Fraction: ...
    def _in_world(self, c: Fraction) -> Any: ...
    def _number(self, c: Fraction) -> Any: ...
    def _unwrapped(self, x: Any, what: str) -> Any: ...


class Part:
    """What scalars, vectors and functions of a layer have in common: what they refuse."""

    __slots__ = ("_raw", "_view")
    kind = "part"

    def __init__(self, view: Owner, raw: Any) -> None:
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
                TypeError, f"np.{ufunc.__name__}: {REFUSED['__array__']}; " + nearest(ufunc.__name__)
            )
        return meant(*(x if isinstance(x, Part) else self._view._constant(x, "an operand") for x in inputs))

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        part = next(x for x in arguments if isinstance(x, Part))
        name = getattr(function, "__name__", "")
        raise part._view._refusal(TypeError, f"torch.{name}: {REFUSED['__array__'].replace('numpy', 'torch')}")


def _refusing(name: str, message: str) -> Callable[..., Any]:
    def refuse(self: Part, *_: Any, **__: Any) -> NoReturn:
        raise self._view._refusal(TypeError, message.format(op=SIGNS.get(name)))

    refuse.__name__ = name
    return refuse


for _name, _message in REFUSED.items():
    setattr(Part, _name, _refusing(_name, _message))


class Function(Part):
    """A word that is applied, or a free operator."""

    __slots__ = ("_name", "_word")
    kind = "function"

    def __init__(self, view: Owner, name: str, word: Word, raw: Any = None) -> None:
        super().__init__(view, raw)
        self._name, self._word = name, word

    def __call__(self, *arguments: Any) -> Any:
        view, takes = self._view, self._word.takes or ()
        if len(arguments) != len(takes):
            raise view._refusal(
                TypeError, f"{self._name} takes {len(takes)} argument{'s' * (len(takes) != 1)}, not {len(arguments)}"
            )
        raws = []
        for x, kind in zip(arguments, takes, strict=True):
            if kind == "operator":
                raws.append(self._applied_by(x))
                continue
            if kind == "vector" and not isinstance(x, VectorValue):
                what = f"a {x.kind}" if isinstance(x, Part) else f"{x!r:.40}"
                raise view._refusal(TypeError, f"{self._name} takes a vector, not {what}")
            raws.append(view._unwrapped(x, f"the argument of {self._name}"))
        return view._wrapped(view._do(self._own(), *raws), self._word.kind)

    def _own(self) -> Any:
        """The world's function."""
        return self._raw or self._view._do(getattr, self._view._world, self._name)

    def _applied_by(self, x: Any) -> Any:
        if isinstance(x, Function) and x._word.is_operator and x._view is self._view:
            return x._own()
        raise self._view._refusal(
            TypeError, f"{self._name} takes layer.hess, layer.jac, layer.input_hess or a free operator, not {x!r:.60}"
        )

    def _no_sum(self, *_: Any) -> NoReturn:
        raise self._view._refusal(TypeError, f"{self._name} is a function of a vector: apply it, layer.{self._name}(v)")

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __pow__ = __neg__ = (
        _no_sum
    )


class ScalarValue(BySign, Part):
    """A number of the layer. A constant stays an exact fraction until it meets a number of the world."""

    __slots__ = ()
    kind = "scalar"

    def _raw_of(self, x: Any, sign: str) -> Any:
        """The other operand: a Fraction or a number of the world."""
        if isinstance(x, ScalarValue):
            if x._view is not self._view:
                self._view._unwrapped(x, "an operand")
            return x._raw
        if isinstance(x, Part):
            raise self._view._refusal(
                TypeError,
                f"a scalar {sign} a {x.kind}: write s*layer.one for a constant vector, layer.dot(u, v) or layer.norm2(v) for a scalar",
            )
        return self._view._constant(x, f"an operand of {sign}")

    def _with(self, sign: str, x: Any, turned: bool = False, operation: Callable[[Any, Any], Any] | None = None) -> Any:
        view, operation = self._view, operation or OPERATIONS[sign]
        if isinstance(x, VectorValue) and sign == "*":
            return x * self
        if isinstance(x, VectorValue) and sign == "/":
            raise view._refusal(TypeError, _BY_A_VECTOR)
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
            if why := too_long(result):
                raise view._refusal(OutsideVocabulary, why)
            return ScalarValue(view, result)
        a, b = (view._number(v) if isinstance(v, Fraction) else v for v in (a, b))
        return ScalarValue(view, view._do(operation, a, b))

    def __neg__(self) -> ScalarValue:
        return ScalarValue(self._view, self._view._do(operator.neg, self._raw))

    def __pos__(self) -> ScalarValue:
        return self

    def __pow__(self, exponent: Any, modulus: Any = None) -> Any:
        view = self._view
        if isinstance(exponent, Part) or modulus is not None:
            raise view._refusal(TypeError, REFUSED["__rpow__"])
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
            return self._with("**", self._raw, operation=lambda a, _: a ** int(n))
        return ScalarValue(view, view._do(operator.pow, self._raw, int(n)))

    def sqrt(self) -> ScalarValue:
        """The non-negative square root."""
        view = self._view
        raw = self._raw
        if isinstance(raw, Fraction):
            if (rational := root(raw)) is not None:
                return ScalarValue(view, rational)
            raw = view._in_world(raw)
        return ScalarValue(view, view._do(sqrt, raw))


class VectorValue(Part):
    """A vector of the layer."""

    __slots__ = ()
    kind = "vector"

    def _plus(self, x: Any, sign: int, word: str) -> VectorValue:
        view = self._view
        if isinstance(x, (int, float)) and not isinstance(x, bool) and x == 0:
            return self  # where a sum(...) starts
        if not isinstance(x, VectorValue):
            what = f"a {x.kind}" if isinstance(x, Part) else f"{x!r:.40}"
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
        if isinstance(x, Part) and not isinstance(x, ScalarValue):
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
        raise self._view._refusal(TypeError, _BY_A_VECTOR)

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
