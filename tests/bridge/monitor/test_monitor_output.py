"""What a monitor gives: records that the laboratory reads, tables, a figure, scalars; and what it does when something cannot be had."""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bntheory.bridge import Monitor, Objective
from bntheory.experiments.store import Store


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def data(count: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(1)), torch.arange(count) % 3


def train(monitor: Monitor, net: nn.Module, steps: int = 4) -> Monitor:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    with monitor.following(optimizer):
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(net(data()[0]), data()[1]).backward()
            optimizer.step()
    return monitor


def followed(**options) -> Monitor:
    net = network()
    options = {"every": 2, "share": None, **options}
    return train(Monitor(net, F.cross_entropy, data(), **options), net)


# -- records -----------------------------------------------------------------------------------------------------------


def test_the_laboratory_reads_what_is_written_as_it_goes(tmp_path):
    monitor = followed(out=tmp_path / "run", name="first")
    contents = Store(tmp_path / "run").read()
    assert not contents.faults
    assert tuple(contents.records.values()) == monitor.records
    assert [(r.step, r.measure) for r in monitor.records] == [
        (s, m) for s in (2, 4) for m in ("loss", "split", "sharpness")
    ]
    assert {r.arm for r in monitor.records} == {"first"}


def test_the_same_run_has_the_same_records_and_another_start_is_another_run(tmp_path):
    for name in ("a", "b"):
        followed(out=tmp_path / name)
    assert (tmp_path / "a" / "records.jsonl").read_bytes() == (tmp_path / "b" / "records.jsonl").read_bytes()
    net = network()
    with torch.no_grad():
        net[0].bias[0] += 1e-3
    other = train(Monitor(net, F.cross_entropy, data(), every=2, share=None), net)
    known = Store(tmp_path / "a").read().records
    assert not known.keys() & {r.address for r in other.records}


def test_two_trainings_from_one_start_are_told_apart_by_their_names(tmp_path):
    """Of two rates, say: neither is lost where both are written into one folder."""
    monitors = []
    for name, rate in (("slow", 0.01), ("fast", 0.1)):
        net = network()
        monitor = Monitor(net, F.cross_entropy, data(), every=1, share=None, measures=["loss"], out=tmp_path, name=name)
        optimizer = torch.optim.SGD(net.parameters(), lr=rate)
        with monitor.following(optimizer):
            F.cross_entropy(net(data()[0]), data()[1]).backward()
            optimizer.step()
        monitors.append(monitor)
    contents = Store(tmp_path).read()
    assert not contents.faults
    found = {record.arm: record.values["loss"] for record in contents.records.values()}
    assert found == {monitor.name: monitor.rows()[0]["loss"] for monitor in monitors}
    assert found["slow"] != found["fast"]


def test_the_same_numbers_in_another_order_are_another_batch_and_another_start():
    x, labels = data()
    turned = network()
    with torch.no_grad():
        turned[0].weight.copy_(network()[0].weight.flip(0))
    settings = []
    for net, batch in ((network(), (x, labels)), (network(), (x.flip(0), labels)), (turned, (x, labels))):
        monitor = Monitor(net, F.cross_entropy, batch, share=None, measures=["loss"])
        monitor.measure()
        settings.append(monitor.records[0].setting)
    assert settings[0]["batch"] != settings[1]["batch"]
    assert settings[0]["model"]["start"] != settings[2]["model"]["start"]
    assert settings[0]["model"]["shapes"] == settings[2]["model"]["shapes"]


def test_what_was_measured_before_an_interrupt_is_on_the_disk(tmp_path):
    net = network()
    path = tmp_path / "run.jsonl"

    def interrupted(objective):
        raise KeyboardInterrupt

    monitor = Monitor(net, F.cross_entropy, data(), every=1, share=None, measures=["loss", interrupted], out=path)
    with pytest.raises(KeyboardInterrupt):
        train(monitor, net)
    (line,) = path.read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["measure"] == "loss"


# -- tables and figure -------------------------------------------------------------------------------------------------


def test_rows_and_csv(tmp_path):
    monitor = followed()
    assert [row["step"] for row in monitor.rows()] == [2, 4]
    for what in ("network", "layers"):
        monitor.to_csv(tmp_path / f"{what}.csv", what)
        with open(tmp_path / f"{what}.csv", encoding="utf-8", newline="") as file:
            read = list(csv.DictReader(file))
        assert [{k: str(v) for k, v in row.items()} for row in monitor.rows(what)] == read
    assert [row["layer"] for row in monitor.rows("layers")] == ["1", "1"]
    with pytest.raises(ValueError, match="'network' or 'layers'"):
        monitor.rows("channels")


