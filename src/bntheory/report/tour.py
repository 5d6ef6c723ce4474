"""The tour: one printed theorem, one picture and one network, each computed on the spot from what is in the package.

What lives here: what is asked, in which order, and the words around the answers. What does not: any answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bntheory.claims import registry
from bntheory.evidence.progress import Progress, silent
from bntheory.judges.check import judge_claim
from bntheory.judges.failing import failing
from bntheory.judges.latex import middle
from bntheory.judges.verdict import Verdict

PRINTED, REPAIRED = "santurkar2018.theorem-4.1.neurips", "santurkar2018.theorem-4.1.arxiv"


@dataclass(frozen=True)
class Stop:
    """One stop: its title, its paragraphs, the numbers under them for ``--json``, and the commands that show more."""

    title: str
    paragraphs: tuple[str, ...]
    found: dict[str, Any] = field(default_factory=dict)
    commands: tuple[str, ...] = ()


def tour(plot: Path, *, seed: int = 0, progress: Progress = silent) -> Iterator[Stop]:
    """The stops, each computed when it is asked for; ``plot`` is where the picture goes."""
    progress(0.0, "a printed theorem")
    yield _theorem()
    progress(0.2, "its repaired form")
    yield _repaired()
    yield _picture(plot, seed, lambda fraction, text: progress(0.3 + 0.3 * fraction, text))
    yield _network(seed, lambda fraction, text: progress(0.6 + 0.4 * fraction, text))
    yield _onwards()


def _at_least_three(claim_id: str) -> Verdict:
    """The verdict for batches of three and more: at two, and eps = 0, the gradient behind the layer is 0 whatever the loss."""
    claim = registry()[claim_id]
    assert claim.domain is not None
    return judge_claim(replace(claim, domain=replace(claim.domain, min_m=3)), judges=("algebra",))


def _theorem() -> Stop:
    verdict = _at_least_three(PRINTED)
    evidence = verdict.evidence[0]
    witness = evidence.details.get("witness", {})
    paragraphs = [
        "Theorem 4.1 of Santurkar et al. (NeurIPS 2018) bounds the gradient in front of batch norm, dL/dy, by the gradient g behind it:",
        "  |dL/dy|^2 <= gamma^2/sigma^2 (|g|^2 - <1,g>^2/m - <g,y_hat>^2/sqrt(m))",
        f"{verdict.status.value.upper()}, by a batch of three: {evidence.summary}. (With two, and eps = 0, the gradient in front is 0 whatever the loss.)",
    ]
    for relation in failing(witness.get("certificate", {})):
        left, right = (middle(relation[side]) for side in ("left", "right"))
        paragraphs.append(f"There it would say {left} <= {right}. No rounding is involved, and no network.")
    found = {"id": PRINTED, "status": verdict.status.value, "witness": witness or None}
    return Stop("A printed theorem", tuple(paragraphs), found, (f"bntheory show {PRINTED}",))


def _repaired() -> Stop:
    verdict = _at_least_three(REPAIRED)
    return Stop(
        "Its repaired form",
        (
            "A later version has 1/m in place of 1/sqrt(m):",
            f"{verdict.status.value.upper()}: {verdict.evidence[0].summary}. {verdict.explanation}",
        ),
        {"id": REPAIRED, "status": verdict.status.value},
        (f"bntheory check {REPAIRED}",),
    )


def _picture(plot: Path, seed: int, progress: Progress) -> Stop:
    from bntheory.drawing import save_figure
    from bntheory.models.pictures.smoothness import single_unit_figure
    from bntheory.smoothness.unit.study import single_unit_study

    study = single_unit_study(seed=seed, progress=progress)
    save_figure(single_unit_figure(study).figure, plot)
    squared = next(p for p in study.phases if p.loss == "squared" and p.q == 1)
    return Stop(
        "Where batch norm smooths and where it roughens",
        (
            f"One unit, squared loss, against the same unit with frozen statistics: batch norm lowers the largest curvature in "
            f"{squared.smoothed:.0%} of the cases drawn, and not in the others; the boundary is proved, and {squared.violations} of "
            f"{squared.layers} layers contradict it. So it smooths, but not always.",
            f"picture: {plot}",
        ),
        {"picture": str(plot), "smoothed": squared.smoothed, "violations": squared.violations},
        ("bntheory smooth --help",),
    )


def _network(seed: int, progress: Progress) -> Stop:
    import torch
    from torch import nn

    from bntheory.bridge import NetworkSpec, SGDConfig, Trainer, batch_at, build_network, load_dataset, probe

    steps, size = 60, 64
    data = load_dataset()
    model = build_network(NetworkSpec("mlp", layout=(64, 64, 64), input_shape=data.shape), seed)
    trainer = Trainer(model, nn.functional.cross_entropy, SGDConfig(0.05, seed=seed))
    trainer.run(
        lambda step: batch_at(data, step, batch_size=size, seed=seed),
        steps,
        after=lambda record: progress(0.3 * record.step / steps, "training a network"),
    )
    batch = batch_at(data, steps, batch_size=2 * size, seed=seed)
    measured = probe(
        model,
        nn.functional.cross_entropy,
        batch,
        dtype=torch.float64,
        tol=1e-3,
        progress=lambda fraction, text: progress(0.3 + 0.7 * fraction, text),
    )
    own, twin = measured.network, measured.twin
    assert twin is not None
    ratios = {
        "largest Hessian eigenvalue": (own.lambda_max, twin.lambda_max),
        "squared gradient": (own.gradient_norm**2, twin.gradient_norm**2),
        "relative curvature": (own.relative_curvature, twin.relative_curvature),
    }
    shown = {name: a / b for name, (a, b) in ratios.items() if a is not None and b}
    left = [f"{x.left:.0%} at {x.name}" for x in measured.layers if x.left is not None]
    return Stop(
        "One network with its twin",
        (
            f"A network of three hidden layers, {steps} steps on {data.name}. Its twin has the same weights and outputs, but mean and variance "
            "are constants, so any difference is what their dependence on the batch does. Network over twin:",
            *(f"  {name:<28} ×{value:.3g}" for name, value in shown.items()),
            "The first two may be rescaling, which any smaller loss would do; no rescaling changes the third. "
            f"Of the gradient that arrives, beyond scaling, there pass: {', '.join(left)}.",
            "One network at one point shows nothing in general; bntheory compare runs matched networks over seeds.",
        ),
        {"ratios": shown, "network": measured.as_json()},
        ("bntheory probe --help",),
    )


def _onwards() -> Stop:
    return Stop(
        "What to do next",
        (
            'a claim of yours        bntheory decide "dot(one, input_grad) == 0"',
            "for a review            bntheory decide ... --latex",
            "a network of yours      bntheory probe my_model:make",
            "what the papers say     bntheory claims, bntheory show ID",
            "the analytic models     bntheory model --help",
            "trained networks        bntheory compare (about two minutes)",
        ),
    )
