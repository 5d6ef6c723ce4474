"""Experiment claims judged from one store: ``check``, ``compare``, pages and plans ask here, so that they cannot differ.

A store also says at which scales claims were asked of it, and under which text (``claims.json``): thresholds, arms and grids stand in a
claim's source before its records exist, and one that was changed afterwards shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from bntheory.claims.claim import Claim
from bntheory.errors import UserError
from bntheory.evidence.closure import package, place_of
from bntheory.evidence.record import digest, strict_json
from bntheory.evidence.study import LAST_BLOCK, SCALES, Effort, Study
from bntheory.judges.check import judge_claim
from bntheory.judges.verdict import Evidence, Verdict, verdict_of

if TYPE_CHECKING:
    from bntheory.evidence.record import Record
    from bntheory.experiments.asking import Lacking
    from bntheory.experiments.campaign import Making
    from bntheory.experiments.store import Store

#: In a store: {place: {claim id: hash of its text when its records were made}}; a place is a scale, and says so where it is one on
#: another device than the CPU or of another block of seeds (:func:`place_name`).
CLAIMS = "claims.json"


def effort_of(scale: str) -> Effort:
    """The effort whose experiments are of this scale."""
    return next(effort for effort, name in SCALES.items() if name == scale)


def archive_of_checkout() -> Path | None:
    """The recorded experiments of the checkout that this package runs from; None outside one."""
    path = Path(__file__).resolve().parents[3] / "validation" / "recorded" / "experiments"
    return path if (path / CLAIMS).is_file() else None


def text_of(claim: Claim) -> str:
    """A hash of what the claim's source says: thresholds, arms, grids, and what else of the sources it reaches; nothing that it calls."""
    own = package()
    place = place_of(claim.check)
    return own.text([place], "bntheory.claims.sources") if own.holds(place[0]) else ""


def asked_at(store: Path) -> dict[str, dict[str, str]]:
    """What ``claims.json`` of a store says; nothing where there is none. Raises UserError where it cannot be read."""
    path = store / CLAIMS
    try:
        found = strict_json(path.read_text("utf-8"))
        return {str(scale): {str(k): str(v) for k, v in ids.items()} for scale, ids in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); remove it, and the next run writes it") from None


def judge_recorded(claim: Claim, study: Study) -> tuple[Verdict, tuple[Lacking, ...]]:
    """The verdict from the study's stores, and what they lack; the verdict counts only where that is nothing."""
    from bntheory.experiments.campaign import ask

    return ask(_question(claim), study)


def recorded_verdicts(claim: Claim, archive: Path) -> dict[str, tuple[Verdict, tuple[Lacking, ...]]]:
    """The verdict at every place where a recorded store says that the claim was asked, with what is lacking there."""
    places = [place for place, ids in asked_at(archive).items() if claim.id in ids]
    return {place: judge_recorded(claim, study_at(place, archive=archive)) for place in places}


def judge_experiments(claims: Sequence[Claim], study: Study, **how: Unpack[Making]) -> Iterator[Verdict]:
    """Judge claims of kind experiment, each as soon as its records are there; what is lacking is made in the study's store.

    how: as of :func:`bntheory.experiments.campaign.settle`.
    """
    from bntheory.experiments.campaign import settle
    from bntheory.experiments.store import Store

    by_id = {claim.id: claim for claim in claims}
    assert study.store is not None
    for settled in settle({key: _question(claim) for key, claim in by_id.items()}, study, **how):
        claim = by_id[settled.name]
        if settled.answer is None:
            yield verdict_of(claim, [Evidence("study", "error", settled.failed, {}, 0.0, study.seed)])
            continue
        place, store = place_name(study.scale, study.device, study.seed), Store(study.store)
        known = asked_at(study.store).get(place, {})
        if settled.made or not (study.archive or store.packed or claim.id in known):
            with Store.create(study.store).lock(wait=True):
                add_asked(store, {place: {claim.id: text_of(claim)}}, instead=True)
        yield settled.answer


def place_name(scale: str, device: str, block: int = 0) -> str:
    """Under which ``claims.json`` has what was asked at a scale, on a device, of a block of seeds: "cpu", "gpu@cuda", "quick+1"."""
    kind = device.partition(":")[0]
    return scale + (f"@{kind}" if kind != "cpu" else "") + (f"+{block}" if block else "")


def spoken_place(place: str) -> str:
    """A place for people: "cpu", "quick, other seeds (block 1)"."""
    rest, _, block = place.partition("+")
    return f"{rest}, other seeds (block {block})" if block else rest


