"""Follow a training run that is not ours.

``monitor``      the class that any loop calls, what it holds, and how it is written as it goes
``measures``     what is measured at a step, by name; every measure takes passes of its own on the given batch
``schedule``     when: every so many steps, and no more than a share of the training time
``optimiser``    the learning rate as the optimiser holds it, and the eigenvalue at which its steps cease to be stable
``tables``       what was measured as rows, CSV and text; ``picture`` as a figure
``setting``      what decides the values, as records say it
``lightning``, ``huggingface``   callbacks for these two trainers, imported by name where they are installed

What does not live here: training.
"""

from bntheory.bridge.monitor.measures import DEFAULT, MEASURES
from bntheory.bridge.monitor.monitor import Missing, Monitor
from bntheory.bridge.monitor.optimiser import StepSize, step_size
from bntheory.bridge.monitor.schedule import Cost

__all__ = ["DEFAULT", "MEASURES", "Cost", "Missing", "Monitor", "StepSize", "step_size"]
