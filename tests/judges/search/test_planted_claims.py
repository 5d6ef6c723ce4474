"""Every planted error is found, and no true claim is refuted.

Oracle: the table itself. Its true members are theorems with short proofs, its false ones differ from them by an error put there on
purpose; whether the search tells them apart is the question. The certificates are exact and know nothing of the table.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from bntheory.judges.search import judge


def _table() -> ModuleType:
    path = Path(__file__).parents[3] / "validation" / "benchmarks" / "planted_table.py"
    spec = importlib.util.spec_from_file_location("planted_table", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["planted_table"] = module
    spec.loader.exec_module(module)
    return module


PAIRS = _table().PAIRS
IDS = [pair.planted.id.removeprefix("planted.") for pair in PAIRS]
QUICK = [pair for i, pair in enumerate(PAIRS) if i % 5 == 0]


def test_the_table_is_large_and_its_ids_are_unique() -> None:
    assert len(PAIRS) >= 40
    assert len(set(IDS)) == len(IDS)


@pytest.mark.parametrize("pair", QUICK, ids=[p.planted.id.removeprefix("planted.") for p in QUICK])
def test_some_planted_errors_are_found(pair) -> None:  # type: ignore[no-untyped-def]
    assert judge(pair.planted, "quick", 0).finding == "refuted"
    assert judge(pair.true, "quick", 0).finding == "survives"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("pair", PAIRS, ids=IDS)
def test_every_planted_error_is_found_and_no_true_claim_refuted(pair, seed: int) -> None:  # type: ignore[no-untyped-def]
    planted = judge(pair.planted, "normal", seed)
    assert planted.finding == "refuted", planted.summary
    true = judge(pair.true, "normal", seed)
    assert true.finding == "survives", true.summary
