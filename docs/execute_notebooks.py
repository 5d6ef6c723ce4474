"""Run the notebooks from top to bottom and keep what their cells print and show: ``make notebooks``."""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent / "notebooks"


def executed(path: Path) -> nbformat.NotebookNode:
    """The notebook with the outputs of this run, without what differs from run to run."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times
    notebook.metadata.pop("widgets", None)
    notebook.metadata.language_info = {"name": "python"}
    return notebook


if __name__ == "__main__":
    for path in sorted(FOLDER.glob("*.ipynb")) if len(sys.argv) < 2 else map(Path, sys.argv[1:]):
        nbformat.write(executed(path), path)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