def study_at(place: str, *, store: Path | None = None, archive: Path | None = None) -> Study:
    """The study that asks at a place of ``claims.json``. Raises UserError where that is none."""
    rest, _, block = place.partition("+")
    scale, _, device = rest.partition("@")
    if scale not in SCALES.values() or not (block or "0").isdecimal() or len(block) > len(str(LAST_BLOCK)):
        raise UserError(
            f"{place!r} is no scale of claims; there are {', '.join(SCALES.values())}, with @cuda behind it what was made on a GPU, "
            "with +1 the first other block of seeds"
        )
    return Study(effort_of(scale), int(block or 0), device or "cpu", store=store, archive=archive)


def rests_on(claim: Claim, study: Study) -> tuple[dict[str, Record], tuple[Lacking, ...], str]:
    """The records that a claim is judged from, by address, what it lacks, and how it breaks though it lacks nothing ("")."""
    asked: list[Any] = []
    lacking: list[Any] = []
    broken = ""
    try:
        tuple(claim.check(replace(study, asked=asked, lacking=lacking, drawn=set())))
    except Exception as error:  # of no use to a claim that lacks some
        broken = "" if lacking else f"it cannot be judged ({type(error).__name__}: {error})"
    return {n.address: record for n, record in asked if record is not None}, tuple(lacking), broken


@dataclass(frozen=True)
class Packed:
    """What was packed: records, claims by place; left_out: why a claim was not, by place and id."""

    records: int
    claims: Mapping[str, Mapping[str, str]]
    left_out: Mapping[tuple[str, str], str]


def pack(claims: Sequence[Claim], source: Path, target: Path) -> Packed:
    """Write what the claims rest on at every place where they were asked of a store, packed by their sources, as a recorded store.

    A claim that lacks records is left out. Raises UserError where the source says of no claim that it was asked, or has none whole.
    """
    from bntheory.experiments.packed import write_packed
    from bntheory.experiments.plan import costs_of
    from bntheory.experiments.store import RECORDS, Store

    known = asked_at(source)
    if not known:
        raise UserError(f"pack: {source} has no {CLAIMS}; bntheory compare --claims and check --store write it")
    parts: dict[str, dict[str, Record]] = {}
    seen: set[str] = set()
    packed: dict[str, dict[str, str]] = {}
    left_out: dict[tuple[str, str], str] = {}
    recipes: set[str] = set()
    for place, ids in known.items():
        for claim in (c for c in claims if c.id in ids):
            found, lacking, broken = rests_on(claim, study_at(place, store=source))
            if lacking or broken:
                count = len({n.address for part in lacking for n in part.left})
                left_out[place, claim.id] = broken or f"{count} records are missing or from other code"
                continue
            packed.setdefault(place, {})[claim.id] = ids[claim.id]
            new = {where: record for where, record in found.items() if where not in seen}
            parts.setdefault(claim.key, {}).update(new)
            seen |= new.keys()
            recipes |= {digest(r.setting["training"]) for r in new.values()}
    if not packed:
        why = "; ".join(f"{key}: {text}" for (_, key), text in list(left_out.items())[:3]) or "it knows none of them"
        raise UserError(f"pack: no claim that was asked of {source} is whole, so {target} is left as it is ({why})")
    if (target / RECORDS).exists():
        raise UserError(f"pack: {target} holds records that are not packed, a run's; name another folder")
    target.mkdir(parents=True, exist_ok=True)
    costs = {key: cost for key, cost in costs_of(Store(source).timings()).items() if key in recipes}
    write_packed(target, {name: part.values() for name, part in sorted(parts.items())}, costs)
    _write_asked(Store(target), packed)
    return Packed(len(seen), packed, left_out)


def add_asked(into: Store, new: Mapping[str, Mapping[str, str]], *, instead: bool = False) -> None:
    """Say in ``claims.json`` of ``into`` also what was asked elsewhere. Hold its lock.

    instead: of what is said there of the same claims.
    """
    own = asked_at(into.path)
    if new:
        rank = (own, new) if instead else (new, own)
        _write_asked(into, {p: {**rank[0].get(p, {}), **rank[1].get(p, {})} for p in new.keys() | own.keys()})


def _write_asked(store: Store, known: Mapping[str, Mapping[str, str]]) -> None:
    store.write_json(CLAIMS, {scale: dict(sorted(ids.items())) for scale, ids in sorted(known.items())})


def _question(claim: Claim) -> Callable[[Study], Verdict]:
    return lambda study: judge_claim(claim, study, judges=("study",))


def changed_texts(claims: Iterable[Claim], place: str, stores: Iterable[Path]) -> dict[str, str]:
    """By id, what is to be said of claims whose text is another one than when their records were made."""
    known: dict[str, str] = {}
    for store in stores:
        known = {**asked_at(store).get(place, {}), **known}
    return {
        claim.id: "its text has changed since its records were made"
        for claim in claims
        if claim.id in known and known[claim.id] != text_of(claim)
    }
