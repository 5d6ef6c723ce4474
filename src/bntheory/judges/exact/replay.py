"""Evaluating a stored counterexample again, from its file alone.

Nothing is run that the file names: a claim of the package is known by its id, any other travels inside the file as a typed expression.
Only a file of claims that the user names is run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from bntheory.claims.claim import Claim
from bntheory.errors import OutsideVocabulary, UserError
from bntheory.judges.exact.certificate import Certificate, certify
from bntheory.judges.exact.witness import Reference, Witness, load_witness


@dataclass(frozen=True)
class ReplayResult:
    """What a replay found.

    refuted: the stored layer meets the domain and every hypothesis, and the claim fails there, decided without rounding.
    certificate: both sides of every relation, computed now. The enclosures stored in the file play no part in it. carried: whether
    the claim is what the file says that it states.
    """

    refuted: bool
    claim: Claim
    witness: Witness
    certificate: Certificate
    carried: bool = False

    @property
    def summary(self) -> str:
        """What was found, in a sentence, and of a claim that the file carries what it says."""
        layer = self.witness.instance.describe()
        reference = self.witness.reference
        typed = reference.kind == "expression"
        name = reference.expression if typed else self.claim.id
        carried = f"\nas the file states the claim: {reference.expression}" if self.carried and not typed else ""
        carried += "".join(f"\nassumed: {a}" for a in reference.assume if self.carried)
        if self.refuted:
            return f"{name} is refuted by {layer}{carried}"
        return f"{name} is not refuted by {layer}: {self.certificate.why}{carried}"


def replay(path: str | Path, claims: str | Path | None = None) -> ReplayResult:
    """Evaluate the witness in ``path``. UserError where the file, the claim or the user's file of claims cannot be read.

    claims: a Python file of claims, which is run; without it a claim of a user's file is what the witness says that it states.
    """
    witness = load_witness(path)
    carried = claims is None and witness.reference.kind != "registry"
    claim = claim_of(witness) if claims is None else _of_file(witness, claims)
    if claim.domain != witness.domain:
        raise UserError(
            f"{path}: the witness was recorded for {witness.domain.describe()}, but {claim.id} is asserted for "
            f"{claim.domain.describe() if claim.domain else 'no layers'}; the claim or the file was changed since"
        )
    certificate = certify(claim, witness.instance)
    return ReplayResult(certificate.refuted, claim, witness, certificate, carried)


def _of_file(witness: Witness, path: str | Path) -> Claim:
    """The claim in a file that the user names."""
    from bntheory.claims.user_file import load_claims

    loaded = load_claims(path)
    for claim in loaded.claims:
        if claim.id == witness.reference.id:
            return claim
    why = "".join(f"; {problem}" for problem in loaded.problems[:3])
    raise UserError(f"{path} has no claim with the id {witness.reference.id!r}, which the witness is about{why}")


def carrying(reference: Reference, claim: Claim) -> Reference:
    """How a witness names the claim of a user's file: with what it states, if the typed grammar can say that.

    It cannot where the claim calculates with what is no word of the vocabulary, where it is too long, or where a free name of its
    domain is none that can be typed. What is carried is read back and must state the same.
    """
    if reference.kind != "file" or claim.domain is None:
        return reference
    from bntheory.claims.typed.expression import claim_of_expression
    from bntheory.claims.typed.transcript import text_of, transcribe

    domain = claim.domain
    try:
        written = [text_of(transcribe(f, domain)) for f in (claim.check, claim.assume) if f is not None]
        read = claim_of_expression(written[0], written[1:], domain)
        again = [text_of(transcribe(f, domain)) for f in (read.check, read.assume) if f is not None]
    except (UserError, ArithmeticError, OutsideVocabulary):
        return reference
    if again != written or read.domain != domain:
        return reference
    return replace(reference, expression=written[0], assume=tuple(written[1:]))


def claim_of(witness: Witness) -> Claim:
    """The claim that a witness is about. UserError where there is none such."""
    reference = witness.reference
    if reference.kind == "registry":
        from bntheory.claims import registry

        try:
            return registry()[reference.id]
        except ValueError as error:
            raise UserError(f"witness: {error}") from None
    if not reference.expression:
        raise UserError(
            f"the witness is about {reference.id!r:.100} of the file {reference.path!r:.200}, and does not carry what it states. Nothing that a "
            "witness names is run: if you trust that file, name it, bntheory replay WITNESS --claims FILE.py"
        )
    from bntheory.claims.typed.expression import claim_of_expression

    try:
        named = {"id": reference.id} if reference.kind == "file" else {}
        return claim_of_expression(reference.expression, reference.assume, witness.domain, **named)
    except ValueError as error:  # an id that is none
        raise UserError(f"witness: {error}") from None
