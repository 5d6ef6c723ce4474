"""Runs trained as one by the engine: which, that they are the runs they would have been alone, and that their records say so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from bntheory.bridge import synthetic_data
from bntheory.bridge.networks.folded import Sample
from bntheory.evidence.record import Record
from bntheory.experiments import engine, worker
from bntheory.experiments.arms import make_trainer
from bntheory.experiments.experiment import Arm, Conditions, Experiment, Measure, Needed, Protocol, freshest, needed
from bntheory.experiments.experiment import missing as missing_of
from bntheory.experiments.folder import compare_manifests
from bntheory.experiments.manifest import codes, conditions, folded_codes
from bntheory.experiments.measure import measure
from bntheory.experiments.store import MemoryStore, Store
from bntheory.experiments.together import groups, trained_together
from bntheory.experiments.worker import Workplace

DATA = synthetic_data(shape=(1, 6, 6), train=120, test=20, seed=3)
AT = (0, 20, 50)
PROTOCOL = Protocol(AT[-1], AT, batch_size=16, measured=32)
MEASURE = Measure("progress", {"batch_size": 32})
SEEDS = tuple(range(8))


def arm(name: str = "batch", **changes: Any) -> Arm:
    options = {"norm": changes.pop("norm", "batch"), "layout": [6, 5]}
    return replace(Arm("mlp", name, "mlp", options, 0.1), **changes)


def asked(*arms: Arm, fold: bool = True, protocol: Protocol = PROTOCOL, seeds: tuple[int, ...] = SEEDS) -> list[Needed]:
    experiment = Experiment("folding", arms, protocol, (MEASURE,), seeds)
    return list(needed(experiment, conditions(DATA, "cpu", fold=fold)))


def runs_of(every: list[Needed]) -> list[list[Needed]]:
    found: dict[str, list[Needed]] = {}
    for n in every:
        found.setdefault(n.state, []).append(n)
    return list(found.values())


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets how many times faster the timed sample finds folding."""

    def set_to(ratio: float) -> None:
        monkeypatch.setattr("bntheory.experiments.together.timed_sample", lambda *rest: Sample(ratio, 1.0))

    return set_to


def done(every: list[Needed], store: Store, workers: int = 0, **options: Any) -> dict[str, Record]:
    place = Workplace({DATA.name: (conditions(DATA, "cpu"), DATA)}, "cpu", None)
    with engine.hired(workers, None, "cpu") as crew:
        engine.run(every, store, place, crew=crew, **options)
    return freshest(every, store.read().versions)


FAST = arm("fast", learning_rate=0.3)


@pytest.mark.parametrize(
    ("every", "device", "workers", "sizes"),
    [
        (asked(arm()), "cpu", 1, [8]),
        (asked(arm(), FAST), "cpu", 1, [16]),
        (asked(arm(), FAST), "cpu", 2, [8, 8]),
        (asked(arm(), FAST), "cpu", 3, []),
        (asked(arm(), fold=False), "cpu", 1, []),
        (asked(arm(), seeds=(0, 1, 2)), "cpu", 1, []),
        (asked(arm(), seeds=(0, 1, 2)), "cuda:0", 1, [3]),
        (asked(arm(), seeds=tuple(range(40))), "cpu", 1, [20, 20]),
        (asked(arm(), arm("none", norm="none")), "cpu", 1, [8, 8]),
        (asked(arm(), seeds=SEEDS, protocol=replace(PROTOCOL, record=(0, 20))), "cpu", 1, []),
        (asked(replace(arm(), kind="vgg", options={"layout": [4, 0]})), "cpu", 1, []),
        (asked(replace(arm(), kind="vgg", options={"layout": [4, 0]})), "cuda", 1, [8]),
    ],
    ids=[
        "seeds", "rates", "two workers", "none is left idle", "unasked", "few", "few on a device", "many",
        "another network", "short", "convolutions", "convolutions on a device",
    ],
)  # fmt: skip
def test_which_runs_are_tried_as_one(every: list[Needed], device: str, workers: int, sizes: list[int]) -> None:
    runs = runs_of(every)
    found = groups(runs, device, workers)
    assert [len(group) for group in found] == sizes
    numbers = [number for group in found for number in group]
    assert len(set(numbers)) == len(numbers)
    for group in found:
        assert len({str(runs[number][0].task.arm.options) for number in group}) == 1


def test_runs_that_are_looked_at_after_other_steps_are_not_one() -> None:
    late = Measure("accuracy", {"test_size": 10}, seeds=(0,), at=(50,))
    experiment = Experiment("folding", (arm(),), PROTOCOL, (replace(MEASURE, at=(0, 50)), late), SEEDS)
    part = replace(experiment, measures=(replace(MEASURE, at=(20,)),), seeds=(7,))
    now = conditions(DATA, "cpu", fold=True)
    assert groups(runs_of([*needed(experiment, now), *needed(part, now)]), "cpu", 1) == []


