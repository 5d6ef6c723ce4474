"""What a check is, and what makes numbers into one.

``checks``     one comparison of two numbers with its uncertainty: what every study brings back
``compared``   checks written as they are read: what is compared, then its two sides
``study``      what a study receives; ``progress`` how far it is
``decision``   the verdict rule: supported, contradicted, equivalent, inconclusive
``power``      how many seeds would decide
``intervals``  from many seeds to a median or a mean with its interval; pairing; several intervals at once
``looks``      seeds added until decided, with the error over all looks
``curves``     two runs at equal loss, and the course of an effect along training
``comparable`` which runs may be compared at all: trained, not diverged
``seeds``      one number a seed, one check
``distance``   two landscapes differ by more than a rescaling
``slopes``     fitted exponents with intervals
``rates``      exponents, medians and counts as checks
``identity``   a symbolic identity as a check
``record``     one measurement at one step, its address and the line in which it is kept
``closure``    what a function rests on inside this package; ``source`` reads one file
``counts``     counts with their noun

What does not live here: training, torch, and any particular claim.
"""
