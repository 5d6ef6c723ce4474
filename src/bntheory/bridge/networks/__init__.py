"""Networks: what they are made of, how they are built and trained, the data they see, and their twins.

``spec``            what a network is, as a value
``images``, ``sequences``   the networks; ``builder`` the layers that they are put together from
``normalisation``, ``partial_normalisation``, ``primitive``, ``noise``   layers of the family by primitive operations, and noise behind them
``data``, ``data_files``, ``image_data``   images by name, read and checked, and their batches by seed and step
``training``        the one loop; ``evaluation`` how a model and a loss are called
``folded``          several networks trained as one
``data_parallel``, ``share``   one network trained by several processes
``twins``, ``reparametrised``   controls that agree where they must and differ in one thing
``state``           a model left exactly as it was; ``keepers`` where else than in a model a state is kept
``places``, ``generators``, ``caches``   what such a state is in: attributes and containers, random numbers, what functions returned

What does not live here: anything that is measured (:mod:`bntheory.bridge.probes`).
"""
