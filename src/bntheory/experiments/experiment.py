"""What an experiment is, as data: arms, a protocol, measures and seeds; and which records it asks for.

Nothing here trains or measures. An experiment is arms x protocol x seeds x measures; each of its records has an address
(:mod:`bntheory.evidence.record`) that names all that decides it, so a store knows what is there and what is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from bntheory.errors import UserError
from bntheory.evidence.record import Json, Record, address, digest, in_json
from bntheory.evidence.study import LARGEST_SEED
from bntheory.experiments.own import is_own, own_code

#: The name under which :attr:`Conditions.codes` has the code that every measure shares.
TRAINING = "training"
#: The least and the greatest number that may stand for a rate: networks are trained in float32, which holds no other.
TINY, HUGE = 1e-37, 1e37
#: The name of the data of toys, which have neither a batch nor anything measured on images.
DRAWN = "drawn from the seed"


def within(where: str, spec: Any, **ranges: tuple[float, float]) -> None:
    """Refuse what is no number, or none that such a thing can be: a batch of one equals its own mean."""
    kinds = {f.name: f.type for f in fields(spec)}
    for name, (low, high) in ranges.items():
        value, whole = getattr(spec, name), kinds[name] == "int"
        if (type(value) is not int and (whole or type(value) is not float)) or not low <= value <= high:
            rest = ", and whole" if whole else ""
            raise UserError(f"{where}.{name} is {value!r:.40}; it must be at least {low:g} and at most {high:g}{rest}")


def check_seeds(seeds: Sequence[int]) -> None:
    """Refuse what are no different seeds."""
    if isinstance(seeds, (str, bytes)) or not isinstance(seeds, Iterable):
        raise UserError(f"seeds is {seeds!r:.40}; give a list of them, such as [0, 1, 2]")
    if not seeds:
        raise UserError("seeds: none given; give at least one, such as --seeds 0,1,2")
    whole = all(type(seed) is int for seed in seeds) and len(set(seeds)) == len(seeds)
    if not whole or min(seeds) < 0 or max(seeds) > LARGEST_SEED:
        raise UserError(f"seeds: {list(seeds)!s:.60}; give different numbers from 0 up to {LARGEST_SEED}")


def several(where: str, values: Any, kind: type) -> None:
    """Refuse one alone, and what are not such things; a generator, which is empty the second time, too."""
    if not isinstance(values, Sequence) or any(not isinstance(value, kind) for value in values):
        raise UserError(f"{where} is {values!r:.60}; give a list or a tuple, each of it made by {kind.__name__}(...)")


def _check_options(where: str, options: Any) -> None:
    if not (isinstance(options, Mapping) and in_json(dict(options))):
        raise UserError(f"{where}.options is {options!r:.60}; give a table of finite numbers, words, or lists of them")


def _listed(where: str, spec: Any, **kinds: type) -> None:
    """Refuse what is no tuple of such values."""
    for name, kind in kinds.items():
        values = getattr(spec, name)
        if not isinstance(values, tuple) or any(type(value) is not kind for value in values):
            what = "words" if kind is str else "whole numbers"
            raise UserError(f"{where}.{name} is {values!r:.60}; give a tuple of {what}")


@dataclass(frozen=True)
class Arm:
    """One way to train one network.

    network, name: what records and figures call them. kind, options: of :class:`bntheory.bridge.networks.spec.NetworkSpec`,
    or FILE.py:function and what it takes (:mod:`bntheory.experiments.own`); the normalisation is among the options, shape
    and classes come from the data. rescaled_on: trained on c times the loss,
    c such that at initialisation, on that many examples, its gradient norm is that of the same network with batch norm;
    0: on the loss itself. prepared: what is done to the fresh network, a name in
    :data:`bntheory.experiments.arms.PREPARATIONS`.
    """

    network: str
    name: str
    kind: str
    options: Mapping[str, Any]
    learning_rate: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    rescaled_on: int = 0
    prepared: str = ""

    def __post_init__(self) -> None:
        where = f"arm {self.name!r:.40} of network {self.network!r:.40}"
        within(where, self, learning_rate=(0, HUGE), momentum=(0, 1), weight_decay=(0, HUGE), rescaled_on=(0, 10**7))
        _check_options(where, self.options)

    def deciding(self) -> Json:
        """All of it that decides a number: everything but the names, and no preparation where there is none."""
        return {k: v for k, v in asdict(self).items() if k not in ("network", "name") and v != ""}


@dataclass(frozen=True)
class Protocol:
    """What all arms share: plain stochastic gradient descent on a mean loss, looked at after the steps ``record``.

    steps: of training. record: increasing steps from 0 up. measured: how many training images the fixed batch holds on
    which a seed's arms are measured. data: the name of their data set. loss: "cross-entropy", or "squared-error", half
    the squared distance to the one-hot label. dtype: "float32" or "float64". images: how many of the training images,
    chosen by the seed, are all that there is to train on (0: all of them); with a batch_size no smaller, every step
    takes them all. side: images are averaged down to side x side pixels (0: they are as they are).
    """

    steps: int
    record: tuple[int, ...]
    batch_size: int = 64
    measured: int = 512
    data: str = "fashion-mnist-subset"
    loss: str = "cross-entropy"
    dtype: str = "float32"
    images: int = 0
    side: int = 0

    def __post_init__(self) -> None:
        for name, known in (("loss", ("cross-entropy", "squared-error")), ("dtype", ("float32", "float64"))):
            if getattr(self, name) not in known:
                raise UserError(f"protocol: {name} {getattr(self, name)!r} is unknown; use one of {', '.join(known)}")
        least = 0 if self.data == DRAWN else 1
        within("protocol", self, **dict.fromkeys(("batch_size", "measured"), (least, 10**9)))
        within("protocol", self, **dict.fromkeys(("steps", "images", "side"), (0, 10**9)))
        _listed("protocol", self, record=int)
        if list(self.record) != sorted(set(self.record)) or not all(0 <= step <= self.steps for step in self.record):
            raise UserError(
                f"protocol.record is {list(self.record)!s:.60}; give increasing steps from 0 up to the last, {self.steps}"
            )

    @classmethod
    def even(cls, steps: int, points: int, **options: Any) -> Protocol:
        """``points`` records at even distances, the last one after the last step, and the initial network."""
        return cls(steps, tuple(steps * i // points for i in range(points + 1)), **options)

    def deciding(self) -> Json:
        """All of it that decides what is trained; what is as it was before there was a choice is left out."""
        extra = {"loss": self.loss, "images": self.images, "side": self.side}
        chosen = {k: v for k, v in extra.items() if v not in ("cross-entropy", 0)}
        return {"batch_size": self.batch_size, "dtype": self.dtype, **chosen}


@dataclass(frozen=True)
class Measure:
    """A measurement by its name in :data:`bntheory.experiments.measure.MEASURES` or in a file of one's own
    (:mod:`bntheory.experiments.own`), the options that decide its numbers, and where it is made.

    arms: of these names alone. at: after these steps of the protocol's. seeds: of these. Empty: everywhere. None of
    them decides a number, so none is part of a record's address.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    on: Literal["every arm", "batch normalised", "own loss"] = "every arm"
    arms: tuple[str, ...] = ()
    at: tuple[int, ...] = ()
    seeds: tuple[int, ...] = ()

    def applies(self, arm: Arm) -> bool:
        """Whether it is made on this arm: what freezes or takes apart batch norm needs some, what a factor on the loss
        does not change needs none."""
        if self.arms and arm.name not in self.arms:
            return False
        if self.on == "batch normalised":
            return arm.options.get("norm") == "batch"
        return self.on == "every arm" or not arm.rescaled_on

    def made_at(self, seed: int, step: int) -> bool:
        """Whether it is made on a run of this seed after this step."""
        return (not self.seeds or seed in self.seeds) and (not self.at or step in self.at)


