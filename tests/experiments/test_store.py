"""A store believes what it can check, says what it cannot, and loses nothing that was finished.

The faults are those that happen: an editor, a failing disk, ``cat a b > c``, a full disk, a killed process, another program's lines.
"""

from __future__ import annotations

import gzip
import json
import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bntheory.bridge.networks.training import SGDConfig, Trainer
from bntheory.errors import UserError
from bntheory.evidence.record import LineFault, Record, digest, read_line
from bntheory.experiments.experiment import (
    TRAINING,
    Arm,
    Conditions,
    Experiment,
    Measure,
    Protocol,
    freshest,
    missing,
    needed,
)
from bntheory.experiments.quantities import merged
from bntheory.experiments.store import RECORDS, Contents, Store
from bntheory.experiments.stores import known, merge
from bntheory.files import read_at_most, write_atomic

EXPERIMENT = Experiment(
    "made up",
    (
        Arm("mlp", "batchnorm", "mlp", {"norm": "batch"}, 0.1),
        Arm("mlp", "rescaled", "mlp", {"norm": "none"}, 0.1, rescaled_on=8),
    ),
    Protocol(5, (0, 5), 16, 24),
    (Measure("landscape"), Measure("twin", on="batch normalised"), Measure("scale-free", on="own loss")),
    (0, 1),
)
CODES = {"landscape": "a", "twin": "b", "scale-free": "c"}
CONDITIONS = Conditions({"name": "made up", "sha256": {}}, "cpu", {"torch": "1"}, CODES)


def records(experiment: Experiment = EXPERIMENT, conditions: Conditions = CONDITIONS) -> list[Record]:
    return [
        Record(
            n.task.arm.network,
            n.task.arm.name,
            n.task.seed,
            n.step,
            n.measure.name,
            conditions.setting(n.task.arm, experiment.protocol, n.measure),
            {n.measure.name: 0.1 + n.step / 3},
            made=n.made,
        )
        for n in needed(experiment, conditions)
    ]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store.create(tmp_path / "store")
    with made.lock():
        made.append(records())
    return made


def _lines(store: Store) -> list[bytes]:
    return (store.path / RECORDS).read_bytes().splitlines(keepends=True)


def test_what_is_written_is_read_bit_for_bit(store: Store) -> None:
    contents = store.read()
    assert list(contents.records.values()) == records()
    assert contents.faults == ()
    assert len(records()) == 2 * 2 * (3 + 1)  # seeds, steps, measures that say something about the arm


def test_one_line_reads_it_elsewhere(store: Store) -> None:
    """As ``pandas.read_json(path, lines=True)`` does: every line one object, all with the same keys."""
    table = [json.loads(line) for line in _lines(store)]
    assert len({tuple(row) for row in table}) == 1
    assert {row["arm"] for row in table} == {"batchnorm", "rescaled"}


# -- faults -----------------------------------------------------------------------------------------------------------


def _edit(line: bytes, key: str, value: Any) -> bytes:
    content = json.loads(line)
    content[key] = value
    return json.dumps(content).encode() + b"\n"


