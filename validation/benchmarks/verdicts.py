"""How the time for verdicts grows with the number of records: the recorded quick run, its seeds repeated under other numbers.

Run it as ``python validation/benchmarks/verdicts.py``. Linear growth doubles the time where the records double; the ratios are of one run.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from bntheory.experiments.answers import run_verdicts
from bntheory.experiments.experiment import freshest, needed
from bntheory.experiments.manifest import conditions_of
from bntheory.experiments.preset import preset_from_json
from bntheory.experiments.quantities import merged
from bntheory.experiments.store import Store

RUN = Path(__file__).parents[1] / "recorded" / "quick-cpu"


def main() -> None:
    """Time the verdicts of ever more copies of the recorded run and print the ratios."""
    manifest = json.loads((RUN / "manifest.json").read_text("utf-8"))
    asked = list(needed(preset_from_json(manifest["preset_content"]).experiment(), conditions_of(manifest)))
    points: list[dict[str, Any]] = merged(asked, freshest(asked, Store(RUN).read().versions))
    own = len({p["seed"] for p in points})
    previous = 0.0
    for copies in (8, 16, 32, 64, 128):
        many = [{**p, "seed": p["seed"] + own * k} for k in range(copies) for p in points]
        seeds = sorted({p["seed"] for p in many})
        preset = preset_from_json({**manifest["preset_content"], "seeds": seeds})
        began = time.process_time()
        run_verdicts(preset, many)
        spent = time.process_time() - began
        ratio = f"  {spent / previous:.2f} times the line before" if previous else ""
        print(f"{len(many):7d} points  {spent:7.2f} s{ratio}", flush=True)
        previous = spent


if __name__ == "__main__":
    main()
