"""A claim's divisors and radicands in the words of the claim itself.

The claim's function is run over a layer whose every quantity knows how it is written. So a proof can say where it
holds as its reader would, "wherever norm2(input_grad) != 0", and not in coordinates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from bntheory.layer.constants import exact

__all__ = ["Guard", "guards_of"]

_LATEX = {
    "gamma": r"\gamma", "beta": r"\beta", "eps": r"\varepsilon", "mu": r"\mu", "sigma": r"\sigma",
    "var": r"\mathrm{var}", "one": "1", "y_hat": r"\hat y", "grad": "g", "input_grad": r"\nabla_y \hat L",
    "hess": "H", "input_hess": r"\nabla_y^2 \hat L",
}  # fmt: skip
_SUM, _PRODUCT, _SIGN, _POWER, _ATOM = range(5)


@dataclass(frozen=True)
class Guard:
    """Something that must not vanish, or not be negative: its value in the layer's own world, and how it is written."""

    kind: Literal["nonzero", "nonnegative"]
    value: Any
    text: str
    latex: str

    @property
    def condition(self) -> str:
        """In the words of the vocabulary."""
        return f"{self.text} {'!= 0' if self.kind == 'nonzero' else '>= 0'}"

    @property
    def condition_latex(self) -> str:
        """As LaTeX."""
        return rf"{self.latex} {chr(92)}{'ne' if self.kind == 'nonzero' else 'ge'} 0"


def guards_of(check: Callable[[Any], Any], layer: Any) -> list[Guard]:
    """Every divisor and radicand of a claim over ``layer``, in the order in which they are met; each once."""
    spelled = _SpelledLayer(layer)
    check(spelled)
    return list({(guard.kind, guard.text): guard for guard in spelled._guards}.values())


class _SpelledLayer:
    """The layer, with every quantity wrapped."""

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        self._guards: list[Guard] = []

    def _named(self, name: str, value: Any) -> Any:
        if callable(value):
            return _SpelledFunction(self, name, value)
        bare = name.removesuffix("@case")
        return _Spelled(
            self, value, name, _LATEX.get(name, bare if len(bare) == 1 else rf"\mathrm{{{bare}}}")
        )

    def __getattr__(self, name: str) -> Any:
        return self._named(name, getattr(self._layer, name))

    def scalar(self, name: str) -> Any:
        return self._named(name, self._layer.scalar(name))

    def vector(self, name: str) -> Any:
        return self._named(name, self._layer.vector(name))

    def operator(self, name: str) -> Any:
        return self._named(name, self._layer.operator(name))

    def _applied(self, name: str, function: Callable[..., Any], arguments: Iterable[Any]) -> Any:
        spelled = [a if isinstance(a, _SpelledFunction) else _as_spelled(self, a) for a in arguments]
        value = function(*(s.value for s in spelled))
        text, inside = f"{name}({', '.join(s.text for s in spelled)})", ", ".join(s.latex for s in spelled)
        latex = {
            "dot": rf"\langle {inside} \rangle",
            "norm2": rf"\|{inside}\|^2",
            "sqrt": rf"\sqrt{{{inside}}}",
        }.get(name, rf"{_LATEX.get(name, chr(92) + 'mathrm{' + name + '}')}\left({inside}\right)")
        return _spell(self, value, text, latex)

    def _guard(self, kind: Literal["nonzero", "nonnegative"], x: _Spelled) -> None:
        self._guards.append(Guard(kind, x.value, x.text, x.latex))


class _SpelledFunction:
    """A function of the vocabulary, or a free operator."""

    def __init__(self, layer: _SpelledLayer, name: str, value: Callable[..., Any]) -> None:
        self.layer, self.value, self.text = layer, value, name
        self.latex = _LATEX.get(name, rf"\mathrm{{{name}}}")

    def __call__(self, *arguments: Any) -> Any:
        return self.layer._applied(self.text, self.value, arguments)


