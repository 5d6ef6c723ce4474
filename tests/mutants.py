"""Whether the tests notice what is changed in the layer and in the judges: mutants made at random by cosmic-ray (``make mutants``).

Every mutant changes one place of the code that verdicts rest on. The tests that reach the changed line run on it, the quickest first, until one
fails. Printed are the share that was noticed, and what survived, as differences to look at.

    python tests/mutants.py                 100 mutants of seed 2026, one job a core
    python tests/mutants.py --count 20 --seed 7 --jobs 1
    python tests/mutants.py --report        the result of the last run again
    python tests/mutants.py --run-tests     what cosmic-ray runs on each mutant, in the copy that it changes
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tomllib
import xml.etree.ElementTree
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SESSION, UNCHANGED, REACHED = "session.sqlite", "unchanged", "reached.json"
TESTS = ("tests/layer", "tests/judges", "tests/claims/test_expression.py")
OPTIONS = (
    "-q",
    "-m",
    "not slow",
    "-p",
    "no:cacheprovider",
    "--no-header",
    "--ignore=tests/judges/oracle/test_random_claims.py",
)

_FIRST = 30


def pytest(*words: str) -> int:
    """Run pytest in the working folder on the package that lies in it."""
    environment = {**os.environ, "PYTHONPATH": str(Path("src").resolve()), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-m", "pytest", *OPTIONS, *words], env=environment).returncode


def reach(copy: Path) -> None:
    """Note which tests reach which lines, and how long each takes."""
    from coverage import CoverageData

    os.chdir(copy)
    pytest(*TESTS, "--cov=bntheory", "--cov-context=test", "--cov-report=", "--junitxml=times.xml")
    times, failing = defaultdict(float), set()
    for case in xml.etree.ElementTree.parse("times.xml").iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        times[name] += float(case.get("time", 0))
        if case.find("failure") is not None or case.find("error") is not None:
            failing.add(name)
    print(f"{len(failing)} tests fail on the unchanged code and are left out: {sorted(failing)}")
    data = CoverageData()
    data.read()
    reached: dict[str, dict[int, list[str]]] = {}
    for file in data.measured_files():
        tests = {
            line: {c.rpartition("|")[0] for c in contexts} - {""}
            for line, contexts in data.contexts_by_lineno(file).items()
        }
        sound = {line: [name for name in names if _dotted(name) not in failing] for line, names in tests.items()}
        quickest = {line: sorted(names, key=lambda name: times[_dotted(name)]) for line, names in sound.items()}
        reached[str(Path(file).relative_to(copy.resolve() / "src" / "bntheory"))] = quickest
    Path(REACHED).write_text(json.dumps(reached))


def _dotted(name: str) -> str:
    path, _, test = name.partition("::")
    return f"{path.removesuffix('.py').replace('/', '.')}::{test}"


def run_tests() -> int:
    """Run the tests that reach the changed line of the copy in the working folder; all, where none reaches it (it runs on import).

    First one case of each of the quickest test functions: collecting few files is quick, and most changes are noticed by then.
    """
    reached = json.loads(Path(REACHED).read_text())
    for path in Path(UNCHANGED).rglob("*.py"):
        name = path.relative_to(UNCHANGED)
        pairs = zip_longest(path.read_text().split("\n"), (Path("src/bntheory") / name).read_text().split("\n"))
        line = next((number for number, (old, new) in enumerate(pairs, 1) if old != new), None)
        if line is not None:
            tests = reached.get(str(name), {}).get(str(line), [])
            one_each = list({test.partition("[")[0]: test for test in reversed(tests)}.values())[::-1][:_FIRST]
            rest = [test for test in tests if test not in one_each]
            return any(pytest("-x", *part) for part in (one_each, rest or ([] if tests else TESTS)) if part)
    return 0


def copies(folder: Path, jobs: int) -> list[Path]:
    """Copies of what git knows of, each with the unchanged package beside it."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    made = []
    for job in range(jobs):
        copy = folder / str(job)
        shutil.rmtree(copy, ignore_errors=True)
        for name in filter(None, listed):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
        shutil.copytree(copy / "src" / "bntheory", copy / UNCHANGED)
        made.append(copy)
    return made


def sampled(made: Sequence[Path], count: int, seed: int) -> None:
    """Draw ``count`` of all mutants, and give every copy a session with its share of them."""
    from cosmic_ray.work_db import WorkDB, use_db

    folder, everything = made[0], made[0] / "all.sqlite"
    subprocess.run([beside("cosmic-ray"), "init", "pyproject.toml", everything.name], cwd=folder, check=True)
    filters = tomllib.loads((folder / "pyproject.toml").read_text())["cosmic-ray"]["filters"]["operators-filter"]
    excluded = re.compile("|".join(filters["exclude-operators"]))
    with use_db(str(everything), WorkDB.Mode.open) as session:
        items = [item for item in session.work_items if not excluded.match(item.mutations[0].operator_name)]
    chosen = random.Random(seed).sample(sorted(items, key=_place), min(count, len(items)))
    print(f"{len(chosen)} of {len(items)} mutants", flush=True)
    for job, copy in enumerate(made):
        with use_db(str(copy / SESSION), WorkDB.Mode.create) as session:
            session.add_work_items(chosen[job :: len(made)])


def beside(tool: str) -> str:
    """A command that is installed beside this Python."""
    return str(Path(sys.executable).parent / tool)


def _place(item: Any) -> tuple[Any, ...]:
    mutation = item.mutations[0]
    return mutation.module_path.as_posix(), mutation.start_pos, mutation.operator_name, mutation.occurrence


def outcomes(made: Sequence[Path]) -> Iterator[tuple[str, str, str]]:
    """(killed, survived or out of time; where; the difference) of every mutant that was tried."""
    from cosmic_ray.work_db import WorkDB, use_db

    for copy in made:
        with use_db(str(copy / SESSION), WorkDB.Mode.open) as session:
            for item, result in session.completed_work_items:
                if result.test_outcome is not None:
                    path, (line, _), operator, _ = _place(item)
                    yield (
                        "ran out of time" if result.output == "timeout" else result.test_outcome.value,
                        f"{path}:{line} {operator.removeprefix('core/')}",
                        result.diff or "",
                    )


def main() -> int:
    """Draw, run, report. Exit code 1 where less than 95 in 100 are noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "mutants")
    parser.add_argument("--report", action="store_true", help="only report on the sessions in the folder")
    parser.add_argument("--run-tests", action="store_true", help="run the tests on the copy in the working folder")
    chosen = parser.parse_args()
    if chosen.run_tests:
        return run_tests()
    if chosen.report:
        made = sorted(path.parent for path in chosen.folder.glob(f"*/{SESSION}"))
    else:
        made = copies(chosen.folder.resolve(), chosen.jobs)
        reach(made[0])
        for copy in made[1:]:
            shutil.copy2(made[0] / REACHED, copy)
        sampled(made, chosen.count, chosen.seed)
        command = [beside("cosmic-ray"), "exec", "pyproject.toml", SESSION]
        for running in [subprocess.Popen(command, cwd=copy) for copy in made]:
            running.wait()
    found = sorted(outcomes(made))
    survived = [one for one in found if one[0] != "killed"]
    for outcome, place, difference in survived:
        print(f"{outcome} {place}\n{difference}\n")
    share = 100 * (len(found) - len(survived)) / max(len(found), 1)
    print(f"{len(found) - len(survived)} of {len(found)} mutants noticed ({share:.0f} %), seed {chosen.seed}")
    return int(share < 95)


if __name__ == "__main__":
    sys.exit(main())
