"""Adversarial search for a layer that refutes a claim.

:func:`judge` is the whole of it; :class:`Budget` says what it may cost. What is found is a candidate until
:mod:`bntheory.judges.exact.certificate` has decided it without rounding. This package imports torch.
"""

from bntheory.judges.search.budget import Budget
from bntheory.judges.search.judge import judge

__all__ = ["Budget", "judge"]
