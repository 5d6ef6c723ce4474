"""How many planted errors are found: this search, plain random sampling and plain hypothesis.

    python validation/benchmarks/planted_claims.py [--seeds 3] [--json FILE]

The claims are those of planted_table.py: true statements and the same with a small error. Budgets, for each claim:

- search: `--effort quick`. A kill is a counterexample certified in exact arithmetic.
- random: Gaussian layers of 2 to 6 examples, as many as the search is allowed at most, in the same batched torch code.
- hypothesis: `@given` over lists of floats in [-10, 10], for as many seconds as the search took on that claim, one at least.

For the two plain methods a kill is a float violation beyond a relative tolerance of 1e-6 at a layer that meets the hypotheses to the
same tolerance, with no certificate asked for, which favours them. False alarms are true claims that the same rule calls false; a pair
is told apart where the planted claim is called false and the true one is not.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as hypothesis_seed
from hypothesis import strategies as st
from planted_table import PAIRS

from bntheory.claims.claim import Claim
from bntheory.judges.exact.certificate import statements
from bntheory.judges.search import Budget, judge
from bntheory.layer.domain import LayerDomain
from bntheory.layer.family import make_layer
from bntheory.layer.relations import AllOf, Relation, Statement

TOLERANCE = 1e-6


@dataclass
class Tally:
    """What one method did over the whole table."""

    killed: int = 0
    told_apart: int = 0
    false_alarms: int = 0
    layers: int = 0
    seconds: float = 0.0


def holds(statement: Statement, rows: int) -> np.ndarray:
    """Truth within the tolerance, for every layer of a batch; relative, as a test suite would write it."""
    if not isinstance(statement, Relation):
        parts = [holds(part, rows) for part in statement.parts]
        empty = np.ones(rows, dtype=bool)
        if isinstance(statement, AllOf):
            return np.logical_and.reduce([empty, *parts])
        return np.logical_or.reduce([~empty, *parts])
    left, right = (
        np.broadcast_to(
            np.asarray(s, dtype=float).reshape(-1, 1) if np.ndim(s) < 2 else s,
            (rows, np.shape(s)[-1] if np.ndim(s) == 2 else 1),
        )
        for s in (statement.left, statement.right)
    )
    size = np.abs(left).max(-1) + np.abs(right).max(-1)
    gap = left - right
    with np.errstate(invalid="ignore"):
        if statement.op == "eq":
            return ~(np.abs(gap).max(-1) > TOLERANCE * size)
        worst = gap.max(-1)
        return ~(worst > TOLERANCE * size) if statement.op == "le" else ~(worst >= 0)


def violated(claim: Claim, values: dict[str, Any]) -> bool:
    """Whether some layer of the batch meets the hypotheses and violates the claim, in floats."""
    assert claim.domain is not None
    rows = values["y"].shape[0]
    with np.errstate(all="ignore"):
        assumed, stated = statements(claim, make_layer(claim.domain.normaliser, **values))
        return bool((holds(assumed, rows) & ~holds(stated, rows)).any())


def gaussian(domain: LayerDomain, rows: int, m: int, rng: np.random.Generator) -> dict[str, Any]:
    """Plain random layers of a domain."""

    def vector() -> np.ndarray:
        return rng.standard_normal((rows, m))

    def number(kind: str) -> np.ndarray:
        x = rng.standard_normal((rows, 1))
        if kind == "unit":
            return rng.random((rows, 1))
        return np.exp(x) if kind == "positive" else np.abs(x) if kind == "nonnegative" else x

    def matrix(kind: str) -> np.ndarray:
        a = rng.standard_normal((rows, m, m))
        return a @ a.swapaxes(-1, -2) if kind == "psd" else (a + a.swapaxes(-1, -2)) / 2

    eps = np.zeros((rows, 1))
    if domain.eps != "zero":
        eps = np.exp(rng.standard_normal((rows, 1)))
    hess = None if domain.hessian == "zero" else matrix(domain.hessian)
    free: dict[str, Any] = {k: number(kind) for k, kind in domain.scalars.items()}
    free |= {k: np.eye(m)[rng.integers(m, size=rows)] if k.endswith("@case") else vector() for k in domain.vectors}
    free |= {k: matrix(kind) for k, kind in domain.operators.items()}
    return {"y": vector(), "grad": vector(), "hess": hess, "gamma": number(domain.gamma), "eps": eps, "free": free}


def by_random(claim: Claim, layers: int, seed: int) -> tuple[bool, int]:
    """Plain random sampling: whether a violation was met, and after how many layers."""
    assert claim.domain is not None
    rng = np.random.default_rng(seed)
    done = 0
    while done < layers:
        m = int(rng.integers(claim.domain.min_m, 7))
        done += 512
        if violated(claim, gaussian(claim.domain, 512, m, rng)):
            return True, done
    return False, done


@st.composite
def plain(draw: st.DrawFn, domain: LayerDomain) -> dict[str, Any]:
    """What one would write without thinking of normalisation."""
    m = draw(st.integers(domain.min_m, 6))
    floats = st.floats(-10, 10)
    positive = st.floats(1e-3, 10)

    def vector() -> np.ndarray:
        return np.array([draw(st.lists(floats, min_size=m, max_size=m))])

    def number(kind: str) -> np.ndarray:
        chosen = {"positive": positive, "unit": st.floats(0, 1), "nonnegative": st.floats(0, 10)}.get(kind, floats)
        x = draw(chosen)
        return np.array([[1.0 if kind == "nonzero" and x == 0 else x]])

    def matrix(kind: str) -> np.ndarray:
        a = np.array(draw(st.lists(floats, min_size=m * m, max_size=m * m))).reshape(1, m, m)
        return a @ a.swapaxes(-1, -2) if kind == "psd" else (a + a.swapaxes(-1, -2)) / 2

    y = vector()
    if np.ptp(y) < 1e-6:
        y[0, 0] += 1.0
    eps = np.zeros((1, 1)) if domain.eps == "zero" else np.array([[draw(positive)]])
    free: dict[str, Any] = {k: number(kind) for k, kind in domain.scalars.items()}
    free |= {k: np.eye(m)[[draw(st.integers(0, m - 1))]] if k.endswith("@case") else vector() for k in domain.vectors}
    free |= {k: matrix(kind) for k, kind in domain.operators.items()}
    hess = None if domain.hessian == "zero" else matrix(domain.hessian)
    return {"y": y, "grad": vector(), "hess": hess, "gamma": number(domain.gamma), "eps": eps, "free": free}


class _Found(Exception):
    pass


def by_hypothesis(claim: Claim, seconds: float, seed: int) -> tuple[bool, int]:
    """Plain hypothesis: whether a violation was met, and after how many layers."""
    assert claim.domain is not None
    start, count = monotonic(), 0

    def run(x: dict[str, Any]) -> None:
        nonlocal count
        if monotonic() - start > seconds:
            return
        count += 1
        if violated(claim, x):
            raise _Found

    while monotonic() - start < seconds:
        checked = settings(
            max_examples=1000,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )(hypothesis_seed(seed + count)(given(plain(claim.domain))(run)))
        try:
            checked()
        except _Found:
            return True, count
    return False, count


def main() -> int:
    """Run the table and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds")
    parser.add_argument("--limit", type=int, default=len(PAIRS), help="only the first so many claims")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    budget = Budget.of("quick")
    allowed = budget.rounds * budget.starts * (budget.steps + 1) * len(budget.extra_sizes) + 4096
    tallies = {name: Tally() for name in ("search", "random", "hypothesis")}
    survivors: dict[str, list[str]] = {name: [] for name in tallies}
    total = 0
    for seed in range(options.seeds):
        for pair in PAIRS[: options.limit]:
            total += 1
            taken, hits = 1.0, dict.fromkeys(tallies, 0)
            for claim, planted in ((pair.planted, True), (pair.true, False)):
                before = monotonic()
                evidence = judge(claim, "quick", seed)
                spent = monotonic() - before
                taken = max(taken, spent) if planted else taken
                outcomes = {"search": (evidence.finding == "refuted", int(evidence.details["layers_tried"]), spent)}
                before = monotonic()
                found, layers = by_random(claim, allowed, seed)
                outcomes["random"] = (found, layers, monotonic() - before)
                before = monotonic()
                found, layers = by_hypothesis(claim, taken, seed)
                outcomes["hypothesis"] = (found, layers, monotonic() - before)
                for name, (hit, layers, seconds) in outcomes.items():
                    tally = tallies[name]
                    tally.layers += layers
                    tally.seconds += seconds
                    tally.killed += planted and hit
                    hits[name] += hit if planted else -hit
                    tally.told_apart += not planted and hits[name] == 1
                    tally.false_alarms += (not planted) and hit
                    if planted and not hit and seed == 0:
                        survivors[name].append(claim.id.removeprefix("planted."))
            print(f"\r{total}/{options.seeds * len(PAIRS[: options.limit])}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print(
        f"| method | planted errors found, of {total} | pairs told apart | true claims called false | layers evaluated | seconds |"
    )
    print("|---|---|---|---|---|---|")
    for name, tally in tallies.items():
        print(
            f"| {name} | {tally.killed} ({tally.killed / total:.0%}) | {tally.told_apart} ({tally.told_apart / total:.0%}) | {tally.false_alarms} | {tally.layers} | {tally.seconds:.0f} |"
        )
    for name, missed in survivors.items():
        if missed:
            print(f"\n{name} missed (seed 0): {', '.join(missed)}")
    if options.json:
        figures = {name: vars(tally) | {"missed": survivors[name]} for name, tally in tallies.items()}
        options.json.write_text(json.dumps({"claims": total, "methods": figures}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
