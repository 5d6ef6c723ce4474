"""The laboratory: matched networks are trained, and what the theory says is measured inside them.

What is asked
    ``experiment``   arms, a protocol, measures and seeds as data, and the records that they ask for
    ``preset``, ``suite``   how large a run is; the networks on which layer claims are measured
    ``measure``      what is measured at a step, by name; the measurements are in :mod:`.measures`, and ``own`` finds a user's
    ``manifest``     data, device, versions and code of a run and of its records
How it is made
    ``engine``       does what is asked for and lacking, nothing twice; ``worker`` takes one task after another
    ``arms``, ``images``   networks that differ in what their arm says, and what a seed trains and measures them on
    ``toys``         toy regressors as arms
    ``crew``, ``cluster``, ``ranks``   workers here, on a Dask cluster, and processes that train one network together
    ``together``     runs trained as one, where that is faster
    ``plan``, ``meter``   what it will cost, and how much of it is done
Where it is kept
    ``store``, ``stores``   a folder of records and checkpoints; two of them merged
    ``forms``        what the values of each measure look like, so that a record which says otherwise is none
    ``folder``       a store and the manifest of its run
    ``packed``       recorded stores, as the repository holds them
    ``confirm``      records of earlier code, taken over where a sample made again is the same bit for bit
How it is read
    ``asking``, ``campaign``   a study's question, and many questions answered from one store
    ``runs``, ``toy_runs``   paired runs, as claims read them
    ``network_runs``, ``quantities``   the runs of one network by seed and arm, and their numbers by name
    ``equal_rates``  arms compared at equal learning rates
    ``comparisons``, ``contrasts``   the comparisons that every run makes
    ``effects``, ``outcomes``, ``answers``   what they come to

What does not live here: claims and verdicts, figures and pages. Importing this package is cheap; torch loads when
something is trained.
"""

from bntheory.experiments.preset import Preset, load_preset, preset_names

__all__ = ["Preset", "load_preset", "preset_names"]
