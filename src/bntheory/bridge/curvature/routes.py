"""Which derivative routes through a normalisation layer are right on the installed torch: measured, not remembered.

Each route computes the Hessian of the same small network's loss, once with torch's fused normalisation and once with
the normalisation written out in primitive operations by plain double backward. Their distance is the error of the
route. Double backward through primitive operations is the reference, and is itself compared with central differences
of the loss's first gradient.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bntheory.bridge.arguments import checked
from bntheory.bridge.formulas import primitive_normalisation
from bntheory.errors import UserError

ALLOWED = ("double backward", "jvp(grad)", "vjp(grad)", "autograd.functional.hessian")
AGREES = 1e-8  # rounding is near 1e-15 and the wrong routes are off by 1e-2: anything between tells them apart
LAYERS = ("BatchNorm", "LayerNorm", "GroupNorm")

# What was wrong when the table was last looked at, as route/layer, by torch's major.minor version.
_VMAPPED = ("torch.func.hessian", "jvp(jacrev)", "jacrev(jacrev)", "jacrev(jacfwd)", "jacfwd(jacfwd)")
RECORDED_WRONG: dict[str, frozenset[str]] = {
    "2.13": frozenset(f"{route}/{layer}" for route in _VMAPPED for layer in ("BatchNorm", "LayerNorm"))
}


@dataclass(frozen=True)
class Route:
    """One route to the Hessian through one kind of layer.

    error: largest deviation from the primitive reference, relative to the reference's largest entry.
    asymmetry: largest |H - H'|, in the same units. ``failure``: what torch raised, if it did.
    """

    name: str
    layer: str
    error: float
    asymmetry: float
    failure: str = ""

    @property
    def agrees(self) -> bool:
        """Whether the route gives the Hessian of this function, up to rounding."""
        return not self.failure and self.error < AGREES


@dataclass(frozen=True)
class RouteTable:
    """All routes through all layers on one version of torch; ``reference_error`` is from finite differences."""

    torch_version: str
    device: str
    routes: tuple[Route, ...]
    reference_error: dict[str, float]

    def right(self) -> frozenset[str]:
        """Names of the routes that agree in every layer."""
        return frozenset(r.name for r in self.routes) - frozenset(r.name for r in self.routes if not r.agrees)

    def wrong(self) -> tuple[Route, ...]:
        """The route and layer pairs that give another matrix."""
        return tuple(r for r in self.routes if not r.agrees)

    def changes(self) -> tuple[str, ...] | None:
        """What differs from the record for this version of torch, in words; None where there is no record."""
        version = ".".join(self.torch_version.split(".")[:2])
        recorded = RECORDED_WRONG.get(version)
        if recorded is None:
            return None
        now = {f"{r.name}/{r.layer}": r for r in self.wrong()}
        worse = [f"{key} was right and is now off by {now[key].error:.2g}" for key in now if key not in recorded]
        better = [f"{key} was wrong and is now right" for key in sorted(recorded - now.keys())]
        return tuple(worse + better)


@checked
def measure_routes(
    device: torch.device | str = "cpu",
    *,
    seed: int = 0,
    progress: Callable[[float, str], None] = lambda fraction, text: None,
) -> RouteTable:
    """Measure every route through BatchNorm (training mode), LayerNorm and GroupNorm in float64; about a second.

    Raises ValueError when the reference itself disagrees with finite differences: then nothing can be said.
    """
    found: list[Route] = []
    reference_errors: dict[str, float] = {}
    for layer in LAYERS:
        loss, point = _problem(layer, torch.device(device), seed)

        def primitive(p: Tensor, loss: Callable[[Tensor], Tensor] = loss) -> Tensor:
            with primitive_normalisation():
                return loss(p)

        reference = _double_backward(primitive, point)
        scale = float(reference.abs().max())
        differences = _finite_differences(primitive, point)
        reference_errors[layer] = float((differences - reference).abs().max()) / scale
        if not reference_errors[layer] < 1e-6:
            raise UserError(
                f"double backward through primitive operations of {layer} is off by {reference_errors[layer]:.2g} from "
                f"finite differences on torch {torch.__version__}: no reference for second derivatives is left"
            )
        for i, (name, route) in enumerate(_ROUTES.items()):
            progress((LAYERS.index(layer) + i / len(_ROUTES)) / len(LAYERS), f"{name}, {layer}")
            try:
                with warnings.catch_warnings():
                    # torch's own loading of its forward-mode rules uses what torch itself has deprecated
                    warnings.filterwarnings("ignore", message=".*torch.jit")
                    hessian = route(loss, point).detach()
            except (RuntimeError, NotImplementedError) as error:
                found.append(Route(name, layer, float("nan"), float("nan"), str(error).splitlines()[0][:120]))
                continue
            found.append(
                Route(
                    name,
                    layer,
                    float((hessian - reference).abs().max()) / scale,
                    float((hessian - hessian.T).abs().max()) / scale,
                )
            )
    return RouteTable(str(torch.__version__), str(device), tuple(found), reference_errors)


def _problem(layer: str, device: torch.device, seed: int) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """A two-layer network with the given normalisation in between: its loss as a function of one flat vector."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64, device="cpu").to(device)

    features, hidden, examples = 3, 6, 9
    x, y = draw(examples, features), draw(examples, 2)
    shapes = [(hidden, features), (hidden,), (hidden,), (2, hidden)]
    sizes = [torch.Size(s).numel() for s in shapes]

    def loss(p: Tensor) -> Tensor:
        w, gamma, beta, v = (piece.view(s) for piece, s in zip(torch.split(p, sizes), shapes, strict=True))
        pre = x @ w.T
        if layer == "BatchNorm":
            z = functional.batch_norm(pre, None, None, gamma, beta, training=True)
        elif layer == "LayerNorm":
            z = functional.layer_norm(pre, (hidden,), gamma, beta)
        else:
            z = functional.group_norm(pre, 2, gamma, beta)
        return (torch.tanh(z) @ v.T - y).square().mean()

    return loss, draw(sum(sizes)) + 0.5


