"""Judge a claim by every judge that its kind has, and compute the verdict.

Layer claims: candidates that somebody named, algebra, search, network. Other kinds: the claim's own study. A judge that breaks is an
``error`` in the evidence, with its cause; the other judges go on, and so do the other claims.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import replace
from typing import Any

from bntheory.claims.claim import Claim, Effort, Study
from bntheory.errors import ClaimError, OutsideVocabulary, RoutesDisagree, UserError
from bntheory.evidence.checks import Check
from bntheory.judges.exact.witness import Instance, Reference, Witness
from bntheory.judges.verdict import Evidence, Finding, JudgeName, Verdict, evidence_of_checks, verdict_of
from bntheory.layer.view import where_defined

JUDGES: tuple[JudgeName, ...] = ("algebra", "search", "network", "study")
_STUDY = Study()


def check(
    claim: Claim | str | Callable[[Any], Any], *, effort: Effort = "normal", seed: int = 0, **options: Any
) -> Verdict:
    """The verdict on a claim of the literature, by its id, or on one of your own, by the function under ``@claim``.

    effort: quick, normal or thorough. seed: where all chance comes from. options: as of :func:`judge_claim` and of
    :class:`~bntheory.evidence.study.Study`. Raises UserError for an id or a function that no claim has.
    """
    from bntheory.claims import registry

    if isinstance(claim, str):
        claim = registry()[claim]
    elif not isinstance(claim, Claim):
        own = [c for c in registry() if c.check is claim]
        if not own:
            raise UserError(
                f"{claim!r:.80} is no claim: give an id, or a function decorated with @claim(id, statement=...)"
            )
        claim = own[0]
    how = {name: options.pop(name) for name in ("judges", "reference", "report") if name in options}
    return judge_claim(claim, Study(effort, seed, **options), **how)


def judge_claim(
    claim: Claim,
    study: Study = _STUDY,
    *,
    judges: Sequence[JudgeName] = JUDGES,
    reference: Reference | None = None,
    report: Callable[[JudgeName, Evidence | None], None] = lambda judge, evidence: None,
) -> Verdict:
    """The verdict of the chosen judges on one claim.

    study says how hard the search and the studies try, on which device, and where all chance comes from; reference how a witness names
    the claim (default: by its id). report is called when a judge begins (with None) and with what it found. A claim of a user's own is
    called several times beforehand: one that contradicts itself is an error, and no judge is asked. Raises UserError where there is no
    judge, or one that is not known.
    """
    _known(judges)
    evidence: list[Evidence] = []
    own = claim.kind == "layer" and reference is not None and reference.kind == "file"

    def ask(judge: JudgeName, call: Callable[[], Evidence]) -> Evidence:
        report(judge, None)
        with _unheard() if own else nullcontext():
            found = _guarded(judge, call)
        evidence.append(found)
        report(judge, found)
        return found

    if claim.kind != "layer":
        if "study" in judges:
            ask("study", lambda: _study(claim, study))
        return verdict_of(claim, evidence or [_not_its_kind(judges, claim)])
    reference = reference or Reference("registry", claim.id)
    asked = [judge for judge in judges if judge != "study"]
    if own and asked:
        if fickle := contradicts_itself(claim):
            report(asked[0], None)
            evidence.append(Evidence(asked[0], "error", fickle))
            return verdict_of(claim, evidence)
        from bntheory.judges.exact.replay import carrying

        with _unheard():
            reference = carrying(reference, claim)
    fallen = False
    if claim.candidates:
        fallen = ask("search", lambda: _candidates(claim, reference)).finding == "refuted"
        if not fallen and evidence[-1].finding == "not-applicable":
            evidence.pop()
    if "algebra" in judges:
        ask("algebra", lambda: _algebra(claim, reference))
    if "search" in judges and not fallen:
        ask("search", lambda: _search(claim, study.effort, study.seed, study.device, reference))
    if "network" in judges:
        ask("network", lambda: _network(claim, study.seed, study.device))
    return verdict_of(claim, evidence or [_not_its_kind(judges, claim)])


def _known(judges: Any) -> None:
    """UserError for what are no judges."""
    listed = isinstance(judges, Iterable) and not isinstance(judges, (str, bytes))
    if not listed or not judges:
        example = judges if judges in JUDGES else JUDGES[0]
        raise UserError(f"judges is {judges!r:.60}; give a tuple of their names, as judges=({example!r},)")
    unknown = [judge for judge in judges if judge not in JUDGES]
    if unknown:
        raise UserError(f"judge {unknown[0]!r:.40} is not known; the judges are {', '.join(JUDGES)}")


def _not_its_kind(judges: Sequence[JudgeName], claim: Claim) -> Evidence:
    """What the judges that were asked say of a claim that none of them takes."""
    others = "algebra, search or network" if claim.kind == "layer" else "study"
    return Evidence(judges[0], "not-applicable", f"does not judge claims of kind {claim.kind}; ask {others}")


@contextmanager
def _unheard() -> Iterator[None]:
    """What a claim of a user's own prints was shown when it was first called; the judges call it thousands of times."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        yield


