#!/usr/bin/env python3
"""Whether the report and the verdicts of a run cost time in proportion to its records, up to 100 000 of them.

Runs of ever more seeds are made up from the recorded quick run: every record of a seed that was trained is written again for others, each
of its numbers moved by up to a tenth, so that nothing is the same twice. Then ``bntheory report`` makes all of it anew in a process of its
own, and its processor time and memory are taken: reading and checking every line, verdicts, figures and page. Linear time shows as a time per
1 000 records that does not grow from row to row; the last column is the exponent of the time between this row and the one before.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from bntheory.evidence.record import Record
from bntheory.experiments.store import Store

RECORDED = Path(__file__).parents[1] / "recorded" / "quick-cpu"


def moved(value: Any, draw: random.Random) -> Any:
    """The value with every number below moved by up to a tenth; counts and words stay."""
    if isinstance(value, dict):
        return {key: moved(item, draw) for key, item in value.items()}
    if isinstance(value, list):
        return [moved(item, draw) for item in value]
    return value * draw.uniform(0.9, 1.1) if isinstance(value, float) else value


def made_up(records: list[Record], seeds: range) -> Iterator[Record]:
    """Records of every seed, each from those of one that was trained."""
    own = defaultdict(list)
    for record in records:
        own[record.seed].append(record)
    trained = sorted(own)
    for seed in seeds:
        draw = random.Random(seed)
        for record in own[trained[seed % len(trained)]]:
            yield replace(record, seed=seed, values=moved(dict(record.values), draw))


def write_run(folder: Path, records: list[Record], seeds: range) -> int:
    """A run of these seeds, as ``compare`` leaves it; how many records it has."""
    manifest = json.loads((RECORDED / "manifest.json").read_text("utf-8"))
    manifest["preset_content"]["seeds"] = list(seeds)
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    lines = [record.line() for record in made_up(records, seeds)]
    (folder / "records.jsonl").write_text("".join(lines), encoding="utf-8")
    return len(lines)


def reported(folder: Path) -> tuple[float, float, float]:
    """Processor seconds, wall seconds and GiB of ``bntheory report`` on this folder."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "bntheory", "report", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"report of {folder} failed:\n{done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used, time.perf_counter() - began, after.ru_maxrss / 2**20


def main() -> None:
    """One row a run, the smallest first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000, help="of the largest run (default: 100 000)")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    most = chosen.records
    records = list(Store(RECORDED).read().records.values())
    a_seed = len(records) / len({r.seed for r in records})
    print(f"{'records':>9} {'seeds':>6} {'CPU s':>8} {'a 1000':>8} {'wall s':>8} {'GiB':>6} {'exponent':>9}")
    last: tuple[int, float] | None = None
    rows = []
    for share in (8, 4, 2, 1):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "run"
            seeds = range(max(math.ceil(most / share / a_seed), 8))
            count = write_run(folder, records, seeds)
            used, wall, memory = reported(folder)
        slope = math.log(used / last[1]) / math.log(count / last[0]) if last else math.nan
        print(
            f"{count:>9} {len(seeds):>6} {used:>8.1f} {1000 * used / count:>8.2f} {wall:>8.1f} {memory:>6.2f} {slope:>9.2f}",
            flush=True,
        )
        rows.append(
            {
                "records": count,
                "seeds": len(seeds),
                "cpu_seconds": round(used, 2),
                "wall_seconds": round(wall, 2),
                "gib": round(memory, 3),
                "exponent": None if last is None else round(slope, 3),
            }
        )
        last = (count, used)
    if chosen.out is not None:
        chosen.out.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
