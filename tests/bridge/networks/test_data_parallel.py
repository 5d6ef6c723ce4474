"""One network on two ranks (gloo) against the same in one process: the oracle is the plain training loop, which knows of no ranks.

In exact arithmetic both are the same numbers. In float64 a step's rounding is some 1e-16 times the number of additions (a few hundred
here) and four steps multiply it by the sensitivity of training, tens for these networks: 1e-11 of the largest entry is far above that,
and far below what a wrong statistic, weight or gradient changes (1e-3 and more).
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.multiprocessing
from torch import Tensor, nn
from two_ranks import RANKS, network, trained, work

from bntheory.bridge.networks.data_parallel import why_not_shared
from bntheory.bridge.networks.images import NetworkSpec, build_network
from bntheory.bridge.networks.spec import KINDS, NORMS

TOLERANCE = 1e-11
FLAT = {"layout": (5, 4), "input_shape": (7,)}
CASES: dict[str, tuple[str, dict[str, Any], int]] = {
    **{
        f"mlp, {norm}": ("mlp", {**FLAT, "norm": norm, "activation": "tanh"}, 9) for norm in NORMS if norm != "instance"
    },
    **{f"vgg, {norm}": ("vgg", {"norm": norm}, 7) for norm in NORMS},
    **{f"resnet, {norm}": ("resnet", {"norm": norm}, 8) for norm in ("batch", "linf", "none", "noisy-batch")},
    "one example a rank": ("mlp", {**FLAT, "norm": "batch"}, 2),
    "noise of each activation": ("vgg", {"norm": "noisy-batch", "noise_unit": "activation"}, 5),
    "average pooling, cumulative statistics": ("vgg", {"norm": "batch", "pool": "average", "momentum": 1.0}, 6),
    "recurrent": ("rnn", {"norm": "batch"}, 5),
    "transformer": ("transformer", {"norm": "batch"}, 5),
    "noisy transformer": ("transformer", {"norm": "noisy-none"}, 5),
    "ioffe": ("ioffe-mnist", {"norm": "batch", "layout": (5, 4)}, 7),
    "deep linear": ("deep-linear", {"norm": "batch", "layout": (5, 4)}, 7),
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Tensor]]]:
    """What each rank ended with, by case; all cases in one start of the processes."""
    folder = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(work, (str(folder), list(CASES.values())), nprocs=RANKS)
    return [dict(zip(CASES, torch.load(folder / f"rank{rank}.pt"), strict=True)) for rank in range(RANKS)]


@pytest.mark.parametrize("name", CASES)
def test_two_ranks_train_as_one_process_does(name, shared):
    """Parameters, running statistics, counters and momentum; with shares of unequal size where the batch is odd."""
    alone = trained(*CASES[name], None)
    for found in (rank[name] for rank in shared):
        assert found.keys() == alone.keys()
        for entry, value in alone.items():
            scale = float(value.abs().max()) + 1e-3
            apart = float((found[entry] - value).abs().max())
            assert apart <= TOLERANCE * scale, f"{entry}: {apart} of {scale}"


@pytest.mark.parametrize("name", CASES)
def test_ranks_stay_at_the_same_values_bit_for_bit(name, shared):
    """Nothing brings them together again within a stretch of training."""
    first, second = (rank[name] for rank in shared)
    assert all(torch.equal(first[entry], second[entry]) for entry in first)


def test_training_moved_the_networks(shared):
    """So that agreement means something."""
    for name, case in CASES.items():
        kind, options, _ = case
        start = dict(network(kind, options).named_parameters())
        assert any(float((shared[0][name][n] - p).detach().abs().max()) > 1e-3 for n, p in start.items())


def test_every_network_of_this_package_can_be_shared():
    for kind in KINDS:
        for norm in NORMS:
            try:
                spec = NetworkSpec(kind, size="tiny", norm=norm, input_shape=(1, 8, 8))
            except ValueError:  # no such network
                continue
            assert why_not_shared(build_network(spec, 0), 4, 2) == "", f"{kind}, {norm}"


@pytest.mark.parametrize(
    ("model", "examples", "why"),
    [
        (nn.Sequential(nn.Linear(3, 3), nn.Dropout()), 8, "Dropout"),
        (nn.Sequential(nn.Linear(3, 3), nn.BatchNorm3d(3)), 8, "BatchNorm3d"),
        (nn.Sequential(nn.Linear(3, 3)), 1, "a batch of 1 cannot be shared by 2 ranks"),
    ],
    ids=["what draws for a part", "unknown", "too small a batch"],
)
def test_what_cannot_be_shared_is_named(model, examples, why):
    assert why in why_not_shared(model, examples, 2)


def test_hooks_would_see_a_part():
    model = nn.Sequential(nn.Linear(3, 3))
    model[0].register_forward_hook(lambda *rest: None)
    assert "hooks" in why_not_shared(model, 8, 2)
