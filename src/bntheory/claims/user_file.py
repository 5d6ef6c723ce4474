"""Read a user's own file of claims, to its end, whatever is wrong with parts of it.

The file is Python and is run: it is the user's own. Each top-level statement runs by itself, so that a mistake in one
claim costs that claim only; a part that does not parse is set aside with its line number, and the rest is read.
"""

from __future__ import annotations

import ast
import re
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib import invalidate_caches
from pathlib import Path
from types import ModuleType

from bntheory.claims.claim import Claim, Registry, collecting
from bntheory.errors import UserError
from bntheory.files import read_at_most

_MAX_BYTES = 2_000_000
_CONTINUES = re.compile(r"[\s)\]}]|(?:else|elif|except|finally)\b")


@dataclass(frozen=True)
class Problem:
    """One part of the file that could not be used. line: where it starts, from 1."""

    line: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}"


@dataclass(frozen=True)
class UserClaims:
    """What a file holds: its claims, and what was wrong with the rest."""

    path: Path
    claims: tuple[Claim, ...]
    problems: tuple[Problem, ...]


def load_claims(path: str | Path, seconds: float | None = None) -> UserClaims:
    """Run the file and collect its claims. UserError where it cannot be read at all.

    Modules beside the file can be imported, and, where it lies in a package, by relative imports. seconds: a statement
    that is still running after it is stopped, where the system can (in the main thread, on Unix).
    """
    path = Path(path)
    source = _read(path)
    registry = Registry(lenient=True)
    problems: list[Problem] = []
    module = ModuleType(_module_name(path))
    module.__file__ = str(path)
    module.__package__ = module.__name__.rpartition(".")[0]
    with collecting(registry), in_its_folder(path, first=True):
        # decorated functions and dataclasses look their module up, and so does a module that it imports and that
        # imports it
        sys.modules[module.__name__] = module
        for statement in _statements(source, path, problems):
            code = compile(ast.Module([statement], []), str(path), "exec")
            try:
                with redirect_stdout(sys.stderr), _stopped_after(seconds):  # what it prints is no part of an answer
                    exec(code, module.__dict__)
            except (Exception, SystemExit) as error:
                problems.append(Problem(_line_of(error, path, statement), f"{type(error).__name__}: {error}"))
    for function, reason in registry.rejected:
        written = getattr(function, "__code__", None)
        problems.append(Problem(written.co_firstlineno if written else 0, reason))
    return UserClaims(path, tuple(registry), tuple(sorted(problems, key=lambda p: p.line)))


def _package(path: Path) -> tuple[Path, tuple[str, ...]]:
    """The folder that holds the outermost package of a file, and the packages from there inwards."""
    names: list[str] = []
    folder = path.resolve().parent
    while (folder / "__init__.py").is_file() and folder.name.isidentifier():
        names.insert(0, folder.name)
        folder = folder.parent
    return folder, tuple(names)


def _module_name(path: Path) -> str:
    _, packages = _package(path)
    if packages and path.stem.isidentifier():
        return ".".join((*packages, path.stem))
    return f"bntheory_user_claims_{abs(hash(str(path.resolve())))}"


_KEPT: dict[Path, dict[str, ModuleType]] = {}


@contextmanager
def in_its_folder(path: str | Path, *, first: bool = False) -> Iterator[None]:
    """Within this block imports find what lies beside a file of claims, and each of two files finds its own ("":
    nothing changes).

    first: before what is installed, as for a script; otherwise after it, so that nothing there takes the place of a
    library.
    """
    if not str(path):
        yield
        return
    folder = Path(path).resolve().parent
    places = list(dict.fromkeys((folder, _package(Path(path))[0])))
    before = set(sys.modules)
    sys.modules.update(_KEPT.get(folder, {}))
    searched = list(sys.path)
    added = [str(place) for place in places]
    sys.path[:] = [*added, *searched] if first else [*searched, *added]
    invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = searched
        _KEPT[folder] = {
            name: sys.modules.pop(name)
            for name in list(sys.modules)
            if name not in before and _lies_in(places, name, sys.modules[name])
        }


def _lies_in(places: list[Path], name: str, module: ModuleType) -> bool:
    """Whether a module is one of the folder's own, and not of a library that is installed somewhere below it."""
    top = name.partition(".")[0]
    file = getattr(module, "__file__", None)
    if top == "bntheory" or not file:
        return False
    return any(Path(file).resolve().is_relative_to(p / top) or Path(file) == p / f"{top}.py" for p in places)


@contextmanager
def _stopped_after(seconds: float | None) -> Iterator[None]:
    """Raise TimeoutError in what runs for longer."""
    if not seconds or not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise TimeoutError(f"still running after {seconds:g} s (--time-limit)")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)  # again and again: it may be swallowed once, not for ever
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def _read(path: Path) -> str:
    try:
        raw = read_at_most(path, _MAX_BYTES)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); give the path of a Python file of claims"
        ) from None
    try:
        return raw.decode("utf-8-sig")  # with the mark in front that editors on Windows put there
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None


def _statements(source: str, path: Path, problems: list[Problem]) -> Iterator[ast.stmt]:
    """The top-level statements; where the whole does not parse, those of every part that does."""
    try:
        yield from ast.parse(source, str(path)).body
        return
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        pass
    for start, block in _blocks(source):
        try:
            # blank lines in front keep the line numbers
            body = ast.parse("\n" * (start - 1) + block, str(path)).body
        except SyntaxError as error:
            problems.append(Problem(error.lineno or start, f"syntax error: {error.msg}"))
        except (ValueError, RecursionError, MemoryError) as error:
            problems.append(Problem(start, f"cannot be parsed: {type(error).__name__}: {error}"))
        else:
            yield from body


def _blocks(source: str) -> Iterator[tuple[int, str]]:
    """The source cut where a line starts in column 0 and does not continue what is before it; (first line, text)."""
    start = 1
    block: list[str] = []
    decorated = False
    for number, line in enumerate(source.split("\n"), 1):
        begins = bool(line) and not _CONTINUES.match(line)
        if begins and block and not (decorated and line.startswith(("@", "def ", "async def ", "class "))):
            yield start, "\n".join(block)
            start, block = number, []
        if begins:
            decorated = line.startswith("@")
        block.append(line)
    yield start, "\n".join(block)


def _line_of(error: BaseException, path: Path, statement: ast.stmt) -> int:
    """The last line of the user's own file that the error went through."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return lines[-1] if lines and lines[-1] else statement.lineno