def test_pandas_where_it_is_installed(monkeypatch):
    monitor = followed()
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ValueError, match=r"bntheory\[monitor\]"):
        monitor.to_pandas()
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=lambda rows: ("frame", list(rows))))
    assert monitor.to_pandas() == ("frame", monitor.rows())


def test_a_real_data_frame():
    pytest.importorskip("pandas")
    frame = followed().to_pandas()
    assert list(frame["step"]) == [2, 4]
    assert frame["lambda_max"].dtype == float


@pytest.mark.long
def test_the_figure_shows_curvature_twins_and_the_edge():
    measures = ["loss", "split", "sharpness", "partial-twins"]
    figure = followed(measures=measures).figure()
    curvature, loss, split = figure.axes
    labels = [text.get_text() for text in curvature.get_legend().get_texts()]
    for label in ("network", "frozen twin", "twin, only the variance frozen", "2/eta"):
        assert label in labels
    edge = next(line for line in curvature.lines if line.get_label() == "2/eta")
    assert list(edge.get_ydata()) == [20.0, 20.0]
    styles = [
        (line.get_linestyle(), line.get_marker())
        for line in curvature.lines
        if not line.get_label().startswith("_") and line.get_marker() != "None"
    ]
    assert len(styles) == 4
    assert len(set(styles)) == len(styles), "told apart without colour"
    assert loss.get_yscale() == split.get_yscale() == "log"
    figure.canvas.draw()


def test_a_figure_of_nothing_says_so():
    monitor = Monitor(network(), F.cross_entropy, data())
    figure = monitor.figure()
    assert [axes.texts[0].get_text() for axes in figure.axes] == ["not measured"] * 3


def test_scalars_for_tensorboard():
    seen: dict[str, list[tuple[int, float]]] = {}
    writer = SimpleNamespace(add_scalar=lambda tag, value, step: seen.setdefault(tag, []).append((step, value)))
    monitor = followed(tensorboard=writer)
    rows = monitor.rows()
    assert all(re.fullmatch(r"[\w/.-]+", tag) for tag in seen), "TensorBoard renames others"
    assert {"bntheory/lambda_max_twin", "bntheory/eta_lambda_max", "bntheory/left_median"} <= seen.keys()
    assert seen["bntheory/lambda_max"] == [(row["step"], row["lambda_max"]) for row in rows]
    assert seen["bntheory/share_mean_m/1"] == [(row["step"], row["share_mean * m"]) for row in monitor.rows("layers")]


def test_the_summary():
    monitor = followed()
    text = str(monitor)
    assert "4 steps, measured at 2 points" in text
    last = monitor.rows()[-1]
    assert f"largest Hessian eigenvalue {last['lambda_max']:.4g}" in text
    assert not [name for name in last if name in text and ("_" in name or "*" in name)]  # words, not columns
    assert "of measuring to" in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_training_too_short_to_be_measured_is_said_so():
    """Steps that cost next to nothing pay for no measurement: nothing is shown, with the way out."""
    short = followed(share=1e-9)
    assert short.rows() == []
    assert "give share=None" in str(short)
    assert max(map(len, str(short).splitlines())) <= 100
    assert "share=" not in str(followed(share=None))


# -- what cannot be had --------------------------------------------------------------------------------------------------


def test_an_error_while_measuring_is_noted_and_stops_nothing():
    def broken(objective):
        raise RuntimeError("boom")

    monitor = followed(measures=["loss", broken, "split"])
    assert [(m.step, m.measure, m.reason) for m in monitor.missing] == [
        (s, "broken", "RuntimeError: boom") for s in (2, 4)
    ]
    assert len(monitor.rows()) == 2
    assert "missing (2 x): broken: RuntimeError: boom" in str(monitor)
    with pytest.raises(RuntimeError, match="boom"):
        followed(measures=["loss", broken], strict=True)


def test_a_network_without_batch_statistics_has_no_twin_and_everything_else():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 3))
    monitor = train(Monitor(net, F.cross_entropy, data(), every=4, share=None), net)
    (row,) = monitor.rows()
    assert row["lambda_max"] > 0
    assert row["lambda_max twin"] is None
    assert [m.what for m in monitor.missing] == ["twin"]
    assert "normalises over the batch" in monitor.missing[0].reason


def test_a_network_that_diverges_is_told_and_trained_on():
    net = network()
    monitor = Monitor(net, F.cross_entropy, data(), every=1, share=None)
    train(monitor, net, 1)
    with torch.no_grad():
        net[0].weight.fill_(float("nan"))
    monitor.step()
    assert "non-finite" in monitor.missing[0].reason
    assert [r.values["missing"] != {} for r in monitor.records if r.step == 2] == [True] * 3


