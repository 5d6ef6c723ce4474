"""Deciding claims: algebra, search with certificates, networks, and the verdict they amount to.

Importing this package is cheap: torch, sympy, z3 and flint load with the judge that needs them.
"""
