"""``armlib runs``: what a store holds is listed, shown and deleted, and nothing else."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from pathlib import Path

import pytest

from armlib import storage
from armlib.cli import main
from armlib.experiments.store import RunStore

DAMAGED, UNFINISHED, DRAFT = "0" * 12, "1" * 12, "2" * 12


@pytest.fixture
def store(small_store: RunStore, small_experiment, tmp_path: Path) -> Path:
    """A store with a result, a damaged one, a training run that was stopped, a draft, and files of somebody else."""
    key, folder = small_experiment.key(), tmp_path / "runs"
    for name in (key, DAMAGED):
        shutil.copytree(small_store.path / key, folder / name)
    (folder / DAMAGED / "trace.csv").write_text("step\n")
    for name in (f".unfinished/{UNFINISHED}/state", f".{DRAFT}.01234567.part/state", "notes/mine", "\x1b[31mred/mine"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("x" * 2000)
    return folder


def run(*arguments: object) -> int:
    return main(["runs", *map(str, arguments)])


@pytest.mark.filterwarnings("ignore:a folder of")
def test_all_that_is_stored_is_listed(store: Path, small_experiment, capsys) -> None:
    assert run("list", "--runs", store, "--json") == 0
    rows = {row["key"]: row for row in json.loads(capsys.readouterr().out)}
    key = small_experiment.key()
    states = {key: "finished", DAMAGED: "damaged", UNFINISHED: "unfinished", DRAFT: "unfinished"}
    assert {name: row["state"] for name, row in rows.items()} == states
    result = RunStore(store).result(small_experiment)
    (name,) = small_experiment.evaluation
    assert rows[key]["value"] == result.value(name, "full ranking", "nDCG@10") and rows[key]["time"] == result.about["time"]
    assert rows[UNFINISHED]["bytes"] == rows[DRAFT]["bytes"] == 2000
    assert rows[key]["bytes"] == sum(file.stat().st_size for file in (store / key).rglob("*") if file.is_file())

    assert run("list", "--runs", store) == 0
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == 5 and f"nDCG@10 {rows[key]['value']:.4f}" in printed
    assert "2.0 kB" in printed and printed.splitlines()[-1].startswith("4 in ") and "\x1b" not in printed


@pytest.mark.filterwarnings("ignore:a folder of")
def test_one_is_shown_by_the_first_digits_of_its_key(store: Path, small_experiment, capsys) -> None:
    assert run("show", small_experiment.key()[:6], "--runs", store) == 0
    printed = capsys.readouterr().out
    for part in (small_experiment.key(), "learning_rate      0.001", "nDCG@10", "re-ranking", "seed 0", "trace.csv"):
        assert part in printed
    assert run("show", "000000", "--runs", store) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{DAMAGED}  damaged\n") and "learning_rate" not in printed

    assert run("show", small_experiment.key(), "--runs", store, "--json") == 0
    shown, result = json.loads(capsys.readouterr().out), RunStore(store).result(small_experiment)
    assert shown["experiment"]["learning_rate"] == 0.001 and shown["state"] == "finished" and shown["time"] == result.about["time"]
    assert {row["measure"]: row["value"] for row in shown["measures"] if row["mode"] == "full ranking"}["nDCG@10"] == result.value(
        *small_experiment.evaluation, "full ranking", "nDCG@10"
    )
    trace = store / small_experiment.key() / "trace.csv"
    assert shown["files"][f"{small_experiment.key()}/trace.csv"] == trace.stat().st_size
    assert run("show", "000000", "--runs", store, "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["state"] == "damaged" and "experiment" not in shown


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["show", "f" * 12], "unknown key in "),
        (["show", ""], "unknown key in "),
        (["show", "notes"], "unknown key in "),
        (["prune"], "expected keys, --unfinished, --damaged or --older-than DAYS"),
        (["prune", "--older-than", "nan"], "takes a number of days from 0"),
        (["prune", "--older-than", "-1"], "takes a number of days from 0"),
    ],
)
def test_what_is_not_there_is_one_sentence(store: Path, arguments: list[str], sentence: str, capsys) -> None:
    assert run(*arguments, "--runs", store) == 2
    error = capsys.readouterr().err
    assert sentence in error and len(error.splitlines()) == 1
    assert run("list", "--runs", store / "nowhere") == 2
    assert "there is no run store" in capsys.readouterr().err


def test_keys_that_begin_alike_are_refused(store: Path, capsys) -> None:
    shutil.copytree(store / DAMAGED, store / ("0" * 11 + "1"))
    assert run("prune", "000000", "--yes", "--runs", store) == 2
    assert "2 keys begin with '000000'" in capsys.readouterr().err and (store / DAMAGED).exists()


@pytest.mark.filterwarnings("ignore:a folder of")
@pytest.mark.parametrize(
    ("arguments", "chosen"),
    [
        (["--unfinished"], {UNFINISHED, DRAFT}),
        (["--damaged"], {DAMAGED}),
        (["--damaged", "--unfinished"], {DAMAGED, UNFINISHED, DRAFT}),
        (["000000"], {DAMAGED}),
        (["111111", "--damaged"], {DAMAGED, UNFINISHED}),
        (["--older-than", "1"], set()),
        (["--older-than", "0"], {DAMAGED, UNFINISHED, DRAFT, "result"}),
        (["--older-than", "0", "--damaged"], {DAMAGED}),
    ],
)
def test_what_is_chosen_is_deleted_and_nothing_else(store: Path, small_experiment, arguments: list[str], chosen: set[str], capsys):
    chosen = {small_experiment.key() if key == "result" else key for key in chosen}
    before = sorted(store.rglob("*"))
    assert run("prune", *arguments, "--runs", store) == 0
    printed = capsys.readouterr().out
    assert {line.split()[0] for line in printed.splitlines()[:-1]} == chosen and "would be freed" in printed
    assert sorted(store.rglob("*")) == before, "without --yes nothing is deleted"
    assert run("prune", *arguments, "--yes", "--runs", store) == 0
    assert "freed" in capsys.readouterr().out.splitlines()[-1]
    left = [path for path in sorted(store.rglob("*")) if ".locks" not in path.parts]
    assert left == [path for path in before if not any(key in str(path) for key in chosen)]


def _hold(lock: Path, begun, end) -> None:
    with storage.locked(lock, "training"):
        begun.set()
        end.wait(60)


@pytest.mark.filterwarnings("ignore:a folder of")
def test_what_is_being_trained_is_left(store: Path, capsys) -> None:
    context = multiprocessing.get_context("fork")
    begun, end = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(store / ".locks" / f"{UNFINISHED}.lock", begun, end))
    process.start()
    assert begun.wait(60)
    assert run("prune", "--unfinished", "--yes", "--runs", store) == 0
    assert run("prune", "111111", "--yes", "--runs", store) == 0
    printed = capsys.readouterr().out
    end.set()
    process.join()
    assert f"{UNFINISHED}  running     left" in printed and (store / ".unfinished" / UNFINISHED / "state").exists()
    assert run("prune", "111111", "--yes", "--runs", store) == 0
    assert not (store / ".unfinished" / UNFINISHED).exists()
