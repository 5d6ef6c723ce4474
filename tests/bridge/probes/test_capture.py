"""Capture: what is measured equals the closed form, and the model is left bit for bit as it was.

Two independent oracles meet in the residuals: autograd through torch's own normalisation kernels, and the closed form, which never
differentiates and is itself held against 60-digit differences elsewhere. A third, here: capture by hand on a network whose layers
are written out as a function of the pre-activations.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bntheory.bridge import NetworkSpec, build_network, capture, state_fingerprint
from bntheory.bridge.networks.normalisation import PrimitiveBatchNorm

SPECS = {
    "mlp": NetworkSpec("mlp", size="tiny"),
    "vgg": NetworkSpec("vgg", size="tiny"),
    "resnet": NetworkSpec("resnet", size="tiny"),
    "rnn": NetworkSpec("rnn", size="tiny", activation="tanh"),
    "transformer": NetworkSpec("transformer", size="tiny", activation="gelu"),
    "transformer, layer norm": NetworkSpec("transformer", size="tiny", norm="layer"),
    "vgg, eps = 0": NetworkSpec("vgg", size="tiny", norm="batch-primitive", eps=0.0),
    "mlp, layer norm": NetworkSpec("mlp", size="tiny", norm="layer"),
    "vgg, group norm": NetworkSpec("vgg", size="tiny", norm="group"),
    "mlp, large eps": NetworkSpec("mlp", size="tiny", eps=0.5, activation="tanh"),
}


def network(spec, dtype, device, seed=0):
    model = build_network(spec, seed, device=device, dtype=dtype)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim == 1:
                p.add_(torch.randn(p.shape, generator=generator).to(p))
    x = torch.randn(12, 1, 28, 28, generator=generator).to(device, dtype)
    return model, (x, torch.randint(10, (12,), generator=generator).to(device))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("name", SPECS)
def test_measured_equals_closed_form_on_every_layer(name, dtype, device):
    model, batch = network(SPECS[name], dtype, device)
    found = capture(model, F.cross_entropy, batch)
    assert len(found) >= 2
    for layer in found:
        gradient = layer.gradient_residual()
        hessian = layer.hessian_residual(range(min(2, layer.units)))
        assert gradient.passed.all(), f"{layer}: {gradient.relative.max()} > {gradient.tolerance.min()}"
        assert hessian.passed.all(), f"{layer}: {hessian.relative.max()} > {hessian.tolerance.min()}"
        if dtype == torch.float64:
            assert gradient.relative.max() < 1e-9
            assert hessian.relative.max() < 1e-9


def test_a_slip_in_the_formula_is_noticed(device):
    """The residual of gamma/sigma P g with P's last term left out is far beyond the tolerance."""
    model, batch = network(SPECS["mlp"], torch.float64, device)
    layer = next(iter(capture(model, F.cross_entropy, batch)))
    closed = layer.closed_form()
    slipped = closed.gamma / closed.sigma * (closed.grad - closed.grad.mean(-1, keepdim=True))
    gap = (layer.input_grad - slipped).norm(dim=-1) / slipped.norm(dim=-1)
    assert (gap > 1e6 * layer.gradient_residual().tolerance).any()


def test_quantities_by_hand(device):
    """One hidden layer written out: y = Wx, z = BN(y), L = CE(A softplus(z)); derivatives with respect to y and z as leaves."""
    torch.manual_seed(0)
    first, bn, last = (
        nn.Linear(6, 4).double().to(device),
        nn.BatchNorm1d(4).double().to(device),
        nn.Linear(4, 3).double().to(device),
    )
    nn.init.normal_(bn.weight)
    model = nn.Sequential(first, bn, nn.Softplus(), last)
    x, t = torch.randn(9, 6, dtype=torch.float64, device=device), torch.randint(3, (9,), device=device)
    layer = capture(model, F.cross_entropy, (x, t))["1"]

    def after(z):
        return F.cross_entropy(last(F.softplus(z)), t)

    def before(y):
        mean, var = y.mean(0), y.var(0, unbiased=False)
        return after(bn.weight * (y - mean) / torch.sqrt(var + bn.eps) + bn.bias)

    y = first(x).detach().requires_grad_()
    z = layer.z.T.clone().detach().requires_grad_()
    torch.testing.assert_close(layer.y, y.detach().T)
    (input_grad,) = torch.autograd.grad(before(y), y, create_graph=True)
    (grad,) = torch.autograd.grad(after(z), z, create_graph=True)
    torch.testing.assert_close(layer.input_grad, input_grad.detach().T, rtol=1e-9, atol=1e-14)
    torch.testing.assert_close(layer.grad, grad.detach().T, rtol=1e-9, atol=1e-14)
    v = torch.randn(1, 9, dtype=torch.float64, device=device)
    for unit in range(4):
        full = torch.zeros_like(y)
        full[:, unit] = v[0]
        (hv,) = torch.autograd.grad(grad, z, full, retain_graph=True)
        (input_hv,) = torch.autograd.grad(input_grad, y, full, retain_graph=True)
        torch.testing.assert_close(layer.hess(v, [unit])[0], hv[:, unit], rtol=1e-9, atol=1e-14)
        torch.testing.assert_close(layer.input_hess(v, [unit])[0], input_hv[:, unit], rtol=1e-9, atol=1e-14)
    parameters = torch.autograd.grad(F.cross_entropy(model.train()(x), t), [bn.weight, bn.bias])
    torch.testing.assert_close(layer.parameter_grad("gamma"), parameters[0], rtol=1e-9, atol=1e-14)
    torch.testing.assert_close(layer.parameter_grad("beta"), parameters[1], rtol=1e-9, atol=1e-14)


