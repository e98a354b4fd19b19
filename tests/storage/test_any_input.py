"""Whatever a manifest, a record or a file of a result holds: what was written, or damage that is named."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import strategies as st

from armlib import storage
from armlib.errors import InputError
from armlib.experiments.experiment import Experiment
from armlib.experiments.result import Result, measures_as_text
from armlib.experiments.store import RunStore
from fuzzing import mutated, tried_on

OLD = """{
 "a.txt": {
  "bytes": 5,
  "sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
 },
 "sub/b.bin": {
  "bytes": 3,
  "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
 }
}
"""
"""A manifest as it was before manifests listed themselves."""
NEW = OLD.replace(
    ' "sub/b.bin"',
    ' "manifest.json": {\n  "bytes": 225,\n'
    '  "sha256": "6230cd4f04358521bdaf7c23961d0bb30c27226de97e8eb355d14a8e0b7be00c"\n },\n "sub/b.bin"',
)


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def sealed(folder: Path) -> Path:
    if not folder.exists():
        with storage.atomic_folder(folder) as draft:
            (draft / "a.txt").write_text("hello")
            (draft / "sub").mkdir()
            (draft / "sub" / "b.bin").write_text("abc")
    return folder


@tried_on("manifests", st.one_of(mutated(OLD.encode()), mutated(NEW.encode())))
def test_a_manifest_is_as_it_was_written_or_damage(folder: Path, written: bytes) -> None:
    place = sealed(folder / "sealed")
    (place / storage.MANIFEST).write_bytes(written)
    reason = storage.damage(place)
    if reason:
        raise InputError(reason)
    listed = json.loads(written)
    listed.pop(storage.MANIFEST, None)
    assert listed == json.loads(OLD), "another manifest, and nothing was said"


@tried_on(
    "records", st.sampled_from((b'{"stamp": [[1, 2]], "fingerprint": "0f"}', b'{"key": "0f", "seconds": 1.5}')).flatmap(mutated)
)
def test_a_record_is_an_object_or_nothing(folder: Path, written: bytes) -> None:
    file = folder / "record.json"
    file.write_bytes(written)
    assert isinstance(storage.read_record(file), dict)
    value = storage.read_json(file, dict)
    storage.write_json(file, value)
    assert json.dumps(storage.read_json(file), sort_keys=True) == json.dumps(value, sort_keys=True)


EXPERIMENT = Experiment(evaluation=("docstrings/test",), target="static(0.3)")
MEASURES = [{"collection": "docstrings/test", "mode": "re-ranking", "measure": "nDCG@10", "value": 0.25}]
FILES = {
    "experiment.json": json.dumps(asdict(EXPERIMENT), indent=1),
    "result.json": json.dumps(
        {
            "time": "2024-01-01T00:00:00+00:00",
            "measures": MEASURES,
            "seconds": {"total": 3.5},
            "machine": {"gpu": None, "processor": "x", "threads": 1, "cores": 2, "memory_gib": 3.5},
            "validated_on": "held out",
        },
        indent=1,
    ),
    "trace.csv": "step,loss\n1,0.5\n",
    "validations.csv": "step,nDCG@10\n1,0.5\n",
    "measures/docstrings_test-re-ranking.csv": "query,nDCG@10\n1,0.5\n",
}


def stored(store: Path) -> Result:
    folder = store / ("0" * 12)
    shutil.rmtree(folder, ignore_errors=True)
    with storage.atomic_folder(folder) as draft:
        (draft / "measures").mkdir()
        for name, text in FILES.items():
            (draft / name).write_text(text)
    return Result(folder.name, folder)


CHANGED = st.sampled_from(sorted(FILES)).flatmap(lambda name: st.tuples(st.just(name), mutated(FILES[name].encode())))


@tried_on("results", CHANGED)
def test_a_file_of_a_result_is_as_it_was_written_or_damage(folder: Path, change: tuple[str, bytes]) -> None:
    result, (name, written) = stored(folder), change
    (result.folder / name).write_bytes(written)
    found = RunStore(folder).finished()
    assert not found or len(written) == len(FILES[name].encode())
    assert result.experiment == EXPERIMENT and result.about == json.loads(FILES["result.json"])
    assert result.trace.equals(pd.DataFrame({"step": [1], "loss": [0.5]})) and result.validations.shape == (1, 2)
    assert result.per_query("docstrings/test", "re-ranking").mean == {"nDCG@10": 0.5}
    assert written == FILES[name].encode() and found


@tried_on("foreign results", CHANGED)
def test_a_result_of_another_program_stops_nobody(folder: Path, change: tuple[str, bytes]) -> None:
    """One that is sealed, too: only what is in its files tells."""
    result, (name, written) = stored(folder), change
    (result.folder / name).write_bytes(written)
    storage.seal(result.folder)
    for each in RunStore(folder).finished():
        assert each.about["time"] and isinstance(each.experiment, Experiment)
        measures_as_text(each.measures)
    assert isinstance(result.experiment.evaluation, tuple) and isinstance(result.about["time"], str)
    assert result.provenance_line()
    assert len(result.trace.columns) and len(result.validations.columns)
    result.per_query("docstrings/test", "re-ranking")