def _reforged(line: bytes) -> bytes:
    """Another step, with a checksum that fits: its address is then another's."""
    content = json.loads(line)
    del content["checksum"]
    content["step"] = 7
    return json.dumps({**content, "checksum": digest(content)}).encode() + b"\n"


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        (lambda line: line.replace(b"0.1,", b"0.2,").replace(b"0.1}", b"0.2}"), "edited"),
        (lambda line: _edit(line, "step", 7), "edited"),
        (lambda line: _edit(line, "arm", "standard"), "edited"),
        (lambda line: _edit(line, "values", {"landscape": float("nan")}), "edited"),
        (lambda line: line[: len(line) // 2] + b"\n", "broken"),
        (lambda line: b"\x00" * 40 + b"\n", "broken"),
        (lambda line: b"\xff\xfe" + line, "broken"),
        (lambda line: b"\n", "broken"),
        (lambda line: b'{"loss": 3}\n', "foreign"),
        (lambda line: b"[1, 2]\n", "foreign"),
        (lambda line: b'{"a":' * 100_000 + b"\n", "broken"),
        (lambda line: _edit(line, "seed", "0"), "foreign"),
        (lambda line: _edit(line, "seed", True), "foreign"),
        (_reforged, "foreign"),
    ],
)
def test_a_line_that_cannot_be_believed_is_named_and_missing(store: Store, damage: Any, kind: str) -> None:
    lines = _lines(store)
    path = store.path / RECORDS
    path.write_bytes(b"".join([*lines[:2], damage(lines[2]), *lines[3:]]))
    contents = store.read()
    (fault,) = contents.faults
    assert (fault.line, fault.kind) == (3, kind)
    assert "records.jsonl, line 3" in contents.fault_text()
    assert len(contents.records) == len(lines) - 1
    asked = list(needed(EXPERIMENT, CONDITIONS))
    assert missing(asked, contents.records) == [asked[2]]  # so the engine makes it anew
    with store.lock():
        store.append([records()[2]])
    assert missing(asked, store.read().records) == []


def test_any_flipped_bit_is_seen(store: Store) -> None:
    path = store.path / RECORDS
    content = path.read_bytes()
    rng = random.Random(3)
    for _ in range(200):
        place, bit = rng.randrange(len(content)), rng.randrange(8)
        changed = bytearray(content)
        changed[place] ^= 1 << bit
        path.write_bytes(bytes(changed))
        found = store.read()
        assert found.faults, (place, bit)
        assert all(record == found.records[record.address] for record in records() if record.address in found.records)


def test_a_repeated_line_counts_once(store: Store) -> None:
    lines = _lines(store)
    other = Record(**{**vars(records()[0]), "values": {"landscape": 9.0}}).line().encode()
    (store.path / RECORDS).write_bytes(b"".join([*lines, lines[4], other]))
    contents = store.read()
    assert [(f.line, f.kind) for f in contents.faults] == [(17, "duplicate"), (18, "conflict")]
    assert list(contents.records.values()) == records()
    assert len(merged(list(needed(EXPERIMENT, CONDITIONS)), contents.records)) == 2 * 2 * 2


def test_half_a_line_is_cut_off_by_the_next_writer_only(store: Store) -> None:
    lines = _lines(store)
    path = store.path / RECORDS
    path.write_bytes(b"".join(lines) + lines[0][:50])
    assert store.read().faults[0].kind == "broken"
    assert path.read_bytes().endswith(lines[0][:50])  # reading changes nothing
    with store.lock():
        assert path.read_bytes() == b"".join(lines)
    path.write_bytes(b"x" * 200_000)  # and where it is the only one
    with store.lock():
        assert path.read_bytes() == b""


def test_a_full_disk_takes_no_part_of_a_line(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _lines(store)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with store.lock():
        monkeypatch.setattr(os, "fsync", full)  # after the bytes went out, as on a real disk
        with pytest.raises(UserError, match=r"No space left on device.*is kept"):
            store.append([Record("n", "a", 9, 9, "m", {}, {})])
    assert _lines(store) == before


@pytest.mark.parametrize("call", ["fsync", "replace", "open"])
def test_a_file_that_cannot_be_written_is_named_and_leaves_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*words: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match=r"No space left on device.*verdicts\.json") as found:
        write_atomic(tmp_path / "verdicts.json", b"{}")
    assert found.value.filename == str(tmp_path / "verdicts.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="there is no umask")
@pytest.mark.parametrize("umask", [0o077, 0o022, 0o002])
def test_who_may_read_what_is_written_in_one_step_is_left_to_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_atomic(tmp_path / "verdicts.json", b"{}")
        (tmp_path / "plain").touch()
    finally:
        os.umask(before)
    modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("verdicts.json", "plain"), 0o666 & ~umask)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is unwritable for the superuser")
def test_a_read_only_folder_is_a_message(store: Store) -> None:
    os.chmod(store.path, 0o500)
    try:
        with pytest.raises(UserError, match="cannot be written"), store.lock():
            pass
    finally:
        os.chmod(store.path, 0o700)


