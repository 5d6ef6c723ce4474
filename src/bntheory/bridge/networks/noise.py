"""Noise behind normalisation layers: the experiment of Santurkar et al. 2018, figure 2.

What lives here: the noise as a module whose draws are a pure function of seed and step. What does not: the
normalisation itself (``normalisation.py``).
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from bntheory.bridge.arguments import checked
from bntheory.bridge.networks.share import Share
from bntheory.errors import UserError


class ActivationNoise(nn.Module):
    """The noise of Santurkar et al. 2018, figure 2, put after a normalisation layer (or in its place).

    Per unit j and step: mu_j ~ U(-0.5, 0.5), s_j ~ U(1, 1.25). Per example i and unit: m_ij ~ U(mu_j - 0.1,
    mu_j + 0.1), s_ij ~ N(s_j, 0.1), 0.1 read as the standard deviation. Then a_ij <- s_ij a_ij + m_ij. A unit is a
    channel (all its positions share the draw) or, with ``unit="activation"``, every single activation. Active in training mode only.

    dose: a factor on all of it: a_ij <- (1 + dose (s_ij - 1)) a_ij + dose m_ij, so 1 is the figure's noise and 0 none.

    The noise is a pure function of (seed, step, shape): evaluating a step again repeats it, so that measurements on
    one batch see one function. :func:`set_noise_step` moves a whole model to a step.
    """

    #: Where the input is a part of a batch that several processes hold: it has the noise of its examples there.
    share: Share | None = None

    @checked
    def __init__(
        self, seed: int | tuple[int, ...], *, unit: Literal["channel", "activation"] = "channel", dose: float = 1.0
    ) -> None:
        super().__init__()
        if not 0 <= dose < math.inf:
            raise UserError(f"dose: {dose} is not a finite number >= 0")
        self.dose = dose
        self.seed = (seed,) if isinstance(seed, int) else tuple(seed)
        self.unit, self.step = unit, 0

    def get_extra_state(self) -> Tensor:
        """The seed is part of the state dict: a resumed run draws the noise of the interrupted one."""
        return torch.tensor(self.seed, dtype=torch.int64)

    def set_extra_state(self, state: Tensor) -> None:
        self.seed = tuple(state.tolist())

    def extra_repr(self) -> str:
        return f"seed={self.seed}, unit={self.unit!r}, dose={self.dose:g}, step={self.step}"

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        unit = x.shape[1:2] if self.unit == "channel" else x.shape[1:]
        tail = (1,) * (x.dim() - 1 - len(unit))
        words = np.random.SeedSequence([*self.seed, self.step]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(words[0] >> np.uint64(1)))  # on the CPU: one noise for all

        def uniform(*shape: int) -> Tensor:
            return torch.rand(shape, generator=generator, dtype=torch.float64, device="cpu")

        n = x.shape[0] if self.share is None else self.share.total
        mu = uniform(*unit) - 0.5
        s = 1 + 0.25 * uniform(*unit)
        shift = mu + 0.2 * uniform(n, *unit) - 0.1
        factor = s + 0.1 * torch.randn((n, *unit), generator=generator, dtype=torch.float64, device="cpu")
        if self.share is not None:
            own = slice(self.share.start, self.share.stop)
            factor, shift = factor[own], shift[own]
        if self.dose != 1:
            factor, shift = 1 + self.dose * (factor - 1), self.dose * shift
        factor, shift = (t.reshape(x.shape[0], *unit, *tail).to(x) for t in (factor, shift))
        return factor * x + shift


@checked
def set_noise_step(model: nn.Module, step: int) -> None:
    """Let every :class:`ActivationNoise` in ``model`` draw the noise of this training step."""
    for module in model.modules():
        if isinstance(module, ActivationNoise):
            module.step = int(step)
