"""The state of this installation, for `bntheory doctor`: versions, and which derivative routes can be trusted."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata

import torch

from bntheory.bridge.curvature.routes import ALLOWED, LAYERS, Route, RouteTable, measure_routes, third_derivative_error
from bntheory.evidence.progress import Progress, silent

PACKAGES = ("bntheory", "torch", "numpy", "scipy", "sympy", "z3-solver", "python-flint", "matplotlib")
ORACLES = ("curvlinops-for-pytorch", "hessian-eigenthings", "backpack-for-pytorch", "pyhessian")


@dataclass(frozen=True)
class DoctorReport:
    """Versions by package ("" where absent), the table of routes, and whether the library's own routes are right."""

    python: str
    packages: dict[str, str]
    oracles: dict[str, str]
    devices: tuple[str, ...]
    table: RouteTable
    third_derivative: Route

    @property
    def healthy(self) -> bool:
        """Whether every route that this library uses agrees with the reference."""
        return all(r.agrees for r in self.table.routes if r.name in ALLOWED)

    def as_text(self, *, table: bool = True) -> str:
        """The report as plain text, at most 80 columns wide; without a table, a line of any length a route."""
        lines = [f"python        {self.python}"]
        lines += [f"{name:<13} {version or 'not installed'}" for name, version in self.packages.items()]
        lines.append("devices       " + ", ".join(self.devices))
        present = [f"{name} {version}" for name, version in self.oracles.items() if version]
        lines.append("oracles       " + (", ".join(present) or "none installed (optional, compared in the tests)"))
        lines += ["", "Hessian of a small network: relative error against primitive operations", ""]
        if table:
            lines.append(f"{'route':<28}" + "".join(f"{layer:>13}" for layer in LAYERS) + "   used here")
        by_name: dict[str, dict[str, Route]] = {}
        for route in self.table.routes:
            by_name.setdefault(route.name, {})[route.layer] = route
        for name, layers in by_name.items():
            if not table:
                said = ", ".join(f"{layer} {_cell(layers[layer])}" for layer in LAYERS)
                lines.append(f"{name}: {said}; used here: {'yes' if name in ALLOWED else 'no'}")
                continue
            cells = "".join(f"{_cell(layers[layer]):>13}" for layer in LAYERS)
            lines.append(f"{name:<28}{cells}   {'yes' if name in ALLOWED else 'no'}")
        third = self.third_derivative
        lines.append(
            f"{third.name:<28}{_cell(third):>13}{'':>26}   no"
            if table
            else f"{third.name}: {_cell(third)}; used here: no"
        )
        checked = max(self.table.reference_error.values())
        lines += ["", f"The reference agrees with finite differences to {checked:.1e}."]
        changes = self.table.changes()
        if changes is None:
            lines.append(f"There is no record for torch {self.table.torch_version} to compare with.")
        elif changes:
            lines += ["Changed since the record:", *(f"  {change}" for change in changes)]
        else:
            lines.append(f"Nothing changed since the record for torch {self.table.torch_version}.")
        lines.append(
            "The routes used here are right."
            if self.healthy
            else "A route used here is WRONG on this torch: take normalisation='primitive' and report it."
        )
        return "\n".join(lines)


def doctor_report(
    device: torch.device | str = "cpu", *, progress: Progress = silent, packages: Sequence[str] = PACKAGES
) -> DoctorReport:
    """Measure this installation: some seconds, most of them torch loading its forward-mode rules."""
    devices = ["cpu"]
    if torch.cuda.is_available():
        devices += [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return DoctorReport(
        platform.python_version(),
        {name: _version(name) for name in packages},
        {name: _version(name) for name in ORACLES},
        tuple(devices),
        measure_routes(device, progress=progress),
        third_derivative_error(device),
    )


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _cell(route: Route) -> str:
    if route.failure:
        return "raises"
    return f"{route.error:.0e}" if route.agrees else f"{route.error:.1%} off"
