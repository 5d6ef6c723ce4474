"""Karakida, Akaho, Amari, The normalization method for alleviating pathological sharpness, NeurIPS 2019, arXiv
1906.02926.

The largest eigenvalue of the Fisher matrix of random networks against the width M. All exponents are slopes of
logarithms over a stated range of widths, with intervals over independent networks. ReLU, weight variance 2/fan-in, no
biases, two hidden layers of width M, inputs standard Gaussian of dimension M. What the statement needs is measured next
to it: the number of samples growing in proportion to the width (the abstract states that width and sample number
satisfy a condition), and activations with a mean (or biases).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bntheory.claims.claim import Source, Study, claim
from bntheory.evidence.checks import Check
from bntheory.evidence.rates import slope_bound

if TYPE_CHECKING:
    from bntheory.evidence.slopes import SlopeFit

KEY = "karakida2019"
_SETTING = "random networks of two hidden layers, ReLU, standard Gaussian inputs of dimension M; N samples, N/M fixed"


def _exponent(study: Study, *, widths: tuple[int, ...], seeds: int, **options: Any) -> tuple[SlopeFit, str]:
    """The slope of log lambda_max against log M with its interval, and its scope in words."""
    from bntheory.evidence.slopes import fit_power_law
    from bntheory.models.fisher import fisher_scaling

    found = fisher_scaling(widths, seeds=seeds, seed=study.seed, progress=study.progress, **options)
    fit = fit_power_law(widths, found.eigenvalues, confidence=0.99, seed=study.seed)
    counts = f"N = {found.samples[0]}" if "samples" in options else f"N from {found.samples[0]} to {found.samples[-1]}"
    return fit, f"M from {widths[0]} to {widths[-1]}, {counts}, {seeds} networks a width"


def _bound(name: str, fit: SlopeFit, op: str, bound: float, scope: str, *, decisive: bool = True) -> Check:
    """``slope <= bound`` or ``slope >= bound`` for a fitted slope."""
    return slope_bound(
        name,
        fit,
        "below" if op == "<=" else "above",
        bound,
        scope,
        half=fit.high - fit.slope if fit.slope < bound else fit.slope - fit.low,
        why="bootstrap-t interval of the slope over independent networks, its side that faces the bound",
        witness={
            "slope": fit.slope,
            "low": fit.low,
            "high": fit.high,
            "slope_lower_half": fit.local_slopes[0],
            "slope_upper_half": fit.local_slopes[1],
        },
        decisive=decisive,
    )


def _range(study: Study) -> dict[str, Any]:
    return study.choose(
        quick={"widths": (128, 256, 512), "seeds": 20},
        normal={"widths": (128, 181, 256, 362, 512, 724), "seeds": 16},
        thorough={"widths": (128, 181, 256, 362, 512, 724, 1024, 1448, 2048), "seeds": 24},
    )


@claim(
    "karakida2019.last-layer",
    kind="network",
    source=Source(KEY, "mean subtraction in the last layer", seen="recalled"),
    statement=(
        r"\lambda_{\max}(F) \propto M \text{ without normalisation; }\lambda_{\max}(F) \le O(\sqrt M) \text{ with mean subtraction in "
        r"the last layer}"
    ),
    reading=_SETTING + "; the growth is linear if the exponent lies within 0.2 of 1",
    note=(
        "With N fixed, mean subtraction leaves growth in M (of order M/N); without biases and with an odd activation (tanh) there is no "
        "growth to remove. Both are shown beside."
    ),
)
def last_layer(study: Study) -> Iterator[Check]:
    setting = _range(study)
    plain, scope = _exponent(study, **setting)
    subtracted, scope_mean = _exponent(study, output="mean", **setting)
    yield _bound("no normalisation: 0.8 <= exponent of lambda_max", plain, ">=", 0.8, scope)
    yield _bound("no normalisation: exponent of lambda_max <= 1.2", plain, "<=", 1.2, scope)
    yield _bound("mean subtracted in the last layer: exponent of lambda_max <= 1/2", subtracted, "<=", 0.5, scope_mean)
    fixed, scope_fixed = _exponent(study, output="mean", samples=32, **setting)
    yield _bound("the same with N fixed: exponent <= 1/2 (N must grow)", fixed, "<=", 0.5, scope_fixed, decisive=False)
    odd, scope_odd = _exponent(study, act="tanh", **setting)
    yield _bound("tanh, no biases, no normalisation: 0.8 <= exponent", odd, ">=", 0.8, scope_odd, decisive=False)


@claim(
    "karakida2019.hidden-layer",
    kind="network",
    source=Source(KEY, "batch normalisation in the middle layers", seen="recalled"),
    statement=r"\text{batch normalisation in the hidden layers does not remove the growth of } \lambda_{\max}(F) \text{ with } M",
    reading=_SETTING
    + " = 1/4; not removed: the exponent stays above the 1/2 that mean subtraction in the last layer reaches",
)
def hidden_layer(study: Study) -> list[Check]:
    setting: dict[str, Any] = study.choose(
        quick={"widths": (64, 128, 256), "seeds": 16},
        normal={"widths": (64, 91, 128, 181, 256, 362), "seeds": 8},
        thorough={"widths": (64, 91, 128, 181, 256, 362, 512, 724, 1024), "seeds": 12},
    )
    inside, scope = _exponent(study, hidden="batch-norm", samples_per_width=0.25, **setting)
    both, scope_both = _exponent(study, hidden="batch-norm", output="mean", samples_per_width=0.25, **setting)
    return [
        _bound("batch norm in the hidden layers: 1/2 <= exponent of lambda_max", inside, ">=", 0.5, scope),
        _bound(
            "with the last layer's mean subtracted too: exponent <= 1/2", both, "<=", 0.5, scope_both, decisive=False
        ),
    ]


@claim(
    "karakida2019.layer-norm",
    kind="network",
    source=Source(KEY, "layer normalisation", seen="recalled"),
    statement=r"\text{layer normalisation does not remove the growth of } \lambda_{\max}(F) \text{ with } M",
    reading=_SETTING
    + "; in the hidden layers, and in a last layer of 16 units (N/M = 1/4, biases of variance 1); not removed: the exponent stays above 1/2",
    note=(
        "Outputs with little spread over the units are divided by it, so single networks scatter widely. Biases make the growing term "
        "larger; without them the exponent still rises over these widths."
    ),
)
def layer_norm(study: Study) -> list[Check]:
    inside, scope = _exponent(study, hidden="layer-norm", **_range(study))
    setting: dict[str, Any] = study.choose(
        quick={"widths": (64, 128, 256), "seeds": 16},
        normal={"widths": (64, 91, 128, 181, 256, 362), "seeds": 12},
        thorough={"widths": (64, 91, 128, 181, 256, 362, 512, 724), "seeds": 24},
    )
    last, scope_last = _exponent(
        study, output="layer-norm", outputs=16, samples_per_width=0.25, bias_variance=1.0, **setting
    )
    return [
        _bound("layer norm in the hidden layers: 1/2 <= exponent of lambda_max", inside, ">=", 0.5, scope),
        _bound("layer norm of 16 outputs: 1/2 <= exponent of lambda_max", last, ">=", 0.5, scope_last),
    ]
