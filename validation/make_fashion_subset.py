#!/usr/bin/env python3
"""Make the subset of Fashion-MNIST that the package ships, from the four original IDX files.

usage: make_fashion_subset.py FOLDER [OUT]

FOLDER holds the IDX files, plain or gzipped (Debian's package dataset-fashion-mnist installs them under
/usr/share/datasets/fashion-mnist). Their checksums are verified. Of every class the subset takes 1 000 training
and 200 test images, chosen by a fixed seed, in their original order. OUT (default: the package's assets
folder) receives train images, train labels, test images and test labels as IDX, one after the other,
compressed with xz. The compressed bytes can differ between versions of liblzma; the content cannot.
"""

from __future__ import annotations

import lzma
import struct
import sys
from pathlib import Path

import numpy as np

from bntheory.bridge.networks import data
from bntheory.bridge.networks.data_files import sha256_of

SEED = 2018
PER_CLASS = {"train": 1000, "test": 200}
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 3, "lp": 0, "pb": 0}]


def chosen(labels: np.ndarray, per_class: int, seed: int) -> np.ndarray:
    """Indices, ascending, of ``per_class`` examples of each class: those with the smallest random keys."""
    keys = np.random.PCG64(seed).random_raw(len(labels))
    picks = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        picks.append(members[np.argsort(keys[members], kind="stable")[:per_class]])
    return np.sort(np.concatenate(picks))


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def subset_content(folder: Path) -> bytes:
    full = data.load_dataset("fashion-mnist", folder)
    content = b""
    for number, (split, per_class) in enumerate(PER_CLASS.items()):
        images = (full.train_images if split == "train" else full.test_images)[:, 0].numpy()
        labels = (full.train_labels if split == "train" else full.test_labels).numpy().astype(np.uint8)
        index = chosen(labels, per_class, SEED + number)
        content += idx_bytes(images[index]) + idx_bytes(labels[index])
    return content


def main(arguments: list[str]) -> int:
    if len(arguments) not in (1, 2):
        print(__doc__, file=sys.stderr)
        return 2
    assets = Path(data.__file__).parent / "assets"
    out = Path(arguments[1]) if len(arguments) == 2 else assets / data.SUBSET_ASSET
    try:
        content = subset_content(Path(arguments[0]))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    packed = lzma.compress(content, format=lzma.FORMAT_XZ, filters=FILTERS)
    out.write_bytes(packed)
    print(f"{out}: {len(packed)} bytes, sha256 {sha256_of(packed)}, of the content {sha256_of(content)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
