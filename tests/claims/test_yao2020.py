"""Hessian trace against depth: the trace against the diagonal of a dense Hessian, and arms that are exchanged."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from bntheory.bridge import NetworkSpec
from bntheory.claims.claim import Study
from bntheory.claims.sources import yao2020
from bntheory.claims.sources.yao2020 import Setting, Traced, compare, log_ratio, trained_trace
from bntheory.experiments.short_runs import choose_images, train

TINY = Setting(deep=2, images=40, steps=40, measured=24, samples=150, batch_size=20)


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_the_trace_is_that_of_the_dense_hessian(norm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yao2020, "_CHANNELS", (2, 3))
    state = torch.get_rng_state()
    found = trained_trace(Study(effort="quick"), norm, 1, 3, TINY)
    assert torch.equal(state, torch.get_rng_state())
    assert found == trained_trace(Study(effort="quick"), norm, 1, 3, TINY)
    assert found is not None
    images = choose_images(40, side=7, seed=3, device="cpu")
    spec = NetworkSpec("resnet", norm=norm, layout=((2, 1), (3, 1)), input_shape=(1, 7, 7))
    model = train(spec, images, seed=3, rate=0.02, steps=40, batch_size=20, weight_decay=5e-4).model.double()
    x, y = images.inputs[:24].double(), images.labels[:24]
    names = [name for name, _ in model.named_parameters()]

    def loss(*values: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(functional_call(model, dict(zip(names, values, strict=True)), (x,)), y)

    values = tuple(p.detach() for p in model.parameters())
    blocks = torch.autograd.functional.hessian(loss, values)
    exact = sum(float(blocks[i][i].reshape(v.numel(), -1).trace()) for i, v in enumerate(values))
    assert found.error > 0
    assert abs(found.trace - exact) < 4 * found.error
    assert found.error < 0.5 * abs(exact)
    assert found.loss == pytest.approx(float(loss(*values)), rel=1e-4)


def traced(trace: float) -> Traced:
    return Traced(trace, 0.1, 0.5)


PAIRS = [(traced(a), traced(b)) for a, b in [(20, 10), (22, 10), (25, 11), (18, 10)]]


def test_exchanged_arms_reverse_the_outcome() -> None:
    for side, outcome, other in [("above", "holds", "fails"), ("below", "fails", "holds")]:
        assert compare("x", PAIRS, side, "")[0].outcome == outcome  # type: ignore[arg-type]
        assert compare("x", [(b, a) for a, b in PAIRS], side, "")[0].outcome == other  # type: ignore[arg-type]


def test_what_cannot_be_compared_is_left_out_and_counted() -> None:
    check = compare("x", [*PAIRS, (None, traced(1)), (traced(-1), traced(2))], "above", "made up")[0]
    assert check.witness["values"] == compare("x", PAIRS, "above", "made up")[0].witness["values"]
    assert "1 seeds left out because a training diverged" in check.scope
    assert "1 seeds left out because a trace was not positive" in check.scope
    assert log_ratio(traced(100), traced(1)) == pytest.approx(2)
    assert compare("x", [(None, None)] * 3, "above", "")[0].outcome == "undecided"


def test_a_training_that_diverges_is_no_number() -> None:
    setting = Setting(deep=1, images=40, steps=30, measured=24, samples=4, batch_size=20, rate=1e4)
    assert trained_trace(Study(effort="quick"), "none", 1, 0, setting) is None


@pytest.mark.parametrize(("turned", "outcome"), [(False, "holds"), (True, "fails")])
def test_the_study_asks_opposite_things_of_the_two_depths(
    turned: bool, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traces as the source has them, by depth; then the other way round."""
    asked = []

    def planted(study: Study, norm: str, blocks: int, seed: int, setting: Setting) -> Traced:
        asked.append((norm, blocks, seed))
        larger = (norm == "batch") == (blocks == 1)
        return traced((3.0 if larger != turned else 1.0) + 0.01 * (seed % 10))

    monkeypatch.setattr(yao2020, "trained_trace", planted)
    found = list(yao2020.trace_and_depth(Study(effort="quick", seed=2)))
    assert {c.outcome for c in found if c.decisive} == {outcome}
    assert found[-1].outcome == outcome  # deep minus shallow
    assert {seed for _, _, seed in asked} == {
        2000,
        2001,
        2002,
    }  # both arms and both depths have the same seeds
    assert len(asked) == 2 * 2 * 3
