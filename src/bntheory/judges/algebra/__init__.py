"""Deciding layer claims by algebra, for every batch size at once.

Two routes that share nothing but the claim: coordinates handed to a solver for real arithmetic, and the inner-product
calculus of :mod:`bntheory.layer.symbolic`.

``judge``, ``procedure``   a claim in, evidence out: all batch sizes at once, then small ones; ``agreement`` of the two routes
``frame``, ``vectors``, ``statistics``, ``jacobian``, ``basis``, ``lift``   a layer in coordinates, and back to vectors
``calculus``, ``letters``, ``gram``, ``inner_products``   a claim in inner products, for every space that has them
``encode``, ``questions``, ``solver``, ``field``   formulas, and a solver asked with a limit
``definitions``, ``guards``, ``squares``, ``bounds``, ``second_batch``, ``large_batches``   easier forms of a question

z3, sympy and flint load when a claim is judged, not before.
"""

from bntheory.judges.algebra.judge import judge

__all__ = ["judge"]
