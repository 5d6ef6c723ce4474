"""The closed form of batch normalisation's second backward pass: against primitive operations, which have no such formula."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bntheory.bridge.curvature import batch_norm as closed_form
from bntheory.bridge.curvature import hessian
from bntheory.bridge.curvature.closed_forms import ClosedForms
from bntheory.bridge.formulas import written_out
from bntheory.bridge.functional_calls import Call


@pytest.fixture
def everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The closed form for small batches too."""
    monkeypatch.setattr(closed_form, "_ENTRIES", 1)
    monkeypatch.setattr(closed_form, "_POSITIONS", 1)


def network(seed: int, *, affine: bool = True) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4, affine=affine), nn.Tanh(), nn.Conv2d(4, 3, 2), nn.BatchNorm2d(3, eps=1e-2),
        nn.Softplus(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3),
    ).double()  # fmt: skip
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d) and layer.affine:
            nn.init.normal_(layer.weight)
            nn.init.normal_(layer.bias)
    return net, (torch.randn(6, 2, 6, 6, dtype=torch.float64), torch.randint(3, (6,)))


def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    calls = {"ours": 0, "torch": 0, "copied": 0, "fused": 0}
    for name, key in (
        ("_second", "ours"),
        ("_second_by_torch", "torch"),
        ("_inner", "copied"),
        ("_inner_in_place", "fused"),
    ):
        plain = getattr(closed_form, name)

        def seen(*args, plain=plain, key=key):
            calls[key] += 1
            return plain(*args)

        monkeypatch.setattr(closed_form, name, seen)
    return calls


@pytest.mark.long
@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("affine", [True, False])
def test_products_are_those_of_primitive_operations(
    affine: bool, every: bool, everywhere: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = counted(monkeypatch)
    for seed in range(3):
        net, batch = network(seed, affine=affine)
        running = {name: b.clone() for name, b in net.named_buffers()}
        with (
            hessian(net, functional.cross_entropy, batch, closed_forms=every) as op,
            hessian(net, functional.cross_entropy, batch, normalisation="primitive") as reference,
        ):
            a, b = op.dense(), reference.dense()
        assert abs(a - b).max() < 1e-13 * abs(b).max()
        assert all(torch.equal(b, running[name]) for name, b in net.named_buffers())
    layers = 2 if affine else 1
    assert calls["torch"] == 3 * layers  # each is compared once
    assert calls["ours"] > 50 * layers
    # recorded measures rest on the sums that are taken where closed forms are declined
    assert calls["fused" if every else "copied"] >= calls["ours"]
    assert calls["copied" if every else "fused"] == 0


@pytest.mark.parametrize("shape", [(8, 3, 2, 2), (5, 2, 7), (4, 2, 2, 3, 2)])
def test_the_gradient_of_every_product_of_a_layer(shape: tuple[int, ...], everywhere: None) -> None:
    """Also at weights that are zero, and along directions of the affine parameters alone."""
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    w = torch.randn(shape[1], dtype=torch.float64)
    w[0] = 0.0
    w.requires_grad_()
    b = torch.randn(shape[1], dtype=torch.float64, requires_grad=True)
    t = torch.randn(shape, dtype=torch.float64)
    u, a, c = (torch.randn_like(p) for p in (x, w, b))
    for directions in ((u, a, c), (0 * u, a, 0 * c), (u, 0 * a, 0 * c)):
        found = []
        for mode in (ClosedForms(), ClosedForms(every=True), None):
            if mode is None:
                z = written_out(Call("batch", x, w, b, 1e-3))
            else:
                with mode:
                    z = functional.batch_norm(x, None, None, w, b, True, eps=1e-3)
            gradients = torch.autograd.grad((torch.sin(z) * t).sum(), (x, w, b), create_graph=True)
            for _ in range(2):  # the first product is torch's, to compare with
                products = torch.autograd.grad(gradients, (x, w, b), directions, retain_graph=True)
            found.append(products)
        for *ours, theirs in zip(*found, strict=True):
            for own in ours:
                assert float((own - theirs).abs().max()) < 1e-13 * max(1.0, float(theirs.abs().max()))


def test_a_formula_that_disagrees_on_the_data_is_not_used(everywhere: None, monkeypatch: pytest.MonkeyPatch) -> None:
    net, batch = network(0)
    with hessian(net, functional.cross_entropy, batch, normalisation="primitive") as op:
        right = op.dense()
    plain = closed_form._second
    monkeypatch.setattr(closed_form, "_second", lambda *args: tuple(1.001 * part for part in plain(*args)))
    with hessian(net, functional.cross_entropy, batch) as op:
        found = op.dense()
    assert abs(found - right).max() < 1e-13 * abs(right).max()


@pytest.mark.parametrize("mode", ["eval", "frozen"])
def test_constant_statistics_are_none_of_its_business(
    mode: str, everywhere: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = counted(monkeypatch)
    net, batch = network(1)
    with hessian(net, functional.cross_entropy, batch, mode=mode) as op:
        op.matvec(torch.ones(op.size, dtype=torch.float64))
    assert not any(calls.values())
