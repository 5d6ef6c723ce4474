"""Measures, kinds of networks and data sets in a user's own file, by the name "FILE.py:function".

A process loads them by itself, wherever it is. A record rests on the whole text of the file and on what that imports from
this package, so modules beside it, whose change nobody would see, are refused.
"""

from __future__ import annotations

import ast
import hashlib
import math
import os
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bntheory.errors import UserError
from bntheory.evidence.closure import package
from bntheory.evidence.record import Json, digest, in_json, plain
from bntheory.evidence.source import Place, imported
from bntheory.files import read_at_most

if TYPE_CHECKING:
    from torch import nn

    from bntheory.bridge.networks.image_data import ImageData

_MOST_BYTES = 2_000_000
_MOST_CLASSES = 100_000
#: Tensors of more entries are data, and no state.
_LARGEST = 1_000_000
_PARTS = ("train images", "train labels", "test images", "test labels")


def is_own(name: str) -> bool:
    """Whether what is called so stands in a user's file."""
    return ".py:" in name


def own_code(name: str, training: str = "") -> str:
    """What records rest on, of a kind of network or of a measure. training: the code that trains what it measures.

    Raises UserError for a file that cannot be read.
    """
    source, places = _read(name)
    within = package()
    roots = [place for place in places if within.holds(place[0])]
    return digest([source, within.fingerprint(roots) if roots else "", training])


def own_values(name: str, situation: Any, options: Mapping[str, Any]) -> Json:
    """{name: the measure's values}; the network is left as it was.

    Raises UserError for a function that is not there or breaks, and for values that no record holds.
    """
    from bntheory.bridge.networks.state import state_guard

    with state_guard(situation.model):
        given = _called(name, "(situation, options)", situation, dict(options))
    if found := _not_finite(given):
        place, value = found
        where = f" for {place!r:.60}" if place else ""
        raise UserError(
            f"{name}: it gave {value!r:.60}{where}, and a record holds what is finite; return {{}} for what could not be had, or a dict with None"
        )
    values = plain(given)
    if values is None or not in_json(values):
        raise UserError(f"{name}: it gave {values!r:.60}, which no record holds; return numbers, lists or dicts")
    return {name: values}


def _not_finite(value: Any, place: str = "") -> tuple[str, float] | None:
    """(where, which) of the first number that is not finite, as "a" or "b[1]"; None where there is none."""
    if isinstance(value, Mapping):
        parts = [(f"{place}.{key}" if place else str(key), item) for key, item in value.items()]
    elif isinstance(value, (tuple, list)):
        parts = [(f"{place}[{index}]", item) for index, item in enumerate(value)]
    elif hasattr(value, "tolist"):
        return _not_finite(value.tolist(), place)
    else:
        return (place, value) if isinstance(value, float) and not math.isfinite(value) else None
    return next((found for where, item in parts if (found := _not_finite(item, where))), None)


@contextmanager
def left_as_found(*names: str, model: nn.Module | None = None) -> Iterator[None]:
    """Inside, what the functions of these names and the model keep in globals, classes, closures or attributes may change; it is put back
    at the end, so that the next task or measurement of this process begins as this one did. Names of the package's own are passed over.
    """
    import torch

    from bntheory.bridge.networks.keepers import keepers_of
    from bntheory.bridge.networks.places import attributes_of
    from bntheory.bridge.networks.state import state_guard

    places = keepers_of(*(_function(name) for name in names if is_own(name)), model)
    tensors = [t for place in places for t in attributes_of(place).values() if isinstance(t, torch.Tensor)]
    copies = [(t.detach(), t.detach().clone()) for t in tensors if t.numel() <= _LARGEST]
    try:
        with state_guard(*places, rng=False):
            yield
    finally:
        for tensor, before in copies:
            tensor.copy_(before)


def not_in_checkpoint(model: nn.Module, at_its_start: Mapping[str, str]) -> str:
    """The name of something that training has changed and a checkpoint lacks; "" where there is none.

    at_its_start: what :func:`bntheory.bridge.networks.keepers.kept_outside` gives of the untrained model.
    """
    from bntheory.bridge.networks.keepers import kept_outside

    now = kept_outside(model)
    return next((name for name in (*now, *at_its_start) if now.get(name) != at_its_start.get(name)), "")


