"""``bntheory decide``: a claim typed on the spot, decided for every batch size."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, cast, get_args

from bntheory.claims.claim import Claim
from bntheory.claims.typed.expression import claim_of_expression
from bntheory.errors import RoutesDisagree, UserError
from bntheory.judges.exact.witness import Reference
from bntheory.judges.latex import LONGEST_SHOWN, bibtex, failures, latex_paragraph
from bntheory.judges.verdict import Evidence, Status, Verdict, verdict_of
from bntheory.layer.domain import IN_PRACTICE, LayerDomain, OperatorKind, ScalarRange
from bntheory.layer.words import SECOND, UNIT_B

#: The greatest min_m that may be asked for.
LARGEST_LEAST_BATCH = 1000


@dataclass(frozen=True)
class Decided:
    """A typed claim and what the algebra judge found, and the search judge where algebra did not decide.

    verdict: as for any claim. evidence: that of the judge that decided, whose details hold the proof or the witness.
    seconds: everything after start-up.
    """

    expression: str
    assume: tuple[str, ...]
    claim: Claim
    verdict: Verdict
    evidence: Evidence
    seconds: float

    @property
    def witness(self) -> dict[str, Any] | None:
        """The counterexample in the format of ``bntheory replay``, or None."""
        return self.evidence.details.get("witness")

    def latex(self) -> str:
        """A paragraph for a review: statement, verdict, proof or counterexample with its arithmetic; it compiles with amsmath."""
        return latex_paragraph(self.verdict, expression=self.expression, assume=self.assume, command=self.command())

    def command(self) -> str:
        """The command that decides this claim again."""
        domain, plain = self.claim.domain, LayerDomain()
        assert domain is not None
        implied = ("hessian", "smoothness") if domain.loss else ()
        named = ("eps", "gamma", "hessian", "smoothness", "loss", "min_m")
        called = [name for name, (_, words) in IN_PRACTICE.items() if words == domain.in_practice]
        layer = called[0] if domain.in_practice and called else domain.normaliser
        words = [] if layer == plain.normaliser else [f"--normaliser {layer}"]
        words += [
            f"--{name.replace('_', '-')} {getattr(domain, name)}"
            for name in named
            if name not in implied and getattr(domain, name) != getattr(plain, name)
        ]
        free = [
            ("scalar", domain.scalars),
            ("vector", dict.fromkeys(domain.vectors, "any")),
            ("operator", domain.operators),
        ]
        words += [
            f"--{what} {name}" + (f":{kind}" if kind != "any" else "")
            for what, declared in free
            for name, kind in declared.items()
            if _is_name(name)
            and name not in SECOND | UNIT_B  # y@2, rise, cross and directions follow from the expression
        ]
        words += [f'--assume "{hypothesis}"' for hypothesis in self.assume]
        return " ".join([f'bntheory decide "{self.expression}"', *words])

    @property
    def status(self) -> Status:
        """The verdict's status; ``decided.status.value`` is the word."""
        return self.verdict.status

    def plot(self) -> Any:
        """A matplotlib figure of the verdict, as :meth:`bntheory.judges.verdict.Verdict.plot`."""
        return self.verdict.plot(statement=self.expression)

    def __str__(self) -> str:
        return self.render()

    def cite(self) -> str:
        """A BibTeX entry for the verdict."""
        return bibtex(self.claim, verdict=self.verdict, expression=self.expression, assume=self.assume)

    def as_json(self) -> dict[str, Any]:
        """The object of ``--json``: that of ``bntheory check``, and the expression."""
        return {
            **self.verdict.as_json(),
            "expression": self.expression,
            "assume": list(self.assume),
            "domain": self.claim.domain.describe() if self.claim.domain else "",
        }

    def render(self) -> str:
        """Plain text for the terminal."""
        domain = self.claim.domain
        lines = [
            f"{self.verdict.status.value.upper()}  {self.expression}",
            f"  on       {domain.describe() if domain else ''}",
        ]
        lines += [f"  assuming {a}" for a in self.assume]
        if self.verdict.wherever:
            lines.append(f"  wherever {' and '.join(self.verdict.wherever)}")
        lines += [f"  {line}" for line in _shown(self.evidence)]
        lines += [f"  attacked {e.summary}" for e in self.verdict.evidence if e is not self.evidence]
        lines.append(f"  {self.verdict.explanation}  ({self.seconds:.2f} s)")
        return "\n".join(lines)


def _shown(evidence: Evidence) -> list[str]:
    details = evidence.details
    lines = [f"found    {evidence.summary}"]
    witness = details.get("witness")
    if witness:
        signs = {"=": "=="}
        for need in failures(witness["certificate"]):
            said = [f"{left} {signs.get(sign, sign)} {right}" for left, sign, right in need]
            lines.append(f"fails    {' or '.join(said)}")
    for form in details.get("calculus", {}).get("relations", ()):
        label = f" ({form['label']})" if form["label"] else ""
        if len(form["difference"]) <= LONGEST_SHOWN:
            lines.append(f"right - left{label} = {form['difference']}")
    return lines


