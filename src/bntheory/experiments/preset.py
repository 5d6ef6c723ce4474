"""Presets: how large a run is, as data. Each is a TOML file in the package, or a user's own file.

A preset names the data, the networks, how they are trained, at which steps they are measured, and how thoroughly.
Unknown or missing keys are errors: a misspelt option must not silently mean its default.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from bntheory.errors import UserError
from bntheory.evidence.record import in_json
from bntheory.experiments.experiment import HUGE, TINY, Arm, Experiment, Measure, Protocol, check_seeds, within
from bntheory.experiments.own import is_own
from bntheory.files import read_at_most

#: The linear prediction is held against the gradient step that should remove this share of the loss.
FRACTION = 0.1
#: The arms of a run: kind, normalisation, and whether it is trained at every rate of the grid.
ARMS = (
    ("batchnorm", "batch", True),
    ("standard", "none", True),
    ("detached", "detached", True),
    ("detached-mean", "detached-mean", False),
    ("detached-variance", "detached-variance", False),
    ("rescaled", "none", False),
)
_NOT_OPTIONS = {
    "norm": "is set by the arms, each of which has its own; leave it out",
    "input_shape": "is that of the data; leave it out",
    "classes": "is that of the data; leave it out",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}")


@dataclass(frozen=True)
class NetworkEntry:
    """One architecture, built with batch norm and without it.

    name: for records and figures. kind and options: of :class:`bntheory.bridge.networks.images.NetworkSpec`, or a user's
    (:mod:`bntheory.experiments.own`); its norm, input_shape and classes are set by the arm and the data.
    """

    name: str
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from bntheory.bridge.networks.spec import NetworkSpec

        where = f"preset: the options of network {self.name!r:.60}"
        if not isinstance(self.options, dict):
            raise UserError(f"{where} are {self.options!r:.40}; they are a table, such as {{ layout = [64, 64] }}")
        own = [f.name for f in dataclasses.fields(NetworkSpec) if f.name not in ("kind", *_NOT_OPTIONS)]
        free = is_own(self.kind)  # what its function takes, only that knows
        unknown = next((key for key in self.options if key in _NOT_OPTIONS or not (free or key in own)), None)
        if unknown is not None:
            why = _NOT_OPTIONS.get(unknown, f"is unknown; known are {', '.join(own)}")
            raise UserError(f"{where}: {unknown!r} {why}")
        odd = next((key for key, value in self.options.items() if not in_json(value)), None)
        if odd is not None:
            raise UserError(
                f"{where}: {odd} is {self.options[odd]!r:.40}; give a finite number, a word, or a list of them"
            )
        layout = self.options.get("layout", ())
        if isinstance(layout, (list, tuple)) and any(isinstance(width, bool) for width in layout):
            raise UserError(f"{where}: layout is {list(layout)!s:.60}; it is a list of whole numbers")


@dataclass(frozen=True)
class TrainingSpec:
    """Plain stochastic gradient descent on the mean cross-entropy; the same for every arm.

    learning_rate: of every arm. rates: further ones, at which the networks with batch norm, without it, and with its
    statistics detached are trained too: arms are compared at equal rates, over all rates at which both train.
    """

    steps: int
    batch_size: int
    learning_rate: float
    rates: tuple[float, ...] = ()
    momentum: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        within("preset: training", self, steps=(1, 10**9), batch_size=(2, 10**7), learning_rate=(TINY, HUGE))
        within("preset: training", self, momentum=(0, 1), weight_decay=(0, HUGE))
        grid = [self.learning_rate, *self.rates]
        if len(set(grid)) != len(grid) or not all(TINY <= rate <= HUGE for rate in grid):
            raise UserError(
                f"preset: training.rates is {list(self.rates)!s:.60} beside learning_rate {self.learning_rate}; give different rates from {TINY:g} to {HUGE:g}"
            )


@dataclass(frozen=True)
class CurvatureSpec:
    """Largest eigenvalues. batch_size: of the batch whose Hessian it is. tolerance: relative, of an eigenvalue's
    residual."""

    batch_size: int
    tolerance: float = 0.01
    max_products: int = 400

    def __post_init__(self) -> None:
        within("preset: curvature", self, batch_size=(2, 10**7), tolerance=(TINY, 1), max_products=(2, 10**6))


@dataclass(frozen=True)
class MeasureSpec:
    """What is measured, and after which steps.

    at: steps of the largest eigenvalue of every arm that is compared in it. twins_at, theory_at: the steps among them
    at which batch norm is held against its twins, and its layers against the closed form; all where left out.
    theory_seeds: on how many seeds the latter (0: on all). batch_size: of the fixed batch on which losses, gradients
    and covariate shift are taken. theory_batch_size: of the float64 batch for the layers; hessian_units: how many units
    a layer for the second-order part.
    """

    at: tuple[int, ...]
    batch_size: int
    theory_batch_size: int
    twins_at: tuple[int, ...] = ()
    theory_at: tuple[int, ...] = ()
    theory_seeds: int = 0
    hessian_units: int = 2
    test_size: int = 1000

    def __post_init__(self) -> None:
        within("preset: measure", self, batch_size=(2, 10**7), theory_batch_size=(2, 10**6), hessian_units=(1, 10**6))
        within("preset: measure", self, test_size=(1, 10**9), theory_seeds=(0, 10**6))
        if not self.at or list(self.at) != sorted(set(self.at)) or self.at[0] < 0 or not self.at[-1]:
            raise UserError(
                f"preset: measure.at is {list(self.at)!s:.60}; give increasing steps from 0 up, one after 0 among them"
            )
        for name in ("twins_at", "theory_at"):
            steps = getattr(self, name)
            if list(steps) != sorted(set(steps)) or not set(steps) <= set(self.at):
                raise UserError(
                    f"preset: measure.{name} is {list(steps)!s:.60}; give increasing steps, each of them in measure.at"
                )


@dataclass(frozen=True)
class Preset:
    """A whole run as data. ``about`` is shown in the report. side: images are averaged down to side x side pixels (0:
    as they are)."""

    name: str
    about: str
    data: str
    seeds: tuple[int, ...]
    networks: tuple[NetworkEntry, ...]
    training: TrainingSpec
    measure: MeasureSpec
    curvature: CurvatureSpec
    side: int = 0

    def __post_init__(self) -> None:
        if not self.networks:
            raise UserError("preset: it names no network")
        names = [n.name for n in self.networks]
        odd = next((name for name in names if not _NAME.fullmatch(name)), None)
        if odd is not None:
            raise UserError(
                f"preset: a network is called {odd!r:.60}; give it a name of letters, digits and - _ . that can be part of a file's"
            )
        if len(set(names)) != len(names):
            raise UserError(f"preset: two networks share a name: {', '.join(names)}")
        if self.measure.at[-1] > self.training.steps:
            raise UserError(
                f"preset: measure.at asks for step {self.measure.at[-1]} but training ends at step {self.training.steps}"
            )
        check_seeds(self.seeds)

    def with_options(self, *, data: str | None = None, seeds: Sequence[int] | None = None) -> Preset:
        """The same preset on other data or with other seeds. Raises UserError for what are no different seeds."""
        listed = isinstance(seeds, Iterable) and not isinstance(seeds, str)
        chosen: Any = self.seeds if seeds is None else tuple(seeds) if listed else seeds
        return dataclasses.replace(self, data=data or self.data, seeds=chosen)

    def as_json(self) -> dict[str, Any]:
        """Everything in it, JSON-ready."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return plain

    @property
    def sha256(self) -> str:
        """A hash of everything in it but the seeds, which may be added to: runs with the same hash measure the same
        things."""
        content = {key: value for key, value in self.as_json().items() if key != "seeds"}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def experiment(self) -> Experiment:
        """What it asks for: the arms of :data:`ARMS` on every network, each measured where its comparisons need it."""
        t, m = self.training, self.measure
        arms = tuple(
            Arm(
                n.name,
                kind if rate == t.learning_rate else f"{kind}@{rate:g}",
                n.kind,
                {**n.options, "norm": norm},
                rate,
                t.momentum,
                t.weight_decay,
                rescaled_on=m.batch_size if kind == "rescaled" else 0,
            )
            for n in self.networks
            for kind, norm, everywhere in ARMS
            for rate in (t.learning_rate, *(t.rates if everywhere else ()))
        )
        protocol = Protocol(m.at[-1], m.at, t.batch_size, m.batch_size, self.data, side=self.side)
        return Experiment(self.name, arms, protocol, tuple(self._measures(arms)), self.seeds)

    def _measures(self, arms: Sequence[Arm]) -> Iterator[Measure]:
        m, ends = self.measure, dataclasses.asdict(self.curvature)
        twins, later = m.twins_at or m.at, tuple(step for step in m.at if step > 0)
        trained = tuple(step for step in twins if step > 0)  # before the first step all rates have one network
        names = tuple(dict.fromkeys(arm.name for arm in arms))
        others = tuple(name for name in names if name.startswith("batchnorm@"))
        own, beside = {**ends, "of": ["own"]}, {**ends, "fraction": FRACTION, "twin": True, "factors": []}
        for which, at in ((("batchnorm",), twins), (others, trained)):
            if not which:
                continue
            yield Measure("linearity", beside, arms=which, at=at)
            if rest := tuple(step for step in later if step not in at):
                yield Measure("sharpness", own, arms=which, at=rest)
        partial = {**ends, "of": ["mean-alive", "variance-alive"]}
        yield Measure("sharpness", partial, arms=("batchnorm",), at=twins)
        yield Measure("sharpness", own, arms=tuple(n for n in names if n.startswith("standard")), at=later)
        yield Measure("accuracy", {"test_size": m.test_size}, at=later[-1:])
        yield Measure("shift", arms=("batchnorm", "standard"), at=later)
        options = {"batch_size": m.theory_batch_size, "hessian_units": m.hessian_units}
        theory = self.seeds[: m.theory_seeds or len(self.seeds)]
        yield Measure("theory", options, arms=("batchnorm",), at=m.theory_at, seeds=theory)


