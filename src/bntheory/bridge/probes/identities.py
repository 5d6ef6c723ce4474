"""A proved identity held against a measurement, unit by unit; the worst case is kept with both its sides.

An identity that has been proved can fail here only if the measurement, the formula as coded, or the tolerance is wrong. So a
failure is an error of this tool or of the arithmetic below it, and it must be loud: exit code 1, naming network, layer, channel
and both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

IDENTITIES: dict[str, str] = {
    "input-gradient": r"dL̂/dy = (γ/σ) P g",
    "input-gradient-float32": r"dL̂/dy = (γ/σ) P g, in single precision",
    "input-hessian": r"d²L̂/dy² v = (γ²/σ²) P H P v − γ/(mσ²) [⟨ŷ,g⟩ P v + ⟨ŷ,v⟩ P g + ⟨P g,v⟩ ŷ]",
    "beta-gradient": r"dL̂/dβ = ⟨1,g⟩",
    "gamma-gradient": r"dL̂/dγ = ⟨ŷ,g⟩",
    "gradient-split": r"‖dL̂/dy‖² = (γ²/σ²) (‖g‖² − ⟨1,g⟩²/m − (1 + ε/σ²) ⟨g,ŷ⟩²/m)",
    "affine-split": r"the same, with dL̂/dβ and dL̂/dγ in place of the inner products",
    "theorem-4.1": r"‖dL̂/dy‖² ≤ (γ²/σ²) (‖g‖² − ⟨1,g⟩²/m − ⟨g,ŷ⟩²/m), ε ≥ 0",
    "theorem-4.2-exact": r"v'K v = (γ²/σ²) (P v)'H(P v) − (γ⟨ŷ,g⟩/(mσ²)) [(1 + 2ε/σ²)‖v‖² − (γ²/(mσ²)) (ε/σ²)² ⟨ŷ,g⟩²], v = dL̂/dy",
    "first-layer-shift": r"covariate shift of the first layer (Definition 2.1) = 0",
    "twin-loss": r"loss of the frozen-statistics twin = loss, at the point where it was frozen",
}


@dataclass(frozen=True)
class Identity:
    """One identity on one layer of one network at one step.

    units: how many units were checked, failing: how many lie outside their tolerance. unit, left, right, relative, tolerance: of
    the unit that comes closest to its tolerance or exceeds it most. relative is |left - right| (for vectors the norm of the
    difference; for inequalities the excess of left over right) over the size of the largest term.
    """

    name: str
    layer: str
    units: int
    failing: int
    unit: int
    left: float
    right: float
    relative: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether every unit lies within its tolerance."""
        return self.failing == 0

    @property
    def margin(self) -> float:
        """relative/tolerance of the worst unit: below one is a pass."""
        return self.relative / self.tolerance if self.tolerance > 0 else (0.0 if self.relative == 0 else 1e300)

    def as_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def check_identity(
    name: str,
    layer: str,
    *,
    left: Tensor,
    right: Tensor,
    relative: Tensor,
    tolerance: Tensor,
    units: Sequence[int] | None = None,
) -> Identity:
    """Keep the worst unit. All tensors have shape (k,), one entry a unit; ``units`` numbers them.

    Raises ValueError for an unknown name, or where nothing was measured.
    """
    if name not in IDENTITIES:
        raise ValueError(f"identity {name!r} is unknown; known are {', '.join(IDENTITIES)}")
    given = {"left": left, "right": right, "relative": relative, "tolerance": tolerance}
    given = {side: t.detach().double().reshape(-1).cpu() for side, t in given.items()}
    relative, tolerance = given["relative"], given["tolerance"]
    if relative.numel() == 0:
        raise ValueError(f"identity {name!r}: no unit of layer {layer!r} was measured")
    passed = relative <= tolerance  # a NaN does not pass
    ratio = relative / tolerance.clamp_min(1e-300)
    ratio = ratio.nan_to_num(nan=float("inf"), posinf=float("inf"))
    worst = int(ratio.argmax())
    unit = worst if units is None else int(units[worst])
    numbers = {side: _number(t[worst]) for side, t in given.items()}
    return Identity(name, layer, relative.numel(), int((~passed).sum()), unit, **numbers)


def _number(x: Tensor) -> float:
    """A float that JSON can hold; a non-finite residual becomes a number that no tolerance reaches."""
    value = float(x)
    return value if value - value == 0 else 1e300
