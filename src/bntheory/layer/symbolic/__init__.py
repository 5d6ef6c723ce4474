"""The inner-product calculus: one layer with a symbolic batch size, over formal vectors (needs sympy)."""

from bntheory.layer.symbolic.layer import SymbolicLayer
from bntheory.layer.symbolic.space import Expression, FormalVector, Space

__all__ = ["Expression", "FormalVector", "Space", "SymbolicLayer"]
