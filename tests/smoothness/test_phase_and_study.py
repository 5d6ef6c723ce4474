"""Phase diagrams: the proved boundary against measured spectra, and the study and figures that show them.

The boundary is algebra in two numbers; the measurement is LAPACK on the dense Hessian of random layers whose residuals were made
to order, so a mistake in either shows as cells on the wrong side.
"""

from __future__ import annotations

import numpy as np
import pytest

from bntheory.smoothness import BatchNormUnit, SeparableSpectrum, squared_loss_spectrum
from bntheory.smoothness.unit.losses import LOSSES, SeparableLoss
from bntheory.smoothness.unit.phase import norm_margin, phase_diagram, top_margin, two_lipschitz_margin
from bntheory.smoothness.unit.study import critical_gamma, single_unit_study

CHOOSABLE = [name for name, loss in LOSSES.items() if loss.target_for is not None]


@pytest.mark.parametrize("q", [1.0, 0.8, 0.3], ids=lambda q: f"q={q}")
@pytest.mark.parametrize("gamma", [1.0, -3.0])
def test_squared_loss_boundary_is_exact(q: float, gamma: float) -> None:
    found = phase_diagram("squared", gamma=gamma, q=q, m=8, draws=2, alignments=np.linspace(-1, 1, 24))
    c, s = np.meshgrid(found.alignments, found.sizes)
    clear = np.abs(found.top_ratio - 1) > 1e-9
    assert clear.mean() > 0.95
    assert ((found.top_ratio < 1) == (top_margin(c, s, q) > 0))[clear].all()
    clear = np.abs(found.norm_ratio - 1) > 1e-9
    assert ((found.norm_ratio < 1) == (norm_margin(c, s, q) > 0))[clear].all()
    assert found.violations == 0
    assert 0.05 < found.smoothed < 0.95


@pytest.mark.parametrize("q", [1.0, 0.5])
@pytest.mark.parametrize("name", CHOOSABLE)
def test_the_proved_region_is_sufficient_for_every_loss(name: str, q: float) -> None:
    found = phase_diagram(name, gamma=1.3, q=q, m=8, draws=3, alignments=np.linspace(-1, 1, 21))
    assert found.violations == 0
    assert found.layers > 500


def test_for_another_loss_the_region_is_not_necessary() -> None:
    found = phase_diagram("quartic", m=8)
    assert np.any((found.top_ratio < 1) & ~found.inside)


def test_the_residual_is_what_was_asked_for() -> None:
    """Alignment and size measured on a layer rebuilt from scratch with the solved targets."""
    from bntheory.smoothness.unit.phase import _residual

    rng = np.random.default_rng(0)
    for name in CHOOSABLE:
        loss = LOSSES[name]
        direction = rng.normal(size=(1, 12))
        direction -= direction.mean()
        direction /= np.sqrt(np.mean(direction**2))
        z = rng.normal(size=(1, 12))
        g, t, h = _residual(loss, z, direction, np.array([0.2]))
        np.testing.assert_allclose(loss.first(z, t), g, rtol=1e-6, atol=1e-9)
        assert np.sqrt(np.mean(g**2)) / h[0] == pytest.approx(0.2, rel=1e-5)
        assert h[0] == pytest.approx(np.max(loss.second(z, t)))


def test_residuals_that_a_loss_cannot_have_are_left_out() -> None:
    """log-cosh has |l'| < 1, so no target gives a residual of size 5; squared loss has them all."""
    bounded = phase_diagram("log-cosh", m=6, draws=2, sizes=[0.1, 5.0], alignments=[-0.5, 0.5])
    assert np.isfinite(bounded.top_ratio[0]).all()
    assert np.isnan(bounded.top_ratio[1]).all()
    assert bounded.layers == 4
    assert np.isfinite(phase_diagram("squared", m=6, sizes=[0.1, 5.0], alignments=[-0.5, 0.5]).top_ratio).all()


