"""Networks: what they are made of, how they are built and trained, the data they see, and their twins.

What lives here: specifications and builders, normalisation layers of the family, data sets, one training loop, twins with frozen
statistics, state that is put back. What does not: anything that is measured (:mod:`bntheory.bridge.probes`).
"""