def decide(
    expression: str,
    *,
    eps: str = "any",
    gamma: str = "any",
    hessian: str = "any",
    min_m: int = 2,
    normaliser: str = "batch",
    smoothness: str = "",
    loss: str = "",
    assume: str | Sequence[str] = (),
    scalars: str | Sequence[str] | Mapping[str, str] = (),
    vectors: str | Sequence[str] = (),
    operators: str | Sequence[str] | Mapping[str, str] = (),
    milliseconds: int = 1500,
    seconds: float = 30.0,
    search: bool = True,
    seed: int = 0,
    progress: Callable[[str], None] = lambda text: None,
) -> Decided:
    """Decide ``expression`` for every layer of the domain, every batch size and every loss.

    The algebra judge is asked first; what it leaves open is attacked by the search judge.

    eps, gamma, hessian, min_m, normaliser, smoothness, loss: as in :class:`~bntheory.layer.domain.LayerDomain`. assume: further expressions
    that may be taken for granted. scalars: free scalars as ``"NAME"`` or ``"NAME:RANGE"`` with the ranges positive, nonzero,
    nonnegative, unit and any; vectors: names of free vectors; operators: ``"NAME"`` or ``"NAME:psd"``. One alone may be given
    without a list, and ranges as in a LayerDomain, ``{"NAME": "RANGE"}``.
    milliseconds, seconds: limits for one question to the solver, and a backstop for algebra. search: whether what it leaves open is
    attacked; seed: where the attack's chance comes from. progress: is told which judge is asked, and for how long at most.

    Raises UserError, pointing at the column, for an expression that cannot be read, and for an unknown domain or limit.
    """
    start = time.perf_counter()
    if isinstance(min_m, int) and min_m > LARGEST_LEAST_BATCH:
        raise UserError(
            f"--min-m is {min_m}; a counterexample has as many entries, each written out, so give {LARGEST_LEAST_BATCH} at most"
        )
    _check_limits(milliseconds, seconds, seed)
    try:
        domain = LayerDomain(
            eps=eps,  # type: ignore[arg-type]
            gamma=gamma,  # type: ignore[arg-type]
            hessian=hessian,  # type: ignore[arg-type]
            min_m=min_m,
            normaliser=normaliser,  # type: ignore[arg-type]
            smoothness=smoothness,
            loss=loss,
            scalars=_declared("scalar", _texts("scalars", scalars), get_args(ScalarRange)),
            vectors=tuple(_free_name("vector", v) for v in _texts("vectors", vectors)),
            operators=_declared("operator", _texts("operators", operators), get_args(OperatorKind)),
        )
    except ValueError as error:
        raise UserError(str(error)) from None
    assume = _texts("assume", assume)
    claim = claim_of_expression(expression, assume, domain)
    reference = Reference("expression", expression=expression, assume=assume)
    from bntheory.judges.algebra import judge

    progress(f"algebra, at most {seconds:.0f} s")
    try:
        evidence = judge(claim, milliseconds=milliseconds, seconds=seconds, reference=reference)
    except RoutesDisagree as error:  # the two routes contradict each other
        evidence = Evidence("algebra", "error", f"internal error: {error}", {"internal_error": True})
    found = [evidence]
    if evidence.finding == "unknown" and search:
        from bntheory.judges.search import Budget
        from bntheory.judges.search import judge as attack

        progress(f"algebra left it open; search attacks, for about {Budget.of('normal').seconds:.0f} s at most")

        found.append(attack(claim, "normal", seed, reference=reference))
        if found[-1].finding == "refuted":
            evidence = found[-1]
    verdict = verdict_of(claim, found)
    return Decided(expression, assume, claim, verdict, evidence, time.perf_counter() - start)


def _check_limits(milliseconds: Any, seconds: Any, seed: Any) -> None:
    """UserError for a limit or a seed that is none."""
    for name, value, kind, said in (
        ("milliseconds", milliseconds, Integral, "a limit for the solver is a positive whole number"),
        ("seconds", seconds, Real, "a limit is a positive number"),
        ("seed", seed, Integral, "a seed is a whole number"),
    ):
        if (
            not isinstance(value, kind)
            or isinstance(value, bool)
            or (name != "seed" and not 0 < cast(Any, value) < float("inf"))
        ):
            raise UserError(f"{name} is {value!r:.60}; {said}")


def _texts(what: str, given: Any) -> tuple[str, ...]:
    """A list of texts, one text alone, or names with their ranges."""
    if isinstance(given, Mapping):
        given = [f"{name}:{kind}" for name, kind in given.items()]
    texts = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, Iterable) else (given,)
    if wrong := [text for text in texts if not isinstance(text, str)]:
        raise UserError(f"{what} has {wrong[0]!r:.60}, a {type(wrong[0]).__name__}; it is a text or a list of texts")
    return texts


def _declared(what: str, entries: Sequence[str], allowed: Sequence[str]) -> dict[str, Any]:
    declared: dict[str, Any] = {}
    for entry in entries:
        name, _, kind = entry.partition(":")
        kind = kind or "any"
        if kind not in allowed:
            raise UserError(f"--{what} {entry!r:.60}: the range {kind!r:.40} is not one of {', '.join(allowed)}")
        if name in declared:
            raise UserError(f"--{what} {name!r:.60} is declared twice")
        declared[_free_name(what, name)] = kind
    return declared


def _free_name(what: str, name: str) -> str:
    if not _is_name(name) or len(name) > 40 or (name.endswith("@case") and what != "vector"):
        raise UserError(f"--{what} {name!r:.60}: a name is a letter followed by letters, digits and _")
    if name.removesuffix("@case") in SECOND | UNIT_B:
        raise UserError(f"the free {what} {name!r} has the name of a word of the vocabulary; choose another")
    return name


def _is_name(name: str) -> bool:
    bare = name.removesuffix("@case")
    return bare.isascii() and bare.isidentifier() and not bare.startswith("_")
