"""Experiment claims judged from one store: ``check``, ``compare``, pages and plans ask here, so that they cannot differ.

A store also says at which scales claims were asked of it, and under which text (``claims.json``): thresholds, arms and grids stand in a
claim's source before its records exist, and one that was changed afterwards shows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bntheory.claims.claim import Claim
from bntheory.errors import UserError
from bntheory.evidence.closure import package, place_of
from bntheory.evidence.study import SCALES, Effort, Scale, Study
from bntheory.judges.check import judge_claim
from bntheory.judges.verdict import Evidence, Verdict, verdict_of

if TYPE_CHECKING:
    from bntheory.experiments.runs import Lacking
    from bntheory.experiments.store import Store

__all__ = [
    "CLAIMS",
    "archive_of_checkout",
    "asked_at",
    "changed_texts",
    "effort_of",
    "judge_experiments",
    "judge_recorded",
    "text_of",
    "write_asked",
]

#: In a store: {scale: {claim id: hash of its text when its records were made}}.
CLAIMS = "claims.json"


def effort_of(scale: Scale) -> Effort:
    """The effort whose experiments are of this scale."""
    return next(effort for effort, name in SCALES.items() if name == scale)


def archive_of_checkout() -> Path | None:
    """The recorded experiments of the checkout that this package runs from; None outside one."""
    path = Path(__file__).resolve().parents[3] / "validation" / "recorded" / "experiments"
    return path if path.is_dir() else None


def text_of(claim: Claim) -> str:
    """A hash of what the claim's source says: thresholds, arms, grids, and what else of the sources it reaches; nothing that it calls."""
    own = package()
    place = place_of(claim.check)
    return own.text([place], "bntheory.claims.sources") if own.holds(place[0]) else ""


def asked_at(store: Path) -> dict[str, dict[str, str]]:
    """What ``claims.json`` of a store says; nothing where there is none. Raises UserError where it cannot be read."""
    path = store / CLAIMS
    try:
        found = json.loads(path.read_text("utf-8"))
        return {str(scale): {str(k): str(v) for k, v in ids.items()} for scale, ids in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); remove it, and the next run writes it") from None


def judge_recorded(claim: Claim, study: Study) -> tuple[Verdict, tuple[Lacking, ...]]:
    """The verdict from the study's stores, and what they lack; the verdict counts only where that is nothing."""
    from bntheory.experiments.campaign import ask

    return ask(_question(claim), study)


def judge_experiments(
    claims: Sequence[Claim],
    study: Study,
    *,
    workers: int,
    progress: Callable[[float, str], None] = lambda fraction, text: None,
    say: Callable[[str], None] = lambda text: None,
    lacks: Callable[[Mapping[str, Sequence[Lacking]]], None] = lambda lacking: None,
) -> Iterator[Verdict]:
    """Judge claims of kind experiment, each as soon as its records are there; what is lacking is made in the study's store.

    workers, progress, say, lacks: as in :func:`bntheory.experiments.campaign.settle`.
    """
    from bntheory.experiments.campaign import settle
    from bntheory.experiments.store import Store

    by_id = {claim.id: claim for claim in claims}
    assert study.store is not None
    for settled in settle(
        {key: _question(claim) for key, claim in by_id.items()},
        study,
        workers=workers,
        progress=progress,
        say=say,
        lacks=lacks,
    ):
        claim = by_id[settled.name]
        if settled.answer is None:
            yield verdict_of(claim, [Evidence("study", "error", settled.failed, {}, 0.0, study.seed)])
            continue
        known = asked_at(study.store)
        if settled.made or (study.archive is None and claim.id not in known.get(study.scale, {})):
            known[study.scale] = {**known.get(study.scale, {}), claim.id: text_of(claim)}
            write_asked(Store.create(study.store), known)
        yield settled.answer


def write_asked(store: Store, known: Mapping[str, Mapping[str, str]]) -> None:
    """Write ``claims.json``."""
    store.write_json(CLAIMS, {scale: dict(sorted(ids.items())) for scale, ids in sorted(known.items())})


def _question(claim: Claim) -> Callable[[Study], Verdict]:
    def judged(study: Study) -> Verdict:
        return judge_claim(
            claim,
            judges=("study",),
            effort=study.effort,
            seed=study.seed,
            device=study.device,
            store=study.store,
            archive=study.archive,
            lacking=study.lacking,
            progress=study.progress,
        )

    return judged


def changed_texts(claims: Iterable[Claim], scale: Scale, stores: Iterable[Path]) -> dict[str, str]:
    """By id, what is to be said of claims whose text is another one than when their records were made."""
    known: dict[str, str] = {}
    for store in stores:
        known = {**asked_at(store).get(scale, {}), **known}
    return {
        claim.id: "its text has changed since its records were made"
        for claim in claims
        if claim.id in known and known[claim.id] != text_of(claim)
    }