def test_a_skip_connection_is_not_part_of_the_layer(device):
    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.bn = nn.Linear(5, 5), nn.BatchNorm1d(5)

        def forward(self, x):
            h = self.inner(x)
            return h + self.bn(h)

    torch.manual_seed(1)
    model = Skip().double().to(device)
    x = torch.randn(8, 5, dtype=torch.float64, device=device)
    layer = capture(model, lambda out: (out**3).sum(), (x,))["bn"]
    assert layer.gradient_residual().passed.all()


def test_a_layer_used_twice_is_captured_twice(device):
    torch.manual_seed(2)
    bn = nn.BatchNorm1d(4)
    model = nn.Sequential(nn.Linear(4, 4), bn, nn.Tanh(), nn.Linear(4, 4), bn).double().to(device)
    x = torch.randn(10, 4, dtype=torch.float64, device=device)
    found = capture(model, lambda out: out.square().sin().sum(), (x,))
    assert list(found.layers) == ["1", "1#2"]
    assert found["1"].parameter_grad("gamma") is None  # it belongs to both calls
    assert all(layer.gradient_residual().passed.all() for layer in found)


def test_an_in_place_activation_does_not_overwrite_what_is_measured(device):
    torch.manual_seed(3)
    plain = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2)).double().to(device)
    in_place = nn.Sequential(plain[0], plain[1], nn.ReLU(inplace=True), plain[3])
    x, t = torch.randn(8, 4, dtype=torch.float64, device=device), torch.randint(2, (8,), device=device)
    a, b = (capture(m, F.cross_entropy, (x, t))["1"] for m in (plain, in_place))
    assert torch.equal(a.z, b.z)
    assert torch.equal(a.grad, b.grad)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", ["mlp", "resnet", "rnn"])
def test_the_model_is_left_as_it_was(name, training, device):
    model, batch = network(SPECS[name], torch.float32, device)
    model.train(training)
    next(model.parameters()).grad = torch.ones_like(next(model.parameters()))
    before = state_fingerprint(model)
    found = capture(model, F.cross_entropy, batch)
    for layer in found:
        layer.hessian_residual([0])
    assert state_fingerprint(model) == before

    def broken(outputs, targets):
        raise RuntimeError("broken loss")

    def interrupted(outputs, targets):
        raise KeyboardInterrupt

    with pytest.raises(ValueError, match=r"RuntimeError: broken loss .*the loss in mode 'train'"):
        capture(model, broken, batch)
    with pytest.raises(KeyboardInterrupt):
        capture(model, interrupted, batch)
    assert state_fingerprint(model) == before


def test_eval_mode_is_captured_with_batch_statistics(device):
    """Running statistics would make the layer affine; what is captured is batch normalisation."""
    model, batch = network(SPECS["mlp"], torch.float64, device)
    a = capture(model.train(), F.cross_entropy, batch)
    b = capture(model.eval(), F.cross_entropy, batch)
    for name in a.layers:
        assert torch.equal(a[name].input_grad, b[name].input_grad)


def test_a_copy_in_float64_is_measured_on_request(device):
    model, batch = network(SPECS["mlp"], torch.float32, device)
    found = capture(model, F.cross_entropy, batch, dtype=torch.float64)
    assert all(layer.y.dtype == torch.float64 for layer in found)
    assert next(model.parameters()).dtype == torch.float32


