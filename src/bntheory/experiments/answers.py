"""What a run amounts to: identities with their worst margins, printed statements counted, comparisons with their
outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from bntheory.bridge.probes.identities import IDENTITIES, Identity
from bntheory.experiments.contrasts import activation_contrasts
from bntheory.experiments.network_runs import network_runs
from bntheory.experiments.outcomes import compare_all
from bntheory.experiments.preset import Preset
from bntheory.experiments.runs import Json

METHOD = (
    "One number a seed, paired within the seed and averaged over the learning rates at which both arms train; Student's t interval of its "
    "mean over seeds, which assumes that it is roughly normal: a strongly skewed number is missed more often than said. The intervals of one comparison on one network hold together at 95 %. "
    "Supported or contradicted only where the whole interval lies on one side; equivalent where it lies within the margin."
)

#: Printed inequalities that are counted on every unit and decide no exit code: id, text, and how to find the counts in
#: a record.
STATEMENTS: tuple[tuple[str, str, str, str], ...] = (
    ("santurkar2018.theorem-4.1.neurips", r"‖dL̂/dy‖² ≤ (γ²/σ²)(‖g‖² − ⟨1,g⟩²/m − ⟨g,ŷ⟩²/√m)", "layers", "neurips"),
    ("santurkar2018.theorem-4.1.eps", r"‖dL̂/dy‖² ≤ (γ²/σ²)(‖g‖² − ⟨1,g⟩²/m − ⟨g,ŷ⟩²/m)", "layers", "arxiv"),
    (
        "santurkar2018.theorem-4.2.first.eps",
        r"v'K v ≤ (γ²/σ²) v'H v − (γ/(mσ²)) ⟨g,ŷ⟩ ‖v‖², v = dL̂/dy",
        "theorem_4_2",
        "first",
    ),
    (
        "santurkar2018.theorem-4.2.second.unconditional",
        r"v'K v ≤ (γ²/σ²)(g'H g − ⟨g,ŷ⟩ ‖v‖²/(mγ)), v = dL̂/dy",
        "theorem_4_2",
        "second",
    ),
)


def _identities(records: Iterable[Json]) -> Iterator[tuple[Json, Identity]]:
    for record in records:
        for item in record["identities"]:
            yield record, Identity(**item)


def failures(records: Iterable[Json]) -> list[str]:
    """One sentence for every identity that failed: network, layer, channel, both sides."""
    return [
        f"{record['network']} ({record['arm']}, seed {record['seed']}, step {record['step']}), layer {item.layer}, "
        f"channel {item.unit}: {IDENTITIES[item.name]} fails on {item.failing} of {item.units} units; left {item.left:.12g}, "
        f"right {item.right:.12g}, relative difference {item.relative:.3g}, tolerance {item.tolerance:.3g}"
        for record, item in _identities(records)
        if not item.passed
    ]


def run_verdicts(preset: Preset, records: Sequence[Json]) -> dict[str, Any]:
    """The content of verdicts.json. An identity that was never checked is said to be so, and does not pass."""
    checked: dict[str, list[tuple[Json, Identity]]] = {name: [] for name in IDENTITIES}
    for record, item in _identities(records):
        checked[item.name].append((record, item))
    identities = {name: _identity(name, found) for name, found in checked.items()}
    effects, crossings = compare_all(network_runs(preset.experiment(), records))
    effects += activation_contrasts(effects, preset.networks)
    passed = all(v["passed"] for v in identities.values())
    return {
        "preset": preset.name,
        "passed": passed,
        "exit_code": 0 if passed else 1 if any(v["failing"] for v in identities.values()) else 2,
        "identities": identities,
        "statements": [_statement(records, *s) for s in STATEMENTS],
        "outcomes": [effect.as_json() for effect in effects],
        "crossings": [crossing.as_json() for crossing in crossings],
        "diverged": [f"{r['cell']} at step {r['step']}" for r in records if r["diverged"]],
        "refused": list(_refused(records)),
        "method": METHOD,
    }


def _identity(name: str, found: Sequence[tuple[Json, Identity]]) -> dict[str, Any]:
    if not found:
        return {"formula": IDENTITIES[name], "passed": False, "checks": 0, "units": 0, "failing": 0, "worst": None}
    record, worst = max(found, key=lambda pair: pair[1].margin)
    return {
        "formula": IDENTITIES[name],
        "passed": all(item.passed for _, item in found),
        "checks": len(found),
        "units": sum(item.units for _, item in found),
        "failing": sum(item.failing for _, item in found),
        "largest_relative": max(item.relative for _, item in found),
        "worst": {
            **{key: record[key] for key in ("network", "arm", "seed", "step")},
            **{
                key: getattr(worst, key)
                for key in ("layer", "unit", "left", "right", "relative", "tolerance", "margin")
            },
        },
    }


def _refused(records: Iterable[Json]) -> Iterator[str]:
    """Points whose curvature could not be measured, with the reason."""
    for record in records:
        for name in ("sharpness", "linearity"):
            for place, point in (record.get(name) or {}).items():
                if point.get("refused"):
                    yield f"{record['cell']}, {place}, at step {record['step']}: {point['refused']}"


def _statement(records: Iterable[Json], claim: str, text: str, place: str, key: str) -> dict[str, Any]:
    """How often a printed inequality was broken beyond the tolerance, and where it was broken worst."""
    checked = violated = 0
    worst: dict[str, Any] | None = None
    for record in records:
        for layer in record.get(place) or ():
            found = layer["theorem_4_1"][key] if place == "layers" else layer[key]
            if found is None:
                continue
            checked += found["checked"]
            violated += found["violated"]
            if worst is None or found["excess"] > worst["excess"]:
                where = {k: record[k] for k in ("network", "seed", "step")}
                worst = {**where, "layer": layer["name"], **found}
    return {"claim": claim, "statement": text, "checked": checked, "violated": violated, "worst": worst}