@dataclass(frozen=True)
class Task:
    """One arm trained from one seed: what one worker does in one go."""

    arm: Arm
    seed: int

    @property
    def name(self) -> str:
        """For people: network, seed and arm."""
        return f"{self.arm.network}-s{self.seed}-{self.arm.name}"


@dataclass(frozen=True)
class Experiment:
    """Arms x protocol x seeds x measures; whole seeds come first, so that an unfinished run still compares arms."""

    name: str
    arms: tuple[Arm, ...]
    protocol: Protocol
    measures: tuple[Measure, ...]
    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        several(f"experiment {self.name}: arms", self.arms, Arm)
        several(f"experiment {self.name}: measures", self.measures, Measure)
        names = [(arm.network, arm.name) for arm in self.arms]
        if len(set(names)) != len(names):
            raise UserError(f"experiment {self.name}: two arms of one network share a name")
        if not self.arms or not self.measures or not self.seeds or not self.protocol.record:
            raise UserError(
                f"experiment {self.name}: it has no arm, no measure, no seed, or no step at which it is looked at"
            )
        check_seeds(self.seeds)
        there: dict[str, set[Any]] = {
            "arms": {arm.name for arm in self.arms},
            "at": set(self.protocol.record),
            "seeds": set(self.seeds),
        }
        for measure in self.measures:
            where = f"experiment {self.name}: {measure.name}"
            _listed(where, measure, arms=str, at=int, seeds=int)
            _check_options(where, measure.options)
            if measure.on not in ("every arm", "batch normalised", "own loss"):
                raise UserError(f"{where}.on is {measure.on!r:.40}; use 'every arm', 'batch normalised' or 'own loss'")
            for name, known in there.items():
                if other := set(getattr(measure, name)) - known:
                    raise UserError(f"{where}.{name} names {min(other)!r:.40}, which is none of the experiment's")

    def tasks(self) -> list[Task]:
        """All tasks, seed after seed."""
        return [Task(arm, seed) for seed in self.seeds for arm in self.arms]


