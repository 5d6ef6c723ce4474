"""What is measured on an arm at one step, a file each by meaning; their names are in
:mod:`bntheory.experiments.measure`."""
