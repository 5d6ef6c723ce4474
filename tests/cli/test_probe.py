"""``bntheory probe``: partial results, options, a table that fits, JSON without NaN, a figure."""

from __future__ import annotations

import json
import sys

import pytest
from typer.testing import CliRunner

from bntheory.bridge.probes.picture import probe_figure, probe_text, shortened
from bntheory.bridge.probes.probe import LayerProbe, NetworkProbe, Probe
from bntheory.cli import app

FACTORIES = """
import torch
from torch import nn

def data(n=12): return torch.randn(n, 5), torch.arange(n) % 3

def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3))

def several(): return model(), nn.functional.cross_entropy, [data(), data(), data(8)]
def plain(): return nn.Linear(5, 3), nn.functional.cross_entropy, data()
def silent():
    m = model()
    nn.init.zeros_(m[4].weight)
    nn.init.zeros_(m[4].bias)
    return m, nn.functional.cross_entropy, data()

class Wrong(torch.autograd.Function):
    # x/|x| of each row, whose backward pass keeps x/|x| as a constant
    @staticmethod
    def forward(ctx, x):
        length = x.norm(dim=1, keepdim=True)
        ctx.save_for_backward(x, x / length)
        return x / length
    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        return (g - y.detach() * (g * y.detach()).sum(1, keepdim=True)) / x.norm(dim=1, keepdim=True)

class Bends(nn.Module):
    def forward(self, x): return Wrong.apply(x)

def asymmetric():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), Bends(), nn.Linear(6, 3)), nn.functional.cross_entropy, data()

def drops():
    m = model()
    data_seeded = torch.Generator().manual_seed(0)
    x = torch.randn(12, 5, generator=data_seeded)
    return nn.Sequential(m, nn.Dropout(0.5), nn.Linear(3, 3)), nn.functional.cross_entropy, (x, torch.arange(12) % 3)

def own_error():
    def loss(outputs, labels): return {}["missing"]
    return model(), loss, data()
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    (tmp_path / "factories.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "factories", raising=False)

    def call(*arguments):
        result = CliRunner().invoke(app, ["probe", *arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert "Traceback" not in result.output
        return result

    return call


def strict(text):
    def refuse(constant):
        raise AssertionError(f"bare {constant} in JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.long
def test_batches_are_averaged_and_layers_chosen(run):
    everything = strict(run("factories:several", "--json").stdout)
    first = strict(run("factories:several", "--json", "--batches", "1").stdout)
    chosen = strict(run("factories:several", "--json", "--layers", "4", "--no-curvature").stdout)
    assert (everything["batches"], first["batches"]) == (3, 1)
    assert everything["network"]["loss"] != pytest.approx(first["network"]["loss"], rel=1e-6)
    assert [x["name"] for x in everything["layers"]] == ["1", "4"]
    assert [x["name"] for x in chosen["layers"]] == ["4"]
    assert chosen["network"]["lambda_max"] is None


@pytest.mark.long
def test_single_precision_agrees_with_double(run):
    single, double = (strict(run("factories:several", "--json", "--dtype", d).stdout) for d in ("float32", "float64"))
    assert (single["dtype"], double["dtype"]) == ("float32", "float64")
    assert single["network"]["lambda_max"] == pytest.approx(double["network"]["lambda_max"], rel=3e-3)


@pytest.mark.long
def test_a_coarser_tolerance_takes_fewer_products_and_keeps_its_error_bar(run):
    fine, coarse = (strict(run("factories:several", "--json", "--tol", t).stdout)["network"] for t in ("1e-8", "0.2"))
    assert coarse["products"] < fine["products"]
    assert abs(coarse["lambda_max"] - fine["lambda_max"]) <= coarse["lambda_max_error"] <= 0.2 * coarse["lambda_max"]


def test_a_network_without_normalisation_is_measured_all_the_same(run):
    text = run("factories:plain").stdout
    assert "no layers: Linear has no normalisation layer" in text
    assert "no frozen twin" in text
    assert strict(run("factories:plain", "--json").stdout)["network"]["lambda_max"] > 0


def test_a_layer_without_a_gradient_has_no_shares(run):
    found = strict(run("factories:silent", "--json").stdout)
    by_name = {x["name"]: x for x in found["layers"]}
    assert by_name["1"]["left"] is None  # nothing passes gamma = 0 behind it
    assert by_name["4"]["scaling"] == 0
    assert "nan" not in run("factories:silent").stdout.lower()


@pytest.mark.long
def test_dropout_is_held_at_the_numbers_of_the_seed(run):
    """On the command line by --seed; in Python refused until a seed is given, as the refusal says."""
    import torch
    from torch import nn

    import bntheory

    same, again, other = (strict(run("factories:drops", "--json", "--seed", s).stdout)["network"] for s in "112")
    assert same["loss"] == again["loss"] != other["loss"]
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    triple = (model, nn.functional.cross_entropy, (torch.randn(16, 4), torch.randint(3, (16,))))
    with pytest.raises(ValueError, match="seed="):
        bntheory.probe(*triple)
    assert bntheory.probe(*triple, seed=0).network.lambda_max is not None


@pytest.mark.long
def test_an_infimum_above_the_loss_is_said_once(run):
    result = run("factories:several", "--infimum", "100")
    assert result.exit_code == 0
    said = " ".join(result.stdout.split())
    assert said.count("below the infimum 100") == 1
    assert "missing for the network and frozen twin: relative curvature, " in said
    assert "largest eigenvalue is" in said
    assert "Beyond scaling" not in said
    assert "Beyond scaling, their relative curvatures are" in " ".join(run("factories:several").stdout.split())


@pytest.mark.long
def test_a_wrong_second_derivative_takes_only_the_curvature(run):
    found = strict(run("factories:asymmetric", "--json").stdout)
    assert found["network"]["lambda_max"] is None
    assert "second derivative through Wrong is wrong" in found["network"]["missing"]["lambda_max"]
    assert found["network"]["trust_fraction"] is not None
    assert "1" in [x["name"] for x in found["layers"]]
    assert "missing for the network" in run("factories:asymmetric").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("factories:own_error",), "KeyError: 'missing'.*raised in"),
        (("factories:several", "--dtype", "float16"), "float32, float64"),
        (("factories:several", "--layers", "nine"), "'nine'"),
        (("factories:several", "--plot", "x.docx"), "png"),
        (("factories:several", "--plot", "nowhere/x.png"), "folder"),
        (("factories:several", "--batches", "-1"), "0"),
        (("factories:several", "--tol", "0"), "--tol"),
    ],
    ids=["own error", "dtype", "layer", "figure", "folder", "batches", "tolerance"],
)
def test_bad_use(run, arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert pytest.importorskip("re").search(message, result.stderr)


@pytest.mark.parametrize(
    "place",
    ["factories", "./factories.py", "sub/inner.py", r"sub\inner.py", "../{name}/factories.py", "{whole}/factories.py"],
)
def test_a_factory_may_be_named_by_its_file(run, tmp_path, place):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "inner.py").write_text(FACTORIES)
    searched = list(sys.path)
    result = run(f"{place.format(name=tmp_path.name, whole=tmp_path)}:several", "--no-curvature")
    assert result.exit_code == 0, result.stderr
    assert sys.path == searched


@pytest.mark.long
def test_a_figure_is_written(run, tmp_path):
    assert run("factories:several", "--plot", "probe.png").exit_code == 0
    assert (tmp_path / "probe.png").read_bytes()[:4] == b"\x89PNG"


def large(count):
    layers = tuple(
        LayerProbe(
            f"backbone.stages.{i // 10}.blocks.{i % 10}.depthwise_normalisation",
            "instance",
            10**6,
            10**7,
            1e-12,
            0.5,
            0.25,
            None,
            1e-3,
            1e-9,
        )
        for i in range(count)
    )
    network = NetworkProbe(
        -1.23456789e-12, 1e30, missing={"lambda_max": "a reason " * 40, "trust_fraction": "a reason " * 40}
    )
    return Probe(layers, network, network, 10**9, left_out={"x" * 200: "y " * 100}, missing={"layers": "none"})


def test_two_hundred_layers_fit_eighty_columns():
    text = probe_text(large(200))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line.split()[0] for line in lines if "instance" in line]
    assert len(rows) == len(set(rows)) == 200
    assert "1.2e-…" not in text
    narrow = probe_text(large(200), 40).splitlines()
    assert max(map(len, narrow)) <= 40
    flowing = " ".join(" ".join(narrow).split())
    assert flowing.count("units 1.0e6, m 1.0e7, |g|/sig 1e-12, along 1 50.0%, y_hat 25.0%, left - !") == 200
    assert "gradient norm: the network 1e+30, frozen twin 1e+30" in flowing
    figure = probe_figure(large(200))
    assert len(figure.axes) == 2
    figure.axes[0].set_yticks([0], ["..." + "M" * 19], fontsize=8)  # the widest that a shortened name can be
    figure.canvas.draw()
    ends = [axes._left_title.get_window_extent().x1 for axes in figure.axes]
    assert ends[0] < figure.axes[1].get_tightbbox().x0
    assert ends[1] < figure.bbox.x1
    empty = NetworkProbe(0.0, 0.0)
    texts = probe_figure(Probe((), empty, empty, 1)).axes[1].texts
    assert [t.get_text() for t in texts] == ["nothing to compare"]


def test_short_names_stay_apart():
    names = ["a" * 50 + str(i) + "b" * 50 for i in range(3)]
    assert len(set(shortened(names, 20))) == 3
    assert all(len(name) <= 20 for name in shortened(names, 20))
    assert shortened(["bn1", "bn2"], 20) == ["bn1", "bn2"]


def test_an_eigenvalue_that_misses_its_tolerance_says_why_beside_its_error():
    import torch
    from torch import nn

    from bntheory import probe

    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3))
    batch = (torch.randn(12, 5), torch.arange(12) % 3)
    rough = probe(net, nn.functional.cross_entropy, batch, dtype=torch.float32, tol=1e-9)
    fine = probe(net, nn.functional.cross_entropy, batch)
    assert fine.network.note == ""
    assert abs(rough.network.lambda_max - fine.network.lambda_max) <= rough.network.lambda_max_error
    text = " ".join(probe_text(rough).split())
    assert "largest eigenvalue of the network: rounding moves the value" in text
    assert "rounding moves" not in probe_text(fine)
    assert rough.as_json()["network"]["note"] == rough.network.note
    assert len(rough.figure().axes) == 2


@pytest.mark.parametrize("where", ["while it is imported", "in the factory"])
def test_a_file_that_ends_the_program_is_told(run, tmp_path, where):
    """A script with sys.exit() at its end, or a parser that refuses this command's arguments: not a run that went well."""
    text = "import sys\ndef make():\n    sys.exit(0)\n"
    (tmp_path / "ending.py").write_text(text if where == "in the factory" else text + "make()\n")
    result = run("ending:make")
    assert result.exit_code == 2
    assert "SystemExit" in result.stderr
