"""Exact arithmetic for verdicts: certificates by balls and radicals, witnesses that are small and replay, repairs.

``certificate``, ``domain_check``   whether a layer in rational numbers refutes a claim, and lies in its domain
``balls``, ``radicals``, ``quadrics``   balls, sums of roots, rational points
``shrink``, ``repair``   from a candidate to a small layer, with equalities exactly true
``witness``, ``replay``   a counterexample as data, and evaluated again from its file

What does not live here: finding candidates (:mod:`bntheory.judges.search`) and proofs (:mod:`bntheory.judges.algebra`).
"""
