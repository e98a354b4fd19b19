"""The benchmarks run and write what the book reads; how fast they were on a busy machine is nobody's business here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow


def run(script: str, output: Path, *options: str, expect: int = 0, without: Path | None = None) -> subprocess.CompletedProcess:
    """Run a benchmark as a reader does, in a process of its own; ``without`` is a folder of modules that cannot be imported."""
    command = [sys.executable, str(REPOSITORY / "benchmarks" / script), "--output", str(output), *options]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, filter(None, (without, REPOSITORY))))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == expect, done.stderr
    return done


def test_gather_speed_measures_every_size(tmp_path: Path) -> None:
    output = tmp_path / "gather.json"
    sizes = ("--triples", "500", "2000", "--passages", "3000", "--queries", "400", "--steps", "3", "--batch-size", "16")
    run("gather_speed.py", output, *sizes, "--folder", str(tmp_path))
    result = json.loads(output.read_text())
    assert list(tmp_path.iterdir()) == [output], "the synthetic files are gone"
    assert result["benchmark"] == "gather-speed" and result["made"]["machine"]["threads"] == 1
    assert [size["triples"] for size in result["sizes"]] == [500, 2000]
    assert 74 < result["mean_passage_tokens"] - 2 < 77, "as long as MS MARCO's passages"
    for size in result["sizes"]:
        assert len(size["rounds"]) == 5 and size["triples_per_second"] > 0
        assert 130 < size["real_tokens_per_triple"] < size["padded_tokens_per_triple"] < 260
        assert set(size["memory"]) == {"before", "first_batches", "last_batches"}
    assert result["bytes"]["triples"] == 2000 * 3 * 4


def test_store_speed_builds_a_synthetic_collection(beir_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "store.json"
    words = ("--collection", f"{beir_folder}/test")
    run("store_speed.py", output, *words, "--passages", "3000", "--queries", "400", "--triples", "5000", "--folder", str(tmp_path))
    result = json.loads(output.read_text())
    assert list(tmp_path.iterdir()) == [output], "the stores are gone"
    assert result["passages"]["texts"] == 3000 and result["queries"]["texts"] == 400 and result["triples"]["bytes"] == 5000 * 3 * 4
    assert 40 < result["passages"]["mean_tokens"] < 110, "about as long as MS MARCO's passages"
    assert 0 < result["peak_gib"] < 4 and result["passages"]["texts_per_second"] > 0


def test_batch_memory_compares_gradients(tmp_path: Path, ir_datasets_home: Path, minilm: Path) -> None:
    output = tmp_path / "memory.json"
    small = ("--layers", "1", "--dim", "32", "--device", "cpu")
    small += ("--batch-sizes", "4", "12", "--plain-up-to", "4", "--chunk-tokens", "500")
    run("batch_memory.py", output, *small)
    result = json.loads(output.read_text())
    assert [(row["batch_size"], row["cached"]) for row in result["batches"]] == [(4, True), (4, False), (12, True)] * 2
    assert all(row["peak_mib"] >= row["before_mib"] > 0 and row["loss_value"] > 0 for row in result["batches"])
    assert [row["batch_size"] for row in result["gradients"]] == [4, 4]
    assert all(row["relative_difference"] < 1e-4 for row in result["gradients"])


def test_training_speed_measures_every_way(tmp_path: Path, ir_datasets_home: Path, minilm: Path) -> None:
    pytest.importorskip("datasets", reason="sentence-transformers' trainer needs the package datasets (extra 'bench')")
    output = tmp_path / "training.json"
    small = ("--layers", "1", "--dim", "32", "--batch-size", "4", "--chunk-size", "2", "--rounds", "2", "--device", "cpu")
    run("training_speed.py", output, *small)
    result = json.loads(output.read_text())
    assert result["benchmark"] == "training-speed" and result["weights"] == "random"
    ways, floor = result["ways"], result["floor"]
    assert list(ways) == ["armlib", "armlib, chunks", "armlib, whole last layer", "padded", "sentence-transformers"]
    for way in ways.values():
        assert len(way["rounds"]) == 2 and way["triples_per_second"] > 0 and way["optimizer"]
        assert way["loss_without_dropout"] == pytest.approx(ways["armlib"]["loss_without_dropout"], abs=1e-4)
    # Tokens are counted, so they are the same on every machine: padding is what sets the ways apart.
    assert ways["padded"]["padded_tokens_per_triple"] == 30 + 2 * 200
    ours, theirs = (ways[name]["padded_tokens_per_triple"] for name in ("armlib", "sentence-transformers"))
    assert floor["real_tokens_per_triple"] < ours < theirs < 430
    # One layer of 32 dimensions: four square maps, two to and from 128, their biases, three normalisations.
    assert floor["non_embedding_parameters"] == 12 * 32**2 + (4 + 4 + 1) * 32 + 3 * 2 * 32
    assert floor["flop_per_triple"] == pytest.approx(6 * floor["non_embedding_parameters"] * floor["real_tokens_per_triple"])
    ratio = result["ratios"]["armlib over padded"]
    assert ratio["rounds"][0] == pytest.approx(ways["padded"]["rounds"][0]["seconds"] / ways["armlib"]["rounds"][0]["seconds"])


def test_encoding_speed_measures_every_way(tmp_path: Path, ir_datasets_home: Path, minilm: Path) -> None:
    output = tmp_path / "encoding.json"
    small = ("--layers", "1", "--dim", "32", "--passages", "40", "--batch-size", "8", "--rounds", "2", "--device", "cpu")
    run("encoding_speed.py", output, *small)
    result = json.loads(output.read_text())
    assert list(result["ways"]) == sorted(["armlib", "armlib, whole last layer", "padded", "sentence-transformers"])
    assert all(len(way["rounds"]) == 2 and way["passages_per_second"] > 0 for way in result["ways"].values())
    parameters = 12 * 32**2 + (4 + 4 + 1) * 32 + 3 * 2 * 32
    assert result["floor"]["flop_per_passage"] == pytest.approx(2 * parameters * result["floor"]["real_tokens_per_passage"])
    slow, fast = ([one["seconds"] for one in result["ways"][name]["rounds"]] for name in ("padded", "armlib"))
    assert result["ratios"]["armlib over padded"] == pytest.approx((slow[0] / fast[0] + slow[1] / fast[1]) / 2)
    done = run("encoding_speed.py", output, *small[:4], "--passages", "100000000", expect=1)
    assert "fewer than the 300000000 of all rounds" in done.stderr and "Traceback" not in done.stderr


def test_training_speed_refuses_what_it_cannot_measure(tmp_path: Path, minilm: Path) -> None:
    pytest.importorskip("datasets", reason="sentence-transformers' trainer needs the package datasets (extra 'bench')")
    done = run("training_speed.py", tmp_path / "none.json", "--collection", "no-such-collection", expect=1)
    assert "no-such-collection" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "none.json").exists()


def test_search_speed_finds_what_is_there(tmp_path: Path) -> None:
    output = tmp_path / "search.json"
    run("search_speed.py", output, "--vectors", "140000", "--dim", "16", "--queries", "9", "--k", "20", "--folder", str(tmp_path))
    result = json.loads(output.read_text())
    assert list(tmp_path.iterdir()) == [output] and len(result["rounds"]) == 2
    assert result["found"] > 0.5 and result["in_descending_order"] and result["bytes"] == 140_000 * 16 * 2
    assert result["flop_per_second"] > 0 and result["private_mib"] > 0


# What a machine that is lent for a while may lack; torch, transformers, accelerate and sentence-transformers it has.
MAY_BE_ABSENT = ("faiss", "bm25s", "ir_measures", "ir_datasets", "statsmodels", "dask")


@pytest.fixture(scope="module")
def tiny_gpu(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, str]:
    """What `gpu.py --tiny` writes and prints, without packages that it should not need."""
    output, absent = tmp_path_factory.mktemp("gpu") / "gpu.json", tmp_path_factory.mktemp("absent")
    for name in MAY_BE_ABSENT:
        (absent / f"{name}.py").write_text(f"raise ModuleNotFoundError({name!r}, name={name!r})\n")
    done = run("gpu.py", output, "--tiny", "--device", "cpu", without=absent)
    return json.loads(output.read_text()), done.stdout


def test_one_call_on_a_gpu_runs_every_stage(tiny_gpu) -> None:
    result, printed = tiny_gpu
    assert (
        result["benchmark"] == "gpu" and result["settings"]["tiny"] and result["device"] == "cpu" and result["weights"] == "random"
    )
    stages = result["stages"]
    assert {name: noted["outcome"] for name, noted in stages.items()} == dict.fromkeys(stages, "done")
    assert {"environment", "ceilings", "parity", "loop", "encoding", "searching", "training MPNet"} <= set(stages)
    figures = {name: noted["figures"] for name, noted in stages.items()}
    assert figures["searching"]["found"] == 1 and figures["searching"]["in_descending_order"]
    assert printed.rstrip().endswith("holds") and "NOT HOLD" not in printed


def test_the_trainer_computes_what_transformers_computes_in_float64(tiny_gpu) -> None:
    parity = tiny_gpu[0]["stages"]["parity"]["figures"]
    assert {name.partition(",")[0] for name in parity} == {"distilBERT", "RoBERTa", "MPNet", "BERT"}
    for found in parity.values():
        assert found["holds"] and found["replayed"] and found["dropout_changes_loss"]
        assert 0 < found["float32"]["gradient"] < 1e-4 and found["float32"]["loss"] < 1e-5 and found["cached"] < 1e-5
        assert 0 < found["float32"]["stock"] < 1e-4 and abs(found["attention_dropout"]["ratio"] - 1) < 0.15


def test_ways_of_training_see_the_same_tokens(tiny_gpu) -> None:
    stages = tiny_gpu[0]["stages"]
    for model, layers in (("distilBERT", 2), ("RoBERTa", 2), ("MPNet", 2)):
        figures = stages[f"training {model}"]["figures"]
        ways = figures["ways"]
        assert {"armlib, chunks of 64", "armlib, chunks of 16", "sentence-transformers, merged"} <= set(ways)
        assert "needs a CUDA GPU" in figures["not_made"]["armlib, chunks of 64, adam8bit"]
        assert len({way["real_tokens_per_triple"] for way in ways.values()}) == 1
        linear = 0 if model == "distilBERT" else 64 * 65
        parameters = layers * (4 * 65 * 64 + 65 * 256 + 257 * 64 + 4 * 64) + 2 * 64 + linear
        assert figures["non_embedding_parameters"] == parameters
        for way in ways.values():
            assert way["padded_over_real"] >= 1 and len(way["rounds"]) == 2
            rates = [6 * parameters * each["real_tokens"] / each["seconds"] for each in way["rounds"]]
            assert way["flop_per_second_on_real_tokens"] == pytest.approx(sum(rates) / 2)


def test_the_loop_is_stopped_and_resumed_and_encoding_is_that_of_others(tiny_gpu) -> None:
    stages = tiny_gpu[0]["stages"]
    loop, encoding = stages["loop"]["figures"], stages["encoding"]["figures"]
    assert loop["stopped_after"] == 3 and loop["resumed_steps"] == loop["steps"] == 6
    assert loop["loss_apart_before_the_stop"] == loop["loss_apart_after_it"] == 0, "on a CPU to the same bits"
    assert encoding["sentence-transformers"]["lowest_cosine_with_ours"] > 0.9999 and encoding["into_a_file"]["passages"] == 400


def test_a_stage_that_fails_or_hangs_ends_nothing_else(tmp_path: Path) -> None:
    """The stages' own code, in a process of its own: it takes the alarm signal."""
    script = tmp_path / "stages_of_a_test.py"
    script.write_text(STAGES_OF_A_TEST)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (REPOSITORY, REPOSITORY / "benchmarks")))}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    *_, kept, found = done.stdout.splitlines()
    assert kept == "[1, 2, 3, 4, 5]", "it is written after every stage"
    found = json.loads(found)
    assert {name: noted["outcome"] for name, noted in found.items()} == {
        "works": "done",
        "fails": "ValueError: it is wrong",
        "hangs": "interrupted after 1 s",
        "works again": "done",
        "too late": "not begun, with 0 s left",
    }
    assert found["fails"]["where"][-1].startswith("stages_of_a_test.py:") and found["hangs"]["figures"] == {"first": 1}


STAGES_OF_A_TEST = """
import json, time
from stages import Stages

def works(figures):
    figures["first"] = 1

def fails(figures):
    raise ValueError("it is wrong")

def hangs(figures):
    figures["first"] = 1
    while True:
        try:
            time.sleep(0.05)
        except Exception:
            pass  # an error of its own must not save it

kept = []
stages = Stages(3600.0, lambda found: kept.append(len(found)))
stages.run("works", 60.0, works)
stages.run("fails", 60.0, fails)
stages.run("hangs", 1.0, hangs, least=0.5)
stages.run("works again", 60.0, works)
stages.ends = time.monotonic()
stages.run("too late", 60.0, works)
print(kept)
print(json.dumps(stages.found))
"""
