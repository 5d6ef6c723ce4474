"""Data are what they claim to be, damaged files are refused, and batches depend on seed and step alone.

Oracles: the files are written here by ``struct`` and ``numpy`` calls that follow the published layouts, not by the
package's readers; the moments of the full Fashion-MNIST are the widely printed 0.2860 and 0.3530; the shipped subset
is compared with the original files (where Debian's package is installed) by matching images as byte strings.
"""

from __future__ import annotations

import gzip
import lzma
import runpy
import shutil
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bntheory.bridge.networks import data as data_module
from bntheory.bridge.networks.data import FASHION_PLACES, batch_at, batch_indices, load_dataset, synthetic_data
from bntheory.bridge.networks.data_files import CIFAR10_FILES, IDX_FILES, parse_idx, read_cifar10_file

PINNED = [3, 2, 1, 8, 6]

needs_full = pytest.mark.skipif(
    not FASHION_PLACES[0].is_dir(), reason="Debian's dataset-fashion-mnist is not installed"
)


def write_idx(folder: Path, *, packed: bool = False, train: int = 12, test: int = 6) -> None:
    rng = np.random.default_rng(5)
    for part, name in IDX_FILES.items():
        n = train if part.startswith("train") else test
        if part.endswith("images"):
            body = struct.pack(">IIII", 0x803, n, 4, 5) + rng.integers(0, 256, (n, 4, 5), np.uint8).tobytes()
        else:
            body = struct.pack(">II", 0x801, n) + bytes(i % 3 for i in range(n))
        path = folder / (name + ".gz" if packed else name)
        path.write_bytes(gzip.compress(body) if packed else body)


def write_cifar(folder: Path, records: int) -> np.ndarray:
    rng = np.random.default_rng(6)
    tables = []
    for name in CIFAR10_FILES:
        table = rng.integers(0, 256, (records, 3073), np.uint8)
        table[:, 0] %= 10
        table.tofile(folder / name)
        tables.append(table)
    return np.stack(tables)


@pytest.fixture
def short_cifar(monkeypatch: pytest.MonkeyPatch) -> int:
    """Files of 7 records stand for files of 10 000, whose reading is otherwise the same."""
    monkeypatch.setattr(data_module, "read_cifar10_file", lambda path: read_cifar10_file(path, records=7))
    return 7


# ---------------------------------------------------------------------------------------------- the shipped subset


def test_subset_is_stratified_and_standardised(device: str) -> None:
    data = load_dataset()
    assert data.shape == (1, 28, 28)
    assert Counter(data.train_labels.tolist()) == dict.fromkeys(range(10), 1000)
    assert Counter(data.test_labels.tolist()) == dict.fromkeys(range(10), 200)
    assert data.train_images.dtype == torch.uint8
    assert "Zalando" in data.licence
    raw = data.train_images.numpy().astype(np.float64) / 255
    assert data.mean == pytest.approx((raw.mean(),), rel=1e-12)
    assert data.std == pytest.approx((raw.std(),), rel=1e-12)
    x, y = data.inputs(slice(None), dtype=torch.float64, device=device)
    assert (x.device.type, y.dtype) == (torch.device(device).type, torch.int64)
    assert float(x.mean()) == pytest.approx(0, abs=1e-10)
    assert float(x.std(correction=0)) == pytest.approx(1, abs=1e-10)


def test_licence_lies_beside_the_images() -> None:
    assets = Path(data_module.__file__).parent / "assets"
    text = (assets / "fashion_mnist_subset.LICENSE.txt").read_text()
    assert "Copyright (c) 2017 Zalando SE" in text
    assert "Permission is hereby granted" in text
    assert (assets / data_module.SUBSET_ASSET).stat().st_size < 5_000_000


@needs_full
def test_subset_is_part_of_the_original() -> None:
    full, subset = load_dataset("fashion-mnist"), load_dataset()
    assert (full.mean[0], full.std[0]) == pytest.approx((0.2860, 0.3530), abs=5e-5)
    for split in ("train", "test"):
        whole, part = (
            {
                (image.numpy().tobytes(), int(label))
                for image, label in zip(getattr(d, f"{split}_images"), getattr(d, f"{split}_labels"), strict=True)
            }
            for d in (full, subset)
        )
        assert part <= whole


