"""The table of derivative routes, measured on the installed torch.

Two kinds of test: the routes that this library uses have to be right on every torch; the others are compared with the
record for the installed version, and any change, for better or worse, fails with a sentence that says which.
"""

from __future__ import annotations

import dataclasses

import pytest

from bntheory.bridge.curvature import Route, RouteTable, doctor_report, measure_routes
from bntheory.bridge.curvature.routes import ALLOWED, LAYERS, RECORDED_WRONG


@pytest.fixture(scope="module")
def table(device: str) -> RouteTable:
    return measure_routes(device)


@pytest.mark.long
def test_the_reference_agrees_with_finite_differences(table: RouteTable) -> None:
    assert set(table.reference_error) == set(LAYERS)
    assert max(table.reference_error.values()) < 1e-7


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name", ALLOWED)
def test_the_routes_in_use_are_right(table: RouteTable, name: str, layer: str) -> None:
    (route,) = [r for r in table.routes if r.name == name and r.layer == layer]
    assert not route.failure
    assert route.error < 1e-10, f"{name} through {layer} is off by {route.error:.2g} on torch {table.torch_version}"
    assert route.asymmetry < 1e-10


def test_nothing_changed_since_the_record(table: RouteTable) -> None:
    changes = table.changes()
    if changes is None:
        wrong = ", ".join(f"{r.name}/{r.layer} ({r.error:.2g})" for r in table.wrong()) or "none"
        pytest.skip(f"no record for torch {table.torch_version}; wrong there: {wrong}")
    assert not changes, f"torch {table.torch_version}: " + "; ".join(changes) + ". Update RECORDED_WRONG and the docs"


def test_a_wrong_route_is_wrong_by_far_more_than_rounding(table: RouteTable) -> None:
    """The threshold between right and wrong is nowhere near either side."""
    for route in table.routes:
        if not route.failure:
            assert route.error < 1e-11 or route.error > 1e-4, route


def test_changes_speak_up_in_both_directions(table: RouteTable) -> None:
    recorded = dataclasses.replace(table, torch_version="2.13.0")
    right = [dataclasses.replace(r, error=1e-16, asymmetry=0.0, failure="") for r in table.routes]
    better = dataclasses.replace(recorded, routes=tuple(right)).changes()
    assert better is not None
    assert len(better) == len(RECORDED_WRONG["2.13"])
    assert all("was wrong and is now right" in change for change in better)
    broken = tuple(
        dataclasses.replace(r, error=0.3) if (r.name, r.layer) == ("double backward", "GroupNorm") else r for r in right
    )
    worse = dataclasses.replace(recorded, routes=broken).changes()
    assert worse is not None
    assert "double backward/GroupNorm was right and is now off by 0.3" in worse
    assert dataclasses.replace(recorded, torch_version="9.9.0").changes() is None


def test_a_route_that_raises_or_gives_nan_never_counts_as_right() -> None:
    assert not Route("x", "BatchNorm", float("nan"), 0.0).agrees
    assert not Route("x", "BatchNorm", 0.0, 0.0, "derivative not implemented").agrees


@pytest.mark.long
def test_the_doctor_shows_versions_and_every_route(device: str) -> None:
    report = doctor_report(device)
    text = report.as_text()
    assert report.healthy
    assert report.packages["torch"] in text
    assert "The routes used here are right." in text
    for route in report.table.routes:
        assert route.name in text
    assert max(map(len, text.splitlines())) <= 110
    sick = dataclasses.replace(
        report,
        table=dataclasses.replace(
            report.table, routes=tuple(dataclasses.replace(r, error=0.1) for r in report.table.routes)
        ),
    )
    assert not sick.healthy
    assert "WRONG" in sick.as_text()
