"""Deciding claims: algebra, search with certificates, networks, and the verdict they amount to.

``decide``          a claim typed on the spot
``check``, ``parallel``   a claim by every judge that its kind has, and many claims at once
``experiments``     experiment claims, judged from one store
``network``, ``measured_statement``   the same claim on layers measured inside networks
``verdict``         what all evidence amounts to; ``latex``, ``failing`` as a review says it, ``picture`` as a figure
:mod:`.algebra` proves for every batch size, :mod:`.search` looks for counterexamples, :mod:`.exact` makes them certain.

Importing this package is cheap: torch, sympy, z3 and flint load with the judge that needs them.
"""