Scalar = Callable[[Tensor], Tensor]


def _double_backward(loss: Scalar, point: Tensor) -> Tensor:
    p = point.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(p), p, create_graph=True)
    return torch.stack([torch.autograd.grad(entry, p, retain_graph=True)[0] for entry in gradient])


def _finite_differences(loss: Scalar, point: Tensor) -> Tensor:
    """Central differences of fourth order of the first gradient."""
    h = 5e-4

    def gradient(at: Tensor) -> Tensor:
        p = at.clone().requires_grad_()
        return torch.autograd.grad(loss(p), p)[0]

    unit = torch.eye(len(point), dtype=point.dtype, device=point.device)
    rows = []
    for e in unit:
        near, far = (gradient(point + s * h * e) - gradient(point - s * h * e) for s in (1, 2))
        rows.append((8 * near - far) / (12 * h))
    return torch.stack(rows)


def _products(product: Callable[[Tensor], Tensor], point: Tensor) -> Tensor:
    """The matrix whose columns are the products with the unit vectors."""
    unit = torch.eye(len(point), dtype=point.dtype, device=point.device)
    return torch.stack([product(e) for e in unit], dim=1)


def _jvp_of(transform: Any) -> Callable[[Scalar, Tensor], Tensor]:
    def route(loss: Scalar, point: Tensor) -> Tensor:
        return _products(lambda e: torch.func.jvp(transform(loss), (point,), (e,))[1], point)

    return route


def _vjp_of(transform: Any) -> Callable[[Scalar, Tensor], Tensor]:
    def route(loss: Scalar, point: Tensor) -> Tensor:
        pull: Any = torch.func.vjp(transform(loss), point)[1]
        return _products(lambda e: pull(e)[0], point)

    return route


def _composed(outer: Any, inner: Any) -> Callable[[Scalar, Tensor], Tensor]:
    def route(loss: Scalar, point: Tensor) -> Tensor:
        matrix: Tensor = outer(inner(loss))(point)
        return matrix

    return route


def _functional_hessian(loss: Scalar, point: Tensor) -> Tensor:
    matrix: Tensor = torch.autograd.functional.hessian(loss, point)
    return matrix


_ROUTES: dict[str, Callable[[Scalar, Tensor], Tensor]] = {
    "double backward": _double_backward,
    "jvp(grad)": _jvp_of(torch.func.grad),
    "vjp(grad)": _vjp_of(torch.func.grad),
    "autograd.functional.hessian": _functional_hessian,
    "torch.func.hessian": lambda loss, point: torch.func.hessian(loss)(point),
    "jvp(jacrev)": _jvp_of(torch.func.jacrev),
    "jacrev(jacrev)": _composed(torch.func.jacrev, torch.func.jacrev),
    "jacrev(jacfwd)": _composed(torch.func.jacrev, torch.func.jacfwd),
    "jacfwd(jacfwd)": _composed(torch.func.jacfwd, torch.func.jacfwd),
}


def third_derivative_error(device: torch.device | str = "cpu", *, seed: int = 0) -> Route:
    """Repeated ``autograd.grad`` to third order through BatchNorm along three directions, against primitives."""
    loss, point = _problem("BatchNorm", torch.device(device), seed)
    generator = torch.Generator().manual_seed(seed + 1)
    u, v = (
        torch.randn(len(point), generator=generator, dtype=torch.float64, device="cpu").to(device) for _ in range(2)
    )

    def contracted() -> Tensor:
        p = point.clone().requires_grad_()
        (g,) = torch.autograd.grad(loss(p), p, create_graph=True)
        (hu,) = torch.autograd.grad(g @ u, p, create_graph=True)
        return torch.autograd.grad(hu @ v, p)[0]

    with primitive_normalisation():
        reference = contracted()
    name = "third derivative by autograd.grad"
    try:
        found = contracted()
    except RuntimeError as error:
        return Route(name, "BatchNorm", float("nan"), float("nan"), str(error).splitlines()[0][:120])
    return Route(name, "BatchNorm", float((found - reference).abs().max() / reference.abs().max()), 0.0)
