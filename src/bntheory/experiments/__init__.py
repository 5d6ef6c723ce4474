"""The experiment judge: matched networks are trained, and what the theory says is measured inside them.

What lives here: presets, the folder of a run, the arms and what is measured on them, comparisons over seeds and their outcomes.
What does not: figures and pages (:mod:`bntheory.report`). Importing this package is cheap; torch loads with :mod:`.run`.
"""

from bntheory.experiments.preset import Preset, load_preset, preset_names

__all__ = ["Preset", "load_preset", "preset_names"]