class _Spelled:
    """A scalar or a vector, how it is written, and how tightly what was written last binds."""

    __slots__ = ("binds", "latex", "layer", "text", "value")
    __array_ufunc__ = None

    def __init__(self, layer: _SpelledLayer, value: Any, text: str, latex: str, binds: int = _ATOM) -> None:
        self.layer, self.value, self.text, self.latex, self.binds = layer, value, text, latex, binds

    def _within(self, binds: int) -> tuple[str, str]:
        tight = self.binds >= binds
        return (self.text, self.latex) if tight else (f"({self.text})", rf"\left({self.latex}\right)")

    def _joined(self, other: Any, op: str, value: Any, sign: str, binds: int, right: int) -> _Spelled:
        x = _as_spelled(self.layer, other)
        if (op, self.text) == (" + ", "0"):  # how a number becomes a scalar of the layer's
            return _spell(self.layer, value, x.text, x.latex, x.binds)
        if (op, x.text) in (("*", "0"), ("/", "1")):
            same = x if op == "*" else self
            return _spell(self.layer, value, same.text, same.latex, same.binds)
        (a, la), (b, lb) = self._within(binds), x._within(right)
        latex = rf"\frac{{{self.latex}}}{{{x.latex}}}" if op == "/" else la + sign + lb
        return _spell(self.layer, value, f"{a}{op}{b}", latex, binds)

    def __add__(self, x: Any) -> _Spelled:
        return self._joined(x, " + ", self.value + _value(x), " + ", _SUM, _SUM)

    def __radd__(self, x: Any) -> _Spelled:
        return _as_spelled(self.layer, x) + self

    def __sub__(self, x: Any) -> _Spelled:
        return self._joined(x, " - ", self.value - _value(x), " - ", _SUM, _PRODUCT)

    def __rsub__(self, x: Any) -> _Spelled:
        return _as_spelled(self.layer, x) - self

    def __mul__(self, x: Any) -> _Spelled:
        return self._joined(x, "*", self.value * _value(x), r"\,", _PRODUCT, _PRODUCT)

    def __rmul__(self, x: Any) -> _Spelled:
        return _as_spelled(self.layer, x) * self

    def __truediv__(self, x: Any) -> _Spelled:
        divisor = _as_spelled(self.layer, x)
        if divisor is x:  # no number
            self.layer._guard("nonzero", divisor)
        return self._joined(divisor, "/", self.value / divisor.value, "", _PRODUCT, _SIGN)

    def __rtruediv__(self, x: Any) -> _Spelled:
        return _as_spelled(self.layer, x) / self

    def __pow__(self, n: Any) -> _Spelled:
        power = exact(_value(n))
        if power < 0:
            self.layer._guard("nonzero", self)
        if power == Fraction(1, 2):
            return self.sqrt()
        base, latex = self._within(_ATOM)
        return _spell(self.layer, self.value**power, f"{base}**{power}", f"{latex}^{{{power}}}", _POWER)

    def __neg__(self) -> _Spelled:
        text, latex = self._within(_SIGN)
        return _spell(self.layer, -self.value, f"-{text}", f"-{latex}", _SIGN)

    def __pos__(self) -> _Spelled:
        return self

    def sqrt(self) -> _Spelled:
        self.layer._guard("nonnegative", self)
        return _spell(self.layer, self.value.sqrt(), f"sqrt({self.text})", rf"\sqrt{{{self.latex}}}")


class _SpelledVector(_Spelled):
    """A vector, which knows its own length."""

    __slots__ = ()

    def norm2(self) -> _Spelled:
        return _spell(self.layer, self.value.norm2(), f"norm2({self.text})", rf"\|{self.latex}\|^2")


def _spell(layer: _SpelledLayer, value: Any, text: str, latex: str, binds: int = _ATOM) -> _Spelled:
    return (_SpelledVector if hasattr(value, "norm2") else _Spelled)(layer, value, text, latex, binds)


def _value(x: Any) -> Any:
    return x.value if isinstance(x, _Spelled) else x


def _as_spelled(layer: _SpelledLayer, x: Any) -> _Spelled:
    if isinstance(x, _Spelled):
        return x
    number = exact(x)
    binds = _ATOM if number.denominator == 1 and number >= 0 else _SUM
    return _spell(layer, layer._layer.gamma * 0 + number, str(number), str(number), binds)
