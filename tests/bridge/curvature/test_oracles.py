"""Agreement with other packages where they are right, and the recorded disagreement where they are not.

They are optional and skipped when absent: they are independent implementations by other people, which is what makes
them oracles. Seen with curvlinops 3.0, hessian-eigenthings 1.0, PyHessian 0.1 and BackPACK 1.7 on torch 2.13:

- hessian-eigenthings has the training-mode product right, and moves the running statistics at every product.
- curvlinops is right in evaluation mode. In training mode it raises where batch norm tracks statistics; without
  tracking its products follow torch.func and are wrong wherever that route is (``test_routes.py`` measures it).
- PyHessian silently switches the model to evaluation mode (and leaves it there): the eigenvalue of another function.
- BackPACK's Hessian-vector product is double backward on a graph of the user's own, and right.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from curvature_cases import BY_NAME
from torch import Tensor, nn
from torch.nn import functional

from bntheory.bridge import state_fingerprint
from bntheory.bridge.curvature import hessian, measure_routes, top_eigenvalues

pytestmark = pytest.mark.filterwarnings("ignore")  # other packages' own deprecations are not this one's


def problem(device: str) -> tuple[nn.Module, tuple[Tensor, Tensor], np.ndarray, Tensor]:
    net, batch = BY_NAME["batch-norm-1d"].make(device)
    net.train()
    with hessian(net, functional.cross_entropy, batch) as op:
        v = op.random_vector(torch.Generator().manual_seed(0))
        return net, batch, op.matvec(v).cpu().numpy(), v


def off(found: Any, expected: np.ndarray) -> float:
    array = found.detach().cpu().numpy() if isinstance(found, Tensor) else np.asarray(found)
    return float(np.abs(array.reshape(-1) - expected).max() / np.abs(expected).max())


def test_hessian_eigenthings_agrees_and_moves_the_running_statistics(device: str) -> None:
    operators = pytest.importorskip("hessian_eigenthings.operators")
    net, batch, expected, v = problem(device)
    theirs = operators.HessianOperator(
        net, [batch], lambda model, item: functional.cross_entropy(model(item[0]), item[1])
    )
    before = net[1].running_mean.clone()
    found = theirs.matvec(v)
    assert off(found, expected) < 1e-10
    assert not torch.equal(net[1].running_mean, before)


def test_curvlinops_is_right_in_evaluation_mode_and_as_wrong_as_torch_func_in_training(device: str) -> None:
    """With tracked statistics it raises in training mode (it may not write to buffers), so these are off."""
    curvlinops = pytest.importorskip("curvlinops")
    errors = {}
    for name, mode in (("batch-norm-1d", "eval"), ("batch-norm-1d-untracked", "train")):
        net, batch = BY_NAME[name].make(device)
        net.train(mode == "train")
        theirs = curvlinops.HessianLinearOperator(
            net, nn.CrossEntropyLoss(), list(net.parameters()), [batch], check_deterministic=False
        )
        with hessian(net, functional.cross_entropy, batch, mode=mode) as op:
            v = op.random_vector(torch.Generator().manual_seed(0))
            errors[mode] = off(theirs @ v, op.matvec(v).cpu().numpy())
    assert errors["eval"] < 1e-10
    route = next(r for r in measure_routes(device).routes if (r.name, r.layer) == ("jvp(jacrev)", "BatchNorm"))
    assert (errors["train"] < 1e-8) == route.agrees, f"off by {errors['train']:.2g} in training mode"


def test_pyhessian_returns_the_eigenvalue_of_the_evaluation_mode(device: str) -> None:
    pyhessian = pytest.importorskip("pyhessian")
    net, (x, y) = BY_NAME["batch-norm-1d"].make(device)
    net, x = net.float().train(), x.float()
    before = state_fingerprint(net, rng=False)
    tops = {}
    for mode in ("train", "eval"):
        with hessian(net, functional.cross_entropy, (x, y), mode=mode) as op:
            tops[mode] = top_eigenvalues(op, 1, "LM", tol=1e-5).top
    assert state_fingerprint(net, rng=False) == before
    theirs = pyhessian.hessian(copy.deepcopy(net), nn.CrossEntropyLoss(), (x, y), cuda=device != "cpu")
    torch.manual_seed(0)
    found = theirs.eigenvalues(maxIter=2000, tol=1e-7)[0][0]
    assert found == pytest.approx(tops["eval"], rel=1e-3)
    assert abs(found - tops["train"]) > 0.01 * abs(tops["train"])
    assert not theirs.model.training


def test_backpack_agrees(device: str) -> None:
    hvp = pytest.importorskip("backpack.hessianfree.hvp")
    net, (x, y), expected, v = problem(device)
    parameters = list(net.parameters())
    pieces = [
        piece.view(p.shape) for piece, p in zip(v.split([p.numel() for p in parameters]), parameters, strict=True)
    ]
    found = hvp.hessian_vector_product(functional.cross_entropy(net(x), y), parameters, pieces)
    assert off(torch.cat([f.reshape(-1) for f in found]), expected) < 1e-10
