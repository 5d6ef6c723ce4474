"""How soon `bntheory decide` answers, against another revision of this repository.

    python validation/benchmarks/start_up.py --revision 1573baa

Both run from their source trees with the same interpreter and libraries, in turn, so that a busy machine slows both. `unreadable` is a
claim that cannot be read: it costs the start and nothing else. `help` prints the help. `true` and `false` are claims that are decided, the
judges' own libraries and work included. Printed for each: both medians of processor time (user and system) and their ratio, and that of
wall time; the last line is the ratio for the start.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
CASES = {
    "unreadable": ["dot(y, input_grd) == 0"],
    "help": ["--help"],
    "true": ["dot(y, input_grad) == 0", "--eps", "zero"],
    "false": ["norm2(input_grad) <= norm2(grad)"],
}
START = "unreadable"
CALL = "import sys; sys.path.insert(0, sys.argv.pop(1)); from bntheory.cli import main; main()"


def spent(source: Path, arguments: list[str]) -> tuple[float, float]:
    """Processor and wall seconds of one run of the command."""
    before, start = os.times(), time.perf_counter()
    subprocess.run([sys.executable, "-c", CALL, str(source), "decide", *arguments], capture_output=True, check=False)
    wall, after = time.perf_counter() - start, os.times()
    used = after.children_user - before.children_user + after.children_system - before.children_system
    return used, wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--revision", default="1573baa", help="what git calls the other revision")
    parser.add_argument("--repeats", type=int, default=10)
    options = parser.parse_args()
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", options.revision, "src"], capture_output=True, check=True
    )
    ratios: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tree:
            tree.extractall(folder, filter="data")
        sources = (Path(folder) / "src", ROOT / "src")
        print(f"{'':<12} {options.revision:>10} {'here':>8} {'ratio':>7}   wall: ratio")
        for name, arguments in CASES.items():
            times: tuple[list[tuple[float, float]], ...] = ([], [])
            for _ in range(options.repeats + 1):  # the first fills the caches
                for source, found in zip(sources, times, strict=True):
                    found.append(spent(source, arguments))
            (then, then_wall), (now, now_wall) = (
                [statistics.median(run[i] for run in found[1:]) for i in (0, 1)] for found in times
            )
            ratios[name] = now / then
            print(f"{name:<12} {then:>9.3f}s {now:>7.3f}s {now / then:>7.2f}   {now_wall / then_wall:>10.2f}")
    print(f"start: {ratios[START]:.2f} of the time of {options.revision}")


if __name__ == "__main__":
    main()