def test_without_a_learning_rate_what_needs_it_is_missing():
    monitor = Monitor(network(), F.cross_entropy, data(), share=None, measures=["loss", "along-gradient", "sharpness"])
    monitor.measure()
    assert [(m.measure, m.what) for m in monitor.missing] == [("along-gradient", "along-gradient")]
    assert "learning rate" in monitor.missing[0].reason
    assert monitor.rows()[0]["eta lambda_max"] is None


def test_a_batch_that_cannot_be_measured_is_noted_and_stops_nothing():
    monitor = Monitor(network(), F.cross_entropy, data(), every=1, share=None, measures=["loss"])
    monitor.step(5)
    monitor.step()
    assert [(m.step, m.what) for m in monitor.missing] == [(1, "objective")]
    assert [r.step for r in monitor.records] == [2]


def test_a_full_disk_stops_nothing(tmp_path):
    net = network()
    folder = tmp_path / "run"
    monitor = Monitor(net, F.cross_entropy, data(), every=1, share=None, measures=["loss"], out=folder)
    (folder / "records.jsonl").unlink()
    folder.rmdir()
    train(monitor, net, 1)
    assert monitor.missing[0].what == "output"
    assert len(monitor.records) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every"),
        ({"share": 0.0}, "share"),
        ({"measures": ["lambda"]}, "'lambda' is unknown; choose among loss"),
        ({"measures": []}, "none is given"),
        ({"tolerance": 1.0}, "tolerance"),
        ({"optimizer": "sgd"}, "no learning rate"),
    ],
)
def test_arguments_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        Monitor(network(), F.cross_entropy, data(), **options)


def test_a_batch_that_does_not_fit_is_told_at_once():
    with pytest.raises(ValueError, match="normalises over m = 1"):
        Monitor(network(), F.cross_entropy, data(1))


def test_triples_and_objectives():
    net = network()
    triple = Monitor((net, F.cross_entropy, data()), share=None, measures=["loss"])
    objective = Monitor(Objective(net, F.cross_entropy, data()), share=None, measures=["loss"])
    for monitor in (triple, objective):
        monitor.measure()
    assert triple.rows()[0]["loss"] == objective.rows()[0]["loss"]


def test_closed_it_does_nothing_and_keeps_what_it_found():
    net = network()
    with Monitor(net, F.cross_entropy, data(), every=1, share=None, measures=["loss"]) as monitor:
        monitor.step()
    monitor.step()
    assert len(monitor.records) == 1


def test_a_step_is_measured_once_and_may_be_numbered_by_the_loop(tmp_path):
    path = tmp_path / "run.jsonl"
    monitor = Monitor(network(), F.cross_entropy, data(), every=10, share=None, measures=["loss"], out=path)
    for step in (7, 10, 20, 20):
        monitor.step(step=step)
    assert [r.step for r in monitor.records] == [10, 20]
    assert len(path.read_text(encoding="utf-8").splitlines()) == 2
    assert monitor.cost.measures["loss"][0] == 2


def test_a_period_ends_where_its_number_is_passed_and_what_is_measured_again_is_noted():
    monitor = Monitor(network(), F.cross_entropy, data(), every=10, share=None, measures=["loss"])
    for step in (3, 9, 12, 15, 18, 21, 33):  # two optimisers, an odd start: no multiple of 10 is ever named
        monitor.step(step=step)
    assert [r.step for r in monitor.records] == [12, 21, 33]
    assert {m.what for m in monitor.missing} == {"training"}
    monitor.step(step=12)  # an epoch that is counted from its own start
    monitor.measure()
    assert [r.step for r in monitor.records] == [12, 21, 33]
    assert [(m.step, m.measure) for m in monitor.missing[1:]] == [(12, "loss")] * 2
    assert "measured before" in monitor.missing[1].reason
    strict = Monitor(network(), F.cross_entropy, data(), share=None, measures=["loss"], strict=True)
    strict.measure()
    with pytest.raises(ValueError, match="measured before"):
        strict.measure()


def test_measures_of_ones_own_take_no_name_that_is_taken():
    def own(objective):
        return {"a": 1.0, "b": 2}

    def same(objective):
        return {"b": 3.0}

    def layers(objective):
        return {"layers": 5.0}

    def vector(objective):
        return {"norms": torch.ones(2), "c": 1.0}

    monitor = followed(measures=["loss", own, same, layers, vector], every=4)
    (row,) = monitor.rows()
    assert (row["a"], row["b"]) == (1.0, 2)
    assert [(m.what, m.reason.partition(",")[0]) for m in monitor.missing] == [
        ("same", "same returns 'b'"),
        ("layers", "layers returns 'layers'"),
        ("vector", "vector returns a list for 'norms'; it has to be a number"),
    ]
    for measures in ([lambda o: 1.0, lambda o: 2.0], [own, own]):
        with pytest.raises(ValueError, match="two are called"):
            followed(measures=measures)


