"""What the values of each measure look like: a record that says anything else was measured by nobody, whatever its
checksum.

A form is a test of one value; the two ends that a number lies between, or None where it overflowed or was refused; a
list of one form; a table by name, in which ``...`` stands for every other name; or ``(form,)`` for what may be None or
left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from bntheory.evidence.record import Record
from bntheory.experiments.own import is_own


class Between(NamedTuple):
    """A number, its ends included."""

    low: float
    high: float


def _is(kind: type) -> Any:
    return lambda value: value is None or type(value) is kind


def _identity(name: Any) -> bool:
    from bntheory.bridge.probes.identities import IDENTITIES

    return name in IDENTITIES if isinstance(name, str) else False


ANY, LENGTH, SHARE = Between(-1e308, 1e308), Between(0, 1e308), Between(0, 1)
COSINE = Between(-1.001, 1.001)  # within its rounding
WORD, TRUTH, COUNT = _is(str), _is(bool), Between(0, 2**53)
#: Of a refused point there are no more than loss and reason.
_CURVED = {
    "refused": WORD,
    **dict.fromkeys(("loss", "gradient_norm", "top_error", "spectral_norm", "linearity_error"), (LENGTH,)),
    "top": (ANY,),
    "converged": (TRUTH,),
}
_OUTLIERS = {"loss": LENGTH, "first": ANY, "last": ANY, "share": ANY, "converged": TRUTH}
_ALONG = {"multiples": [ANY], "losses": [LENGTH], "cosines": [COSINE], ...: lambda value: True}
_WALK = {"loss": LENGTH, "gradient_norm": LENGTH, "along": _ALONG}
_COMPARED = {"checked": COUNT, "violated": COUNT, "excess": ANY, ...: ANY}
_SPLIT = {"scaling": ANY, "share_mean": ANY, "share_y_hat": ANY, "left": ANY}
_LAYER = {
    "name": WORD,
    "m": COUNT,
    "split": _SPLIT,
    "affine_split": (_SPLIT,),
    "theorem_4_1": {"neurips": _COMPARED, "arxiv": _COMPARED},
    ...: lambda value: True,
}
_IDENTITIES = [
    {"name": _identity, "layer": WORD, **dict.fromkeys(("units", "failing", "unit"), COUNT), "left": ANY, "right": ANY}
    | {"relative": ANY, "tolerance": LENGTH}
]
_SHIFT = {"layers": [WORD], "l2": [LENGTH], "cosine": [COSINE]}
_TRAINED = {"loss": LENGTH, "accuracy": SHARE}
#: By the measure's name, of networks and of toys.
FORMS: Mapping[str, Any] = {
    "accuracy": {
        **dict.fromkeys(("guessing_loss", "training_loss", "test_loss"), LENGTH),
        **dict.fromkeys(("training_accuracy", "test_accuracy"), SHARE),
    },
    "shift": {"shift": _SHIFT, "identities": _IDENTITIES},
    "theory": {
        "layers": [_LAYER],
        "theorem_4_2": [{"name": WORD, "units": [COUNT], "first": (_COMPARED,), "second": (_COMPARED,)}],
        "identities": _IDENTITIES,
    },
    "classification": {"training": _TRAINED, "held_out": SHARE},
    "walk": {"walk": _WALK},
    "twin-walk": {"twin_walk": _WALK},
    "step-shift": {"step_shift": ({**_SHIFT, "gradient_norm": [LENGTH]},)},
    "linearity": {"linearity": {"own": _CURVED, ...: _CURVED}},
    "outliers": {"outliers": _OUTLIERS},
    "frozen-outliers": {"frozen_outliers": _OUTLIERS},
    "trace": {"trace": {"loss": LENGTH, "value": ANY, "error": LENGTH}},
    "percentiles": {"percentiles": {"batch": [[ANY]], "running": [[ANY]]}},
    "layers-alone": {"layers_alone": {"network": [ANY], "layers": [[ANY]]}},
    "sharpness": {"sharpness": {...: _CURVED}},
    "progress": {"progress": {"loss": LENGTH, "gradient_norm": LENGTH}},
    "mean-overlap": {"mean_overlap": {"refused": WORD, "converged": (TRUTH,), ...: ANY}},
    "input-robustness": {"input_robustness": {"clean": SHARE, "noise": {...: SHARE}, "sign": {...: SHARE}}},
    "affine-defect": {"affine_defect": {...: {...: {"radius": LENGTH, "defect": ANY, "scaled": ANY}}}},
    "saturation": {"saturation": {"places": [WORD], **{key: [SHARE] for key in ("before", "after", "moved")}}},
}


def impossible(record: Record) -> str:
    """Why nothing that was measured is in this record; "" where it may be, or where nobody here knows its measure.

    A monitor's have other forms; its records say nothing of how a network was trained.
    """
    if record.diverged == bool(record.values):
        return "it has diverged and has values" if record.diverged else "it has no values, and has not diverged"
    known = not record.diverged and "training" in record.setting and not is_own(record.measure)
    return _odd(FORMS[record.measure], record.values, "its values") if known and record.measure in FORMS else ""


def _odd(form: Any, value: Any, name: str) -> str:
    """What is wrong with a value, by its name; "" where nothing is."""
    if isinstance(form, Between):
        right = value is None or (type(value) in (int, float) and form.low <= value <= form.high)
    elif isinstance(form, tuple):
        return "" if value is None else _odd(form[0], value, name)
    elif isinstance(form, list):
        if isinstance(value, list):
            return next(filter(None, (_odd(form[0], item, name) for item in value)), "")
        right = False
    elif isinstance(form, Mapping):
        if isinstance(value, Mapping):
            left_out = (k for k, of in form.items() if k is not ... and k not in value and type(of) is not tuple)
            odd = (_odd(of, x, k) for k, x in value.items() if (of := form.get(k, form.get(...))) is not None)
            return next((f"{name} lack {key}" for key in left_out), "") or next(filter(None, odd), "")
        right = False
    else:
        right = form(value)
    return "" if right else f"{name} is {value!r:.40}"
