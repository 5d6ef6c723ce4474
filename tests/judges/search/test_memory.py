"""What an attack takes in memory is bounded, whatever the batch size; beyond what fits it is refused in words."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import pytest

from bntheory import LayerDomain
from bntheory.errors import OutsideVocabulary
from bntheory.judges.search.budget import MEMORY, fitting

PEAK = """
import resource, sys
import torch
torch.set_num_threads(1)
from bntheory import LayerDomain, le
from bntheory.claims.claim import Claim, Source
from bntheory.judges.search.budget import Budget
from bntheory.judges.search import judge
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
m, hessian = int(sys.argv[1]), sys.argv[2]
claim = Claim("memory.claim", "layer", Source("memory", ""), "x",
              lambda x: le(x.norm2(x.input_hess(x.grad)), x.norm2(x.input_hess(x.grad)) + 1), LayerDomain(min_m=m, hessian=hessian))
budget = Budget((0,), 512, 2, 1, 0, 0, 30.0)
judge(claim, "quick", budget=budget)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.long
@pytest.mark.parametrize(("m", "hessian"), [(40, "any"), (300, "diagonal")])
def test_the_peak_stays_below_what_is_stated(m: int, hessian: str) -> None:
    done = subprocess.run([sys.executable, "-c", PEAK, str(m), hessian], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 1.25 * MEMORY


def test_small_batches_get_all_they_ask_for_and_large_ones_what_fits() -> None:
    assert fitting(LayerDomain(), 2048, 11) == 2048
    assert 4 <= fitting(LayerDomain(), 512, 300) < 512
    assert fitting(LayerDomain(hessian="zero"), 512, 300) == 512
    counts = [fitting(LayerDomain(), 10**6, m) for m in (50, 100, 200, 400)]
    for one, twice in pairwise(counts):
        assert 3.5 < one / twice < 4.5  # the cost is m^2


def test_what_does_not_fit_is_refused_with_what_to_do() -> None:
    with pytest.raises(OutsideVocabulary, match=r"batch size 5000 takes \d+ MiB.*at most 1024 MiB.*smaller min_m"):
        fitting(LayerDomain(), 512, 5000)
    with pytest.raises(OutsideVocabulary, match="MiB"):
        fitting(LayerDomain(hessian="zero", operators={"K": "any"}), 512, 5000)
