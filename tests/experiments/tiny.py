"""A preset that is done in seconds, for tests of the machinery around an experiment."""

from __future__ import annotations

from pathlib import Path

TINY = """
about = "a run for tests"
data = "fashion-mnist-subset"
seeds = [0, 1]
[training]
steps = 6
batch_size = 16
learning_rate = 0.1
momentum = 0.5
[measure]
at = [0, 2, 6]
batch_size = 24
theory_batch_size = 12
hessian_units = 1
points = 2
test_size = 50
[curvature]
batch_size = 16
tolerance = 0.2
max_products = 8
[[networks]]
name = "mlp"
kind = "mlp"
options = { layout = [6, 5] }
"""


def tiny_preset(folder: Path, **replace: str) -> str:
    """The path of a tiny preset; keywords replace its lines, as in ``seeds="[0]"``."""
    text = TINY
    for key, value in replace.items():
        lines = [f"{key} = {value}" if line.startswith(f"{key} =") else line for line in text.splitlines()]
        text = "\n".join(lines)
    path = folder / "tiny.toml"
    path.write_text(text)
    return str(path)
