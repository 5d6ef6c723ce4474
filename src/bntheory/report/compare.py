"""The main job from end to end: run (or take up) an experiment, draw what it shows, decide, and say so with an exit code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bntheory.errors import UserError
from bntheory.evidence.counts import counted
from bntheory.evidence.progress import Progress, silent
from bntheory.evidence.record import by_ranks
from bntheory.experiments.experiment import freshest, missing, needed
from bntheory.experiments.folder import (
    RunFolder,
    begun,
    free_folder,
    holds_other_files,
    latest_folder,
    named_folder,
    open_run,
    read_manifest,
)
from bntheory.experiments.manifest import conditions_of, make_manifest
from bntheory.experiments.preset import Preset, load_preset, preset_from_json
from bntheory.experiments.quantities import merged
from bntheory.experiments.store import CHECKPOINTS

if TYPE_CHECKING:
    from bntheory.bridge.networks.image_data import ImageData


@dataclass(frozen=True)
class CompareResult:
    """Where a run lies and what it amounts to.

    exit_code: 0 where every proved identity held on every layer of every network, 1 where one failed, 2 where none failed and one could
    not be checked, or a record could not be had. failures: one sentence for each identity that failed, with network, layer, channel
    and both sides. report: the HTML page.
    """

    folder: Path
    report: Path
    exit_code: int
    failures: tuple[str, ...]
    verdicts: Mapping[str, Any]


def compare(
    preset: str | None = None,
    *,
    device: str | None = None,
    data: str | None = None,
    data_dir: str | Path | None = None,
    data_note: str = "",
    out: str | Path | None = None,
    seeds: Sequence[int] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    workers: int | None = None,
    fold: bool | None = None,
    scheduler: str | None = None,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda text: None,
) -> CompareResult:
    """Train matched networks, measure every batch-norm layer in them, hold it against the theory, write the report.

    A measurement that fails is noted with its reason in the store, and the rest is done; resume tries it again.

    Args:
        preset: a name of the package or the path of a TOML file; ``quick`` by default.
        device: a torch device; ``cpu`` by default.
        data, data_dir: as for :func:`bntheory.bridge.networks.data.load_dataset`, or FILE.py:function; the preset's own data by default.
        data_note: where the data come from, shown with every result.
        out: the folder of the run; ``runs/<preset>`` by default, numbered if taken.
        seeds: instead of the preset's.
        resume: go on with a run that was cut off; options left out are taken from it.
        overwrite: replace the run in ``out``.
        workers: processes, one a core by default, 0 for everything in this one; no number depends on it.
        fold: train runs that differ in nothing but values as one, where a timed sample says that it is faster. Their numbers equal those of
            one by one within rounding, not bit for bit, and their records say so. Off by default.
        scheduler: the address of a Dask cluster whose workers do it instead, and read the data for themselves.
        progress: called with the fraction done and what is being done.
        say: called with what a person should know: lines of the store that could not be believed, a damaged checkpoint, a process that died.

    Raises UserError for bad use: unknown preset, unreadable or damaged data, unwritable folder, missing device, a folder that
    holds another run, networks or batches that cannot be.
    """
    from bntheory.devices import check_device
    from bntheory.experiments.engine import hired, run
    from bntheory.experiments.own import dataset
    from bntheory.experiments.worker import Workplace

    path = _folder(out, preset or "quick", resume=resume, overwrite=overwrite)
    old = read_manifest(path, resume=True) if resume else None
    chosen = _preset(preset, old).with_options(
        data=data or (old["data"]["name"] if old else None), seeds=old["seeds"] if seeds is None and old else seeds
    )
    device = device or (old["device"] if old else "cpu")
    if scheduler is None:
        check_device(device)
    progress(0.0, f"loading {chosen.data}")
    images = dataset(chosen.data, data_dir)
    if int(images.train_labels.min()) == int(images.train_labels.max()):
        raise UserError(
            f"data: every training image of {chosen.data} has the same label, so there is nothing to learn; give data with two classes at least"
        )
    _check_possible(chosen, images)
    fold = bool(old and old.get("folded")) if fold is None else fold
    with hired(workers, scheduler, device, data_dir=data_dir, say=say) as crew:
        named = crew.device_name if crew else None
        manifest = make_manifest(chosen, images, device, data_note, named, fold=fold)
        with begun(path), open_run(path, manifest, resume=resume, overwrite=overwrite) as folder:
            contents = folder.read()
            if contents.faults:
                say(contents.fault_text())
            experiment, conditions = chosen.experiment(), conditions_of(manifest)
            place = Workplace({images.name: (conditions, images)}, device, folder.path / CHECKPOINTS)
            asked = list(needed(experiment, conditions))
            refused: dict[str, str] = {}
            run(asked, folder, place, crew=crew, progress=progress, say=say, failed=refused)
            if refused and not folder.state():
                raise UserError(f"nothing could be measured: {next(iter(refused.values()))}")
            return finish(folder, chosen, progress)


def rebuilt(path: Path, progress: Progress = silent) -> CompareResult:
    """Verdicts, figures and page of the run in ``path`` anew, from its records. Raises UserError where there is none."""
    manifest = read_manifest(path)
    return finish(RunFolder(path, manifest), preset_from_json(manifest["preset_content"]), progress)


def figures(path: str | Path) -> dict[str, Any]:
    """The matplotlib figures of the run in ``path``, from its records, by the names that the report gives them.

    Raises UserError where there is no run.
    """
    from bntheory.experiments.network_runs import network_runs
    from bntheory.report.run_page import run_figures

    manifest = read_manifest(Path(path))
    preset = preset_from_json(manifest["preset_content"])
    points, _ = _read(RunFolder(Path(path), manifest), preset)
    return run_figures(network_runs(preset.experiment(), points), points)


def side_by_side(
    paths: Sequence[Path],
    out: Path | None = None,
    progress: Progress = silent,
    say: Callable[[Mapping[str, Any]], None] = lambda verdicts: None,
) -> Path:
    """Runs beside each other on one page, by default ``report-A-beside-B.html`` here; returns its path. say: hears the verdicts of
    each.

    Raises UserError for a run beside itself, and for runs that have no comparison in common.
    """
    from bntheory.report.run_page import write_comparison

    places = [path.resolve() for path in paths]
    if again := next((path for n, path in enumerate(paths) if places[n] in places[:n]), None):
        first = paths[places.index(again.resolve())]
        raise UserError(f"report: {first} and {again} are the same folder; give two runs, or one for its own page")
    manifests = [read_manifest(path) for path in paths]
    presets = [str(manifest["preset"]) for manifest in manifests]
    labels = presets if len(set(presets)) == len(presets) else _names(places)
    runs: list[tuple[str, Mapping[str, Any], Mapping[str, Any]]] = []
    for path, label, manifest in zip(paths, labels, manifests, strict=True):
        progress(len(runs) / (len(paths) + 1), f"reading {path} and deciding")
        _, verdicts = _read(RunFolder(path, manifest), preset_from_json(manifest["preset_content"]))
        say(verdicts)
        runs.append((label, manifest, verdicts))
    progress(len(runs) / (len(paths) + 1), "drawing the page")
    names = "-beside-".join(path.resolve().name for path in paths)
    return write_comparison(runs, out or Path(f"report-{names}.html"))


def _names(places: Sequence[Path]) -> list[str]:
    """The folders' names, with as much of the path before them as tells them apart."""
    for depth in range(1, max(len(place.parts) for place in places)):
        names = ["/".join(place.parts[-depth:]) for place in places]
        if len(set(names)) == len(names):
            return names
    return [str(place) for place in places]