@dataclass(frozen=True)
class Conditions:
    """What else decides numbers: the data (name, hashes) and the kind of device, which are part of the question, and
    what answers it.

    versions: of the libraries. codes: fingerprints of what each measure rests on, training included, by its name; that
    of training alone by :data:`TRAINING`. folded: those of measures of runs that are trained as one with others; empty
    where none may be.
    """

    data: Mapping[str, Any]
    device: str
    versions: Mapping[str, str]
    codes: Mapping[str, str] = field(default_factory=dict)
    folded: Mapping[str, str] = field(default_factory=dict)

    def task_address(self, task: Task, protocol: Protocol) -> str:
        """Names the state of a task, as its checkpoint does; another make has another state."""
        training = {"training": self._training(task.arm, protocol), "made": self.made(TRAINING)}
        return digest({**training, "seed": task.seed})

    def recipe(self, arm: Arm, protocol: Protocol) -> str:
        """Names what is trained, whatever the seed: what a step costs goes by it."""
        return digest(self._training(arm, protocol))

    def made(self, measure: str) -> dict[str, str]:
        """What a record of this measure is made by."""
        code = self.codes.get(measure, "")
        return {**self.versions, "code": own_code(measure, self.codes[TRAINING]) if is_own(measure) else code}

    def setting(self, arm: Arm, protocol: Protocol, measure: Measure) -> Json:
        """The setting of a record."""
        return {
            "training": self._training(arm, protocol),
            "measured": protocol.measured,
            "options": dict(measure.options),
        }

    def _training(self, arm: Arm, protocol: Protocol) -> Json:
        own = {"file": self.codes.get(arm.kind) or own_code(arm.kind)} if is_own(arm.kind) else {}
        return {"arm": arm.deciding(), **own, **protocol.deciding(), "data": dict(self.data), "device": self.device}

    def hold(self, name: str, asked: Needed) -> None:
        """Raise UserError where the user's file of this kind of network or measure is not what it was when the record was
        asked for."""
        if not is_own(name):
            return
        now = replace(self, codes={known: code for known, code in self.codes.items() if not is_own(known)})
        if name == asked.measure.name:
            same = now.made(name)["code"] == asked.made["code"]
        else:
            same = now.recipe(asked.task.arm, asked.protocol) == asked.recipe
        if not same:
            raise UserError(
                f"{name}: its file has changed since this run began; run it again for records of the new one"
            )


@dataclass(frozen=True)
class Needed:
    """One record that an experiment asks for.

    made: what answers now. state: the address of the task. protocol, data: those of the experiment, and the name of its
    data set. folded: the code that answers where the run is trained as one with others, which is another make; "": that
    is no answer.
    """

    task: Task
    step: int
    measure: Measure
    address: str
    made: Mapping[str, str]
    state: str
    recipe: str
    protocol: Protocol
    data: str
    folded: str = ""

    @property
    def called(self) -> Json:
        """For people: whose it is, and which."""
        arm, seed = self.task.arm, self.task.seed
        return {"network": arm.network, "arm": arm.name, "seed": seed, "step": self.step, "measure": self.measure.name}

    def fresh(self, record: Record | None) -> bool:
        """Whether this record was made by the code that would make it now, on whatever versions of the libraries."""
        answers = (self.made["code"], self.folded) if self.folded else (self.made["code"],)
        return record is not None and record.made.get("code") in answers


def needed(experiment: Experiment, conditions: Conditions) -> Iterator[Needed]:
    """Every record that the experiment asks for, in the order in which it is made."""
    protocol = experiment.protocol
    settings = {
        (arm, m): conditions.setting(experiment.arms[arm], protocol, measure)
        for arm in range(len(experiment.arms))
        for m, measure in enumerate(experiment.measures)
        if measure.applies(experiment.arms[arm])
    }
    made = {measure.name: conditions.made(measure.name) for measure in experiment.measures}
    for number, task in enumerate(experiment.tasks()):
        arm = number % len(experiment.arms)
        state = conditions.task_address(task, protocol)
        shared = (state, conditions.recipe(task.arm, protocol), protocol, conditions.data.get("name", ""))
        for step in protocol.record:
            for m, measure in enumerate(experiment.measures):
                if (arm, m) in settings and measure.made_at(task.seed, step):
                    where = address(settings[arm, m], task.seed, step, measure.name)
                    folded = conditions.folded.get(measure.name, "")
                    yield Needed(task, step, measure, where, made[measure.name], *shared, folded)


def freshest(asked: Iterable[Needed], versions: Mapping[str, Sequence[Record]]) -> dict[str, Record]:
    """By address, the record that counts for each question that has an answer: made by the code of today and on its
    libraries.

    Else by the code of today on other versions; else the last one that was written, which is stale.
    """
    found: dict[str, Record] = {}
    for n in asked:
        if n.address in versions and n.address not in found:
            ranked = [(n.fresh(r), r.made == n.made, place) for place, r in enumerate(versions[n.address])]
            found[n.address] = versions[n.address][max(ranked)[2]]
    return found


def missing(asked: Sequence[Needed], records: Mapping[str, Record]) -> list[Needed]:
    """What of it has no fresh record; nothing is missing after the step at which a run diverged."""
    ended = {
        n.state: n.step
        for n in reversed(asked)
        if (record := records.get(n.address)) is not None and n.fresh(record) and record.diverged
    }
    return [n for n in asked if not n.fresh(records.get(n.address)) and n.step <= ended.get(n.state, n.step)]
