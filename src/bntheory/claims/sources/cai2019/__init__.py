"""Cai, Li and Shen, ICML 2019: batch normalisation on least squares."""

from bntheory.claims.sources.cai2019 import dynamics

__all__ = ["dynamics"]
