"""Checks that the mean-field claims share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bntheory.claims.claim import Study
from bntheory.evidence.checks import Check
from bntheory.evidence.compared import numerical, proof, statistical

if TYPE_CHECKING:
    from bntheory.models.mean_field_symbolic import Identity

__all__ = ["against_networks", "against_quadrature", "beside_a_proof", "replayed"]


def replayed(identity: Identity, scope: str, why: str = "") -> Check:
    """A symbolic identity as a check: how many of its cases leave a remainder (none, if it holds)."""
    return proof(
        identity.name,
        scope,
        why=why or "the difference of both sides, reduced by sympy",
        witness={"remainder": identity.remainder, "identities": identity.cases},
    ).eq(0.0 if identity.holds else 1.0, 0.0)


def beside_a_proof(check: Check) -> Check:
    """A measurement next to a proof: it cannot add to the proof, but it decides where it contradicts it."""
    return replace(check, decisive=check.outcome == "fails")


def against_quadrature(name: str, rate: Callable[[int], float], batches: Sequence[int]) -> Iterator[Check]:
    """The claimed rate against the average over the sphere, which uses the activation's values and derivative only."""
    from bntheory.models.activations import activation
    from bntheory.models.mean_field_quadrature import rate_by_quadrature

    for batch in batches:
        found = rate_by_quadrature(activation(name), batch)
        yield beside_a_proof(
            numerical(
                f"claimed rate against quadrature, {name}",
                f"B = {batch}",
                uncertainty=4 * found.refinement + 1e-11 * found.rate,
                why="four times the change when the nodes are doubled, and the rounding of 1e5 terms",
                witness={"batch_size": batch, "series_rate": found.series_rate},
            ).eq(rate(batch), found.rate)
        )


def against_networks(study: Study, name: str, rate: Callable[[int], float]) -> Iterator[Check]:
    """The claimed rate against forward and backward passes of random networks, the order-1/width bias removed."""
    from bntheory.evidence.intervals import student_quantile
    from bntheory.models.activations import activation
    from bntheory.models.mean_field_monte_carlo import monte_carlo_limit

    batches = (4, 5, 8, 16, 64)
    networks = study.choose(quick=8, normal=48, thorough=400)
    confidence = 1 - 1e-3 / len(batches)  # all of them together at 99.9 %
    for done, batch in enumerate(batches):
        found = monte_carlo_limit(activation(name), batch, width=1024, networks=networks, seed=study.seed)
        yield beside_a_proof(
            statistical(
                f"claimed rate against random networks, {name}",
                f"B = {batch}, widths 1024 and 512, {networks} and {2 * networks} networks",
                uncertainty=student_quantile(networks, confidence) * found.standard_error,
                confidence=confidence,
                why="standard error over independent networks, Student's quantile",
                witness={
                    "batch_size": batch,
                    "seed": study.seed,
                    "standard_error": found.standard_error,
                    "standard_errors_off": found.deviation(rate(batch)),
                    "rate_at_width_1024": found.fine.rate,
                    "standard_error_at_width_1024": found.fine.standard_error,
                },
            ).eq(rate(batch), found.rate)
        )
        study.progress((done + 1) / len(batches), f"{name}, B = {batch}")
