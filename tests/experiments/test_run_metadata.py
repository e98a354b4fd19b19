"""What made a run stands beside it, and repeats it; the run itself stays what trec_eval reads."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import yaml

from armlib.cli import main
from armlib.encoder.bi_encoder import BiEncoder
from armlib.errors import InputError
from armlib.evaluation.evaluate import FULL_RANKING, RERANKING, Evaluator, file_name
from armlib.experiments.run_metadata import ENDING, write_run_metadata
from armlib.names import load_collection
from armlib.retrieval.run_files import read_run


@pytest.fixture(scope="module")
def measured(small_store, small_experiment, tmp_path_factory) -> Path:
    """The output of ``armlib evaluate`` of a result."""
    output = tmp_path_factory.mktemp("measured")
    key = small_experiment.key()
    assert main(["evaluate", key, "--runs", str(small_store.path), "--output", str(output), "--measure", "nDCG@10", "RR@10"]) == 0
    return output


def metadata(output: Path, small_experiment, mode: str) -> dict:
    (name,) = small_experiment.evaluation
    return yaml.safe_load((output / "runs" / f"{file_name(name, mode)}{ENDING}").read_text())


def test_every_run_has_its_metadata(measured, small_store, small_experiment) -> None:
    runs = sorted((measured / "runs").glob("*.run.gz"))
    files = sorted((measured / "runs").glob(f"*{ENDING}"))
    assert [file.name.removesuffix(ENDING) for file in files] == [run.name.removesuffix(".run.gz") for run in runs]
    text = files[0].read_text().splitlines()
    assert (text[0], text[1], text[-1]) == ("# ir_metadata.start", "schema-version: 0.1", "# ir_metadata.end")
    result, made = small_store.result(small_experiment), metadata(measured, small_experiment, FULL_RANKING)
    assert made["schema-version"] == 0.1 and made["tag"] == result.key
    assert made["research goal"] == {"evaluation": {"reported measures": ["nDCG@10", "RR@10"]}}
    machine, platform = result.about["machine"], made["platform"]
    assert platform["hardware"]["cpu"]["model"] == machine["processor"]
    assert platform["hardware"]["cpu"]["number of cores"] == machine["cores"]
    assert platform["hardware"]["ram"] == f"{machine['memory_gib'] * 1.073741824:.1f} GB"
    assert platform["software"]["retrieval toolkit"] == [f"armlib=={result.about['versions']['armlib']}"]
    assert "-" not in platform["operating system"]["kernel"], "the version, and not what the machine's owner called it"
    assert f"torch=={result.about['versions']['torch']}" in platform["software"]["libraries"]["python"]
    assert set(made) == {"schema-version", "run-version", "tag", "platform", "research goal", "implementation", "method", "data"}


def test_the_stages_of_a_run_are_named(measured, small_store, small_experiment) -> None:
    encoder = small_store.result(small_experiment).encoder()
    (ranked,) = metadata(measured, small_experiment, FULL_RANKING)["method"]["retrieval"]
    first, reranked = metadata(measured, small_experiment, RERANKING)["method"]["retrieval"]
    assert reranked["reranks"] == first["name"] and "reranks" not in ranked
    assert ranked["params"] == reranked["params"] | {"index": "exact", "vectors": "float32"}
    assert (ranked["params"]["pooling"], ranked["params"]["dimensions"]) == ("cls", 32)
    assert (ranked["params"]["query length"], ranked["params"]["passage length"]) == (24, 48)
    assert ranked["params"]["weights"] == encoder.fingerprint()
    (name,) = small_experiment.evaluation
    expected = {"test collection": {"name": name}, "training data": [{"name": small_experiment.collection}]}
    assert metadata(measured, small_experiment, FULL_RANKING)["data"] == expected


def test_its_command_makes_the_same_runs(measured, small_store, small_experiment, tmp_path) -> None:
    command = shlex.split(metadata(measured, small_experiment, RERANKING)["implementation"]["executable"]["cmd"])
    assert command[0] == "armlib" and "--query-length" in command
    assert main([*command[1:], "--runs", str(small_store.path), "--output", str(tmp_path)]) == 0
    for run in (measured / "runs").iterdir():
        assert (tmp_path / "runs" / run.name).read_bytes() == run.read_bytes(), run.name


def test_a_header_would_make_the_run_unreadable(measured, tmp_path) -> None:
    """Why it stands beside the run and not, as the schema has it, above its lines."""
    (tmp_path / "annotated.run").write_text("# ir_metadata.start\n# tag: armlib\n# ir_metadata.end\nq Q0 d 1 1.0 armlib\n")
    with pytest.raises(InputError, match=r"annotated.run:1: expected 6 columns"):
        read_run(tmp_path / "annotated.run")


def test_an_encoder_of_others_was_trained_on_what_nobody_says(minilm, beir_folder, tmp_path) -> None:
    encoder, collection = BiEncoder.load(minilm), load_collection(f"{beir_folder}/test")
    encoder.set_prompts("query: ")
    evaluator = Evaluator(encoder, [collection], query_length=8, passage_length=16, full=False)
    (file,) = write_run_metadata(tmp_path, evaluator, encoder, [collection], tag="mine", command=["a command", "x"])
    made = yaml.safe_load(file.read_text())
    assert made["data"] == {"test collection": {"name": collection.name}}
    assert made["method"]["retrieval"][1]["params"]["query prompt"] == "query: "
    assert made["implementation"]["executable"]["cmd"] == "'a command' x"


def test_a_collection_of_ir_datasets_is_named_as_such(tiny_encoder, beir_folder, tmp_path, monkeypatch) -> None:
    collection = load_collection(f"{beir_folder}/test")
    evaluator = Evaluator(tiny_encoder, [collection], query_length=8, passage_length=16, full=False)
    known = load_collection("beir/scifact/test")
    monkeypatch.setitem(evaluator.measures, known.name, ["nDCG@10"])
    (file,) = write_run_metadata(tmp_path, evaluator, tiny_encoder, [known], tag="mine", command=[])
    tested = {"name": "beir/scifact/test", "ir_datasets": "beir/scifact/test"}
    assert yaml.safe_load(file.read_text())["data"]["test collection"] == tested
