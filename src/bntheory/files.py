"""Files that are written whole or not at all, and read whole or refused."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from bntheory.errors import UserError


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new, never a part.

    A symbolic link stays, and the file that it points at is written. UserError for what is there and no regular file: a
    pipe or a device would be replaced by one.
    """
    given, path = path, Path(os.path.realpath(path))
    if is_special(path):
        raise UserError(
            f"{given}: is no regular file (a pipe, a socket or a device), which none can replace; name another place"
        )
    draft = path.parent / f".tmp-{secrets.token_hex(8)}"
    try:
        # who may read it is the umask's to say, which tempfile does not ask
        handle = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o666)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException as error:
        draft.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno:  # the system names the draft, or nothing where the disk is full
            raise OSError(error.errno, error.strerror, str(given)) from error
        raise
    _sync_folder(path.parent)


def is_special(path: Path) -> bool:
    """Whether it is there and neither a regular file nor a folder: a pipe, a socket, a device."""
    return path.exists() and not (path.is_file() or path.is_dir())


def read_at_most(path: Path, most: int) -> bytes:
    """The content of a file. Raises OSError as reading does, and UserError for one of more than ``most`` bytes, or one that is no regular
    file: such a one may never end."""
    if is_special(path):
        raise UserError(
            f"{path}: is no regular file (a pipe, a socket or a device), and may never end; write what it gives into a file, and give that"
        )
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise UserError(f"{path}: has {path.stat().st_size} bytes; at most {most} are read. Is it the right file?")
    return content


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # a folder cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
