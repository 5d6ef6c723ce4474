"""Images to train on, by name: what is loaded, and what it was checked against.

What lives here: the data sets, their checksums and licences. What does not: the loaded value and its batches
(``image_data.py``, re-exported here) and file formats (``data_files.py``). Nothing is ever downloaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from types import MappingProxyType

import numpy as np

from bntheory.bridge.arguments import checked
from bntheory.bridge.networks.data_files import (
    CIFAR10_FILES,
    IDX_FILES,
    Bytes,
    cifar10_folder,
    find_idx_file,
    has_idx_files,
    parse_idx,
    read_cifar10_file,
    read_compressed,
    sha256_of,
)
from bntheory.bridge.networks.image_data import ImageData, assemble, batch_at, batch_indices, synthetic_data
from bntheory.errors import UserError

__all__ = ["DATASETS", "ImageData", "batch_at", "batch_indices", "load_dataset", "synthetic_data"]

SUBSET_ASSET = "fashion_mnist_subset.idx.xz"
SUBSET_SHA256 = "39956224e00b0023d68e6b701daaf4db15f2ffdeb6f018c9f2c5bae7f66e99db"
FASHION_SHA256 = {
    "train images": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train labels": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "test images": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "test labels": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
FASHION_PLACES = (Path("/usr/share/datasets/fashion-mnist"),)  # Debian's package dataset-fashion-mnist
FASHION_LICENCE = "MIT, Copyright 2017 Zalando SE"
FASHION_CLASSES = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
DATASETS: Mapping[str, str] = MappingProxyType(
    {
        "fashion-mnist-subset": "10 000 training and 2 000 test images of Fashion-MNIST, part of the package",
        "fashion-mnist": "all 70 000 images, from Debian's dataset-fashion-mnist or a folder of IDX files",
        "cifar10": "a folder with CIFAR-10's binary version",
        "idx": "a folder with any other four IDX files of this layout (MNIST, KMNIST, ...)",
    }
)


@checked
def load_dataset(name: str = "fashion-mnist-subset", data_dir: str | Path | None = None) -> ImageData:
    """Load a data set by name; see ``DATASETS`` for the names.

    Args:
        name: one of ``DATASETS``.
        data_dir: the folder with the files. ``fashion-mnist`` looks in the place where Debian's package
            installs it when none is given; ``fashion-mnist-subset`` is part of the package and takes none.

    Raises:
        UserError: unknown name, missing folder or file, truncated or foreign file, checksum mismatch.
    """
    if name not in DATASETS:
        raise UserError(f"data: {name!r} is unknown; choose one of {', '.join(DATASETS)}")
    folder = None if data_dir is None else Path(data_dir).expanduser()
    if name == "fashion-mnist-subset":
        if folder is not None:
            raise UserError(
                f"data_dir: 'fashion-mnist-subset' is part of the package and reads no folder, but {folder} was "
                "given; for a folder choose 'fashion-mnist', 'cifar10' or 'idx'"
            )
        return _load_subset()
    if name == "fashion-mnist" and folder is None:
        folder = next((place for place in FASHION_PLACES if place.is_dir()), None)
        if folder is None:
            raise UserError(
                "data: Fashion-MNIST is not installed; install Debian's package dataset-fashion-mnist, give the "
                "folder of its four IDX files as data_dir, or use 'fashion-mnist-subset', which needs neither"
            )
    if folder is None:
        raise UserError(f"data_dir: {name!r} needs the folder with its files ({DATASETS[name]}); none was given")
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise UserError(f"data_dir: {folder} {what}; {name!r} needs {DATASETS[name]}")
    return _load_cifar10(folder) if name == "cifar10" else _load_idx(name, folder)


def _load_subset() -> ImageData:
    with as_file(files("bntheory.bridge.networks") / "assets" / SUBSET_ASSET) as path:
        try:
            packed = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); install bntheory again") from error
        if (found := sha256_of(packed)) != SUBSET_SHA256:
            raise UserError(
                f"{path}: its SHA-256 is {found}, but {SUBSET_SHA256} was shipped; the file was changed or "
                "damaged. Install bntheory again"
            )
        content = read_compressed(path)
    arrays: dict[str, Bytes] = {}
    at = 0
    for part in IDX_FILES:
        arrays[part], used = parse_idx(content[at:], f"{SUBSET_ASSET} ({part})")
        at += used
    return assemble(
        "fashion-mnist-subset", arrays, FASHION_CLASSES, {SUBSET_ASSET: SUBSET_SHA256}, FASHION_LICENCE,
        "Fashion-MNIST, a fixed stratified subset: 1 000 training and 200 test images of each of 10 classes",
    )  # fmt: skip


def _load_idx(name: str, folder: Path) -> ImageData:
    arrays: dict[str, Bytes] = {}
    hashes: dict[str, str] = {}
    # where a user's other tools put the files inside the folder that they were given
    places = [folder, folder / "raw"] + ([folder / "FashionMNIST" / "raw"] if name == "fashion-mnist" else [])
    folder = next((place for place in places if has_idx_files(place)), folder)
    for part, file in IDX_FILES.items():
        path = find_idx_file(folder, file)
        content = read_compressed(path)
        arrays[part], used = parse_idx(content, str(path))
        if used != len(content):
            raise UserError(f"{path}: {len(content) - used} bytes follow the announced values; not an IDX file")
        hashes[file] = sha256_of(content)
        if name == "fashion-mnist" and hashes[file] != FASHION_SHA256[part]:
            raise UserError(
                f"{path}: the SHA-256 of its content is {hashes[file]}, but Fashion-MNIST's is "
                f"{FASHION_SHA256[part]}; it is damaged or another data set (then load it as 'idx')"
            )
    if name == "fashion-mnist":
        return assemble(name, arrays, FASHION_CLASSES, hashes, FASHION_LICENCE,
                         "Fashion-MNIST: 60 000 training and 10 000 test images")  # fmt: skip
    count = int(max(arrays["train labels"].max(initial=0), arrays["test labels"].max(initial=0))) + 1
    return assemble(name, arrays, tuple(map(str, range(count))), hashes, "unknown: given by the user",
                     "images from the user's IDX files, not checked against any known checksum")  # fmt: skip


def _load_cifar10(folder: Path) -> ImageData:
    folder = cifar10_folder(folder)
    parts = {name: read_cifar10_file(folder / name) for name in CIFAR10_FILES}
    train = [parts[name] for name in CIFAR10_FILES[:-1]]
    test = parts[CIFAR10_FILES[-1]]
    arrays = {
        "train images": np.concatenate([images for images, _, _ in train]),
        "train labels": np.concatenate([labels for _, labels, _ in train]),
        "test images": test[0],
        "test labels": test[1],
    }
    return assemble(
        "cifar10", arrays, CIFAR10_CLASSES, {name: digest for name, (_, _, digest) in parts.items()},
        "no licence stated by its authors (Krizhevsky 2009); given by the user",
        "CIFAR-10 from the user's binary files, recorded by checksum but not compared with the original's",
    )  # fmt: skip
