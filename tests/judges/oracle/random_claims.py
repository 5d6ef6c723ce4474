"""Random claims decided by bntheory, every answer attacked by the oracle: ``python random_claims.py FIRST COUNT``."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import repeat
from shlex import quote
from typing import Any

from attacks import attack, domain_fault, verdict_at_witness
from claim_shapes import statement
from read_claim import Statement

__all__ = ["Outcome", "command", "judged", "options", "outcome", "table", "undecided", "witness_layer"]


@dataclass(frozen=True)
class Outcome:
    """What was answered to the claim of a seed. ``wrong`` says what is wrong with the answer; ``falls``: a layer refutes the claim."""

    seed: int
    shape: str
    command: str
    status: str
    wrong: str = ""
    falls: bool = False
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.seed} ({self.shape}) {self.status}: {self.command}  {self.wrong or 'false' * self.falls}"


def options(s: Statement) -> dict[str, Any]:
    """The statement's domain as the arguments of ``decide``."""
    return {
        "eps": s.eps,
        "gamma": s.gamma,
        "hessian": s.hessian,
        "min_m": s.min_m,
        "normaliser": s.normaliser,
        "assume": s.assume,
        "scalars": [f"{k}:{v}" for k, v in s.scalars.items()],
        "vectors": s.vectors,
        "operators": [k if v == "any" else f"{k}:{v}" for k, v in s.operators.items()],
    }


def command(s: Statement) -> str:
    """What to type to see a claim's answer."""
    words = ["bntheory", "decide", quote(s.text)]
    usual = {"eps": "any", "gamma": "any", "hessian": "any", "min_m": 2, "normaliser": "batch"}
    for name, value in options(s).items():
        option = f"--{name.replace('_', '-')}"
        if name not in usual:
            words += [w for v in value for w in (option.removesuffix("s"), quote(v))]
        elif value != usual[name]:
            words += [option, str(value)]
    return " ".join(words)


def witness_layer(verdict: Any) -> dict[str, Any]:
    """The numbers of the counterexample that some judge found."""
    return next(e.details["witness"]["layer"] for e in verdict.evidence if "witness" in e.details)


def outcome(seed: int, layers: int = 300, rounds: int = 4) -> Outcome:
    """Decide the claim of a seed and attack the answer."""
    from bntheory.errors import UserError
    from bntheory.judges.decide import decide

    shape, s = statement(seed)
    start = time.process_time()
    try:
        decided = decide(s.text, **options(s))
    except UserError as error:
        return Outcome(seed, shape, command(s), "refused", f"refused: {error}")
    except Exception as error:  # a traceback is an answer too, and a wrong one
        return Outcome(seed, shape, command(s), "crash", f"{type(error).__name__}: {error}")
    status, seconds = decided.verdict.status.value, time.process_time() - start
    wrong, falls = "", False
    if status == "refuted":
        block = witness_layer(decided.verdict)
        found = domain_fault(s, block) or verdict_at_witness(s, block)
        wrong = "" if found == "refuted" else f"the witness is {found}: {block}"
    else:
        attacked = attack(s, seed, layers, rounds)
        falls = attacked.violation is not None
        if status not in ("proved", "vacuous", "unknown", "survives"):
            wrong = f"{status}: {[e.summary for e in decided.verdict.evidence]}"
        elif status == "proved" and falls:
            wrong = f"the proof falls at {attacked.violation}"
        elif status == "proved" and attacked.undefined is not None:
            where = tuple(decided.as_json()["wherever"])
            inside = attack(replace(s, assume=s.assume + where), seed, layers, rounds) if where else attacked
            if inside.undefined is not None:
                wrong = (
                    f"proved wherever {' and '.join(where) or 'nothing is said'}, but undefined at {inside.undefined}"
                )
        elif status == "vacuous" and (falls or attacked.example is not None):
            wrong = f"vacuous, but a layer meets the hypotheses and gives the claim a truth value: {attacked.violation or attacked.example}"
    return Outcome(seed, shape, command(s), status, wrong, falls, seconds)


def judged(seeds: Sequence[int], layers: int, rounds: int, processes: int) -> Iterator[Outcome]:
    """The outcomes of many seeds, in order."""
    if processes == 1:
        yield from map(outcome, seeds, repeat(layers), repeat(rounds))
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(outcome, seeds, repeat(layers), repeat(rounds), chunksize=10)


def undecided(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Those without a decision: unknown, and survives."""
    return [o for o in outcomes if o.status in ("unknown", "survives")]


def table(outcomes: Sequence[Outcome]) -> str:
    """Statuses, and the shapes with their shares of undecided claims."""
    count, open_ = Counter(o.shape for o in outcomes), Counter(o.shape for o in undecided(outcomes))
    statuses = ", ".join(f"{n} {status}" for status, n in Counter(o.status for o in outcomes).most_common())
    lines = [
        f"{len(outcomes)} claims of {len(count)} shapes: {statuses}; {sum(o.seconds for o in outcomes):.0f} s of deciding"
    ]
    lines += [f"  undecided {n} of {count[shape]}: {shape}" for shape, n in open_.most_common()]
    lines += [f"  WRONG {o}" for o in outcomes if o.wrong] + [f"  {o}" for o in undecided(outcomes)]
    return "\n".join(lines)


if __name__ == "__main__":
    first, how_many = int(sys.argv[1]), int(sys.argv[2])
    cores = len(os.sched_getaffinity(0)) if len(sys.argv) < 4 else int(sys.argv[3])
    found = []
    for one in judged(range(first, first + how_many), 300, 4, cores):
        found.append(one)
        if one.wrong or one.seconds > 5:
            print(f"{one.seconds:.1f} s {one}", flush=True)
    print(table(found))