def contradicts_itself(claim: Claim) -> str:
    """How a claim contradicts itself when it is called again; "" where it does not."""
    from bntheory.claims.typed.transcript import answers_differently

    assert claim.domain is not None
    for what, function in (("claim", claim.check), ("assumption", claim.assume)):
        differs = answers_differently(function, claim.domain) if function is not None else ""
        if differs:
            return (
                f"this {what} answers differently when it is called again: {differs}. A claim is one statement about every layer; "
                f"nothing in it may be random, counted or remembered{where_defined(function)}"
            )
    return ""


def _guarded(judge: JudgeName, call: Callable[[], Evidence]) -> Evidence:
    """The judge's evidence, or an error that names the line of the claim that broke it."""
    start = time.perf_counter()

    def evidence(finding: Finding, summary: str, **details: bool) -> Evidence:
        return Evidence(judge, finding, summary, details, time.perf_counter() - start)

    try:
        return call()
    except OutsideVocabulary as error:
        return evidence("unknown", f"outside this judge's vocabulary: {error}")
    except RoutesDisagree as error:  # a judge that contradicts itself: never to be outvoted by another judge
        return evidence("error", f"internal error: {error}", internal_error=True)
    except ClaimError as error:  # says by itself which line it is
        return evidence("error", str(error))
    except (Exception, SystemExit) as error:  # a claim that calls sys.exit ends itself, not the judging of the others
        place = traceback.extract_tb(error.__traceback__)[-1]
        own = [frame for frame in traceback.extract_tb(error.__traceback__) if "claims" in frame.filename]
        place = own[-1] if own else place
        summary = f"{type(error).__name__}: {error} (line {place.lineno} of {place.filename.rsplit('/', 1)[-1]})"
        return evidence("error", summary)


def _study(claim: Claim, study: Study) -> Evidence:
    start = time.perf_counter()
    asked: list[Any] = []
    returned: Any = claim.check(replace(study, asked=asked, drawn=set()))
    if study.asked is not None:
        study.asked.extend(asked)
    listed = isinstance(returned, Iterable) and not isinstance(returned, (str, bytes, dict))
    checks: Iterable[Any] = tuple(returned) if listed else (returned,)
    wrong = [c for c in checks if not isinstance(c, Check)]
    if wrong:
        raise TypeError(
            f"a claim of kind {claim.kind!r} returns the Checks that it made (bntheory.evidence.checks.Check), one or a list; this one returned "
            f"{type(wrong[0]).__name__} ({wrong[0]!r:.60})"
        )
    found = evidence_of_checks(checks, seconds=time.perf_counter() - start, seed=study.seed)
    if claim.kind != "experiment":
        return found
    return replace(found, details={**found.details, "scale": study.scale, **_records(asked)})


def _records(asked: Sequence[Any]) -> dict[str, Any]:
    """How many records a verdict rests on, of how many seeds, how many of them are confirmed (:mod:`bntheory.experiments.confirm`), and with
    which versions of the libraries they were made.
    """
    from bntheory.evidence.record import by_ranks

    records = {n.address: record for n, record in asked if record is not None}.values()
    libraries = ("torch", "numpy")
    makes = {tuple(sorted((k, v) for k, v in r.made.items() if k in libraries)) for r in records}
    return {
        "records": len(records),
        "record_seeds": len({r.seed for r in records}),
        "confirmed": sum("confirmed" in r.made for r in records),
        "made_with": [dict(make) for make in sorted(makes)],
        **by_ranks(records),
    }


def _candidates(claim: Claim, reference: Reference) -> Evidence:
    """Certify the layers that the claim's author believes to be counterexamples, in order."""
    from bntheory.judges.exact.certificate import certify

    start = time.perf_counter()
    assert claim.domain is not None
    for block in claim.candidates:
        instance = Instance.from_json(dict(block))
        certificate = certify(claim, instance)
        if certificate.refuted:
            witness = Witness(reference, claim.domain, instance, certificate.as_json())
            summary = f"fails at a layer that was suggested, m = {instance.m}: {instance.describe()}"
            return Evidence("search", "refuted", summary, {"witness": witness.as_json()}, time.perf_counter() - start)
    seconds = time.perf_counter() - start
    return Evidence("search", "not-applicable", "no suggested layer is a counterexample", {}, seconds)


def _algebra(claim: Claim, reference: Reference) -> Evidence:
    from bntheory.judges.algebra import judge

    return judge(claim, reference=reference)


def _search(claim: Claim, effort: Effort, seed: int, device: str, reference: Reference) -> Evidence:
    from bntheory.judges.search import judge

    return judge(claim, effort, seed, device, reference=reference)


def _network(claim: Claim, seed: int, device: str) -> Evidence:
    from bntheory.experiments.suite import captured_suite
    from bntheory.judges.network import judge

    return judge(claim, captured_suite(seed, device), seed=seed)
