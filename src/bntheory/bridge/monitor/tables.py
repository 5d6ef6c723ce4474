"""What a monitor found as rows: for pandas, CSV and TensorBoard, and as a short text."""

from __future__ import annotations

import csv
import re
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Literal, get_args

from bntheory.errors import UserError
from bntheory.evidence.counts import counted
from bntheory.evidence.record import Record

What = Literal["network", "layers"]
Row = dict[str, Any]
#: What a record holds beside the numbers of a user's own measure.
COLUMNS = (
    "run", "step", "learning_rate", "edge", "missing", "loss", "gradient_norm", "layers", "sharpness", "along", "shift"
)  # fmt: skip
_OWN = {"own": "lambda_max"}
#: The lines of the summary: some columns, and the words in which a person reads their numbers.
_SAID = (
    {"loss": "loss {:.4g}", "gradient_norm": "norm of the gradient {:.4g}", "learning_rate": "learning rate {:.4g}"},
    {
        "lambda_max": "largest Hessian eigenvalue {:.4g}",
        "lambda_max twin": "of the frozen twin {:.4g}",
        "lambda_max mean-alive": "with only the variance frozen {:.4g}",
        "lambda_max variance-alive": "with only the mean frozen {:.4g}",
        "eta lambda_max": "the network's times the learning rate {:.4g}",
    },
    {
        "share_mean * m (median)": "the median layer takes {:.4g}/m off the squared gradient along 1",
        "share_y_hat * m (median)": "{:.4g}/m along y_hat",
        "left (median)": "leaves {:.4g}",
    },
)
_UNFIT = re.compile(r"[^\w/.-]+")


def rows(records: Sequence[Record], what: What = "network") -> list[Row]:
    """One row a step ("network"), or one a step and layer ("layers"); every row has every column."""
    if what not in get_args(What):
        raise UserError(f"what is {what!r}; it is 'network' or 'layers'")
    if what == "layers":
        return layer_rows(records)
    by_step: dict[int, Row] = {}
    for record in records:
        by_step.setdefault(record.step, {"run": record.arm, "step": record.step}).update(_numbers(record))
    columns = list(dict.fromkeys(key for row in by_step.values() for key in row))
    return [{key: row.get(key) for key in columns} for row in by_step.values()]


def _numbers(record: Record) -> Row:
    """The numbers of one record, by their column."""
    values = record.values
    rate = values["learning_rate"]
    found: Row = {"learning_rate": rate, "edge": values["edge"]}
    for key, value in values.items():
        if key == "sharpness":
            for name, one in value.items():
                column = _OWN.get(name, f"lambda_max {name}")
                top = one["top"]
                found[column] = top
                found[f"{column} error"] = one["top_error"]
                found[f"eta {column}"] = None if top is None or rate is None else rate * top
        elif key == "along":
            found |= {
                "loss range along the gradient": value["loss_range"],
                "gradient change along the gradient": value["gradient_high"],
                "effective beta": value["effective_beta"],
            }
        elif key == "shift":
            found["covariate shift (median cosine)"] = _median(value["cosine"][1:])
            found["covariate shift (median relative)"] = _median(value["relative"][1:])
        elif key == "layers":
            shares = layer_rows([record])
            for share in ("share_mean", "share_y_hat"):
                found[f"{share} * m (median)"] = _median([row[f"{share} * m"] for row in shares])
            found["left (median)"] = _median([row["left"] for row in shares])
        elif key not in ("missing", "learning_rate", "edge") and (value is None or isinstance(value, (int, float))):
            found[key] = value
    return found


def _median(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return median(known) if known else None


def layer_rows(records: Sequence[Record]) -> list[Row]:
    """One row a step and layer. Of a random gradient each share is 1/m on average: ``share * m`` is to be compared with 1."""
    found = []
    for record in records:
        columns: dict[str, list[Any]] = record.values.get("layers") or {"name": []}
        for i in range(len(columns["name"])):
            row = {"run": record.arm, "step": record.step, "layer": columns["name"][i]}
            row |= {key: column[i] for key, column in columns.items() if key != "name"}
            for share in ("share_mean", "share_y_hat"):
                row[f"{share} * m"] = None if row[share] is None else row[share] * row["m"]
            found.append(row)
    return found


def scalars(record: Record) -> list[tuple[str, float]]:
    """(name, value) of every number of a record, layers included, for TensorBoard."""
    found = [(key, v) for key, v in _numbers(record).items() if v is not None]
    for row in layer_rows([record]):
        found += [
            (f"{key}/{row['layer']}", row[key]) for key in ("share_mean * m", "share_y_hat * m") if row[key] is not None
        ]
    # TensorBoard takes no blanks and no signs in a name
    return [(_UNFIT.sub("_", f"bntheory/{key}").rstrip("_"), float(value)) for key, value in found]


def to_csv(table: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """The rows as a CSV file with a header. Raises ValueError where it cannot be written."""
    try:
        with open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(table[0]) if table else ["run", "step"])
            writer.writeheader()
            writer.writerows(table)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error


def to_pandas(table: Sequence[Mapping[str, Any]]) -> Any:
    """The rows as a DataFrame. Raises ValueError where pandas is not installed."""
    try:
        import pandas
    except ImportError:
        raise UserError(
            "pandas is not installed: pip install 'bntheory[monitor]', or use rows() or to_csv(), which need nothing"
        ) from None
    return pandas.DataFrame(table)


def summary(
    name: str,
    table: Sequence[Row],
    steps: int,
    cost: str,
    missing: Sequence[tuple[str, str, str]],
    width: int = 100,
    share: float | None = None,
) -> str:
    """The last values of the network's rows, what following cost, and what is missing: (measure, what, reason)."""
    lines = [f"{name}: {counted(steps, 'step')}, measured at {counted(len(table), 'point')}"]
    for said in _SAID:
        for row in reversed(table):
            known = [words.format(row[column]) for column, words in said.items() if row.get(column) is not None]
            if known:
                lines.append(f"  step {row['step']}: {', '.join(known)}")
                break
    if not table and steps and share is not None:
        lines.append(
            f"  so short a training leaves no time to measure at share={share:g}; give share=None for no limit"
        )
    lines.append(f"  cost: {cost}")
    reasons = Counter(missing)
    for (measure, what, reason), times in reasons.most_common(5):
        lines.append(f"  missing ({times} x): {measure}{'' if what == measure else f', {what}'}: {reason}")
    if len(reasons) > 5:
        lines.append(f"  and {len(reasons) - 5} more reasons in .missing")
    return "\n".join(part for line in lines for part in textwrap.wrap(line, width, subsequent_indent="    "))