def test_packed_records_are_read_and_not_added_to(store: Store) -> None:
    path = store.path / RECORDS
    packed = gzip.compress(path.read_bytes())
    path.unlink()
    (store.path / f"{RECORDS}.gz").write_bytes(packed)
    assert list(store.read().records.values()) == records()
    with pytest.raises(UserError, match="packed"), store.lock():
        pass
    (store.path / f"{RECORDS}.gz").write_bytes(packed[:-30])
    with pytest.raises(UserError, match="cannot be read"):
        store.read()


def test_a_folder_that_cannot_be_made_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        Store.create(tmp_path / "file" / "store")


@pytest.mark.parametrize("place", ["values", "setting", "made"])
def test_a_line_is_believed_by_its_content_however_it_is_laid_out(store: Store, place: str) -> None:
    """Put down with other spaces or another order it is the same record; with a checksum inside a text too."""
    inside = {place: {"x": '"checksum":"' + "0" * 32 + '",'}}
    record = Record(**{**vars(records()[0]), **inside})
    line = record.line()
    assert read_line(line.encode())[1] == record
    loose = json.dumps(dict(reversed(json.loads(line).items())), indent=None).encode()
    assert read_line(loose)[1] == record
    for edited in (line.replace('"step":', '"step": 1'), loose.decode().replace('"step": ', '"step": 1')):
        with pytest.raises(LineFault, match="checksum"):
            read_line(edited.encode())


def test_no_number_that_json_lacks_is_written(store: Store) -> None:
    with pytest.raises(ValueError, match="JSON"):
        store.append([Record("n", "a", 0, 0, "m", {}, {"x": float("nan")})])
    assert list(store.read().records.values()) == records()


# -- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("arm", {"learning_rate": 0.2}),
        ("arm", {"options": {"norm": "layer"}}),
        ("arm", {"weight_decay": 1e-4}),
        ("protocol", {"batch_size": 8}),
        ("protocol", {"measured": 12}),
        ("measure", {"options": {"points": 3}}),
        ("conditions", {"device": "cuda"}),
        ("conditions", {"data": {"name": "made up", "sha256": {"x": "1"}}}),
        ("seed", 5),
    ],
)
def test_whatever_decides_a_record_changes_its_address(part: str, change: Any) -> None:
    arm, measure, protocol, conditions, seed = (
        EXPERIMENT.arms[0],
        EXPERIMENT.measures[0],
        EXPERIMENT.protocol,
        CONDITIONS,
        0,
    )
    if part == "seed":
        seed = change
    parts = {"arm": arm, "measure": measure, "protocol": protocol, "conditions": conditions}
    if part in parts:
        parts[part] = replace(parts[part], **change)  # type: ignore[type-var]

    def one(p: dict[str, Any], seed: int) -> str:
        e = Experiment("x", (p["arm"],), p["protocol"], (p["measure"],), (seed,))
        return next(needed(e, p["conditions"])).address

    before = one({"arm": arm, "measure": measure, "protocol": protocol, "conditions": conditions}, 0)
    assert one(parts, seed) != before
    assert one({**parts, "arm": replace(parts["arm"], name="renamed", network="too")}, seed) == one(parts, seed)  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ({"versions": {"torch": "2"}}, set()),  # read on other versions
        ({"codes": {**CODES, "twin": "other"}}, {"twin"}),
        ({"codes": {name: f"{code}, another trainer" for name, code in CODES.items()}}, set(CODES)),
    ],
)
def test_what_answers_is_no_part_of_the_question(store: Store, change: Any, left: set[str]) -> None:
    now = replace(CONDITIONS, **change)
    asked = list(needed(EXPERIMENT, now))
    assert [n.address for n in asked] == [n.address for n in needed(EXPERIMENT, CONDITIONS)]
    found = missing(asked, freshest(asked, store.read().versions))
    assert {n.measure.name for n in found} == left
    # the state of a task is one make's: a checkpoint is not gone on with by other code or on other versions
    training = replace(now, codes={**now.codes, TRAINING: "new"})
    states = {c.task_address(asked[0].task, EXPERIMENT.protocol) for c in (now, training)}
    assert len(states) == 2


