"""The main job on the command line: ``bntheory compare`` and ``validation/compare_empirical.py`` are this one function.

Importing this module is cheap: torch loads once the options have been read.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from bntheory.commands.common import FAILED, clear_errors, interrupted, one_of, refused
from bntheory.commands.options import Json, described
from bntheory.commands.progress import show_progress
from bntheory.errors import UserError, terminated_as_interrupted
from bntheory.evidence.counts import counted
from bntheory.evidence.study import LAST_BLOCK
from bntheory.report.strict_json import json_text


def on_all_ranks(command: Callable[..., None]) -> Callable[..., None]:
    """The command, on the first of the processes that torchrun started; the others train with it and say nothing.

    A command that is ended by SIGTERM ends as at an interrupt.
    """

    @functools.wraps(command)
    def started(*args: Any, **options: Any) -> None:
        from bntheory.devices import started_by_torchrun

        if not started_by_torchrun():
            with terminated_as_interrupted():
                command(*args, **options)
            return
        from bntheory.experiments.ranks import joined

        with joined() as goes_on:
            if goes_on:
                command(*args, **options)

    return started


def _among_ranks() -> bool:
    from bntheory.experiments.ranks import present

    return present() is not None


@clear_errors
@on_all_ranks
@described(
    preset="How large a run: smoke (under 40 s), quick (about 2 minutes on 2 cores; the default), cpu (about an hour), "
    "cpu-cifar10 (a quarter of VGG-11's width, three hours on one core), "
    "gpu (full-size VGG and ResNet on CIFAR-10, in as many sittings as it takes), or the path of your own .toml file.",
    device="Where to compute: cpu (default), cuda or cuda:1.",
    data="Data set instead of the preset's: fashion-mnist-subset (in the package), fashion-mnist, cifar10, idx, or your own FILE.py:function.",
    data_dir="Folder with the data: CIFAR-10's binary version, or four IDX files. Nothing is downloaded.",
    data_note="Where your data come from, shown with every result; say here if they are recompressed.",
    out="Folder of the run; runs/PRESET (numbered if taken) where left out.",
    seeds="Seeds instead of the preset's, as 0,1,2.",
    resume="Go on with a run that was cut off (the latest of the preset, or the one in --out); options left out are taken "
    "from it. It ends with the same numbers as an uninterrupted run.",
    workers=typer.Option(
        help="Processes; one a core where left out, 0 for this one alone. No number depends on it.", min=0, max=1024
    ),
    fold="auto: seeds and arms that differ in nothing but values are trained as one network where a timed sample on the device "
    "says that it is faster (small MLPs, eight or more of a kind); equal to one by one within rounding, not bit for bit, and "
    "their records say so. never (the default): every number repeats bit for bit.",
    scheduler="Instead of processes here, the workers of a Dask cluster, as tcp://host:8786; with --device cuda those with --resources "
    "GPU=1. They read the data for themselves, --data-dir being a folder there as well; records come back to this folder.",
    overwrite="Replace the run that lies in --out.",
    claims="Instead of the preset's own questions, judge experiment claims at the scale that --preset names (quick, cpu or gpu): all, or "
    "sources, ids and files of claims with commas between. Their records, verdicts.json and report.html lie in --out (runs/claims-SCALE).",
    block=typer.Option(
        help="With --claims: on another block of seeds than the recorded ones, its seeds higher by this many thousands; whether a "
        "verdict stands there, too, is another question than how sure it is here.",
        min=0,
        max=LAST_BLOCK,
    ),
)
def compare_command(
    preset: str | None = None,
    device: str | None = None,
    data: str | None = None,
    data_dir: Path | None = None,
    data_note: str = "",
    out: Path | None = None,
    seeds: str = "",
    resume: bool = False,
    workers: int | None = None,
    fold: str | None = None,
    scheduler: str | None = None,
    overwrite: bool = False,
    claims: str = "",
    block: int = 0,
    as_json: Json = False,
) -> None:
    """Train matched networks, measure every batch-norm layer in them, and hold the measurements against the theory.

    Arms start from the same weights and see the same batches: the network with batch norm, without it, with its statistics detached
    (the same forward pass, no gradient through the mean, the variance, or both), and without it on a rescaled loss; the main ones at
    several learning rates. Batch norm's curvature is compared with that of its frozen-statistics twins at the same weights, and with the
    standard network's at equal rates; every layer is held against the closed form. The run's folder then holds report.html, verdicts.json, the figures and all records.

    On several GPUs of one or more machines one large network is trained at a time, each GPU with its share of every batch, where torchrun starts the
    command: torchrun --nproc-per-node 4 -m bntheory compare --preset gpu --device cuda --out FOLDER. As by one process but for rounding; records say so.

    Exit code: 0 if every proved identity holds within its derived tolerance on every layer, 1 if one fails (it is named) and for nothing
    else, 2 where the run, or a record of it, could not be made, 3 for a defect of this program.

    Examples:
      bntheory compare --preset smoke --out runs/first
    """
    folding = None if fold is None else one_of("fold", fold, ("auto", "never")) == "auto"
    if folding and _among_ranks():
        raise UserError("--fold: torchrun's ranks train one network after another; leave --fold out")
    if claims and folding:
        raise UserError("--fold, --claims: the runs of claims are trained one by one; leave --fold out")
    if claims:
        own = {"--data": data, "--data-dir": data_dir, "--data-note": data_note, "--seeds": seeds}
        others = [name for name, value in own.items() if value]
        if others:
            raise UserError(
                f"{others[0]}, --claims: a claim says itself which data and seeds it asks for; leave {others[0]} out"
            )
        from bntheory.commands.experiments import judge_at_scale

        judge_at_scale(
            claims,
            preset or "quick",
            device or "cpu",
            out,
            resume=resume,
            overwrite=overwrite,
            workers=workers,
            block=block,
            scheduler=scheduler,
            as_json=as_json,
        )
        return
    if block:
        raise UserError("--block: belongs to --claims; the seeds of a preset's own questions are given with --seeds")
    try:
        chosen_seeds = _read_seeds(seeds)
        from bntheory.report.compare import compare

        began = time.monotonic()
        with show_progress() as progress:
            result = compare(
                preset,
                device=device,
                data=data,
                data_dir=data_dir,
                data_note=data_note,
                out=out,
                seeds=chosen_seeds,
                resume=resume,
                overwrite=overwrite,
                workers=workers,
                fold=folding,
                scheduler=scheduler,
                progress=progress,
                say=lambda text: typer.echo(text, err=True),
            )
    except OSError as error:
        raise UserError(f"{refused(error)}; --resume goes on once that is put right") from None
    except KeyboardInterrupt as stop:
        code, how = interrupted(stop)
        typer.echo(f"{how}; the same command with --resume goes on with it", err=True)
        raise typer.Exit(code) from None
    if as_json:
        found = {
            "report": str(result.report),
            "identities": result.verdicts["identities"],
            "failures": list(map(str, result.failures)),
            "refused": result.verdicts["refused"],
        }
        typer.echo(json_text(found))
    else:
        typer.echo(f"report: {result.report}")
    if result.failures:
        typer.echo(f"a proved identity does not hold; {counted(len(result.failures), 'case')}:", err=True)
        for failure in result.failures[:20]:
            typer.echo(f"  {failure}", err=True)
        raise typer.Exit(FAILED)
    unchecked = [name for name, item in result.verdicts["identities"].items() if not item["checks"]]
    if "missing" in result.verdicts:
        typer.echo(f"{result.verdicts['missing']} could not be had; --resume tries them again:", err=True)
        for text in result.verdicts["refused"][:20]:
            typer.echo(f"  {text}", err=True)
    if unchecked:
        typer.echo(
            f"{', '.join(unchecked)} was never checked, which is no pass, though nothing failed. A measurement that cancels to rounding "
            "has nothing to compare: use a larger measure.theory_batch_size, or networks with normalisation layers that train",
            err=True,
        )
    if result.exit_code:
        raise typer.Exit(result.exit_code)
    if as_json:
        return
    identities = result.verdicts["identities"].values()
    typer.echo(
        f"all {len(identities)} proved identities held on {sum(i['units'] for i in identities)} units of all layers "
        f"({time.monotonic() - began:.0f} s)"
    )


def _read_seeds(text: str) -> list[int] | None:
    if not text:
        return None
    try:
        return [int(part) for part in text.replace(",", " ").split()]
    except ValueError:
        raise UserError(f"seeds: {text!r} is no list of whole numbers; write 0,1,2") from None
