"""A counterexample as data: one layer in rational numbers, and the file it is kept in.

The file (schema ``bntheory.witness/1``) is JSON in which every number is a string ``"p/q"``:

    schema       "bntheory.witness/1"
    claim        {"kind": "registry", "id": ...}                    a claim of the package
                 {"kind": "file", "path": ..., "id": ..., "expression": ..., "assume": [...]}
                                                                 a claim of a user's own file, as the typed grammar states it;
                                                                 the path says where it came from, and nothing opens it
                 {"kind": "expression", "expression": ..., "assume": [...]}   a typed claim
    domain       the LayerDomain on which the claim is asserted
    layer        m, y, grad, hess (rows, or null for zero), gamma, beta, eps, and the free scalars, vectors and operators
    certificate  the method, the precision and the enclosures of both sides of every relation, for the reader's eye;
                 a replay computes them anew and trusts none of them
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from bntheory.errors import UserError
from bntheory.evidence.counts import entries
from bntheory.files import read_at_most, write_atomic
from bntheory.layer.domain import LayerDomain

SCHEMA = "bntheory.witness/1"
_WRITTEN_OUT = 8  # above it a multiple of the identity is said to be one
LARGEST_BATCH = 1024  # every entry is written out
_MAX_BYTES = 32_000_000  # matrices of that size in short fractions
_NUMBER = re.compile(r"-?[0-9]{1,4000}(/[0-9]{1,4000})?")

Vector = tuple[Fraction, ...]
Matrix = tuple[Vector, ...]


@dataclass(frozen=True)
class Instance:
    """One layer in rational numbers. hess None is the zero operator."""

    y: Vector
    grad: Vector
    hess: Matrix | None = None
    gamma: Fraction = Fraction(1)
    beta: Fraction = Fraction(0)
    eps: Fraction = Fraction(0)
    scalars: Mapping[str, Fraction] = field(default_factory=dict)
    vectors: Mapping[str, Vector] = field(default_factory=dict)
    operators: Mapping[str, Matrix] = field(default_factory=dict)

    def __post_init__(self) -> None:
        m = len(self.y)
        if m < 2:
            raise UserError(f"y has {m} entries; a batch has at least 2")
        for name, vector in (("grad", self.grad), *self.vectors.items()):
            if len(vector) != m:
                raise UserError(f"{name} has {len(vector)} entries but y has {m}")
        for name, matrix in (("hess", self.hess), *self.operators.items()):
            if matrix is None:
                continue
            if len(matrix) != m or any(len(row) != m for row in matrix):
                raise UserError(f"{name} is not a {m} x {m} matrix")
            if any(matrix[i][j] != matrix[j][i] for i in range(m) for j in range(i)):
                raise UserError(f"{name} is not symmetric")

    @property
    def m(self) -> int:
        """The batch size."""
        return len(self.y)

    def arrays(self, convert: Callable[[Fraction], Any], dtype: Any = object) -> dict[str, Any]:
        """The keyword arguments of a layer constructor, every number passed through ``convert``."""
        import numpy as np

        def array(x: Any) -> Any:
            if isinstance(x, Fraction):
                return np.array(convert(x), dtype=dtype)
            return np.array(
                [[convert(v) for v in row] if isinstance(row, tuple) else convert(row) for row in x], dtype=dtype
            )

        def operator(matrix: Matrix) -> Any:
            entries = _diagonal(matrix)
            if entries is None:
                return array(matrix)
            diagonal = array(entries)  # m numbers a product, in place of m^2
            return lambda v: diagonal * v

        free = {**self.scalars, **self.vectors, **self.operators}
        return {
            "y": array(self.y),
            "grad": array(self.grad),
            "hess": None if self.hess is None else operator(self.hess),
            "gamma": array(self.gamma),
            "beta": array(self.beta),
            "eps": array(self.eps),
            "free": {name: array(x) for name, x in free.items()},
        }

    def as_json(self) -> dict[str, Any]:
        """The ``layer`` block of a witness file."""
        return {
            "m": self.m,
            "y": _out(self.y),
            "grad": _out(self.grad),
            "hess": None if self.hess is None else _out(self.hess),
            "gamma": _out(self.gamma),
            "beta": _out(self.beta),
            "eps": _out(self.eps),
            "scalars": {k: _out(v) for k, v in self.scalars.items()},
            "vectors": {k: _out(v) for k, v in self.vectors.items()},
            "operators": {k: _out(v) for k, v in self.operators.items()},
        }

    @classmethod
    def from_json(cls, data: Any) -> Instance:
        """The inverse of :meth:`as_json`. UserError names the entry that is wrong."""
        block = _mapping(data, "layer")
        known = set(cls(y=(Fraction(0),) * 2, grad=(Fraction(0),) * 2).as_json())
        _refuse_unknown(block, known, "layer")
        y = _vector(_get(block, "y", "layer"), "layer.y")
        if block.get("m", len(y)) != len(y):
            raise UserError(f"witness: layer.m is {block['m']!r} but y has {len(y)} entries")
        hess = block.get("hess")
        return cls(
            y=y,
            grad=_vector(_get(block, "grad", "layer"), "layer.grad"),
            hess=None if hess is None else _matrix(hess, "layer.hess"),
            gamma=_number(_get(block, "gamma", "layer"), "layer.gamma"),
            beta=_number(block.get("beta", "0"), "layer.beta"),
            eps=_number(_get(block, "eps", "layer"), "layer.eps"),
            scalars={k: _number(v, k) for k, v in _mapping(block.get("scalars", {}), "scalars").items()},
            vectors={k: _vector(v, k) for k, v in _mapping(block.get("vectors", {}), "vectors").items()},
            operators={k: _matrix(v, k) for k, v in _mapping(block.get("operators", {}), "operators").items()},
        )

    def size(self) -> tuple[int, int, int]:
        """How large a witness is: batch size, non-zero entries, digits; the smaller the better."""
        entries = [*self.y, *self.grad, self.gamma, self.beta, self.eps, *self.scalars.values()]
        for matrix in (self.hess or (), *self.operators.values()):
            entries += [x for row in matrix for x in (row if isinstance(row, tuple) else (row,))]
        entries += [x for vector in self.vectors.values() for x in vector]
        digits = sum(len(str(abs(x.numerator))) + len(str(x.denominator)) for x in entries)
        return self.m, sum(1 for x in entries if x), digits

    def describe(self) -> str:
        """The layer on one line."""
        parts = [f"y = {_say(self.y)}", f"g = {_say(self.grad)}"]
        if self.hess is not None:
            diagonal = _diagonal(self.hess) or ()
            short = self.m > _WRITTEN_OUT and len(set(diagonal)) == 1
            parts.append(f"H = {diagonal[0]} I" if short else f"H = {_say(self.hess)}")
        parts += [f"gamma = {self.gamma}", f"eps = {self.eps}"]
        if self.beta:
            parts.append(f"beta = {self.beta}")
        free = {**self.scalars, **self.vectors, **self.operators}
        ours = ("y", "g", "H", "gamma", "beta", "eps")
        parts += [f"{'free ' * (name in ours)}{name} = {_say(x)}" for name, x in free.items()]
        return ", ".join(parts)


@dataclass(frozen=True)
class Reference:
    """Which claim a witness is about: by id, or by what it states, as a typed expression.

    A claim of a user's file has both, and the file's path for the reader; without an expression it is one that the typed grammar cannot
    say.
    """

    kind: str
    id: str = ""
    path: str = ""
    expression: str = ""
    assume: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The ``claim`` block of a witness file."""
        if self.kind == "expression":
            return {"kind": self.kind, "expression": self.expression, "assume": list(self.assume)}
        named = {"kind": self.kind, "id": self.id}
        if self.kind == "registry":
            return named
        stated = {"expression": self.expression, "assume": list(self.assume)} if self.expression else {}
        return {**named, "path": self.path, **stated}

    @classmethod
    def from_json(cls, data: Any) -> Reference:
        """The inverse of :meth:`as_json`."""
        block = _mapping(data, "claim")
        kind = block.get("kind")
        needs = {"registry": ("id",), "file": ("path", "id"), "expression": ("expression",)}
        if kind not in needs:
            raise UserError(f"witness: claim.kind is {kind!r:.60}; it can be {', '.join(map(repr, needs))}")
        stated = {"expression"} & block.keys()
        for name in (*needs[kind], *stated):
            if not isinstance(block.get(name), str):
                raise UserError(f"witness: a claim of kind {kind!r} needs a text entry {name!r}")
        assume = block.get("assume", [])
        if not isinstance(assume, list) or not all(isinstance(a, str) for a in assume):
            raise UserError("witness: claim.assume is not a list of expressions")
        return cls(kind, block.get("id", ""), block.get("path", ""), block.get("expression", ""), tuple(assume))


