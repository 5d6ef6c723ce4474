"""Why a normalisation is left out of a measurement, in words, and which of these reasons stand against a twin."""

from __future__ import annotations

NO_GRAD = "runs under torch.no_grad(): no derivative passes through it"
CONSTANTS = "its statistics are constants (running or frozen ones): an affine map, and no normalisation of this batch"
UNMATCHED = "{}: its own forward, or its derivative, equals none of the closed forms (batch, layer, group, instance, RMS) on this batch"

#: How the reason begins for a layer whose statistics are detached.
NO_GRADIENT = "lets no gradient through its"
DETACHED = NO_GRADIENT + " {}, as it was asked to: its input gradient is not that of a normalisation"
_WHERE = (
    "by hand, and is as a whole no affine map of each channel, whose statistics constants could replace. Write the normalisation by itself as "
    "a module whose input and output have one shape, or call torch.nn.functional.batch_norm (of ghost batches once a part, with statistics a "
    "position on x.flatten(1)); what mixes channels, or statistics of single examples with the batch's, has no frozen twin"
)
INSIDE = "computes a mean and a scale " + _WHERE
ALIVE = "divides by a statistic of the batch " + _WHERE
MIXED = "takes statistics of the batch off " + _WHERE
OWN_SCALE = (
    "{} normalises over the batch by statistics of its own, with an eps in another place than any closed form, or rounded too coarsely to be "
    "told (dtype=torch.float64 is not): its twin is had, and no split of its gradient"
)
SCRIPTED = "is scripted, and a compiled graph does not show its layers; measure the model that was scripted"
UNSEEN = "is called past torch's functional interface (torch.native_batch_norm, torch.ops, a compiled graph); call torch.nn.functional.batch_norm"
HOOKED = "computes it in a hook on its forward, where nothing can be frozen; compute it in the forward itself"
TRANSPOSED = (
    "does so as {} normalisation of a transposed input; call torch.nn.functional.batch_norm, which can be frozen"
)
UNREACHED = "the forward pass does not reach it"
LARGER_BATCH = "Give a larger batch (a loader leaves an incomplete last one out with drop_last=True), or larger groups"
ONE_ENTRY = "normalises over a single entry, of which a constant is left"
WEIGHT = "normalises a parameter (a weight that is standardised), and no activations of a batch"
NOT_OVER_THE_BATCH = " (none of it is over the batch)"

#: The reason for a layer that normalises over the batch where a transform (torch.vmap, torch.func) hides its tensors.
INSIDE_TRANSFORM = (
    "runs inside of torch.vmap or torch.func, where it cannot be cut out of the graph; call it outside of the transform"
)
BY_HAND_INSIDE_TRANSFORM = INSIDE_TRANSFORM + " (it is written by hand)"

#: The reasons for what normalises over the batch and cannot be frozen.
UNREACHABLE = {
    INSIDE_TRANSFORM, BY_HAND_INSIDE_TRANSFORM, ALIVE, MIXED, SCRIPTED, UNSEEN, HOOKED,
    *(TRANSPOSED.format(kind) for kind in ("layer", "group", "instance", "rms")),
}  # fmt: skip
