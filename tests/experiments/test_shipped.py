"""Results as files without weights: equal to what a run store has, found by values, and refused where they are not whole."""

from __future__ import annotations

import json
import lzma
import platform
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import strategies as st

from armlib import storage
from armlib.errors import InputError
from armlib.evaluation.evaluate import FULL_RANKING, RERANKING
from armlib.experiments.experiment import Experiment
from armlib.experiments.result import Result
from armlib.experiments.shipped import ENDING, Shipped, ShippedResult
from armlib.experiments.store import RunStore
from armlib.names import load_collection
from fuzzing import mutated, tried_on


@pytest.fixture
def result(portable_store: RunStore, portable_experiment: Experiment) -> Result:
    return portable_store.result(portable_experiment)


@pytest.fixture
def shipped(result: Result, tmp_path: Path) -> Shipped:
    found = Shipped(tmp_path / "shipped")
    assert found.add(result)
    return Shipped(tmp_path / "shipped")


def unpacked(folder: Path) -> list[str]:
    """The lines of the only file of a folder."""
    (file,) = folder.glob(f"*{ENDING}")
    return lzma.decompress(file.read_bytes()).decode().splitlines()


def assert_same(found: ShippedResult, expected: Result) -> None:
    """Everything but times of steps is as the run store has it; the trace to five digits, all else to the last one."""
    assert (found.key, found.kept_validation) == (expected.key, expected.kept_validation)
    assert found.provenance_line() == expected.provenance_line()
    assert {**found.about, "machine": None} == {**expected.about, "machine": None}
    pd.testing.assert_frame_equal(found.measures, expected.measures, check_exact=True)
    pd.testing.assert_frame_equal(found.validations, expected.validations, check_exact=True)
    for collection, mode in dict.fromkeys(zip(expected.measures.collection, expected.measures["mode"], strict=True)):
        ours, theirs = found.per_query(collection, mode), expected.per_query(collection, mode)
        pd.testing.assert_frame_equal(ours.per_query, theirs.per_query, check_exact=True)
        assert ours.mean == theirs.mean
        assert all(value == found.value(collection, mode, measure) for measure, value in ours.mean.items())
    clocks = ["seconds", "waiting_seconds"]
    pd.testing.assert_frame_equal(found.trace.drop(columns=clocks), expected.trace.drop(columns=clocks), rtol=5e-5, atol=0)
    pd.testing.assert_frame_equal(found.trace[clocks], expected.trace[clocks], rtol=5e-3, atol=0)
    for name in ("step", "triples", "real_tokens", "padded_tokens"):
        assert found.trace[name].tolist() == expected.trace[name].tolist()


def test_a_result_is_read_as_it_was(shipped: Shipped, result: Result) -> None:
    (found,) = shipped.results()
    assert found.experiment == result.experiment
    assert_same(found, result)
    assert set(found.measures["mode"]) == {RERANKING, FULL_RANKING}
    with pytest.raises(InputError, match="has no measures of texts/test nothing; it has texts/test full ranking, texts/test re-"):
        found.per_query("texts/test", "nothing")


