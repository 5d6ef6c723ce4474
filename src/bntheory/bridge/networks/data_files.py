"""Reading image files byte by byte: IDX and CIFAR-10's binary version, checked before they are believed.

What lives here: parsers that either return arrays or say what is wrong with which file. What does not:
choosing, standardising or batching data (``data.py``). Nothing is downloaded and nothing is unpickled.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bntheory.errors import UserError

Bytes = npt.NDArray[np.uint8]

IDX_FILES = {
    "train images": "train-images-idx3-ubyte",
    "train labels": "train-labels-idx1-ubyte",
    "test images": "t10k-images-idx3-ubyte",
    "test labels": "t10k-labels-idx1-ubyte",
}
CIFAR10_FILES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")
CIFAR10_RECORD = 1 + 3 * 32 * 32
_OPENERS: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open}
_LARGEST = 1 << 30  # no file of this kind comes near it: a compressed file that expands further is not one


def sha256_of(content: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(content).hexdigest()


def read_compressed(path: Path) -> bytes:
    """The content of a file that is plain, gzip (``.gz``) or xz (``.xz``) compressed.

    Raises:
        UserError: the file cannot be read, is truncated or damaged, or expands to more than 1 GiB.
    """
    try:
        with _OPENERS.get(path.suffix, open)(path, "rb") as file:
            content: bytes = file.read(_LARGEST + 1)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise UserError(
            f"{path}: cannot be decompressed ({error}); the file is truncated or damaged. Copy it again"
        ) from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    if len(content) > _LARGEST:
        raise UserError(f"{path}: holds more than 1 GiB, so it is no file of this data set")
    return content


def parse_idx(content: bytes, where: str) -> tuple[Bytes, int]:
    """The array of unsigned bytes at the start of ``content``, and the number of bytes that it took.

    IDX: two zero bytes, one byte for the element type (8: unsigned byte), one for the number of axes, then
    each axis' length as a big-endian 32-bit integer, then the elements in C order.

    Raises:
        UserError: wrong magic number, or fewer bytes than the header announces.
    """
    if len(content) < 4:
        raise UserError(f"{where}: {len(content)} bytes are too few for the header of an IDX file")
    zero, kind, axes = struct.unpack_from(">HBB", content)
    if zero != 0 or kind != 8 or axes not in (1, 3):
        raise UserError(
            f"{where}: starts with {content[:4].hex(' ')}, but an IDX file of unsigned bytes starts with "
            "00 00 08 01 (labels) or 00 00 08 03 (images). Is it another format, or still compressed?"
        )
    start = 4 + 4 * axes
    if len(content) < start:
        raise UserError(f"{where}: the file ends inside its header, so it is truncated. Copy it again")
    shape = struct.unpack_from(f">{axes}I", content, 4)
    size = math.prod(shape)
    if len(content) < start + size:
        raise UserError(
            f"{where}: the header announces {' x '.join(map(str, shape))} = {size} values, but only "
            f"{len(content) - start} follow, so the file is truncated. Copy it again"
        )
    return np.frombuffer(content, np.uint8, size, start).reshape(shape), start + size


def has_idx_files(folder: Path) -> bool:
    """Whether any of the four IDX files lies in ``folder``."""
    return any((folder / f"{name}{suffix}").is_file() for name in IDX_FILES.values() for suffix in ("", ".gz"))


def find_idx_file(folder: Path, name: str) -> Path:
    """``name`` or ``name.gz`` in ``folder`` (also with a dot before ``idx``, as some mirrors write it).

    Raises:
        UserError: neither is there.
    """
    for candidate in (name, f"{name}.gz", name.replace("-idx", ".idx"), f"{name.replace('-idx', '.idx')}.gz"):
        if (folder / candidate).is_file():
            return folder / candidate
    raise UserError(
        f"{folder}: {name} (or {name}.gz) is missing; the folder must hold the four IDX files "
        f"{', '.join(IDX_FILES.values())}, plain or gzipped"
    )


def cifar10_folder(folder: Path) -> Path:
    """The folder that holds the six files of CIFAR-10's binary version: ``folder`` or its usual subfolder.

    Raises:
        UserError: it holds the Python version (pickles), or files are missing.
    """
    inner = folder / "cifar-10-batches-bin"
    if not (folder / CIFAR10_FILES[0]).exists() and inner.is_dir():
        folder = inner
    missing = [name for name in CIFAR10_FILES if not (folder / name).is_file()]
    if not missing:
        return folder
    if any((f / "data_batch_1").is_file() for f in (folder, folder / "cifar-10-batches-py")):
        raise UserError(
            f"{folder}: this is CIFAR-10's Python version, whose files are pickles, and unpickling can run "
            "any code that a file contains. Get the *binary version* (cifar-10-binary.tar.gz, six .bin files) "
            "and give the folder that it unpacks to"
        )
    raise UserError(
        f"{folder}: {', '.join(missing)} missing; CIFAR-10's binary version consists of {', '.join(CIFAR10_FILES)}"
    )


def read_cifar10_file(path: Path, records: int | None = 10_000) -> tuple[Bytes, Bytes, str]:
    """Images (n, 3, 32, 32), labels (n,) and the SHA-256 of one ``.bin`` file.

    Each record is a label byte and 3 x 1024 bytes: the red, green and blue planes, row by row.

    Args:
        records: the number of records that must be there; ``None`` takes any positive number.

    Raises:
        UserError: unreadable, not a whole number of records, another number of records, or a label above 9.
    """
    content = read_compressed(path)
    count, rest = divmod(len(content), CIFAR10_RECORD)
    if rest or not count or (records is not None and count != records):
        expected = f"{records * CIFAR10_RECORD} ({records} records)" if records else "a multiple of 3073"
        raise UserError(
            f"{path}: {len(content)} bytes, but CIFAR-10's binary version has records of "
            f"{CIFAR10_RECORD} bytes and this file must have {expected}; the file is truncated or another "
            "format. Unpack the archive again"
        )
    table = np.frombuffer(content, np.uint8).reshape(count, CIFAR10_RECORD)
    labels = table[:, 0]
    if int(labels.max()) > 9:
        at = int(np.argmax(labels > 9))
        raise UserError(
            f"{path}: record {at} has label {labels[at]}, but CIFAR-10 has labels 0 to 9 (CIFAR-100 and "
            "other data sets have another layout)"
        )
    return table[:, 1:].reshape(count, 3, 32, 32), labels, sha256_of(content)
