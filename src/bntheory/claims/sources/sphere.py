"""Studies of gradient descent on scale-invariant losses at any learning rate, and at the edge of stability."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bntheory.claims.claim import Study
from bntheory.evidence.checks import Check
from bntheory.evidence.compared import numerical, statistical
from bntheory.evidence.rates import count_check

_SPECTRUM = (0.0, 0.3, 0.6, 1.0)


def _runs(study: Study, power: int) -> tuple[Any, Any, Any, Any]:
    from bntheory.models.scale_invariant import RayleighPower, descend

    loss = RayleighPower(_SPECTRUM, power)
    rates = np.geomspace(1e-3, 1e3, 7)
    starts = np.random.default_rng(study.seed).normal(size=(study.choose(quick=12, normal=12, thorough=24), 1, 4))
    starts = starts / np.linalg.norm(starts, axis=-1, keepdims=True)
    steps = study.choose(quick=20_000, normal=50_000, thorough=500_000)
    return loss, rates, starts, descend(loss, starts, rates, steps, points=40)


def _late_exponents(run: Any) -> tuple[Any, int]:
    """Exponents over the last decade and a half, one a run, of the runs whose gradient has fallen tenfold by then."""
    from bntheory.evidence.slopes import fit_power_law

    late = run.steps >= run.total_steps / 30
    least = run["least_sphere_grad"].reshape(-1, len(run.steps))
    begun = least[:, np.argmax(late)] <= 0.1 * least[:, 0]
    slopes = [fit_power_law(run.steps[late], row[late], resamples=100).slope for row in least[begun]]
    return np.array(slopes), len(least)


def _median_interval(values: Any) -> tuple[float, float]:
    """The median and the half-width of its 95 % interval, by order statistics (no assumption on the distribution)."""
    ordered, n = np.sort(values), len(values)
    if n < 10:
        raise ValueError(f"only {n} runs have begun to fall: too few for an interval; raise the effort")
    reach = int(np.ceil(0.98 * np.sqrt(n))) + 1
    middle = float(np.median(ordered))
    low, high = ordered[max(n // 2 - reach, 0)], ordered[min(n // 2 + reach, n - 1)]
    return middle, float(max(middle - low, high - middle))


def any_rate_checks(study: Study) -> Iterator[Check]:
    """The proved bound at every step, and the median of the fitted exponents over the last decade and a half."""
    from bntheory.models.scale_invariant import any_rate_bound

    for power in (2, 4):
        loss, rates, starts, run = _runs(study, power)
        study.progress(power / 4, f"R^{power}")
        bound = any_rate_bound(loss, starts, rates)
        share = run["least_sphere_grad"] * np.sqrt(run.steps + 1.0) / bound.constant[..., None]
        scope = (
            f"loss R^{power}/2, R a Rayleigh quotient in R^4, {starts.shape[0]} starts on the unit "
            "sphere, eta from 1e-3 to "
            f"1e3, T up to {run.total_steps:g}"
        )
        yield count_check(
            "running minimum above its bound C(eta)/sqrt(T)",
            int(np.sum(share > 1 + 1e-9)),
            share.size,
            scope,
            why=f"C(eta) is derived (AnyRateBound); closest call {float(share.max()):.3g} of it",
        )
        slopes, runs = _late_exponents(run)
        middle, half = _median_interval(slopes)
        why = f"{len(slopes)} of {runs} runs have fallen tenfold by T/30; the others are covered by the bound alone"
        yield statistical(
            "median exponent of the running minimum is at most -1/2",
            scope,
            uncertainty=half,
            confidence=0.95,
            why=why,
            witness={"seed": study.seed},
        ).le(middle, -0.5)


def exact_exponent_checks(study: Study) -> Iterator[Check]:
    """The same exponents, against exactly -1/2 with a margin of 0.1."""
    for power in (2, 4):
        _, _, starts, run = _runs(study, power)
        slopes, runs = _late_exponents(run)
        middle, half = _median_interval(slopes)
        yield statistical(
            "median exponent of the running minimum is at least -0.6",
            f"loss R^{power}/2, {starts.shape[0]} starts, eta from 1e-3 to 1e3, T up to {run.total_steps:g}",
            uncertainty=half,
            confidence=0.95,
            why=f"{len(slopes)} of {runs} runs have fallen tenfold by T/30",
            witness={"seed": study.seed},
        ).le(-0.6, middle)


def _edge(loss: Any, minimiser: Any, direction: Any, product: float, time: float, windows: int) -> Any:
    from bntheory.models.spherical_sharpness import edge_run, edge_start

    start = edge_start(loss, minimiser, direction, 1.0, product, ratio=1.9, amplitude=1.5)
    return edge_run(loss, start, 1.0, product, intrinsic_time=time, windows=windows)


def _edge_models() -> list[tuple[str, Any, Any, Any]]:
    from bntheory.models.scale_invariant import CircleOfMinima, RayleighPower

    return [
        ("two isolated minima (Rayleigh quotient in R^2)", RayleighPower((0.0, 1.0)), [1.0, 0.0], [0.0, 1.0]),
        (
            "a circle of minima of sharpness 1 + 0.5 cos(angle)",
            CircleOfMinima(0.5),
            [np.cos(0.8), np.sin(0.8), 0.0],
            [0.0, 0.0, 1.0],
        ),
    ]


def edge_checks(study: Study) -> Iterator[Check]:
    """Window means of the normalised sharpness as lr * decay -> 0: the limit, and the order at which it is
    approached."""
    from bntheory.evidence.slopes import fit_power_law

    products = study.choose(
        quick=np.array([4e-2, 2e-2, 1e-2, 5e-3]),
        normal=np.array([4e-2, 2e-2, 1e-2, 5e-3, 2.5e-3]),
        thorough=np.array([4e-2, 2e-2, 1e-2, 5e-3, 2.5e-3, 1.25e-3, 6e-4]),
    )
    for name, loss, minimiser, direction in _edge_models():
        means, widest = [], 0.0
        for product in products:
            run = _edge(loss, minimiser, direction, float(product), 4.0, 2)
            means.append(run.mean)
            widest = float(max(run.high.max() - 2, 2 - run.low.min()))
        gaps = np.abs(np.array(means) - 2).max(axis=1)
        scope = (
            f"{name}; start at ratio 1.9, lr*decay*t up to 4, lr*decay from {products[0]:g} down to {products[-1]:g}"
        )
        yield numerical(
            "largest |window mean - 2| at the smallest lr*decay, against five times lr*decay",
            scope,
            why="the edge itself lies at 2 (1 - lr*decay); 5 leaves room for the oscillation's own shift. Exact recursion; "
            f"single steps still lie up to {widest:.2g} from 2 (the oscillation it starts with)",
        ).le(gaps[-1], 5 * products[-1])
        if len(products) >= 4:
            # one curve: its residuals widen the interval where the gap is no clean power
            fit = fit_power_law(products, gaps)
            yield statistical(
                "order at which the window mean approaches 2 is positive",
                scope,
                uncertainty=max(fit.high - fit.slope, fit.slope - fit.low),
                confidence=fit.confidence,
                why=str(fit),
            ).lt(0.0, fit.slope)


def edge_for_ever_checks(study: Study) -> list[Check]:
    """The same run on the circle, longer: once sharpness is least the oscillation is no longer damped and bursts."""
    product = 1e-2
    name, loss, minimiser, direction = _edge_models()[1]
    run = _edge(loss, minimiser, direction, product, 40.0, 20)
    late = run.intrinsic_time >= 20
    return [
        numerical(
            "largest distance of a late window's mean from 2, against five times lr*decay",
            f"{name}; lr*decay = {product:g}, intrinsic time 20 to 40",
            why=f"late values range from {run.low[late].min():.3g} to {run.high[late].max():.3g}: relaxation oscillations; "
            f"sharpness has reached its minimum {run.sharpness[-1]:.3g}",
        ).le(np.abs(run.mean[late] - 2).max(), 5 * product),
        numerical("the same in the windows up to intrinsic time 4", f"{name}; the same run", decisive=False).le(
            np.abs(run.mean[run.intrinsic_time < 4] - 2).max(), 5 * product
        ),
    ]