@dataclass(frozen=True)
class Witness:
    """A counterexample: the claim it is about, the domain, the layer, and what the certificate recorded."""

    reference: Reference
    domain: LayerDomain
    instance: Instance
    certificate: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """A JSON-ready object."""
        d = self.domain
        return {
            "schema": SCHEMA,
            "claim": self.reference.as_json(),
            "domain": {
                "eps": d.eps,
                "gamma": d.gamma,
                "hessian": d.hessian,
                "min_m": d.min_m,
                "normaliser": d.normaliser,
                "scalars": dict(d.scalars),
                "vectors": list(d.vectors),
                "operators": dict(d.operators),
                **{k: getattr(d, k) for k in ("smoothness", "gradient", "loss") if getattr(d, k) not in ("", "any")},
            },
            "layer": self.instance.as_json(),
            "certificate": dict(self.certificate),
        }

    @classmethod
    def from_json(cls, data: Any) -> Witness:
        """The inverse of :meth:`as_json`. UserError names the entry that is wrong."""
        block = _mapping(data, "the file")
        if block.get("schema") != SCHEMA:
            raise UserError(
                f"witness: the schema is {block.get('schema')!r:.60}; this version reads {SCHEMA!r}. "
                "Is it a file that `bntheory check` or `bntheory decide` wrote?"
            )
        _refuse_unknown(block, {"schema", "claim", "domain", "layer", "certificate"}, "the file")
        domain = _mapping(_get(block, "domain", "the file"), "domain")
        try:
            fields: dict[str, Any] = {k: tuple(v) if k == "vectors" else v for k, v in domain.items()}
            parsed = LayerDomain(**fields)
        except (TypeError, ValueError, AttributeError) as error:
            raise UserError(f"witness: the domain cannot be read: {error}") from None
        return cls(
            Reference.from_json(_get(block, "claim", "the file")),
            parsed,
            Instance.from_json(_get(block, "layer", "the file")),
            _mapping(block.get("certificate", {}), "certificate"),
        )

    def save(self, path: str | Path) -> Path:
        """Write the file; the folder is made where it is missing."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(target, (json.dumps(self.as_json(), indent=1) + "\n").encode())
        return target


def load_witness(path: str | Path) -> Witness:
    """Read a witness file. UserError says what is wrong with it: missing, no JSON, truncated, too large, an entry."""
    file = Path(path)
    try:
        text = read_at_most(file, _MAX_BYTES).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(
            f"{file}: cannot be read ({why}); give a file that `bntheory decide --witness FILE` or `bntheory check --witnesses FOLDER` wrote"
        ) from None
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is not JSON ({error}); is it truncated?") from None
    try:
        return Witness.from_json(data)
    except UserError as error:
        raise UserError(f"{file}: {error}") from None


def _out(x: Any) -> Any:
    return str(x) if isinstance(x, Fraction) else [_out(v) for v in x]


def _diagonal(matrix: Matrix) -> Vector | None:
    """Its entries where the matrix is diagonal."""
    off = any(v for i, row in enumerate(matrix) for j, v in enumerate(row) if i != j)
    return None if off else tuple(row[i] for i, row in enumerate(matrix))


def _say(x: Any) -> str:
    return str(x) if isinstance(x, Fraction) else f"({entries([_say(v) for v in x])})"


def _mapping(data: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(data, dict) or not all(isinstance(k, str) for k in data):
        raise UserError(f"witness: {what} is {type(data).__name__}, not an object")
    return data


def _get(block: Mapping[str, Any], name: str, what: str) -> Any:
    if name not in block:
        raise UserError(f"witness: {what} has no entry {name!r}")
    return block[name]


def _refuse_unknown(block: Mapping[str, Any], known: set[str], what: str) -> None:
    strange = sorted(set(block) - known)
    if strange:
        raise UserError(f"witness: {what} has an unknown entry {strange[0]!r:.60}")


def _number(x: Any, what: str) -> Fraction:
    if not isinstance(x, str) or not _NUMBER.fullmatch(x):
        raise UserError(f"witness: {what} is {x!r:.60}; a number is a string such as '3' or '-1/2'")
    try:
        return Fraction(x)
    except ZeroDivisionError:
        raise UserError(f"witness: {what} is {x!r:.60}, a division by zero") from None


def _vector(x: Any, what: str) -> Vector:
    if not isinstance(x, list) or not 2 <= len(x) <= LARGEST_BATCH:
        raise UserError(f"witness: {what} is not a list of 2 to {LARGEST_BATCH} numbers")
    return tuple(_number(v, f"{what}[{i}]") for i, v in enumerate(x))


def _matrix(x: Any, what: str) -> Matrix:
    if not isinstance(x, list) or not 2 <= len(x) <= LARGEST_BATCH:
        raise UserError(f"witness: {what} is not a matrix")
    return tuple(_vector(row, f"{what}[{i}]") for i, row in enumerate(x))