@needs_full
def test_subset_can_be_made_again() -> None:
    script = runpy.run_path(str(Path(__file__).parents[3] / "validation" / "make_fashion_subset.py"))
    shipped = Path(data_module.__file__).parent / "assets" / data_module.SUBSET_ASSET
    assert script["subset_content"](FASHION_PLACES[0]) == lzma.decompress(shipped.read_bytes())


@pytest.mark.parametrize("damage", ["one byte", "truncated", "missing"])
def test_damaged_subset_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    package = tmp_path / "package"
    (package / "assets").mkdir(parents=True)
    copy = package / "assets" / data_module.SUBSET_ASSET
    content = (Path(data_module.__file__).parent / "assets" / data_module.SUBSET_ASSET).read_bytes()
    if damage == "one byte":
        copy.write_bytes(content[:1000] + bytes([content[1000] ^ 1]) + content[1001:])
    elif damage == "truncated":
        copy.write_bytes(content[:-1])
    monkeypatch.setattr(data_module, "files", lambda name: package)
    with pytest.raises(ValueError, match=r"Install bntheory again|install bntheory again"):
        load_dataset()


# ------------------------------------------------------------------------------------------------------ IDX folders


@pytest.mark.parametrize("packed", [False, True])
def test_idx_folder(tmp_path: Path, packed: bool) -> None:
    write_idx(tmp_path, packed=packed)
    data = load_dataset("idx", tmp_path)
    assert (data.size("train"), data.size("test"), data.shape, data.classes) == (12, 6, (1, 4, 5), 3)
    first = np.random.default_rng(5).integers(0, 256, (12, 4, 5), np.uint8)
    assert np.array_equal(data.train_images[:, 0].numpy(), first)
    assert data.test_labels.tolist() == [0, 1, 2, 0, 1, 2]


