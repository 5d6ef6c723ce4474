"""Certificates, witness files and their replay.

Oracles: layers small enough to be worked out on paper, and mpmath at 50 digits for the recorded enclosures. The certificate
itself uses Arb and exact radicals; what it must never do is tested by layers one rounding error away from a refutation.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import mpmath
import pytest

from bntheory import LayerDomain, any_of, eq, gt, implies, le, lt, sqrt
from bntheory.claims.claim import Claim, Source
from bntheory.errors import ClaimError, UserError
from bntheory.judges.exact.balls import Ball, Undecided, precision
from bntheory.judges.exact.certificate import certify, outside_domain
from bntheory.judges.exact.replay import replay
from bntheory.judges.exact.witness import Instance, Reference, Witness, load_witness

F = Fraction
HERE = Instance(y=(F(0), F(0), F(3)), grad=(F(1), F(-1), F(2)), gamma=F(2), eps=F(2))  # var = 2, sigma = 2, mu = 1


def _claim(check: Any, assume: Any = None, **domain: Any) -> Claim:
    return Claim("test.certificate", "layer", Source("test", ""), "", check, LayerDomain(**domain), assume)


CASES: dict[str, tuple[Any, Any, bool]] = {
    # name: (claim, hypotheses, refuted at HERE); by hand: y_hat = (-1/2, -1/2, 1), <y_hat, g> = 2, ||y_hat||^2 = 3/2
    "equality-that-holds": (lambda x: eq(x.dot(x.y_hat, x.grad), 2), None, False),
    "equality-off-by-1e-15": (lambda x: eq(x.dot(x.y_hat, x.grad), 2 + 1e-15), None, True),
    "vector-equality": (lambda x: eq(x.y_hat * 2, x.y - x.mu * x.one), None, False),
    "vector-equality-one-entry-off": (lambda x: eq(x.y_hat, x.y / 3), None, True),
    "inequality-met-with-equality": (lambda x: le(x.norm2(x.y_hat), F(3, 2)), None, False),
    "strict-fails-by-equality": (lambda x: lt(x.norm2(x.y_hat), F(3, 2)), None, True),
    "hypothesis-fails": (lambda x: lt(1, 0), lambda x: [gt(x.dot(x.one, x.grad), 2)], False),
    "hypothesis-met-with-equality": (lambda x: lt(1, 0), lambda x: [eq(x.dot(x.one, x.grad), 2)], True),
    "strict-hypothesis-met-with-equality-only": (lambda x: lt(1, 0), lambda x: [gt(x.dot(x.one, x.grad), 2)], False),
    "implication-from-an-equality": (lambda x: implies(eq(x.sigma, 2), lt(x.gamma, 2)), None, True),
    "implication-from-a-false-equality": (lambda x: implies(eq(x.sigma, 3), lt(x.gamma, 2)), None, False),
    "disjunction": (lambda x: any_of(lt(x.gamma, 2), lt(x.sigma, 2), le(x.m, 3)), None, False),
    "irrational-equality": (lambda x: eq(sqrt(x.norm2(x.grad)) * sqrt(x.norm2(x.grad)), 6), None, False),
    "nested-root-decided-by-balls": (lambda x: le(sqrt(1 + sqrt(x.norm2(x.grad))), 1.8), None, True),
    "nested-root-equality-is-undecided": (lambda x: eq(sqrt(3 + 2 * sqrt(x.var)), 1 + sqrt(x.var)), None, False),
    "undecided-hypothesis": (
        lambda x: lt(1, 0),
        lambda x: [eq(sqrt(3 + 2 * sqrt(x.var)), 1 + sqrt(x.var)), le(0, x.sigma)],
        False,
    ),
    "disjunction-with-an-undecided-part": (
        lambda x: any_of(lt(1, 0), eq(sqrt(3 + 2 * sqrt(x.var)), 1 + sqrt(x.var))),
        None,
        False,
    ),
    "undefined-here": (lambda x: le(1 / (x.sigma - 2), 0), None, False),
    "root-of-a-negative-number": (lambda x: le(sqrt(x.sigma - 3), -1), None, False),
}


@pytest.mark.parametrize("name", CASES)
def test_what_a_certificate_refutes(name: str) -> None:
    check, assume, refuted = CASES[name]
    assert certify(_claim(check, assume), HERE).refuted is refuted


def test_undecided_is_said_and_refutes_nothing() -> None:
    certificate = certify(_claim(lambda x: eq(sqrt(3 + 2 * sqrt(x.var)), 1 + sqrt(x.var))), HERE)
    assert certificate.why.startswith("undecided")
    assert certificate.relations[0].holds is None


@pytest.mark.parametrize("gap", [F(1, 10**20), F(1, 10**200), F(1, 10**900)], ids=["1e-20", "1e-200", "1e-900"])
def test_precision_grows_until_the_sign_is_strict(gap: F) -> None:
    root = _claim(lambda x: le(sqrt(1 + sqrt(x.gamma)), sqrt(1 + sqrt(x.scalar("a")))), scalars={"a": "any"})
    above = replace(HERE, gamma=2 + gap, scalars={"a": F(2)})
    below = replace(HERE, gamma=2 - gap, scalars={"a": F(2)})
    assert certify(root, above).refuted  # nested roots: radicals cannot, balls of enough digits can
    assert not certify(root, below).refuted


def test_recorded_enclosures_contain_the_value_at_50_digits() -> None:
    certificate = certify(_claim(lambda x: le(x.norm2(x.input_grad), F(1, 10))), replace(HERE, eps=F(1)))
    with mpmath.workdps(50):
        y, g, gamma, m = [0, 0, 3], [1, -1, 2], 2, 3
        mu = mpmath.mpf(sum(y)) / m
        sigma = mpmath.sqrt(sum((v - mu) ** 2 for v in y) / m + 1)
        hat = [(v - mu) / sigma for v in y]
        mean, along = mpmath.mpf(sum(g)) / m, sum(h * v for h, v in zip(hat, g, strict=True)) / m
        expected = sum((gamma / sigma * (v - mean - along * h)) ** 2 for v, h in zip(g, hat, strict=True))
        shown = certificate.relations[0].left.strip("[]").split(" +/- ")
        assert abs(mpmath.mpf(shown[0]) - expected) <= mpmath.mpf(shown[1] if len(shown) > 1 else "1e-16")
    assert certificate.refuted


DOMAIN_CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str | None]] = {
    "inside": ({}, {}, None),
    "eps-not-zero": ({"eps": "zero"}, {}, "eps"),
    "eps-not-positive": ({"eps": "positive"}, {"eps": F(0)}, "eps"),
    "eps-negative": ({}, {"eps": F(-1)}, "eps"),
    "constant-batch": ({}, {"eps": F(0), "y": (F(1),) * 3}, "constant"),
    "gamma-negative": ({"gamma": "positive"}, {"gamma": F(-2)}, "gamma"),
    "gamma-zero": ({"gamma": "nonzero"}, {"gamma": F(0)}, "gamma"),
    "batch-too-small": ({"min_m": 4}, {}, "m = 3"),
    "hessian-not-zero": ({"hessian": "zero"}, {"hess": ((F(1), F(0), F(0)),) + ((F(0),) * 3,) * 2}, "not zero"),
    "hessian-not-psd-by-a-hair": (
        {"hessian": "psd"},
        {"hess": ((F(1), F(1), F(0)), (F(1), 1 - F(1, 10**40), F(0)), (F(0),) * 3)},
        "semidefinite",
    ),
    "hessian-psd-and-singular": (
        {"hessian": "psd"},
        {"hess": ((F(1), F(1), F(0)), (F(1), F(1), F(0)), (F(0),) * 3)},
        None,
    ),
    "hessian-zero-pivot": (
        {"hessian": "psd"},
        {"hess": ((F(0), F(1), F(0)), (F(1), F(9), F(0)), (F(0),) * 3)},
        "semidefinite",
    ),
    "hessian-above-its-bound": (
        {"smoothness": "2"},
        {"hess": ((F(21, 10), F(0), F(0)),) + ((F(0),) * 3,) * 2},
        "above 2",
    ),
    "hessian-below-its-bound": (
        {"smoothness": "2"},
        {"hess": ((F(-21, 10), F(0), F(0)),) + ((F(0),) * 3,) * 2},
        "above 2",
    ),
    "hessian-at-its-bound": ({"smoothness": "2"}, {"hess": ((F(-2), F(0), F(0)),) + ((F(0),) * 3,) * 2}, None),
    "hessian-missing-identity": ({"hessian": "identity"}, {}, "identity"),
    "l1-entry-at-the-mean": ({"normaliser": "l1"}, {"y": (F(-1), F(0), F(1))}, "mean"),
    "linf-two-largest": ({"normaliser": "linf", "eps": "zero"}, {"y": (F(-1), F(0), F(1)), "eps": F(0)}, "largest"),
    "rms-zero": ({"normaliser": "rms"}, {"y": (F(0),) * 3, "eps": F(0)}, "y = 0"),
    "scalar-range": ({"scalars": {"a": "unit"}}, {"scalars": {"a": F(11, 10)}}, "a = 11/10"),
    "scalar-zero-not-positive": ({"scalars": {"a": "positive"}}, {"scalars": {"a": F(0)}}, "a = 0"),
    "scalar-zero-not-nonzero": ({"scalars": {"a": "nonzero"}}, {"scalars": {"a": F(0)}}, "a = 0"),
    "scalar-zero-nonnegative": ({"scalars": {"a": "nonnegative"}}, {"scalars": {"a": F(0)}}, None),
    "scalar-missing": ({"scalars": {"a": "unit"}}, {}, "declares"),
    "not-a-case": ({"vectors": ("e@case",)}, {"vectors": {"e@case": (F(1), F(1), F(0))}}, "basis"),
    "not-a-case-though-smaller-ones-would-be": (
        {"vectors": ("e@case",)},
        {"vectors": {"e@case": (F(-1), F(0), F(1))}},
        "basis",
    ),
    "operator-not-psd": (
        {"operators": {"K": "psd"}},
        {"operators": {"K": ((F(-1), F(0), F(0)),) + ((F(0),) * 3,) * 2}},
        "semidefinite",
    ),
}


@pytest.mark.parametrize("name", DOMAIN_CASES)
def test_the_domain_is_checked_in_rationals(name: str) -> None:
    domain, changes, reason = DOMAIN_CASES[name]
    found = outside_domain(LayerDomain(**domain), replace(HERE, **changes))
    assert (found is None) if reason is None else (found is not None and reason in found)
    false_everywhere = _claim(lambda x: lt(1, 0), **domain)
    assert certify(false_everywhere, replace(HERE, **changes)).refuted is (reason is None)


def test_a_claim_that_raises_is_named() -> None:
    with pytest.raises(ClaimError, match="AttributeError"):
        certify(_claim(lambda x: le(x.weights, 0)), HERE)
    with pytest.raises(ClaimError, match="only be equal"):
        certify(_claim(lambda x: le(x.y, x.grad)), HERE)
    with pytest.raises(ClaimError, match=r"write le\(a, b\).*test_certificate.py:\d+"):
        certify(_claim(lambda x: x.gamma < 1), HERE)


def test_balls_refuse_to_order_what_overlaps() -> None:
    with precision(53):
        third = Ball(F(1, 3))
        assert third < 0.34
        with pytest.raises(Undecided):
            bool(third * 3 < 1)
        assert (third * 3).sign() == 1
        assert (third * 3 - 1).sign() is None


# -- files -------------------------------------------------------------------------------------------------------


def _neurips(**changes: Any) -> Witness:
    instance = Instance(y=(F(1), F(0)), grad=(F(0), F(-1)))
    return Witness(
        Reference("registry", "santurkar2018.theorem-4.1.neurips"),
        LayerDomain(eps="zero"),
        replace(instance, **changes),
    )


def test_a_witness_survives_the_file(tmp_path: Path) -> None:
    full = Witness(
        Reference("expression", expression="le", assume=("a > 0",)),
        LayerDomain(scalars={"a": "unit"}, vectors=("u",), operators={"K": "psd"}),
        replace(
            HERE, scalars={"a": F(1, 3)}, vectors={"u": (F(0), F(1), F(-7, 11))}, operators={"K": ((F(1),) * 3,) * 3}
        ),
    )
    assert load_witness(full.save(tmp_path / "deep" / "w.json")) == full


def test_a_replay_in_a_fresh_process_refutes_again(tmp_path: Path) -> None:
    path = _neurips().save(tmp_path / "w.json")
    code = f"from bntheory.judges.exact.replay import replay; r = replay({str(path)!r}); print(r.refuted, r.certificate.why)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("True"), done.stderr


def test_a_tampered_layer_no_longer_refutes(tmp_path: Path) -> None:
    result = replay(_neurips(grad=(F(0), F(0))).save(tmp_path / "w.json"))
    assert not result.refuted
    assert "not refuted" in result.summary


def test_what_the_file_records_is_not_trusted(tmp_path: Path) -> None:
    lying = replace(_neurips(grad=(F(0), F(0))), certificate={"refuted": True, "why": "trust me"})
    assert not replay(lying.save(tmp_path / "w.json")).refuted


def test_a_witness_of_a_typed_claim_replays(tmp_path: Path) -> None:
    reference = Reference("expression", expression="norm2(input_grad) <= norm2(grad)", assume=("gamma >= 2",))
    steep = Instance(y=(F(0), F(0), F(1)), grad=(F(1), F(-1), F(0)), gamma=F(2))
    assert replay(Witness(reference, LayerDomain(), steep).save(tmp_path / "w.json")).refuted
    flat = replace(steep, gamma=F(1))
    assert not replay(Witness(reference, LayerDomain(), flat).save(tmp_path / "w.json")).refuted


def _damage(text: str, how: str) -> str:
    data = json.loads(text)
    if how == "truncated":
        return text[: len(text) // 2]
    if how == "empty":
        return ""
    if how == "list":
        return "[]"
    if how == "nested":
        return "[" * 100_000
    if how == "huge":
        return text + " " * 40_000_000
    if how == "schema":
        data["schema"] = "bntheory.witness/99"
    if how == "unknown-claim":
        data["claim"]["id"] = "santurkar2018.theorem-4.1.neurisp"
    if how == "claim-kind":
        data["claim"] = {"kind": "python", "code": "import os"}
    if how == "float":
        data["layer"]["y"][0] = 0.5
    if how == "nan":
        data["layer"]["y"][0] = "nan"
    if how == "division-by-zero":
        data["layer"]["y"][0] = "1/0"
    if how == "endless-digits":
        data["layer"]["y"][0] = "9" * 10_000
    if how == "shapes":
        data["layer"]["grad"].append("1")
    if how == "asymmetric":
        data["layer"]["hess"] = [["0", "1"], ["2", "0"]]
    if how == "wrong-m":
        data["layer"]["m"] = 7
    if how == "extra-entry":
        data["layer"]["weights"] = ["1"]
    if how == "missing-entry":
        del data["layer"]["grad"]
    if how == "other-domain":
        data["domain"]["eps"] = "any"
    if how == "bad-domain":
        data["domain"] = {"eps": "small"}
    if how == "domain-name":
        data["domain"]["epsilon"] = "zero"
    if how == "domain-type":
        data["domain"]["vectors"] = 3
    return json.dumps(data)


@pytest.mark.parametrize(
    "how",
    [
        "truncated",
        "empty",
        "list",
        "nested",
        "huge",
        "schema",
        "unknown-claim",
        "claim-kind",
        "float",
        "nan",
        "division-by-zero",
        "endless-digits",
        "shapes",
        "asymmetric",
        "wrong-m",
        "extra-entry",
        "missing-entry",
        "other-domain",
        "bad-domain",
        "domain-name",
        "domain-type",
    ],
)
def test_a_damaged_file_gets_a_message(tmp_path: Path, how: str) -> None:
    path = _neurips().save(tmp_path / "w.json")
    path.write_text(_damage(path.read_text(), how))
    with pytest.raises(UserError, match=r"witness|JSON|bytes|entries|symmetric|y has"):
        replay(path)


def test_a_missing_or_binary_file_gets_a_message(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        replay(tmp_path / "none.json")
    binary = tmp_path / "b.json"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot be read"):
        replay(binary)


@pytest.mark.parametrize("m", [3, 7, 49])
def test_the_batch_size_is_exact(m):
    """1/49*49 and sqrt(7)^2 differ from 49 and 7 in floats; a rounding of m must not refute."""
    here = Instance(y=tuple(F(i) for i in range(m)), grad=(F(1),) * m)
    true = _claim(lambda x: [eq(1 / x.m * x.m * x.norm2(x.grad), x.norm2(x.grad)), eq(sqrt(x.m) ** 2, x.m)])
    assert not certify(true, here).refuted
    assert certify(_claim(lambda x: eq(x.m, m + 1)), here).refuted


@pytest.mark.parametrize(
    ("check", "margin"),
    [
        (lambda x: le(x.sigma, 6), (2 - 6) / 8),  # holds with room: the violation is negative
        (lambda x: le(6, x.sigma), (6 - 2) / 8),
        (lambda x: lt(x.sigma, x.gamma), 0.0),
        (lambda x: eq(x.sigma, 6), (6 - 2) / 8),  # an equality fails by as much on either side
        (lambda x: eq(6, x.sigma), (6 - 2) / 8),
    ],
)
def test_a_margin_has_the_side_of_an_inequality_and_the_size_of_an_equality(check: Any, margin: float) -> None:
    (relation,) = certify(_claim(check), HERE).relations
    assert relation.margin == pytest.approx(-margin)
