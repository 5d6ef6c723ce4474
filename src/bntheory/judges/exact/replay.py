"""Evaluating a stored counterexample again, from its file alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from bntheory.claims.claim import Claim
from bntheory.errors import UserError
from bntheory.judges.exact.certificate import Certificate, certify
from bntheory.judges.exact.witness import Witness, load_witness

__all__ = ["ReplayResult", "claim_of", "replay"]


@dataclass(frozen=True)
class ReplayResult:
    """What a replay found.

    refuted: the stored layer meets the domain and every hypothesis, and the claim fails there, decided without rounding.
    certificate: both sides of every relation, computed now. The enclosures stored in the file play no part in it.
    """

    refuted: bool
    claim: Claim
    witness: Witness
    certificate: Certificate

    @property
    def summary(self) -> str:
        """One sentence."""
        layer = self.witness.instance.describe()
        if self.refuted:
            return f"{self.claim.id} is refuted by {layer}"
        return f"{self.claim.id} is not refuted by {layer}: {self.certificate.why}"


def replay(path: str | Path, claims: str | Path | None = None) -> ReplayResult:
    """Evaluate the witness in ``path``. UserError where the file, the claim or the user's file of claims cannot be read.

    claims: the user's file of claims, where it is no longer at the path that the witness names. That path is looked up from here
    and, where it is relative, from the witness's own folder and the one above.
    """
    witness = load_witness(path)
    if witness.reference.kind == "file":
        found = Path(claims) if claims is not None else _located(witness.reference.path, Path(path))
        witness = replace(witness, reference=replace(witness.reference, path=str(found)))
    claim = claim_of(witness)
    if claim.domain != witness.domain:
        raise UserError(
            f"{path}: the witness was recorded for {witness.domain.describe()}, but {claim.id} is asserted for "
            f"{claim.domain.describe() if claim.domain else 'no layers'}; the claim or the file was changed since"
        )
    certificate = certify(claim, witness.instance)
    return ReplayResult(certificate.refuted, claim, witness, certificate)


def _located(recorded: str, witness: Path) -> Path:
    folder = witness.resolve().parent
    places = [Path(recorded), folder / recorded, folder.parent / recorded]
    for place in places:
        if place.is_file():
            return place
    raise UserError(
        f"{witness}: its claim is one of the file {recorded}, which is neither here nor near the witness; "
        "give the place of that file: bntheory replay WITNESS --claims FILE.py"
    )


def claim_of(witness: Witness) -> Claim:
    """The claim that a witness is about. UserError where there is none such."""
    reference = witness.reference
    if reference.kind == "registry":
        from bntheory.claims import registry

        try:
            return registry()[reference.id]
        except ValueError as error:
            raise UserError(f"witness: {error}") from None
    if reference.kind == "file":
        from bntheory.claims.user_file import load_claims

        loaded = load_claims(reference.path)
        for claim in loaded.claims:
            if claim.id == reference.id:
                return claim
        why = "".join(f"; {problem}" for problem in loaded.problems[:3])
        raise UserError(f"witness: {reference.path} has no claim with the id {reference.id!r}{why}")
    from bntheory.claims.typed.expression import claim_of_expression

    return claim_of_expression(reference.expression, reference.assume, witness.domain)