def test_of_several_answers_the_freshest_counts(store: Store) -> None:
    """That of today's code; of its own versions if there is one; else the last one."""
    asked = list(needed(EXPERIMENT, CONDITIONS))[:1]
    code, where = asked[0].made["code"], asked[0].address
    makes = [
        {"torch": "1", "code": "old"},
        {"torch": "1", "code": code},
        {"torch": "2", "code": code},
        {"torch": "2", "code": "older"},
    ]
    made = [Record(**{**vars(records()[0]), "values": {"x": i}, "made": make}) for i, make in enumerate(makes)]

    def chosen(*which: int) -> tuple[int, bool]:
        found = freshest(asked, {where: [made[i] for i in which]})
        return found[where].values["x"], bool(missing(asked, found))

    assert chosen(0, 1, 2, 3) == chosen(1, 2) == (1, False)
    assert chosen(3, 2, 0) == (2, False)
    assert chosen(3, 0) == (0, True)
    with store.lock():
        store.append(made[2:])
    contents = store.read()  # the others' makes stand beside them, no fault
    assert contents.faults == ()
    assert [r.values["x"] for r in contents.versions[where][1:]] == [2, 3]


def test_nothing_is_missing_after_a_run_diverged() -> None:
    asked = list(needed(EXPERIMENT, CONDITIONS))
    first = [n for n in asked if n.task == asked[0].task and n.step == 0]
    have = {n.address: Record("mlp", "batchnorm", 0, 0, n.measure.name, {}, {}, True, n.made) for n in first}
    assert {n.task.name for n in missing(asked, have)} == {t.name for t in EXPERIMENT.tasks()[1:]}
    del have[first[1].address]  # what was asked at that very step is: that it has diverged is its record
    assert [n for n in missing(asked, have) if n.task == first[0].task] == [first[1]]


# -- two stores -------------------------------------------------------------------------------------------------------


def test_two_stores_merge_by_union(tmp_path: Path) -> None:
    whole = records()
    parts = []
    for name, chosen in (("a", whole[:10]), ("b", whole[6:])):
        part = Store.create(tmp_path / name)
        with part.lock():
            part.append(chosen)
        parts.append(part)
    a, b = parts
    with a.lock():
        added, _, said = merge(a, b)
    assert (added, said) == (6, [])
    assert {r.address for r in a.read().records.values()} == {r.address for r in whole}
    with a.lock():
        assert merge(a, b)[0] == 0  # once more changes nothing
    assert a.read().faults == ()


def test_each_store_is_read_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = records()
    other = [Record(**{**vars(whole[5]), "made": {"torch": "2"}})]
    stores = [Store.create(tmp_path / name) for name in ("a", "b", "empty")]
    for one, chosen in zip(stores, (whole[:10], [*other, *whole[6:]], []), strict=True):
        with one.lock():
            one.append(chosen)
    read = Store.read
    reads: list[Path] = []

    def counted(self: Store) -> Contents:
        reads.append(self.path)
        return read(self)

    monkeypatch.setattr(Store, "read", counted)
    for _ in range(3):
        assert [known(one).every() for one in stores] == [whole[:10], [*other, *whole[6:]], []]
    assert reads == [one.path for one in stores]
    with stores[2].lock():
        stores[2].append(whole[:1])
    assert known(stores[2]).every() == whole[:1]
    assert known(stores[0]).every() == whole[:10]
    assert reads[3:] == [stores[2].path]  # what has changed, and nothing else