def test_idx_files_in_the_usual_subfolder(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    write_idx(tmp_path / "raw", packed=True)
    assert load_dataset("idx", tmp_path).size() == 12
    nested = tmp_path / "FashionMNIST" / "raw"
    nested.mkdir(parents=True)
    write_idx(nested)
    (tmp_path / "raw").rename(tmp_path / "other")
    with pytest.raises(ValueError, match=r"FashionMNIST.raw.train-images.*SHA-256"):
        load_dataset("fashion-mnist", tmp_path)


def test_other_images_are_not_taken_for_fashion_mnist(tmp_path: Path) -> None:
    write_idx(tmp_path)
    with pytest.raises(ValueError, match=r"SHA-256.*'idx'"):
        load_dataset("fashion-mnist", tmp_path)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


IDX_DAMAGE = {
    "missing file": ("train-labels-idx1-ubyte", Path.unlink, "is missing"),
    "truncated": ("train-images-idx3-ubyte", _cut, "truncated"),
    "trailing bytes": ("t10k-images-idx3-ubyte", lambda p: p.write_bytes(p.read_bytes() + b"x"), "follow"),
    "empty": ("t10k-labels-idx1-ubyte", lambda p: p.write_bytes(b""), "too few"),
    "header cut": ("t10k-images-idx3-ubyte", lambda p: p.write_bytes(p.read_bytes()[:10]), "inside its header"),
    "wrong magic": ("train-images-idx3-ubyte", lambda p: p.write_bytes(b"\x00\x00\x0d\x03" + bytes(99)), "00 00 0d 03"),
    "gzip without suffix": (
        "train-images-idx3-ubyte",
        lambda p: p.write_bytes(gzip.compress(p.read_bytes())),
        "still compressed",
    ),
    "labels for images": (
        "train-images-idx3-ubyte",
        lambda p: p.write_bytes(struct.pack(">II", 0x801, 12) + bytes(12)),
        "do not belong together",
    ),
    "other count": (
        "train-labels-idx1-ubyte",
        lambda p: p.write_bytes(struct.pack(">II", 0x801, 11) + bytes(11)),
        "do not belong together",
    ),
    "no examples": (
        "train-images-idx3-ubyte",
        lambda p: p.write_bytes(struct.pack(">IIII", 0x803, 0, 4, 5)),
        "do not belong together",
    ),
}


@pytest.mark.parametrize("damage", IDX_DAMAGE)
def test_damaged_idx_folder(tmp_path: Path, damage: str) -> None:
    write_idx(tmp_path)
    name, action, message = IDX_DAMAGE[damage]
    action(tmp_path / name)
    with pytest.raises(ValueError, match=message):
        load_dataset("idx", tmp_path)


@pytest.mark.parametrize("content", [lambda b: b[:-9], lambda b: b[:30] + b"\xff" * 8 + b[38:], lambda b: b"no gzip"])
def test_damaged_gzip(tmp_path: Path, content: object) -> None:
    write_idx(tmp_path, packed=True)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(content(path.read_bytes()))
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte.gz: cannot be decompressed"):
        load_dataset("idx", tmp_path)


@given(st.binary(max_size=40))
def test_any_bytes_give_an_array_or_an_error(content: bytes) -> None:
    try:
        array, used = parse_idx(content, "bytes")
    except ValueError:
        return  # any other exception fails the test
    assert used <= len(content)
    assert array.size <= len(content)


# ---------------------------------------------------------------------------------------------------------- CIFAR-10


@pytest.mark.parametrize("inner", [False, True])
def test_cifar_layout(tmp_path: Path, short_cifar: int, inner: bool) -> None:
    folder = tmp_path / "cifar-10-batches-bin" if inner else tmp_path
    folder.mkdir(exist_ok=True)
    tables = write_cifar(folder, short_cifar)
    data = load_dataset("cifar10", tmp_path)
    assert (data.shape, data.size(), data.size("test")) == ((3, 32, 32), 35, 7)
    assert data.train_labels.tolist() == tables[:5, :, 0].reshape(-1).tolist()
    # green plane, row 2, column 3 of the fourth record of the second file
    assert int(data.train_images[7 + 3, 1, 2, 3]) == tables[1, 3, 1 + 1024 + 2 * 32 + 3]
    green = tables[:5, :, 1025:2049].astype(np.float64) / 255
    assert data.mean[1] == pytest.approx(green.mean(), rel=1e-12)
    assert data.std[1] == pytest.approx(green.std(), rel=1e-12)
    assert set(data.sha256) == set(CIFAR10_FILES)


def _label_ten(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[2 * 3073] = 10
    path.write_bytes(content)


CIFAR_DAMAGE = {
    "missing file": (Path.unlink, "data_batch_2.bin missing"),
    "not whole records": (_cut, "records of 3073 bytes"),
    "record too few": (lambda p: p.write_bytes(p.read_bytes()[:-3073]), r"21511 \(7 records\)|7 records"),
    "empty": (lambda p: p.write_bytes(b""), "0 bytes"),
    "label 10": (_label_ten, "record 2 has label 10"),
}


@pytest.mark.parametrize("damage", CIFAR_DAMAGE)
def test_damaged_cifar_folder(tmp_path: Path, short_cifar: int, damage: str) -> None:
    write_cifar(tmp_path, short_cifar)
    action, message = CIFAR_DAMAGE[damage]
    action(tmp_path / "data_batch_2.bin")
    with pytest.raises(ValueError, match=message):
        load_dataset("cifar10", tmp_path)


@pytest.mark.parametrize("size", [0, 1, 3072, 3074, 2 * 3073 - 1])
def test_only_whole_records_are_read(tmp_path: Path, size: int) -> None:
    path = tmp_path / "some.bin"
    path.write_bytes(bytes(size))
    with pytest.raises(ValueError, match=f"{size} bytes, .*a multiple of 3073"):
        read_cifar10_file(path, records=None)
    path.write_bytes(bytes(2 * 3073))
    assert len(read_cifar10_file(path, records=None)[0]) == 2


def test_full_files_have_ten_thousand_records(tmp_path: Path) -> None:
    write_cifar(tmp_path, 7)
    with pytest.raises(ValueError, match=r"must have 30730000 \(10000 records\)"):
        load_dataset("cifar10", tmp_path)


def test_pickles_are_refused_with_advice(tmp_path: Path) -> None:
    inner = tmp_path / "cifar-10-batches-py"
    inner.mkdir()
    # a pickle that would create a file if anyone loaded it
    (inner / "data_batch_1").write_bytes(b"cbuiltins\nopen\n(V" + str(tmp_path / "ran").encode() + b"\nVw\ntR.")
    for folder in (tmp_path, inner):
        with pytest.raises(ValueError, match=r"binary version.*cifar-10-binary\.tar\.gz"):
            load_dataset("cifar10", folder)
    assert not (tmp_path / "ran").exists()


# ------------------------------------------------------------------------------------------------ names and folders


@pytest.mark.parametrize(
    ("name", "folder", "message"),
    [
        ("cifar", None, "'cifar' is unknown; choose one of fashion-mnist-subset"),
        ("cifar10", None, "none was given"),
        ("idx", None, "none was given"),
        ("cifar10", "nowhere", "nowhere does not exist"),
        ("cifar10", "file", "file is a file"),
        ("fashion-mnist", "nowhere", "does not exist"),
        ("fashion-mnist-subset", ".", "part of the package"),
        ("cifar10", ".", "data_batch_1.bin"),
        ("fashion-mnist", ".", "is missing"),
    ],
)
def test_bad_requests(tmp_path: Path, name: str, folder: str | None, message: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=message):
        load_dataset(name, None if folder is None else tmp_path / folder)


def test_fashion_mnist_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_module, "FASHION_PLACES", (Path("/nonexistent"),))
    with pytest.raises(ValueError, match="dataset-fashion-mnist"):
        load_dataset("fashion-mnist")


def test_loading_changes_no_file(tmp_path: Path) -> None:
    write_idx(tmp_path)
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in IDX_FILES.values():
        shutil.copy(tmp_path / name, copy)
    load_dataset("idx", tmp_path)
    assert all((tmp_path / n).read_bytes() == (copy / n).read_bytes() for n in IDX_FILES.values())


# ---------------------------------------------------------------------------------------------------------- batches


@given(size=st.integers(1, 200), batch=st.integers(1, 200), seed=st.integers(0, 2**40), epoch=st.integers(0, 5))
def test_an_epoch_takes_every_example_at_most_once(size: int, batch: int, seed: int, epoch: int) -> None:
    if batch > size:
        with pytest.raises(ValueError, match="batch_size"):
            batch_indices(size, batch, seed, 0)
        return
    per_epoch = size // batch
    steps = range(epoch * per_epoch, (epoch + 1) * per_epoch)
    taken = np.concatenate([batch_indices(size, batch, seed, t) for t in steps])
    assert len(taken) == len(set(taken.tolist())) == per_epoch * batch
    assert taken.min() >= 0
    assert taken.max() < size


def test_batches_depend_on_seed_and_step_alone() -> None:
    straight = [batch_indices(100, 32, 3, t).tolist() for t in range(10)]
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    backwards = [batch_indices(100, 32, 3, t).tolist() for t in reversed(range(10))][::-1]
    assert straight == backwards
    assert straight[0] != straight[3]  # a new epoch is a new permutation
    assert straight[0] != batch_indices(100, 32, 4, 0).tolist()


def test_batch_order_is_pinned() -> None:
    """A recorded value: a run of today must be resumable and comparable after an upgrade of numpy."""
    assert batch_indices(10, 5, 0, 0).tolist() == PINNED


def test_a_batch_is_that_of_its_indices(device: str) -> None:
    data = synthetic_data(seed=0).to(device)
    x, y = batch_at(data, 3, batch_size=50, seed=7)
    assert x.device.type == torch.device(device).type
    index = batch_indices(data.size(), 50, 7, 3)
    assert torch.equal(y.cpu(), data.train_labels.cpu()[torch.from_numpy(index.copy())])
    assert torch.equal(x, data.inputs(index.copy())[0])


@pytest.mark.parametrize("arguments", [(10, 0, 0, 0), (10, 11, 0, 0), (10, 5, -1, 0), (10, 5, 0, -1)])
def test_bad_batches(arguments: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"batch_size|negative"):
        batch_indices(*arguments)


def test_constant_channel_is_not_divided_by_zero(tmp_path: Path) -> None:
    write_idx(tmp_path)
    for split, n in (("train", 12), ("t10k", 6)):
        path = tmp_path / f"{split}-images-idx3-ubyte"
        path.write_bytes(struct.pack(">IIII", 0x803, n, 4, 5) + bytes([9]) * (n * 20))
    x, _ = load_dataset("idx", tmp_path).inputs(slice(None))
    assert float(x.abs().max()) < 1e-6