@pytest.mark.parametrize("values", [{"steps": 0}, {"evaluation": ("none",), "steps": 2}], ids=["not trained", "not measured"])
def test_a_result_without_a_trace_or_measures(values: dict, portable_store, portable_experiment, tmp_path: Path) -> None:
    expected = portable_store.result(replace(portable_experiment, **values))
    Shipped(tmp_path).add(expected)
    (found,) = Shipped(tmp_path).results()
    for name in ("trace", "validations", "measures"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        assert ours.columns.tolist() == theirs.columns.tolist() and len(ours) == len(theirs)


def test_it_is_found_by_its_values_alone(shipped: Shipped, result: Result, monkeypatch) -> None:
    for name in ("key", "evaluation_names"):
        monkeypatch.setattr(Experiment, name, lambda self: pytest.fail("the data are read"))
    found = shipped.find(replace(result.experiment))
    assert found is not None and found.key == result.key and found.experiment == result.experiment
    for other in ({"seed": 7}, {"target": "adaptive"}, {"encoder": "lsa/roberta"}, {"context": 4}):
        assert shipped.find(replace(result.experiment, **other)) is None


def test_what_is_not_in_the_file_is_refused_in_a_sentence(shipped: Shipped) -> None:
    (found,) = shipped.results()
    for ask, what in ((found.encoder, "weights"), (lambda: found.run("texts/test", FULL_RANKING), "rankings")):
        with pytest.raises(InputError, match=rf"{found.key} was shipped without {what}: .* whoever has texts trains it"):
            ask()
    with pytest.raises(InputError, match="shipped without file experiment.json"):
        found._file("experiment.json")


def test_a_file_is_small_and_tells_nothing_of_the_machine_and_no_text(shipped: Shipped, result: Result, portable_store) -> None:
    (file,) = shipped.path.iterdir()
    assert file.stat().st_size < 10_000
    record, *_ = lines = unpacked(shipped.path)
    assert "name" in result.about["machine"] and "name" not in json.loads(record)["about"]["machine"]
    text = "".join(lines)
    assert result.about["machine"]["system"] not in text and platform.node() not in re.findall(r'"([^"]*)"', text)
    assert str(portable_store.path) not in text and not re.search(r"/(home|tmp|root|usr|var|work|Users)/", text)
    assert not any(query in text for query in load_collection("texts/test").queries().values())


def test_a_path_of_the_machine_is_refused(small_store: RunStore, small_experiment: Experiment, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="names a path of this machine, '/.*, and cannot be shipped"):
        Shipped(tmp_path).add(small_store.result(small_experiment))
    assert not list(tmp_path.iterdir())


def test_an_encoder_of_another_result_is_named_by_that_one_s_key(portable_store, result: Result, tmp_path: Path) -> None:
    after = portable_store.result(replace(result.experiment, encoder=str(result.folder / "encoder"), steps=2))
    Shipped(tmp_path / "a").add(after)
    assert f'"encoder":"{result.key}/encoder"' in unpacked(tmp_path / "a")[0]
    shutil.move(tmp_path / "a", tmp_path / "b")
    moved = Shipped(tmp_path / "b")
    (found,) = moved.results()
    assert found.experiment.encoder == str(tmp_path / "b" / result.key / "encoder")
    for runs in (portable_store.path, tmp_path / "b", Path("elsewhere")):
        assert moved.find(replace(after.experiment, encoder=str(runs / result.key / "encoder"))) is not None
    assert moved.find(replace(after.experiment, encoder=str(tmp_path / ("0" * 12) / "encoder"))) is None
    assert moved.start(found.experiment) is None
    moved.add(result)
    assert moved.start(found.experiment).key == result.key and moved.start(after.experiment) is None


def test_what_is_there_is_kept_and_what_had_another_key_is_replaced(shipped: Shipped, result: Result) -> None:
    (file,) = shipped.path.iterdir()
    before = file.stat()
    assert not shipped.add(result) and not Shipped(shipped.path).add(result)
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    other = Result("0" * 12, result.folder)
    assert shipped.add(other) and [each.name for each in shipped.path.iterdir()] == [f"{other.key}{ENDING}"]
    shutil.copy(shipped.path / f"{other.key}{ENDING}", shipped.path / ".hidden.json.xz")
    (shipped.path / "README.md").write_text("what this is")
    assert [each.key for each in Shipped(shipped.path).results()] == [other.key]


def test_two_files_of_one_experiment_are_refused(shipped: Shipped, result: Result, tmp_path: Path) -> None:
    Shipped(tmp_path / "other").add(Result("f" * 12, result.folder))
    shutil.copy(tmp_path / "other" / f"{'f' * 12}{ENDING}", shipped.path)
    with pytest.raises(InputError, match=f"{'f' * 12}.json.xz holds the same experiment as {result.key}.json.xz"):
        Shipped(shipped.path).results()


def test_a_mean_that_is_not_that_of_the_queries_is_not_shipped(result: Result, tmp_path: Path) -> None:
    wrong = Result(result.key, result.folder)
    rows = [{**row, "value": row["value"] + 1e-12} for row in result.about["measures"]]
    vars(wrong)["about"] = result.about | {"measures": rows}
    with pytest.raises(InputError, match="is damaged: .* is not the mean of its queries"):
        Shipped(tmp_path).add(wrong)
    assert not list(tmp_path.iterdir())


def packed(*lines: str) -> bytes:
    return lzma.compress("\n".join([*lines, storage.digest(*lines), ""]).encode())


@pytest.mark.parametrize("kind", ["cut", "byte", "empty", "text", "gzip", "digest", "other name", "other format", "list", "value"])
def test_a_damaged_or_foreign_file_is_refused_by_its_name(kind: str, shipped: Shipped) -> None:
    (file,) = shipped.path.iterdir()
    data, (record, series, _) = file.read_bytes(), unpacked(shipped.path)
    changed = record.replace('"batch_size":16', '"batch_size":"many"')
    assert changed != record
    wrong = {
        "cut": data[: len(data) // 2],
        "byte": data[:1000] + bytes([data[1000] ^ 1]) + data[1001:],
        "empty": b"",
        "text": b"no result",
        "gzip": b"\x1f\x8b" + data[2:],
        "digest": lzma.compress(f"{record}\n{series}\n{'0' * 64}\n".encode()),
        "other name": data,
        "other format": packed(record.replace("armlib result 1", "armlib result 9"), series),
        "list": packed("[]", series),
        "value": packed(changed, series),
    }
    if kind == "other name":
        file = file.rename(file.with_name(f"{'0' * 12}{ENDING}"))
    file.write_bytes(wrong[kind])
    with pytest.raises(InputError, match=re.escape(str(file))):
        Shipped(shipped.path).results()
    with pytest.raises(InputError, match=re.escape(str(file))):
        Shipped(shipped.path).find(Experiment(collection="texts"))


def test_a_file_that_changes_after_it_was_found_is_refused(shipped: Shipped) -> None:
    (found,), (file,) = shipped.results(), shipped.path.iterdir()
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(InputError, match=f"{found.key}.json.xz is damaged"):
        _ = found.trace


RECORD = {
    "format": "armlib result 1",
    "key": "0123456789ab",
    "experiment": {"collection": "texts", "encoder": "lsa/roberta", "seed": 3},
    "about": {
        "machine": {"system": "Linux", "processor": "one", "cores": 2, "threads": 1, "memory_gib": 4.0, "gpu": None},
        "measures": [{"collection": "texts/test", "mode": "full ranking", "measure": "nDCG@10", "value": 0.5}],
        "seconds": {"total": 3.0, "training": 2.0},
        "time": "2026-11-27T16:53:21+00:00",
        "kept_step": 2,
        "validated_on": "texts/train",
    },
}
SERIES = {
    "trace": {"step": [1, 2], "loss": [0.5, 0.25]},
    "validations": {"step": [2], "nDCG@10": [0.5]},
    "per_query": [{"collection": "texts/test", "mode": "full ranking", "queries": ["1", "2"], "values": {"nDCG@10": [0.0, 1.0]}}],
}
LINES = tuple(json.dumps(part) for part in (RECORD, SERIES))


def check(folder: Path, data: bytes) -> None:
    """A file is read as a result whose parts go together."""
    file = folder / f"{RECORD['key']}{ENDING}"
    file.write_bytes(data)
    (found,) = Shipped(folder).results()
    assert found.key == RECORD["key"] and found.measures.value.between(-1e308, 1e308).all()
    assert isinstance(found.trace, pd.DataFrame) and isinstance(found.validations, pd.DataFrame)
    for row in found.measures.itertuples(index=False):
        found.per_query(row.collection, row.mode)


@tried_on("shipped results", mutated(packed(*LINES)))
def test_a_file_of_any_bytes_is_what_was_written_or_refused(folder: Path, data: bytes) -> None:
    check(folder, data)
    (found,) = Shipped(folder).results()
    assert found.record == RECORD and found.trace.loss.tolist() == [0.5, 0.25]


@tried_on("shipped results that were written by others", mutated(LINES[0].encode()), st.just(LINES[1]))
def test_a_record_of_any_text_is_read_or_refused(folder: Path, record: bytes, series: str) -> None:
    check(folder, packed(record.decode("utf8", "replace").replace("\n", " "), series))