def preset_names() -> tuple[str, ...]:
    """The presets that come with the package, from the shortest run to the longest."""
    known = [p.name.removesuffix(".toml") for p in _folder().iterdir() if p.name.endswith(".toml")]
    order = ("smoke", "quick", "cpu", "cpu-cifar10", "gpu")
    return tuple(sorted(known, key=lambda n: (order.index(n) if n in order else len(order), n)))


def load_preset(name: str) -> Preset:
    """A preset of the package by name, or a user's own from a path that ends in ``.toml``.

    Raises UserError for an unknown name (with the list), an unreadable file, unknown or missing keys, values out of
    range.
    """
    if name.endswith(".toml"):
        path = Path(name)
        try:
            text = read_at_most(path, 1_000_000).decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"preset: {path} cannot be read ({error})") from error
        return _parse(text, path.stem, str(path))
    if name not in preset_names():
        raise UserError(
            f"preset: {name!r} is unknown; choose one of {', '.join(preset_names())}, or give the path of a .toml file"
        )
    return _parse((_folder() / f"{name}.toml").read_text("utf-8"), name, f"preset {name}")


def _folder() -> Any:
    return files("bntheory.experiments") / "presets"


def _parse(text: str, name: str, where: str) -> Preset:
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # nested too deeply, or a number of thousands of digits, among them
        raise UserError(f"{where}: not valid TOML ({error})") from error
    return _from_table({**table, "name": name}, where)