def _read(folder: RunFolder, preset: Preset) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """(points, verdicts) of a run, from its records alone."""
    from bntheory.experiments.answers import run_verdicts

    contents = folder.read()
    asked = list(needed(preset.experiment(), conditions_of(folder.manifest)))
    found = freshest(asked, contents.versions)
    counted_for = {n.address: found[n.address] for n in asked if n.fresh(found.get(n.address))}
    points, left = merged(asked, counted_for), missing(asked, found)
    skipped = [str(f) for f in contents.faults]
    verdicts = {**run_verdicts(preset, points), "skipped_lines": skipped, **by_ranks(counted_for.values())}
    verdicts["refused"] += folder.refused(left)
    if left:
        verdicts["exit_code"] = verdicts["exit_code"] or 2
        verdicts["missing"] = f"{len(left)} of the {counted(len(asked), 'record')} that this run asks for"
    return points, verdicts


def finish(folder: RunFolder, preset: Preset, progress: Progress = silent) -> CompareResult:
    """Verdicts, figures and page of a run whose records are complete."""
    from bntheory.experiments.answers import failures
    from bntheory.report.run_page import write_report

    progress(0.0, "reading the records and deciding")
    points, verdicts = _read(folder, preset)
    report = write_report(folder, preset, points, verdicts, lambda done, text: progress(0.2 + 0.8 * done, text))
    folder.write_json("verdicts.json", verdicts)
    failed = tuple(failures(points))
    return CompareResult(folder.path, report, int(verdicts["exit_code"]), failed, verdicts)


def _check_possible(preset: Preset, images: ImageData) -> None:
    """UserError for networks and batches that cannot be, before the work on those that can."""
    from bntheory.experiments.arms import build
    from bntheory.experiments.images import images_of, measurement_batch, training_batch

    asked, m = preset.experiment(), preset.measure
    own = images_of(images, asked.protocol, 0)
    for arm in {arm.network: arm for arm in asked.arms}.values():
        build(arm, 0, own, "cpu")
    training_batch(own, asked.protocol, 0, 0, "cpu")
    measurement_batch(own, 0, max(m.batch_size, m.theory_batch_size, preset.curvature.batch_size))


def _preset(name: str | None, old: Mapping[str, Any] | None) -> Preset:
    if name is None and old is not None:
        return preset_from_json(old["preset_content"])
    return load_preset(name or "quick")


def _folder(out: str | Path | None, preset: str, *, resume: bool, overwrite: bool) -> Path:
    path = named_folder(out, resume=resume, overwrite=overwrite)
    if path is None:
        name, root = Path(preset).stem if preset.endswith(".toml") else preset, Path("runs")
        return latest_folder(root, name) if resume else free_folder(root, name)
    if not resume and holds_other_files(path):
        raise UserError(f"out: {path} holds other files and no run; name an empty or a new folder")
    return path