def test_merging_leaves_faulty_lines_behind_and_names_what_differs(tmp_path: Path) -> None:
    whole = records()
    a, b = (Store.create(tmp_path / name) for name in "ab")
    with a.lock(), b.lock():
        a.append(whole[:2])
        b.append([Record(**{**vars(whole[0]), "values": {"landscape": 5.0}}), whole[3]])
    with (b.path / RECORDS).open("ab") as file:
        file.write(b"{}\n")
    with a.lock():
        added, theirs, said = merge(a, b)
    assert added == 1
    assert [f.kind for f in theirs.faults] == ["foreign"]
    assert "different values of one make" in said[0]
    assert a.read().records[whole[0].address] == whole[0]


# -- checkpoints ------------------------------------------------------------------------------------------------------


def _trainer() -> Trainer:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    return Trainer(model, nn.functional.cross_entropy, SGDConfig(0.1, 0.9))


def test_a_checkpoint_is_flushed_where_only_what_may_be_written_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows."""
    fcntl = pytest.importorskip("fcntl", reason="Windows itself")
    flushed = []

    def flush(descriptor: int) -> None:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(9, "Bad file descriptor")
        flushed.append(descriptor)

    monkeypatch.setattr(os, "fsync", flush)
    _trainer().save(tmp_path / "c.safetensors")
    assert flushed


def test_any_flipped_bit_of_a_checkpoint_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    trainer = _trainer()
    trainer.step = 12
    trainer.save(path, {"task": "a"})
    content = path.read_bytes()
    assert _trainer().load(path) == {"task": "a"}
    rng = random.Random(5)
    for place in [len(content) - 1, *(rng.randrange(8, len(content)) for _ in range(150))]:
        changed = bytearray(content)
        changed[place] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(changed))
        other = _trainer()
        before = [p.clone() for p in other.model.state_dict().values()]
        try:
            extra = other.load(path)
        except UserError:
            assert other.step == 0
            assert all(map(torch.equal, before, other.model.state_dict().values()))
        else:  # a bit of the padding, which says nothing
            assert (extra, other.step) == ({"task": "a"}, 12)
            assert all(map(torch.equal, trainer.model.state_dict().values(), other.model.state_dict().values()))


@pytest.mark.parametrize(
    ("said", "edited"), [(b'\\"step\\": 12', b'\\"step\\": 13'), (b'\\"task\\": \\"a\\"', b'\\"task\\": \\"b\\"')]
)
def test_an_edited_checkpoint_is_refused(tmp_path: Path, said: bytes, edited: bytes) -> None:
    path = tmp_path / "c.safetensors"
    trainer = _trainer()
    trainer.step = 12
    trainer.save(path, {"task": "a"})
    content = path.read_bytes()
    assert content.count(said) == 1
    path.write_bytes(content.replace(said, edited))
    with pytest.raises(UserError, match="does not fit its checksum"):
        _trainer().load(path)


def test_a_link_stays_and_what_it_points_at_is_written(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    for name in ("there", "new"):
        target, link = tmp_path / "far" / name, tmp_path / name
        link.symlink_to(target)
        if name == "there":
            target.write_bytes(b"old")
        write_atomic(link, b"{}")
        assert link.is_symlink()
        assert target.read_bytes() == b"{}"
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["far", "new", "new", "there", "there"]


@pytest.mark.skipif(os.name == "nt", reason="there are no pipes in folders")
@pytest.mark.parametrize("linked", [False, True])
def test_what_is_no_regular_file_is_neither_replaced_nor_read(tmp_path: Path, *, linked: bool) -> None:
    pipe = path = tmp_path / "pipe"
    os.mkfifo(pipe)
    if linked:
        path = tmp_path / "link"
        path.symlink_to(pipe)
    with pytest.raises(UserError, match=f"{path.name}: is no regular file"):
        write_atomic(path, b"{}")
    with pytest.raises(UserError, match=f"{path.name}: is no regular file"):
        read_at_most(path, 10)
    assert pipe.is_fifo()


def test_a_file_is_read_whole_or_refused(tmp_path: Path) -> None:
    (tmp_path / "ten").write_bytes(b"0123456789")
    assert read_at_most(tmp_path / "ten", 10) == b"0123456789"
    with pytest.raises(UserError, match="10 bytes; at most 9"):
        read_at_most(tmp_path / "ten", 9)