def preset_from_json(content: Mapping[str, Any]) -> Preset:
    """The inverse of :meth:`Preset.as_json`, for a run that is taken up again from its manifest."""
    return _from_table(dict(content), "manifest: preset_content")


def _from_table(table: dict[str, Any], where: str) -> Preset:
    networks = table.pop("networks", [])
    if not isinstance(networks, list):
        raise UserError(f"{where}: networks is a list of tables, [[networks]]")
    parts = {
        "training": _build(TrainingSpec, table.pop("training", {}), f"{where}: training"),
        "measure": _build(MeasureSpec, table.pop("measure", {}), f"{where}: measure"),
        "curvature": _build(CurvatureSpec, table.pop("curvature", {}), f"{where}: curvature"),
        "networks": tuple(_build(NetworkEntry, n, f"{where}: networks") for n in networks),
    }
    preset: Preset = _build(Preset, {**table, **parts}, where)
    return preset


def _build(cls: type[Any], table: Any, where: str) -> Any:
    if not isinstance(table, dict):
        raise UserError(f"{where}: is {table!r:.60}; it is a table")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    unknown = sorted(set(table) - set(fields))
    if unknown:
        raise UserError(f"{where}: unknown key {unknown[0]!r}; known are {', '.join(sorted(fields))}")
    missing = [
        f.name
        for f in fields.values()
        if f.name not in table and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise UserError(f"{where}: {missing[0]!r} is missing")
    return cls(**{key: _typed(value, str(fields[key].type), f"{where}: {key}") for key, value in table.items()})


#: What a value may be whose field, or whose field's entries, are annotated so.
_TYPES: Mapping[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,)}


def _typed(value: Any, kind: str, where: str) -> Any:
    several = kind.startswith("tuple[")
    entry = kind.removeprefix("tuple[").removesuffix(", ...]")
    if entry not in _TYPES:
        return value
    values = value if several and isinstance(value, (list, tuple)) else [value]
    if isinstance(value, (list, tuple)) != several or not all(type(v) in _TYPES[entry] for v in values):
        raise UserError(f"{where} is {value!r:.60}; expected {kind}")
    if any(entry != "str" and abs(v) > sys.float_info.max for v in values):  # which no float holds
        raise UserError(f"{where} is {value!r:.60}; give a smaller number")
    typed = [float(v) if entry == "float" else v for v in values]
    return tuple(typed) if several else typed[0]