MLP = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
X, T = torch.randn(6, 3), torch.zeros(6, dtype=torch.long)
BAD = {
    "no normalisation layer": (lambda: capture(nn.Linear(3, 2), F.cross_entropy, (X, T)), "no normalisation layer"),
    "unknown layer": (lambda: capture(MLP, F.cross_entropy, (X, T), layers=["bn7"]), "'bn7'.*the model has 1"),
    "batch of one": (lambda: capture(MLP, F.cross_entropy, (X[:1], T[:1])), "more than 1 value per channel|m = 1"),
    "nan input": (lambda: capture(MLP, F.cross_entropy, (X * float("nan"), T)), "'1' receives non-finite"),
    "vector loss": (lambda: capture(MLP, lambda o, t: o.sum(-1), (X, T)), r"loss returned a tensor of shape \(6,\)"),
    "nan loss": (lambda: capture(MLP, lambda o, t: o.sum() * float("nan"), (X, T)), "loss is nan"),
    "loss without graph": (lambda: capture(MLP, lambda o, t: o.detach().sum(), (X, T)), "does not depend"),
    "unit out of range": (
        lambda: capture(MLP, F.cross_entropy, (X, T))["1"].hess(torch.zeros(1, 6), [9]),
        "unit 9.*units 0 to 3",
    ),
    "vector of a wrong size": (
        lambda: capture(MLP, F.cross_entropy, (X, T))["1"].hess(torch.zeros(1, 5), [0]),
        r"v has shape \(1, 5\)",
    ),
    "constant batch without eps": (
        lambda: capture(
            nn.Sequential(PrimitiveBatchNorm(3, eps=0.0), nn.Linear(3, 2)), F.cross_entropy, (torch.ones(6, 3), T)
        ),
        "constant|zero",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_clearly(name):
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("name", ["mlp", "vgg, eps = 0", "vgg, group norm"])
def test_products_over_all_units_are_those_of_the_blocks_and_of_the_closed_form(name, device):
    model, batch = network(SPECS[name], torch.float64, device)
    layer = next(iter(capture(model, F.cross_entropy, batch)))
    generator = torch.Generator().manual_seed(1)
    v = torch.randn(layer.units, layer.m, generator=generator, dtype=torch.float64).to(device)
    alone = torch.zeros_like(v)
    alone[1] = v[1]
    assert torch.allclose(layer.whole_hess(alone)[1], layer.hess(v[1:2], [1])[0], rtol=1e-9, atol=1e-14)
    # the bend of each unit is its own, the rest is J H J with H over all units
    form = layer.closed_form()
    jac = form.gamma / form.sigma
    bend = form.input_hess(v) - jac * form.project(layer.hess(jac * form.project(v)))
    whole = jac * form.project(layer.whole_hess(jac * form.project(v))) + bend
    assert torch.allclose(layer.whole_input_hess(v), whole, rtol=1e-7, atol=1e-12)
    assert not torch.allclose(whole, form.input_hess(v), rtol=1e-3)  # the blocks between units are not zero
    with pytest.raises(ValueError, match="for all units"):
        layer.whole_hess(v[:, :-1])


def test_without_second_derivatives_everything_of_first_order_is_the_same_and_the_rest_is_refused() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.LayerNorm(6), nn.Linear(6, 3))
    batch = (torch.randn(8, 4), torch.arange(8) % 3)
    whole = capture(net, nn.functional.cross_entropy, batch)
    slim = capture(net, nn.functional.cross_entropy, batch, second_order=False)
    assert list(whole.layers) == list(slim.layers) == ["1", "3"]
    for a, b in zip(whole, slim, strict=True):
        for name in ("y", "z", "grad", "input_grad", "gamma", "beta"):
            assert torch.equal(getattr(a, name), getattr(b, name)), name
        assert torch.equal(a.gradient_residual().relative, b.gradient_residual().relative)
        v = torch.randn_like(b.y)
        for refused in (b.hess, b.input_hess, b.whole_hess, b.whole_input_hess, b.jac):
            with pytest.raises(ValueError, match="second_order=False"):
                refused(v)
        with pytest.raises(ValueError, match="second_order=False"):
            b.hessian_residual()
    for role in ("gamma", "beta"):
        assert torch.equal(whole["1"].parameter_grad(role), slim["1"].parameter_grad(role))


def test_one_layer_may_be_named_without_a_list() -> None:
    """And no part of its name names another."""
    assert [layer.name for layer in capture(MLP, F.cross_entropy, (X, T), layers="1")] == ["1"]
    with pytest.raises(ValueError, match="no normalisation layer is named '17'"):
        capture(MLP, F.cross_entropy, (X, T), layers="17")