def own_network(kind: str, seed: int, data: ImageData, options: Mapping[str, Any]) -> nn.Module:
    """A user's network at its initial values, which are a function of the seed, in float32 on the CPU.

    The global generators stand at the seed while it is built. Its weights of linear and convolutional layers are then drawn
    by their names, so that arms share them, as options["init"] says (of a NetworkSpec; "own" leaves them as they are).

    Raises UserError for what is no network, is another one at each call, or has not one output a class for such images.
    """
    import torch

    from bntheory.bridge.networks.generators import seed_generators
    from bntheory.bridge.networks.spec import INITS, initialise
    from bntheory.bridge.networks.state import state_guard

    init = options.get("init", INITS[0])
    if init not in (*INITS, "own"):
        raise UserError(f"{kind}: init {init!r:.40} is unknown; choose one of {', '.join(INITS)}, own")

    def built() -> nn.Module:
        with state_guard():
            seed_generators(seed)
            model = _called(kind, "(shape, classes, options)", data.shape, data.classes, dict(options))
        if not isinstance(model, torch.nn.Module):
            raise UserError(f"{kind}: {model!r:.60} is no network; return a torch.nn.Module")
        try:
            if init != "own":
                initialise(model, init, 1.0, seed)
            return model.to("cpu", torch.float32).train()
        except Exception as error:  # of lazy layers, which have no values yet
            raise UserError(f"{kind}: its weights cannot be drawn ({type(error).__name__}: {error})") from error

    model, again = built(), built().state_dict()
    if any(not torch.equal(value, again[name]) for name, value in model.state_dict().items()):
        raise UserError(
            f"{kind}: another network at each call; draw from the global generators, or from one with a seed"
        )
    images, _ = data.inputs(slice(0, 4), device="cpu")
    with state_guard(model), torch.no_grad():
        try:
            found = tuple(model(images).shape)
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            raise UserError(f"{kind}: it does not take images of shape {data.shape} ({said})") from error
    if found != (len(images), data.classes):
        raise UserError(
            f"{kind}: {found} is the shape of its outputs for {len(images)} images of {data.classes} classes"
        )
    return model


def dataset(name: str, folder: str | Path | None = None) -> ImageData:
    """The images of a data set by its name, loaded once. folder: that of its files, where it needs one.

    A user's function gives training images and labels, test images and labels: images (n, channels, height, width),
    (n, height, width) or (n, features), bytes or numbers that are kept in float32, standardised by their channels; labels
    are whole numbers from 0 up.

    Raises UserError as :func:`bntheory.bridge.networks.data.load_dataset`, and for what is other data at each call.
    """
    if not is_own(name):
        return _of_package(name, folder)
    if folder is not None:
        raise UserError(f"data_dir: {name} reads its files itself, but {folder} was given; leave it out")
    return _data(name, _read(name)[0])


@lru_cache(maxsize=4)
def _of_package(name: str, folder: str | Path | None) -> ImageData:
    from bntheory.bridge import load_dataset

    return load_dataset(name, folder)