@pytest.mark.parametrize("loss", ["cross-entropy", "squared-error"])
def test_situations_are_those_of_the_runs_alone(says: Callable[[float], None], loss: str) -> None:
    """In float64, at every look: initial values, batches, the factor of a rescaled loss, rates and momentum."""
    says(2.0)
    protocol = replace(PROTOCOL, dtype="float64", loss=loss)
    arms = [
        arm("plain", norm="none"),
        arm("rescaled", norm="none", rescaled_on=16, momentum=0.5),
        arm("decayed", norm="none", learning_rate=0.02, weight_decay=0.01),
    ]
    runs = [own[0] for own in runs_of(asked(*arms, protocol=protocol, seeds=(0, 1)))]
    followed = trained_together(runs, AT, DATA, "cpu")
    assert followed is not None
    expected = [[_state(at) for at in worker.follow(run.task, AT, DATA, "cpu", protocol)] for run in runs]
    for look, (step, seconds, situations) in enumerate(followed):
        assert step == AT[look]
        assert seconds >= 0
        for run, situation, own in zip(runs, situations, expected, strict=True):
            assert situation.task == run.task
            found = _state(situation)
            assert found[:3] == own[look][:3]
            assert torch.allclose(found[3], own[look][3], rtol=0, atol=1e-10)
    assert not torch.allclose(expected[0][0][3], expected[0][-1][3], atol=1e-2)


def _state(at: Any) -> tuple[int, float, bool, torch.Tensor]:
    whole = torch.cat([t.double().flatten() for t in at.model.state_dict().values()])
    return at.step, at.factor, at.model.training, whole.clone()


def test_the_sample_decides(says: Callable[[float], None]) -> None:
    runs = [own[0] for own in runs_of(asked(arm()))]
    says(1.04)
    assert trained_together(runs, AT, DATA, "cpu") is None
    says(1.06)
    assert trained_together(runs, AT, DATA, "cpu") is not None
    layered = [own[0] for own in runs_of(asked(arm(norm="layer")))]
    assert trained_together(layered, AT, DATA, "cpu") is None


@pytest.mark.long
def test_records_say_that_they_were_folded_and_count_where_that_was_asked(says: Callable[[float], None]) -> None:
    says(2.0)
    store = MemoryStore()
    folding, plain = asked(arm(), FAST), asked(arm(), FAST, fold=False)
    assert [n.address for n in folding] == [n.address for n in plain]
    found = done(folding, store)
    assert len(found) == len(folding)
    for n in folding:
        made = found[n.address].made
        assert made["folded"] == "16"
        assert made["code"] == folded_codes()["progress"] != codes()["progress"]
        assert made["torch"] == n.made["torch"]
    assert missing_of(folding, found) == []
    assert len(missing_of(plain, found)) == len(plain), "a run that repeats bit for bit needs its own"

    single = done(plain, store)
    reference = done(plain, MemoryStore())
    for n in plain:
        assert single[n.address].line() == reference[n.address].line()
        assert single[n.address].values["progress"] == pytest.approx(found[n.address].values["progress"], rel=1e-3)
    both = freshest(folding, store.read().versions)
    assert all("folded" not in record.made for record in both.values()), "bit for bit counts for more"


@pytest.mark.long
def test_nothing_is_done_twice(says: Callable[[float], None], monkeypatch: pytest.MonkeyPatch) -> None:
    says(2.0)
    store = MemoryStore()
    first = done(asked(arm(), fold=False), store)
    monkeypatch.setattr(worker, "do", lambda *rest: pytest.fail("done again"))
    assert done(asked(arm()), store) == first


@pytest.mark.long
def test_a_sample_that_says_no_leaves_every_bit(says: Callable[[float], None]) -> None:
    says(0.9)
    tried, never = MemoryStore(), MemoryStore()
    shown: list[float] = []
    found = done(asked(arm()), tried, progress=lambda fraction, text: shown.append(fraction))
    expected = done(asked(arm(), fold=False), never)
    assert {a: r.line() for a, r in found.items()} == {a: r.line() for a, r in expected.items()}
    assert all(0 <= fraction <= 1 for fraction in shown)
    assert shown[-1] > 0.9, "all but the last measurement"


