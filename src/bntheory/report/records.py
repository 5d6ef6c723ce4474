"""What was judged, on disk: ``verdicts.json``, and beside every page the witnesses, proofs and checks that the verdicts rest on.

A record carries what is needed to judge again, a fingerprint of everything that the verdict rests on in the code, and a seal over
the record and its files. What lives here: writing, reading, and whether a record is whole and fresh. What does not: judging again
(:mod:`bntheory.report.rederive`) and pages (:mod:`bntheory.report.papers`).
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bntheory.claims.claim import Claim
from bntheory.errors import UserError
from bntheory.evidence.closure import Package, package, place_of
from bntheory.evidence.record import parsed_json
from bntheory.evidence.study import Study
from bntheory.judges.check import judge_claim
from bntheory.judges.verdict import Verdict, evidence_of_checks, verdict_of
from bntheory.report.strict_json import json_text


@dataclass(frozen=True)
class Record:
    """One recorded verdict. evidence: (judge, finding, summary) of every judge that had something to say. wherever: what a proof needs.

    scales: of an experiment, a row (:func:`bntheory.report.claims_table.row_of`) for every scale at which it is recorded; the rest is
    that of ``scale``. fingerprint: of the code, see :func:`fingerprint`. seal: a digest of all the rest and of the files that belong to it.
    """

    status: str
    fingerprint: str
    evidence: tuple[tuple[str, str, str], ...]
    witness: bool = False
    proof: bool = False
    checks: bool = False
    wherever: tuple[str, ...] = ()
    scale: str = ""
    scales: tuple[dict[str, Any], ...] = ()
    seal: str = ""

    def files(self, claim: Claim, folder: Path) -> dict[str, Path]:
        """The files that belong to the record, by what they are: witness, proof, checks."""
        home = folder / claim.key
        places = {
            "witness": home / "witnesses" / f"{claim.id}.json",
            "proof": home / "proofs" / f"{claim.id}.smt2",
            "checks": home / "checks" / f"{claim.id}.json",
        }
        return {what: path for what, path in places.items() if getattr(self, what)}


@dataclass
class Records:
    """All recorded verdicts by id, how they were made, and digests of the prose that was read beside them, by page."""

    made_with: dict[str, Any] = field(default_factory=dict)
    verdicts: dict[str, Record] = field(default_factory=dict)
    prose: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> Records:
        """From ``verdicts.json``; empty where there is none. UserError for a file that cannot be used."""
        path = folder / "verdicts.json"
        if not path.exists():
            return cls()
        try:
            data = parsed_json(path.read_text(encoding="utf-8"))
            verdicts = {
                key: Record(
                    **{
                        **v,
                        "evidence": tuple((e[0], e[1], e[2]) for e in v["evidence"]),
                        "wherever": tuple(v.get("wherever", ())),
                        "scales": tuple(v.get("scales", ())),
                    }
                )
                for key, v in data["verdicts"].items()
            }
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise UserError(
                f"{path}: not a file of verdicts ({error}); write it anew with bntheory papers --write --again"
            ) from None
        return cls(data.get("made_with", {}), verdicts, data.get("prose", {}))

    def save(self, folder: Path) -> None:
        """Write ``verdicts.json``, sorted by id."""
        data = asdict(self) | {"verdicts": {key: asdict(r) for key, r in sorted(self.verdicts.items())}}
        text = json.dumps(data, indent=1, ensure_ascii=False)
        (folder / "verdicts.json").write_text(text + "\n", encoding="utf-8")


def fingerprint(claim: Claim, source: Package | None = None) -> str:
    """A hash of the claim and of all code that its verdict rests on.

    Its function and hypotheses with everything that they reach inside the package; of a layer claim also the judges, with the layer
    and the encoders; of a study also what makes checks into a verdict. Of an experiment not that last part: there the verdict is
    computed from the recorded checks whenever it is asked for, and changing it needs no network trained again. source: the package to
    read; this one where left out.
    """
    said = [claim.id, claim.kind, claim.statement, claim.reading, claim.domain.describe() if claim.domain else ""]
    said.append(json.dumps([dict(c) for c in claim.candidates], sort_keys=True))
    functions: list[Callable[..., Any]] = [f for f in (claim.check, claim.assume) if f is not None]
    own = source or package()
    said += [inspect.getsource(f) for f in functions if not own.holds(f.__module__)]
    judging = {"layer": (judge_claim,), "experiment": (Study,)}.get(claim.kind, (Study, evidence_of_checks, verdict_of))
    roots = [place_of(f) for f in (*functions, *judging) if own.holds(f.__module__)]
    return digest(*said, own.fingerprint(root for root in roots if own.has(root)))


def record_of(verdict: Verdict, folder: Path, scales: Sequence[Mapping[str, Any]] = ()) -> Record:
    """Record a verdict; its witness, its proof and an experiment's checks go into files of their own under the source's folder.

    scales: as in :class:`Record`.
    """
    claim = verdict.claim
    witness = next((e.details["witness"] for e in verdict.evidence if "witness" in e.details), None)
    measured = claim.kind == "experiment"
    checks = [c for e in verdict.evidence for c in e.details.get("checks", ())] if measured else []
    contents = {
        "witness": witness and json.dumps(witness, indent=1) + "\n",
        "proof": proof_text(verdict),
        "checks": json_text(checks, indent=1) + "\n" if checks else None,
    }
    said = tuple((str(e.judge), str(e.finding), e.summary) for e in verdict.evidence if e.finding != "not-applicable")
    flags: dict[str, Any] = {what: bool(text) for what, text in contents.items()}
    scale = next((e.details["scale"] for e in verdict.evidence if measured and "scale" in e.details), "")
    rows = tuple(dict(row) for row in scales)
    status = verdict.status.value
    record = Record(status, fingerprint(claim), said, wherever=verdict.wherever, scale=scale, scales=rows, **flags)
    every = replace(record, witness=True, proof=True, checks=True).files(claim, folder)
    for what, path in every.items():
        text = contents[what]
        if text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        else:
            path.unlink(missing_ok=True)
    return replace(record, seal=_seal(record, claim, folder))


def proof_text(verdict: Verdict) -> str | None:
    """The questions whose answer *unsat* is the proof, one after another; None where nothing was proved by a solver."""
    for e in verdict.evidence:
        if e.finding == "proved" and e.details.get("proof", {}).get("smt_lib"):
            return "\n(reset)\n".join(e.details["proof"]["smt_lib"]) + "\n"
    return None


def outdated(claim: Claim, record: Record | None) -> str:
    """Why a claim needs judging again, or nothing: it was never judged, or it or the code that it rests on has changed."""
    if record is None:
        return "never judged"
    return "" if record.fingerprint == fingerprint(claim) else "changed since it was judged"


def unsealed(claim: Claim, record: Record, folder: Path) -> str:
    """Why a record cannot be trusted as it stands, or nothing: it or one of its files is not what the judging wrote."""
    missing = [path.name for path in record.files(claim, folder).values() if not path.is_file()]
    if missing:
        return f"{missing[0]} is missing"
    if record.seal != _seal(record, claim, folder):
        return "the record or one of its files was changed by hand"
    return ""


def _seal(record: Record, claim: Claim, folder: Path) -> str:
    contents = [path.read_text(encoding="utf-8") for path in record.files(claim, folder).values()]
    return digest(json.dumps(asdict(replace(record, seal="")), sort_keys=True), *contents)


def digest(*parts: str) -> str:
    """16 hexadecimal digits of a text in parts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