def test_a_solve_is_cut_short_where_little_may_be_spent(monkeypatch):
    from bntheory.bridge.monitor import measures

    limits = []
    real = measures.top_eigenvalues
    monkeypatch.setattr(
        measures, "top_eigenvalues", lambda *a, **k: (limits.append(k["max_products"]), real(*a, **k))[1]
    )
    at = measures.Situation(Objective(network(), F.cross_entropy, data()), None, seconds=0.0, tolerance=1e-12)
    values = measures.MEASURES["sharpness"](at)["sharpness"]["own"]
    assert limits == [6, 6]
    assert not values["converged"]
    assert values["top_error"] > 1e-12 * values["top"]
    measures.MEASURES["sharpness"](measures.Situation(at.objective, None))
    assert limits[2:] == [200, 200]


def test_following_what_has_no_hooks_is_refused():
    monitor = Monitor(network(), F.cross_entropy, data())
    with pytest.raises(ValueError, match="cannot be followed"), monitor.following(SimpleNamespace()):
        pass


def test_writes_into_a_file_that_is_no_folder_are_refused(tmp_path):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(ValueError, match="cannot be written"):
        Monitor(network(), F.cross_entropy, data(), out=Path(tmp_path / "file" / "run"))


def test_another_thread_measures_nothing():
    """Two threads in one model end in a crash of torch's; the one that trains is that which made the monitor."""
    net = network()
    monitor = Monitor(net, F.cross_entropy, data(), share=None, every=1)
    passes = []
    net.register_forward_hook(lambda *_: passes.append(1))
    other = Thread(target=monitor.step)
    other.start()
    other.join()
    assert not passes
    assert not monitor.records
    assert "another thread" in monitor.missing[0].reason
    monitor.step()
    assert {r.step for r in monitor.records} == {2}


def test_a_training_of_other_tensors_is_noted_once():
    """Parameters handed to a function are trained, and the module that is measured stays where it was."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 3))
    own = {name: p.detach().clone() for name, p in net.named_parameters()}
    monitor = Monitor(net, F.cross_entropy, data(), every=1, share=None, measures=["loss"])

    def loss(parameters):
        return F.cross_entropy(torch.func.functional_call(net, parameters, (data()[0],)), data()[1])

    for _ in range(4):
        gradients = torch.func.grad(loss)(own)
        own = {name: p - 0.1 * gradients[name] for name, p in own.items()}
        monitor.step()
    (note,) = monitor.missing
    assert (note.step, note.what) == (2, "training")
    assert "the loop trains other tensors" in note.reason
    assert not followed(every=1, measures=["loss"]).missing
    still = Monitor(net, F.cross_entropy, data(), share=None, measures=["loss"])
    still.measure()
    still.step(step=7)
    still.measure()
    assert [m.what for m in still.missing] == ["training"]


def test_layers_are_frozen_and_set_free_while_followed():
    """As many parameters, others each time: what an earlier solve has left is no hindrance. Right is the dense Hessian of torch's own."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3)
    ).double()
    x, labels = data()
    x = x.double()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    monitor = Monitor(
        net,
        F.cross_entropy,
        (x, labels),
        optimizer=optimizer,
        every=1,
        share=None,
        measures=["sharpness"],
        tolerance=1e-8,
    )
    for frozen in ([], [0], [3], [0, 3], [3]):
        for layer in (0, 3):
            net[layer].requires_grad_(layer not in frozen)
        optimizer.zero_grad()
        F.cross_entropy(net(x), labels).backward()
        optimizer.step()
        monitor.step()
        names = {name: p for name, p in net.named_parameters() if p.requires_grad}

        def loss(flat, names=names):
            parts = torch.split(flat, [p.numel() for p in names.values()])
            given = {n: part.reshape(p.shape) for (n, p), part in zip(names.items(), parts, strict=True)}
            return F.cross_entropy(torch.func.functional_call(net, given, (x,)), labels)

        dense = torch.autograd.functional.hessian(loss, torch.cat([p.detach().reshape(-1) for p in names.values()]))
        right = float(torch.linalg.eigvalsh(dense)[-1])
        assert monitor.rows()[-1]["lambda_max"] == pytest.approx(right, rel=1e-6)
    assert not monitor.missing


def test_each_solve_starts_from_the_one_before(monkeypatch):
    from bntheory.bridge.monitor import measures

    starts, found = [], []
    real = measures.top_eigenvalues

    def seen(*a, **k):
        starts.append(k["start"])
        found.append(real(*a, **k))
        return found[-1]

    monkeypatch.setattr(measures, "top_eigenvalues", seen)
    followed(every=1, measures=["sharpness"])
    assert starts == [None, None, *found[:-2]]  # the network's and its twin's
