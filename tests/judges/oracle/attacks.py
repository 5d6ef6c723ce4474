"""Whether a statement falls: thousands of layers in floats, and many digits for what they suspect. Witnesses are checked the same way.

A violation counts where 60 and 120 digits both find the layer in the domain, every hypothesis true, and the claim false.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
from bounded_numbers import World, digits, floats
from drawn_layers import batch_sizes, draw, neighbours, pinned
from jet_layer import JetLayer, Numbers
from read_claim import Claimed, Statement, Truth

__all__ = ["Found", "attack", "domain_fault", "verdict_at", "verdict_at_witness"]

_MOST_CHECKED = 3


@dataclass(frozen=True)
class Found:
    """Layers that meet the hypotheses and at which the claim is false (violation), true (example), undefined; None where none was found."""

    violation: Numbers | None
    example: Numbers | None
    undefined: Numbers | None


def attack(s: Statement, seed: int, layers: int = 300, rounds: int = 4) -> Found:
    """Try to refute a statement at ``layers`` layers of every batch size, then at their neighbours, ``rounds`` times in all."""
    rng = np.random.default_rng(seed)
    found: dict[str, Numbers] = {}
    for m in batch_sizes(s, rng):
        data = draw(s, rng, layers, m)
        for _ in range(rounds):
            with np.errstate(all="ignore"):
                holds, says = _evaluate(s, data, floats())
            likely = holds.true & says.surely_false  # where a hypothesis pins an equality, floats leave it open
            wheres = [likely, says.false & ~likely]
            wheres += [
                where for name, where in (("holds", says.true), ("undefined", says.undefined)) if name not in found
            ]
            chosen = [rng.permutation(np.flatnonzero(holds.true & where))[:_MOST_CHECKED] for where in wheres]
            for i in np.concatenate(chosen):
                one = data.mapped(lambda a, i=i: a[i : i + 1])
                found.setdefault(verdict_at(s, one), one)
                if "refuted" in found:
                    break
            if "refuted" in found:
                return Found(found["refuted"], found.get("holds"), found.get("undefined"))
            data = neighbours(data, rng)
    return Found(None, found.get("holds"), found.get("undefined"))


def verdict_at(s: Statement, one: Numbers) -> str:
    """'refuted', 'holds' or 'undefined' at one drawn layer; 'outside' where a hypothesis is not true; 'unclear' where precisions differ."""
    return _in_digits(s, lambda world: one.mapped(world.of))


def verdict_at_witness(s: Statement, block: dict[str, Any]) -> str:
    """The same at a witness, whose numbers are strings of rationals."""
    m = len(block["y"])

    def data(world: World) -> Numbers:
        def array(x: Any) -> Any:
            return np.array(_deep(x, lambda text: world.number(Fraction(text))), dtype=object)[None]

        free = ({k: array(v) for k, v in block[what].items()} for what in ("scalars", "vectors", "operators"))
        given = (block[k] for k in ("y", "grad"))
        numbers = (block[k] for k in ("gamma", "beta", "eps"))
        return Numbers(*map(array, given), array(block["hess"] or [["0"] * m] * m), *map(array, numbers), *free)

    return _in_digits(replace(s, pins=()), data)


def _in_digits(s: Statement, data: Callable[[World], Numbers]) -> str:
    answers = set()
    for count in (60, 120):
        with mpmath.workdps(count):
            world = digits(count)
            holds, says = _evaluate(s, data(world), world)
        if not holds.surely_true[0]:
            answers.add("outside")
        else:
            sure = {"refuted": says.surely_false, "holds": says.surely_true, "undefined": says.surely_undefined}
            answers.add(next((word for word, where in sure.items() if where[0]), "unclear"))
    return answers.pop() if len(answers) == 1 else "unclear"


def _evaluate(s: Statement, data: Numbers, world: World) -> tuple[Truth, Truth]:
    """What the hypotheses say, and what the claim says; a layer without a derivative meets no hypothesis."""
    layer = JetLayer(world, pinned(s, data, world), s.normaliser)
    n = data.y.shape[0]
    holds = Truth(np.ones(n, bool), np.zeros(n, bool), layer.flat.copy())
    for hypothesis in s.assume:
        holds = holds & Claimed(hypothesis).truth(layer)
    return holds, Claimed(s.text).truth(layer)


def _deep(x: Any, f: Callable[[Any], Any]) -> Any:
    return [_deep(v, f) for v in x] if isinstance(x, list) else f(x)


_RANGES: dict[str, Callable[[Fraction], bool]] = {
    "any": lambda x: True,
    "positive": lambda x: x > 0,
    "nonzero": lambda x: x != 0,
    "nonnegative": lambda x: x >= 0,
    "unit": lambda x: 0 <= x <= 1,
}


def domain_fault(s: Statement, block: dict[str, Any]) -> str | None:
    """Why a witness lies outside the statement's domain, or None; in rational numbers."""
    y, eps = [Fraction(v) for v in block["y"]], Fraction(block["eps"])
    m = len(y)
    if m < s.min_m or m != block["m"]:
        return f"m = {m}"
    if not {"any": eps >= 0, "zero": eps == 0, "positive": eps > 0}[s.eps]:
        return f"eps = {eps}"
    if eps == 0 and (
        (s.normaliser == "rms" and not any(y)) or (s.normaliser in ("batch", "l2", "frozen") and len(set(y)) == 1)
    ):
        return "the scale is zero"
    for what, declared in (("scalars", s.scalars), ("vectors", s.vectors), ("operators", s.operators)):
        if not set(declared) <= set(block[what]) or (
            what != "vectors" and len(declared) < len(block[what])
        ):  # a direction may be shown
            return f"{what}: {sorted(block[what])}"
    for name, kind in (("gamma", s.gamma), *s.scalars.items()):
        value = block["gamma"] if name == "gamma" else block["scalars"][name]
        if not _RANGES[kind](Fraction(value)):
            return f"{name} = {value}"
    for name in s.vectors:
        if name.endswith("@case") and sorted(map(Fraction, block["vectors"][name])) != [0] * (m - 1) + [1]:
            return name
    matrices = [
        (block["hess"] or [["0"] * m] * m, s.hessian),
        *((block["operators"][k], v) for k, v in s.operators.items()),
    ]
    return next((fault for rows, kind in matrices if (fault := _matrix_fault(rows, kind))), None)


def _matrix_fault(rows: list[list[str]], kind: str) -> str | None:
    a = [[Fraction(v) for v in row] for row in rows]
    m = len(a)
    if any(a[i][j] != a[j][i] for i in range(m) for j in range(m)):
        return "not symmetric"
    diagonal = not any(a[i][j] for i in range(m) for j in range(m) if i != j)
    isotropic = diagonal and len({a[i][i] for i in range(m)}) == 1
    met = {
        "any": True,
        "zero": not any(map(any, a)),
        "identity": isotropic and a[0][0] == 1,
        "isotropic": isotropic,
        "diagonal": diagonal,
        "psd": kind != "psd" or _least_eigenvalue(a) >= -1e-40,
    }
    return None if met[kind] else f"not {kind}"


def _least_eigenvalue(a: list[list[Fraction]]) -> float:
    with mpmath.workdps(60):
        matrix = mpmath.matrix([[mpmath.mpf(v.numerator) / v.denominator for v in row] for row in a])
        return float(min(mpmath.eigsy(matrix, eigvals_only=True)))