def test_margins_agree_with_the_spectrum_of_one_layer() -> None:
    for seed in range(200):
        rng = np.random.default_rng(seed)
        y, t = rng.normal(size=(2, 7))
        gamma = float(rng.choice([-1, 1]) * 10 ** rng.uniform(-1, 1))
        spectrum = squared_loss_spectrum(y, t, gamma=gamma)
        layer = BatchNormUnit(t, gamma=gamma).layer(y)
        g = layer.grad - layer.grad.mean()
        size = float(np.linalg.norm(g)) / (np.sqrt(7) * abs(gamma))
        cosine = float(g @ (gamma * layer.y_hat)) / float(np.linalg.norm(g) * np.linalg.norm(gamma * layer.y_hat))
        assert (top_margin(cosine, size) > 0) == (spectrum.top_margin > 0)
        assert (norm_margin(cosine, size) > 0) == (spectrum.norm_margin > 0)
        assert (two_lipschitz_margin(cosine, size) > 0) == (spectrum.two_lipschitz < spectrum.twin)
        assert (cosine > 0 and size < cosine / (1 - cosine**2)) == (spectrum.top_margin > 0)


@pytest.mark.long
def test_sufficient_condition_read_off_gradients_for_logistic_layers() -> None:
    """gamma h <y_hat,g> > ||Pg||^2 with h the largest curvature: the exact count agrees wherever the condition holds."""
    held = 0
    for seed in range(3000):
        rng = np.random.default_rng(seed)
        m = int(rng.integers(4, 30))
        unit = BatchNormUnit(rng.choice([-1.0, 1.0], size=m), "logistic", gamma=float(rng.normal() * 3))
        y = rng.normal(size=m)
        layer = unit.layer(y)
        h = float(np.max(unit.loss.second(layer.z, unit.target)))
        if unit.gamma * h * float(layer.gamma_grad[0]) > float(layer.norm2(layer.projected_grad)[0]):
            held += 1
            assert SeparableSpectrum(unit, y).top_below_twin()
    assert held > 100


@pytest.mark.long
def test_critical_gamma_measured_on_closed_forms() -> None:
    found = critical_gamma(points=5)
    for measured, curve in ((found.measured_top, found.top), (found.measured_norm, found.norm)):
        np.testing.assert_allclose(measured, np.interp(found.at, found.correlations, curve), rtol=2e-3)
    exact = 2 * (1 + np.abs(found.at))
    np.testing.assert_allclose(np.interp(found.at, found.correlations, found.two_lipschitz), exact, rtol=1e-6)
    assert np.all(found.measured_two_lipschitz <= exact * (1 + 1e-6))
    assert np.all(found.measured_two_lipschitz >= 0.97 * exact)
    # a stationary gamma is never in the smoothed region
    assert np.all(found.stationary <= found.top + 1e-15)


@pytest.mark.long
def test_study_and_figures(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from bntheory.drawing import save_figure
    from bntheory.models.pictures.smoothness import rough_layer, single_unit_figure

    seen = []
    study = single_unit_study(("squared", "log-cosh"), resolution=9, draws=2, m=6, progress=lambda f, t: seen.append(f))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert len(study.phases) == 3
    assert all("0 of" in line for line in study.lines()[:3])
    first = save_figure(single_unit_figure(study).figure, tmp_path / "phase.png")
    assert first.read_bytes()[:4] == b"\x89PNG"
    again = save_figure(single_unit_figure(study).figure, tmp_path / "again.png")
    assert again.read_bytes() == first.read_bytes()  # the same study gives the same file
    save_figure(rough_layer().figure, tmp_path / "rough.svg")
    with pytest.raises(ValueError, match="svg"):
        save_figure(rough_layer().figure, tmp_path / "rough.bmp")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "logistic"}, "cross-entropy"),
        ({"m": 3}, "m >= 4"),
        ({"gamma": 0.0}, "gamma"),
        ({"q": 0.0}, "q is"),
        ({"loss": SeparableLoss("mine", *[lambda z, t: z] * 3)}, "cannot be chosen"),
    ],
)
def test_bad_input_is_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        phase_diagram(**options)