@pytest.mark.parametrize("where", ["training", "beginning", "as one"])
def test_each_run_tells_its_own_failure(
    says: Callable[[float], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str
) -> None:
    says(2.0 if where == "as one" else 0.9)
    broken = (2, 5)

    def breaking(function: Callable[..., Any], seed_of: Callable[..., int]) -> Callable[..., Any]:
        def broken_for_some(*given: Any, **more: Any) -> Any:
            if (seed := seed_of(*given)) in broken:
                raise RuntimeError(f"seed {seed} is broken")
            return function(*given, **more)

        return broken_for_some

    if where == "training":
        trained = breaking(worker._trained, lambda trainer, factor, step, task, *rest: task.seed if step == 50 else 0)
        monkeypatch.setattr(worker, "_trained", trained)
    elif where == "beginning":
        for module in ("worker", "together"):
            made = breaking(make_trainer, lambda task, *rest: task.seed)
            monkeypatch.setattr(f"bntheory.experiments.{module}.make_trainer", made)
    else:
        monkeypatch.setattr(worker, "measure", breaking(measure, lambda at, *rest: at.task.seed))
    store, failed, said = Store.create(tmp_path), dict[str, str](), list[str]()
    every = asked(arm())
    with store.lock():
        found = done(every, store, failed=failed, say=said.append)
    lost = (50,) if where == "training" else AT
    for n in every:
        seed, gone = n.task.seed, n.task.seed in broken and n.step in lost
        assert (n.address in found) is not gone
        assert (
            failed.get(n.address)
            in ((None, f"mlp-s{seed}-batch: RuntimeError: seed {seed} is broken")[n.task.seed in broken :])
        )
        assert (n.address in failed) >= gone
    assert sorted(set(said)) == [
        f"mlp-s{s}-batch: RuntimeError: seed {s} is broken; what else is asked for is made" for s in broken
    ]
    assert [text.partition(",")[0] for text in store.refused(every)] == [
        f"mlp-s{s}-batch" for s in broken for _ in lost
    ]


def test_progress_of_runs_trained_as_one_ends_at_the_end(says: Callable[[float], None]) -> None:
    says(2.0)
    shown: list[float] = []
    done(asked(arm(), FAST), MemoryStore(), progress=lambda fraction, text: shown.append(fraction))
    assert all(0 <= fraction <= 1 for fraction in shown)
    assert shown[-1] > 0.9, "all but the last measurement"


@pytest.mark.long
def test_a_run_that_diverges_ends_and_the_others_go_on(says: Callable[[float], None]) -> None:
    says(2.0)
    wild = arm("wild", learning_rate=1e30, norm="none")
    calm = arm("calm", norm="none")
    every = asked(wild, calm)
    found = done(every, MemoryStore())
    expected = done(asked(wild, calm, fold=False), MemoryStore())
    assert found.keys() == expected.keys()
    ends = {(r.arm, r.step, r.diverged) for r in found.values()}
    assert ends == {("wild", 0, False), ("wild", 20, True), *(("calm", step, False) for step in AT)}
    assert missing_of(every, found) == []


class KilledError(Exception):
    """What ends a run in the middle."""


class FailingStore(MemoryStore):
    """Takes some records, and then no more."""

    left = 11

    def append(self, *arguments: Any, **options: Any) -> None:
        self.left -= 1
        if self.left < 0:
            raise KilledError
        super().append(*arguments, **options)


@pytest.mark.long
def test_what_was_cut_off_starts_anew_and_keeps_its_records(says: Callable[[float], None]) -> None:
    says(2.0)
    store = FailingStore()
    with pytest.raises(KilledError):
        done(asked(arm()), store)
    kept = {a: r.line() for a, r in store.read().records.items()}
    assert len(kept) == 11
    store.left = 10**6
    found = done(asked(arm()), store)
    assert len(found) == 3 * len(SEEDS)
    assert {a: found[a].line() for a in kept} == kept


@pytest.mark.slow
def test_processes_do_the_same(tmp_path: Path) -> None:
    """What is timed there is not known here: records are there, of one make or the other, and near those of runs alone."""
    every = asked(arm(), FAST)
    found = done(every, MemoryStore(), workers=2)
    expected = done(asked(arm(), FAST, fold=False), MemoryStore())
    assert found.keys() == expected.keys()
    for where, record in found.items():
        assert record.made.get("folded", "8") == "8"
        assert record.values["progress"] == pytest.approx(expected[where].values["progress"], rel=1e-3)


def test_a_run_goes_on_as_it_was_begun() -> None:
    old: dict[str, Any] = {"code": {"training": "a"}}
    assert compare_manifests(old, old) == []
    assert "folding" in compare_manifests(old, {**old, "folded": {"training": "b"}})[0]
    assert compare_manifests({**old, "folded": {}}, {**old, "folded": {}}) == []


def test_where_it_was_not_asked_for_folded_code_counts_for_nothing() -> None:
    now = Conditions({"name": "x"}, "cpu", {}, {})
    (n, *_) = needed(Experiment("e", (arm(),), PROTOCOL, (MEASURE,), (0,)), now)
    record = Record("mlp", "batch", 0, 0, "progress", {}, {}, made={"code": "folded"})
    assert not n.fresh(record)
    assert replace(n, folded="folded").fresh(record)


def test_an_unknown_word_is_refused() -> None:
    from bntheory.cli import app

    refused = CliRunner().invoke(app, ["compare", "--preset", "smoke", "--fold", "sometimes"])
    assert refused.exit_code == 2
    assert "auto, never" in refused.output


def test_the_runs_of_claims_are_not_folded(tmp_path: Path) -> None:
    """Their recorded numbers repeat bit for bit."""
    from bntheory.cli import app

    words = ["compare", "--claims", "all", "--fold", "auto", "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert "the runs of claims are trained one by one; leave --fold out" in done.output
    assert not (tmp_path / "run").exists()
