"""Deciding layer claims by algebra, for every batch size at once.

Two routes that share nothing but the claim: coordinates handed to a solver for real arithmetic, and the inner-product
calculus of :mod:`bntheory.layer.symbolic`. z3, sympy and flint load when a claim is judged, not before.
"""

from bntheory.judges.algebra.judge import judge

__all__ = ["judge"]
