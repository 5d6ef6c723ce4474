"""A verdict's picture counts what it draws, and carries its sentence; from Python a claim is decided, checked, cited and drawn as from the shell."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
from matplotlib.figure import Figure

import bntheory
from bntheory import LayerDomain, claim, le
from bntheory.drawing import save_figure
from bntheory.errors import UserError
from bntheory.judges import picture


def sentence(figure) -> str:  # type: ignore[no-untyped-def]
    return " ".join(figure.get_supxlabel().split())


def test_a_true_claim_has_no_failing_layer_and_no_counterexample() -> None:
    decided = bntheory.decide("norm2(input_grad) <= gamma**2/sigma**2 * norm2(grad)", normaliser="layer-norm")
    figure = decided.plot()
    assert decided.status.value == "proved"
    assert len(figure.axes) == 1
    assert re.search(
        r"^Proved: norm2.*Of [1-9]\d{2,} random layers that meet its hypotheses 0 fail it\.$", sentence(figure)
    )


def test_a_false_claim_fails_on_random_layers_and_its_counterexample_is_drawn() -> None:
    decided = bntheory.decide("norm2(input_grad) <= gamma**2/sigma**2 * norm2(grad)/2", eps="zero")
    figure = decided.plot()
    counted = re.search(r"Of (\d+) random layers that meet its hypotheses (\d+) fail it", sentence(figure))
    assert counted
    assert 0 < int(counted[2]) < int(counted[1])
    bars = [[bar.get_height() for bar in group] for group in figure.axes[1].containers]
    layer = decided.witness["layer"]
    assert [[str(round(v)) for v in row] for row in bars] == [layer["y"], layer["grad"]]


def test_every_vector_of_a_counterexample_is_drawn_and_told_apart_in_grey() -> None:
    decided = bntheory.decide("norm2(z@2 - z) <= norm2(u)", vectors="u", eps="zero")
    figure, layer = decided.plot(), decided.witness["layer"]
    drawn = {group.get_label(): group for group in figure.axes[-1].containers}
    heights = {name: [round(bar.get_height(), 12) for bar in group] for name, group in drawn.items()}
    asked = {"y": layer["y"], "gradient g": layer["grad"], **layer["vectors"]}
    assert heights == {name: [round(float(Fraction(x)), 12) for x in row] for name, row in asked.items()}
    assert {"u", "y@2"} <= set(heights)
    assert len({group[0].get_hatch() for group in drawn.values()}) == len(drawn)
    assert "y@2 = (" in sentence(figure)


def test_hypotheses_choose_the_layers() -> None:
    """Where gamma <= sigma the bound holds; the picture must not count layers that do not meet that."""
    decided = bntheory.decide(
        "norm2(input_grad) <= norm2(grad)", eps="zero", gamma="positive", assume=["gamma <= sigma"]
    )
    assert decided.status.value == "proved"
    assert " 0 fail it" in sentence(decided.plot())


def test_the_checks_of_a_study_are_drawn() -> None:
    verdict = bntheory.check("cai2019.any-learning-rate", effort="quick")
    figure = verdict.plot()
    checks = [c for e in verdict.evidence for c in e.details["checks"] if c["decisive"]]
    assert len(figure.axes[0].get_yticklabels()) == len(checks)
    assert f"{len(checks)} decisive checks hold" in sentence(figure)


def test_a_claim_of_ones_own_is_checked_from_python() -> None:
    @claim("mine.half", statement="half", domain=LayerDomain(eps="zero"))
    def half(layer):  # type: ignore[no-untyped-def]
        return le(layer.norm2(layer.input_grad), layer.gamma**2 / layer.sigma**2 * layer.norm2(layer.grad) / 2)

    verdict = bntheory.check(half, judges=("algebra",))
    assert str(verdict).startswith("refuted")
    assert "mine.half" in verdict.latex()
    assert verdict.cite().startswith("@misc{")


def test_what_cannot_be_drawn_or_found_says_so() -> None:
    from bntheory.judges.verdict import verdict_of

    study = bntheory.registry()["cai2019.any-learning-rate"]
    with pytest.raises(UserError, match="no checks to draw"):
        verdict_of(study, []).plot()
    with pytest.raises(UserError, match=r"did you mean cai2019\.any-learning-rate"):
        bntheory.check("cai2019.any-learning-rat")


@pytest.mark.long
def test_help_is_a_table_of_contents() -> None:
    code = "import bntheory; help(bntheory)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    text = shown.partition("PACKAGE CONTENTS")[0]
    named = re.findall(r"^ {8}(\w+)[(.]", text, re.M)
    assert {"decide", "check", "probe", "models"} <= set(named)
    for name in named:
        assert hasattr(bntheory, name), name
    for name in ("le", "lt", "eq", "ge", "gt", "LayerDomain", "Source", "claim", "registry"):
        assert re.search(rf"\b{name}\b", text)
        assert hasattr(bntheory, name)
    assert len(shown.splitlines()) < 70
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.long
def test_a_cell_may_be_run_twice() -> None:
    """What is typed in a session may be typed again, and the last one counts; ids of the literature stay unique."""
    code = """
from bntheory import LayerDomain, check, claim, ge, le
for relation in (ge, le):
    @claim("mine.again", statement="", domain=LayerDomain(eps="zero"))
    def again(layer):
        return relation(layer.norm2(layer.grad), -layer.m)
    print(check(again, judges=("algebra",)).status.value)
try:
    claim("cai2019.any-learning-rate", statement="")(again)
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second, third = done.stdout.splitlines()
    assert (first, second) == ("proved", "refuted")
    assert "taken" in third


def test_a_probe_prints_as_the_command_does_and_draws_itself() -> None:
    import torch
    from torch import nn

    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    batch = (torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 2)
    found = bntheory.probe(model, nn.functional.cross_entropy, batch, curvature=False)
    assert "What each layer does to the gradient" in str(found)
    assert max(map(len, str(found).splitlines())) <= 80
    assert found.plot()._repr_png_()[:4] == b"\x89PNG"


def test_a_figure_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, begins in {"a.PNG": b"\x89PNG", "b.Svg": b"<?xml", "c.pdf": b"%PDF"}.items():
        assert save_figure(Figure(), tmp_path / name).read_bytes().startswith(begins)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for suffix in ("png", "svg", "pdf"):
        with pytest.raises(UserError, match=rf"new\.{suffix}: the figure cannot be written \(No space"):
            save_figure(Figure(), tmp_path / f"new.{suffix}")
    assert not list(tmp_path.glob("*new*"))
    assert len(list(tmp_path.iterdir())) == 3


def test_a_counterexample_of_many_examples_is_seen_and_told_shortly() -> None:
    layer = {
        "m": 202,
        "y": ["1"] * 101 + ["-1/2"] * 100 + ["3"],
        "grad": ["0"] * 202,
        "gamma": "1",
        "beta": "0",
        "eps": "0",
    }
    axes = Figure().subplots()
    text = picture._draw_witness(axes, {"layer": layer})
    assert "y = (1 (101 times), -1/2 (100 times), 3), g = (0 (202 times))" in text
    assert {bar.get_linewidth() for bar in axes.patches} == {0}  # white edges would cover bars that thin
