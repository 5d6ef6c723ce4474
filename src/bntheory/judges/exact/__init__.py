"""Exact arithmetic for verdicts: certificates by balls and radicals, witnesses that are small and replay, repairs.

What lives here: whatever turns a candidate into something that cannot be wrong by rounding. What does not: finding candidates
(:mod:`bntheory.judges.search`) and proofs (:mod:`bntheory.judges.algebra`).
"""