@lru_cache(maxsize=2)
def _data(name: str, source: str) -> ImageData:
    from dataclasses import replace

    import numpy as np
    import torch

    from bntheory.bridge.networks.image_data import assemble

    def loaded() -> list[Any]:
        given = _called(name, "()")
        if not isinstance(given, (tuple, list)) or len(given) != len(_PARTS):
            raise UserError(f"{name}: {given!r:.60} are not these four: {', '.join(_PARTS)}")
        try:
            return [np.ascontiguousarray(torch.as_tensor(value).cpu().numpy()) for value in given]
        except (TypeError, ValueError, RuntimeError) as error:
            raise UserError(f"{name}: {error}; return four arrays or tensors, {', '.join(_PARTS)}") from error

    arrays = dict(zip(_PARTS, loaded(), strict=True))
    values = _hashed(arrays.values())
    if values != _hashed(loaded()):
        raise UserError(f"{name}: other data at each call; draw from a generator with a seed")
    as_bytes, shown = all(arrays[part].dtype == np.uint8 for part in _PARTS[::2]), {}
    for part, array in arrays.items():
        if part in _PARTS[1::2] and (array.dtype.kind not in "iu" or array.min(initial=0) < 0):
            raise UserError(f"{name}: {part} are {array.ravel()[:4]!s:.60}; give whole numbers from 0 up")
        if array.dtype.kind not in "buif" or not (np.abs(array) <= np.finfo(np.float32).max).all():
            raise UserError(f"{name}: {part} hold what is no finite number in float32")
        if part in _PARTS[::2]:
            array = arrays[part] = array[:, None, None, :] if array.ndim == 2 else array
        shown[part] = array if as_bytes or part in _PARTS[1::2] else np.zeros(array.shape, np.uint8)
    classes = max(int(arrays[part].max(initial=0)) for part in _PARTS[1::2]) + 1
    if classes > _MOST_CLASSES:
        raise UserError(
            f"{name}: a label is {classes - 1}; number the classes from 0 up, at most {_MOST_CLASSES} of them"
        )
    hashes = {name.rpartition(":")[0]: hashlib.sha256(source.encode()).hexdigest(), "values": values}
    made = assemble(name, shown, tuple(map(str, range(classes))), hashes, "unknown: given by the user", f"from {name}")
    if as_bytes:
        return made
    train, test = (torch.from_numpy(arrays[part]).double().reshape(-1, *made.shape) for part in _PARTS[::2])
    # what is kept is divided by 255, as bytes are, before it is standardised
    mean, std = train.mean((0, 2, 3)) / 255, train.std((0, 2, 3), correction=0) / 255
    moments = tuple(mean.tolist()), tuple(s or 1.0 for s in std.tolist())
    return replace(made, train_images=train.float(), test_images=test.float(), mean=moments[0], std=moments[1])


def _hashed(arrays: Any) -> str:
    return digest([[str(a.dtype), list(a.shape), hashlib.sha256(a).hexdigest()] for a in arrays])


def _function(name: str) -> Any:
    """The function of this name, or None."""
    path, _, function = name.rpartition(":")
    return _loaded(path, _read(name)[0]).get(function)


def _called(name: str, takes: str, *given: Any) -> Any:
    """What the function gives. Raises UserError for one that is not there or breaks."""
    path, _, function = name.rpartition(":")
    found = _function(name)
    if not callable(found):
        raise UserError(f"{name}: {path} has no function {function!r}; give one of {takes}")
    try:
        with _process_unchanged():
            return found(*given)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        line = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path][-1:]
        where = f"line {line[0]}, " if line else f"called with {takes}, "
        raise UserError(f"{name}: {where}{type(error).__name__}: {error}") from error


@contextmanager
def _process_unchanged() -> Iterator[None]:
    """What a function may change for all that this process does afterwards is put back: sums over more threads, or numbers of
    another type, would be in every later record."""
    import torch

    from bntheory.bridge.networks.state import state_guard

    threads, dtype, folder = torch.get_num_threads(), torch.get_default_dtype(), os.getcwd()
    try:
        with state_guard(), torch.set_grad_enabled(torch.is_grad_enabled()):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        os.chdir(folder)


def _read(name: str) -> tuple[str, list[Place]]:
    """(the file's text, what it imports)."""
    path = Path(name.rpartition(":")[0])
    try:
        source = read_at_most(path, _MOST_BYTES).decode("utf-8-sig")
        places = _imports(source)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f"{name}: {path} cannot be read ({error}); it is looked for from the folder here") from None
    for top in {module.partition(".")[0] for module, _ in places} - {"bntheory"}:
        if top == "" or (path.parent / f"{top}.py").is_file() or (path.parent / top / "__init__.py").is_file():
            raise UserError(
                f"{name}: {path} imports {top or 'from its own folder'}, whose change no record would show; put it into the file"
            )
    return source, places


@lru_cache(maxsize=64)
def _imports(source: str) -> list[Place]:
    return list(imported(ast.walk(ast.parse(source)), "").values())


@lru_cache(maxsize=64)
def _loaded(path: str, source: str) -> Mapping[str, Any]:
    space: dict[str, Any] = {"__name__": f"bntheory_own_{Path(path).stem}", "__file__": path}
    try:
        with _process_unchanged():
            exec(compile(source, path, "exec"), space)
    except (Exception, SystemExit) as error:
        raise UserError(f"{path} cannot be run ({type(error).__name__}: {error})") from error
    return space
