"""Networks that read sequences go through the whole measurement: every identity holds on every one of their layers.

The oracle is the closed form, as for the other kinds. What is special here: the steps of a recurrent layer share gamma and beta, so no
step has gradients of its own to hold the inner products against.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import at_start, measured, tiny_preset

from bntheory.bridge import load_dataset
from bntheory.experiments.answers import failures
from bntheory.experiments.preset import load_preset

OPTIONS = {
    "rnn": ('{ layout = [6], activation = "tanh" }', 7, False),
    "transformer": ('{ layout = [8, 1, 2], activation = "gelu" }', 3, True),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", OPTIONS)
def test_every_identity_holds_on_every_layer(kind: str, tmp_path: Path, device: str) -> None:
    options, count, affine = OPTIONS[kind]
    preset = load_preset(tiny_preset(tmp_path, name=f'"{kind}"', kind=f'"{kind}"', options=options))
    at = at_start(preset, load_dataset(preset.data), "batchnorm", device)
    assert not at.diverged
    record = measured(preset, at)
    json.dumps(record, allow_nan=False)
    assert len(record["layers"]) == count
    assert all(("affine_split" in layer) == affine for layer in record["layers"])
    assert list(failures([record])) == []
    own, twin = (record["linearity"][of]["loss"] for of in ("own", "twin"))
    assert twin == pytest.approx(own, rel=1e-4)


def test_a_network_whose_gradient_overflowed_has_diverged(tmp_path: Path) -> None:
    """Its loss can still be finite; a record with a gradient norm that is no number could not be written."""
    preset = load_preset(tiny_preset(tmp_path))
    at = at_start(preset, load_dataset(preset.data), "standard")

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (outputs * 0).abs().sqrt().sum() + 1.0  # 1, with a gradient of 0/0

    assert not at.diverged
    assert replace(at, loss=loss).diverged
