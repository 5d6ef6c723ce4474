"""Products of one batch's Hessian, Gauss-Newton or Fisher matrix with a vector, by double backward only.

Each class builds its graph once, in its constructor, and answers any number of products from it. The only
derivative call is ``torch.autograd.grad``: see :mod:`bntheory.bridge.curvature.routes` for why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from bntheory.bridge.explanation import second_backward
from bntheory.errors import UserError

Pieces = Sequence[Tensor]


class BatchProduct(Protocol):
    """The matrix of one batch, with the loss and the gradient that came with it. unused: indices of the variables that the loss does not use."""

    loss: float
    gradient: list[Tensor]
    unused: frozenset[int]

    def __call__(self, pieces: Pieces) -> list[Tensor]: ...


class HessianProduct:
    """v -> d/d theta <grad L, v>."""

    def __init__(self, loss: Tensor, variables: Pieces, names: Sequence[str]) -> None:
        self.loss = float(loss.detach())
        gradients, self.unused = _grad(loss, variables, names, create_graph=True)
        self._variables = variables
        # an entry that autograd sees as constant (a loss linear in it, or one without it) has zero rows in the Hessian
        self._live = [i for i, g in enumerate(gradients) if g.requires_grad]
        self._gradients = [gradients[i] for i in self._live]
        self.gradient = [g.detach() for g in gradients]

    def __call__(self, pieces: Pieces) -> list[Tensor]:
        return _second(self._gradients, self._variables, [pieces[i] for i in self._live])


class GaussNewtonProduct:
    """v -> J' (d2 loss/d outputs2) J v, with J the Jacobian of the outputs."""

    def __init__(
        self, outputs: Tensor, loss: Callable[[Tensor], Tensor], variables: Pieces, names: Sequence[str]
    ) -> None:
        if not isinstance(outputs, Tensor):
            raise UserError(
                f"the model returned a {type(outputs).__name__}; Gauss-Newton and Fisher products need outputs that "
                "are one tensor. Wrap the model so that it returns the tensor that the loss takes"
            )
        self._jacobian = _Jacobian(outputs, variables, names)
        leaf = outputs.detach().requires_grad_()
        value = loss(leaf)
        self.loss = float(value.detach())
        (self._slope,), ignored = _grad(value, [leaf], ["outputs"], create_graph=True)
        if ignored:
            raise UserError("the loss does not use the outputs of the model, so there is no curvature by way of them")
        self._leaf, self.unused = leaf, self._jacobian.unused
        self.gradient = self._jacobian.transposed(self._slope.detach())

    def __call__(self, pieces: Pieces) -> list[Tensor]:
        moved = self._jacobian(pieces)
        if not self._slope.requires_grad:  # a loss linear in the outputs has no Gauss-Newton curvature
            return [torch.zeros_like(piece) for piece in pieces]
        (bent,) = _second([self._slope], [self._leaf], [moved])
        return self._jacobian.transposed(bent)


class EmpiricalFisherProduct:
    """v -> (1/N) sum_i <grad l_i, v> grad l_i over the N examples of the batch.

    With batch normalisation l_i depends on every example of the batch, and its gradient is taken so.
    """

    def __init__(self, losses: Tensor, variables: Pieces, names: Sequence[str]) -> None:
        if not isinstance(losses, Tensor) or losses.dim() != 1:
            got = f"shape {tuple(losses.shape)}" if isinstance(losses, Tensor) else type(losses).__name__
            raise UserError(
                f"loss returned {got}; the empirical Fisher matrix needs one loss for each example, a tensor of "
                "shape (N,): use reduction='none'"
            )
        if not bool(torch.isfinite(losses.detach()).all()):
            raise UserError("loss is not finite on some examples of this batch; there is no Fisher matrix there")
        self._count = losses.shape[0]
        self._jacobian = _Jacobian(losses, variables, names)
        self.loss, self.unused = float(losses.detach().mean()), self._jacobian.unused
        self.gradient = self._jacobian.transposed(torch.full_like(losses, 1.0 / self._count).detach())

    def __call__(self, pieces: Pieces) -> list[Tensor]:
        return self._jacobian.transposed(self._jacobian(pieces) / self._count)


class _Jacobian:
    """J v and J' w for J = d outputs/d variables. J v is the derivative of the linear map u -> J'u along v."""

    def __init__(self, outputs: Tensor, variables: Pieces, names: Sequence[str]) -> None:
        self._outputs, self._variables = outputs, variables
        self._cotangent = torch.zeros_like(outputs).detach().requires_grad_()
        pulled, self.unused = _grad(outputs, variables, names, grad_outputs=self._cotangent, create_graph=True)
        self._live = [i for i, g in enumerate(pulled) if g.requires_grad]
        self._pulled = [pulled[i] for i in self._live]

    def __call__(self, pieces: Pieces) -> Tensor:
        return _second(self._pulled, [self._cotangent], [pieces[i] for i in self._live])[0]

    def transposed(self, cotangent: Tensor) -> list[Tensor]:
        return _second([self._outputs], self._variables, [cotangent])


def _grad(
    outputs: Tensor, variables: Pieces, names: Sequence[str], *, create_graph: bool, grad_outputs: Tensor | None = None
) -> tuple[list[Tensor], frozenset[int]]:
    """The derivatives, zero for variables that are not used; and the indices of these."""
    if not outputs.requires_grad:
        raise UserError(
            f"the loss does not depend on {', '.join(names[:5])} through torch operations: its value requires no "
            "gradient. Look for .detach(), .item(), torch.no_grad() or numpy inside the model or the loss"
        )
    found = torch.autograd.grad(
        outputs, list(variables), grad_outputs=grad_outputs, create_graph=create_graph, allow_unused=True
    )
    gradients = [torch.zeros_like(v) if g is None else g for g, v in zip(found, variables, strict=True)]
    return gradients, frozenset(i for i, g in enumerate(found) if g is None)


def _second(outputs: Pieces, variables: Pieces, directions: Pieces) -> list[Tensor]:
    if not outputs:
        return [torch.zeros_like(v) for v in variables]
    found = second_backward(outputs, variables, directions)
    return [torch.zeros_like(v) if g is None else g for g, v in zip(found, variables, strict=True)]
