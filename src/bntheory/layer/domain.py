"""Where a layer claim is asserted: the ranges of epsilon, gamma, the Hessian and the free quantities."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Literal, get_args

from bntheory.layer.constants import exact

EpsRange = Literal["zero", "positive", "any"]
ScalarRange = Literal["positive", "nonzero", "any", "nonnegative", "unit"]
HessianKind = Literal["any", "psd", "zero", "identity", "isotropic", "diagonal", "psd-diagonal"]
GradientKind = Literal["any", "unit-entries"]
OperatorKind = Literal["any", "psd"]
FREE = "free "  # before every free name where it stands among names of ours, so that no spelling makes two things one
Normaliser = Literal["batch", "mean-only", "rms", "frozen", "l1", "l2", "linf", "unbiased"]

# What a normaliser of practice is on one unit. An affine map with a gamma an entry belongs to the loss: then gamma = 1
# and z = y_hat.
IN_PRACTICE: Mapping[str, tuple[Normaliser, str]] = MappingProxyType(
    {
        "batch-norm": ("batch", "batch normalisation: y is one channel over the batch"),
        "layer-norm": ("batch", "layer normalisation: y is one sample's features"),
        "instance-norm": ("batch", "instance normalisation: y is one channel of one sample"),
        "group-norm": ("batch", "group normalisation: y is one group of channels of one sample"),
        "rms-norm": ("rms", "RMS normalisation: y is one sample's features"),
    }
)
# What a loss is to second order. The logistic loss itself is no function that real arithmetic has; its bounds are.
LOSSES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "squared": {"hessian": "identity"},  # any grad is z - t for some targets t
        "linear": {"hessian": "zero"},
        "logistic-bounds": {"hessian": "psd-diagonal", "smoothness": "1/4", "gradient": "unit-entries"},
    }
)
# Of the first two sigma has a derivative only so: every other batch is outside the domain.
_WHERE = {
    "l1": " where no entry equals the mean",
    "linf": " where one entry alone lies farthest from the mean",
    "frozen": " (by the mean and variance of y itself, held constant, and no running ones)",
}
_OUTSIDE = {
    "convex": "a convex loss is 'psd'",
    "smooth": "a bound b on the Hessian's norm is smoothness='b', --smoothness b",
    "logistic": "its derivatives are transcendental in z; 'logistic-bounds' is every loss with a diagonal Hessian between 0 and 1/4 "
    "and |g_i| <= 1, so what is proved there holds for the logistic loss",
    "softmax": "it couples the units; for one unit 'logistic-bounds' is every loss with a diagonal Hessian between 0 and 1/4 and |g_i| <= 1, "
    "so what is proved there holds for softmax cross-entropy",
    "weight-norm": "it divides by the norm of the weights, which y does not decide: write y/n with a free scalar n:positive",
    "spectral-norm": "it divides by a norm of the weights, which y does not decide: write y/n with a free scalar n:positive",
}

_NUMBER = re.compile(
    r"[0-9]{1,40}((\.[0-9]{1,40})?(?P<power>[eE][+-]?([12]?[0-9]{1,2}|300))?|/0{0,39}[1-9][0-9]{0,39})"
)


def _one_of(what: str, value: str, allowed: Any, more: Iterable[str] = ()) -> None:
    names = (*get_args(allowed), *more)
    if value not in names:
        near = _OUTSIDE.get(value) if isinstance(value, str) else None
        close = get_close_matches(str(value).lower().replace("_", "-"), names, n=1, cutoff=0.8)
        hint = (
            near
            or (f"did you mean {close[0]!r}? " if close else "") + f"it can be one of {', '.join(map(repr, names))}"
        )
        raise ValueError(f"LayerDomain: {what} is {value!r}; {hint}")


@dataclass(frozen=True)
class LayerDomain:
    """The layers over which a claim is quantified.

    eps: ``"zero"``, ``"positive"`` or ``"any"`` (>= 0). With eps = 0 the batch is never constant.
    gamma: ``"positive"``, ``"nonzero"`` or ``"any"``.
    hessian: ``"any"`` symmetric matrix, ``"psd"``, ``"zero"``, ``"identity"``, ``"isotropic"`` (h I, h real),
    ``"diagonal"``, ``"psd-diagonal"``.
    smoothness: an upper bound on the spectral norm of the Hessian, the name of a free scalar or a positive number such
    as ``"1/4"``: the loss is that smooth. gradient: ``"unit-entries"`` for |g_i| <= 1. loss: ``"squared"``,
    ``"linear"`` or ``"logistic-bounds"`` sets all three.
    min_m: least batch size, at least 2.
    normaliser: which member of :mod:`the family <bntheory.layer.family>` the layer is, or a name of practice
    (``"layer-norm"``, ``"instance-norm"``, ``"group-norm"``, ``"rms-norm"``, ``"batch-norm"``) for what it is on one
    unit; kept as the member.
    scalars, vectors, operators: free quantities by name. A scalar has a range (``"unit"`` is the closed interval
    [0, 1]); an operator is symmetric, ``"any"`` or ``"psd"``. A vector name ending in ``"@case"`` is a standard basis
    vector of the batch (one example singled out); any other vector is arbitrary.
    """

    eps: EpsRange = "any"
    gamma: ScalarRange = "any"
    hessian: HessianKind = "any"
    min_m: int = 2
    normaliser: Normaliser = "batch"
    scalars: Mapping[str, ScalarRange] = field(default_factory=dict)
    vectors: tuple[str, ...] = ()
    operators: Mapping[str, OperatorKind] = field(default_factory=dict)
    smoothness: Any = ""  # kept as text
    gradient: GradientKind = "any"
    loss: str = ""
    in_practice: str = field(default="", init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._check_types()
        _one_of("eps", self.eps, EpsRange)
        _one_of("gamma", self.gamma, ScalarRange)
        _one_of("hessian", self.hessian, HessianKind)
        if isinstance(self.normaliser, str) and self.normaliser in IN_PRACTICE:
            member, words = IN_PRACTICE[self.normaliser]
            object.__setattr__(self, "normaliser", member)
            object.__setattr__(self, "in_practice", words)
        _one_of("normaliser", self.normaliser, Normaliser, IN_PRACTICE)
        if self.normaliser == "linf" and self.eps != "zero":
            raise ValueError(
                f"LayerDomain: normaliser is 'linf' and eps is {self.eps!r}; normalisation by the largest entry has no standard form with "
                "eps > 0, so eps is 'zero'"
            )
        self._set_loss()
        _one_of("gradient", self.gradient, GradientKind)
        for name, kind in self.scalars.items():
            _one_of(f"the range of the scalar {name!r}", kind, ScalarRange)
        for name, op in self.operators.items():
            _one_of(f"the kind of the operator {name!r}", op, OperatorKind)
        if not isinstance(self.min_m, int) or isinstance(self.min_m, bool) or self.min_m < 2:
            raise ValueError(
                f"LayerDomain: min_m is {self.min_m!r}; a batch of one has no variance, so it is a whole number from 2 up"
            )
        names = [*self.scalars, *self.vectors, *self.operators]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"LayerDomain: the free name {twice[0]!r} is declared twice; give each its own name")
        object.__setattr__(self, "scalars", MappingProxyType(dict(self.scalars)))
        object.__setattr__(self, "operators", MappingProxyType(dict(self.operators)))
        object.__setattr__(self, "vectors", tuple(self.vectors))
        self._check_smoothness()

    def _set_loss(self) -> None:
        if not self.loss:
            return
        _one_of("loss", self.loss, Literal[()], LOSSES)
        for name, value in LOSSES[self.loss].items():
            given = getattr(self, name)
            if given not in ("any", "", value):
                raise ValueError(
                    f"LayerDomain: loss is {self.loss!r}, which has {name} = {value!r}, and {name} is given as {given!r}; leave one out"
                )
            object.__setattr__(self, name, value)

    def _check_smoothness(self) -> None:
        if not isinstance(self.smoothness, str):
            try:
                object.__setattr__(self, "smoothness", str(exact(self.smoothness)))
            except TypeError as error:
                raise ValueError(f"LayerDomain: smoothness: {error}") from None
        if not self.smoothness:
            return
        if self.hessian not in ("any", "psd", "diagonal", "psd-diagonal"):
            raise ValueError(
                f"LayerDomain: smoothness bounds a Hessian of which nothing else is known, and hessian is {self.hessian!r}"
            )
        if self.scalars.get(self.smoothness) in ("positive", "nonnegative", "unit"):
            return
        number = _NUMBER.fullmatch(self.smoothness)
        if number and number["power"] and (number := _NUMBER.fullmatch(str(Fraction(self.smoothness)))):
            object.__setattr__(self, "smoothness", number[0])  # 1e-3 is 1/1000, as where it is given as a number
        if self.smoothness in self.scalars or not number or Fraction(self.smoothness) <= 0:
            raise ValueError(
                f"LayerDomain: smoothness is {self.smoothness!r}; it is the name of a free scalar that is declared positive or "
                "nonnegative, or a positive number such as '1/4'"
            )

    def with_free(self, scalars: Mapping[str, ScalarRange], vectors: Iterable[str]) -> LayerDomain:
        """The domain with more free scalars and vectors; those that it has already keep their ranges."""
        every = tuple(dict.fromkeys((*self.vectors, *vectors)))
        changed = replace(self, scalars={**scalars, **self.scalars}, vectors=every)
        object.__setattr__(changed, "in_practice", self.in_practice)
        return changed

    def smoothness_in(self, scalar: Callable[[str], Any]) -> Any:
        """The bound on the Hessian's norm: ``scalar`` of its name, a Fraction, or None where there is no bound."""
        if not self.smoothness:
            return None
        return scalar(self.smoothness) if self.smoothness in self.scalars else Fraction(self.smoothness)

    def _check_types(self) -> None:
        for what in ("scalars", "operators"):
            declared = getattr(self, what)
            if not isinstance(declared, Mapping):
                example = "{'a': 'positive'}" if what == "scalars" else "{'K': 'psd'}"
                raise ValueError(
                    f"LayerDomain: {what} is {declared!r:.60}; it gives names their ranges: {what}={example}"
                )
        if isinstance(self.vectors, str) or not isinstance(self.vectors, Iterable):
            raise ValueError(f"LayerDomain: vectors is {self.vectors!r:.60}; it lists names: vectors=('u',)")
        for name in (*self.scalars, *self.vectors, *self.operators):
            if not isinstance(name, str):
                raise ValueError(f"LayerDomain: a free name is {name!r:.60}, a {type(name).__name__}; it is a text")

    def undeclared(self, what: Literal["scalar", "vector", "operator"], name: str) -> str:
        """Why a claim cannot use the free quantity of this name; empty where it is declared."""
        known: Collection[str] = {"scalar": self.scalars, "vector": self.vectors, "operator": self.operators}[what]
        if name in known:
            return ""
        return (
            f"the claim uses the free {what} {name!r}, which its LayerDomain does not declare (declared: "
            f"{', '.join(known) or 'none'}); add it to LayerDomain({what}s=...)"
        )

    def describe(self) -> str:
        """The domain in words, for tables and pages."""
        words = {"zero": "eps = 0", "positive": "eps > 0", "any": "eps >= 0"}[self.eps]
        parts = [words]
        if self.gamma != "any":
            parts.append({"positive": "gamma > 0", "nonzero": "gamma != 0"}.get(self.gamma, f"gamma {self.gamma}"))
        if self.hessian != "any":
            parts.append(
                {
                    "psd": "H positive semidefinite",
                    "zero": "H = 0",
                    "identity": "H = I",
                    "isotropic": "H a multiple of I",
                    "diagonal": "H diagonal",
                    "psd-diagonal": "H diagonal and positive semidefinite",
                }[self.hessian]
            )
        if self.smoothness:
            parts.append(f"||H|| <= {self.smoothness}")
        if self.gradient != "any":
            parts.append("|g_i| <= 1")
        parts.append(f"m >= {self.min_m}")
        if self.in_practice:
            parts.append(self.in_practice)
        elif self.normaliser != "batch":
            parts.append(f"{self.normaliser} normalisation{_WHERE.get(self.normaliser, '')}")
        parts += [f"{name} {kind}" for name, kind in self.scalars.items() if kind != "any"]
        parts += [f"{name} positive semidefinite" for name, kind in self.operators.items() if kind == "psd"]
        return ", ".join(parts)
