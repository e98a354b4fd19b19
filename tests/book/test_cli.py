"""The book's commands: `armlib sweep` fills a store with what chapters compare, lists it, and refuses what it cannot use."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from armlib.cli import main
from armlib.experiments import cluster
from armlib.experiments.store import RunStore


@pytest.mark.parametrize("command", ["figure", "table", "sweep"])
def test_help_teaches(command: str, capsys) -> None:
    with pytest.raises(SystemExit) as exit:
        main([command, "--help"])
    assert exit.value.code == 0 and "examples:" in capsys.readouterr().out


@pytest.fixture
def profile(beir_folder: Path, tiny_folder: Path, tmp_path: Path) -> Path:
    """A profile of seconds: two static targets, one seed."""
    file = tmp_path / "tiny.toml"
    file.write_text(PROFILE.format(collection=json.dumps(str(beir_folder)), encoder=json.dumps(str(tiny_folder))))
    return file


PROFILE = """
about = "A profile for a test."
encoders = [{encoder}]
static = [0.3, 1.0]
batch_sizes = [8]
seeds = [0, 1]
sweep_seeds = [0]
jobs = 1

[experiment]
collection = {collection}
encoder = {encoder}
batch_size = 8
steps = 4
learning_rate = 1e-3
query_length = 24
passage_length = 48
validate_every = 2
validation_queries = 10
evaluation = ["none"]
"""


@pytest.mark.slow
def test_the_command_fills_a_store_and_lists_it(profile: Path, tmp_path: Path, capsys) -> None:
    command = ["sweep", "--profile", str(profile), "--runs", str(tmp_path / "runs"), "--chapter", "static_sweep"]
    assert main([*command, "--list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed[:-1]] == ["missing"] * 4 and ": 4 missing; then what these tune" in listed[-1]
    assert not list((tmp_path / "runs").glob("*/result.json"))
    assert main([*command, "--workers", "1"]) == 0
    ended = capsys.readouterr()
    assert "4 of 4: " in ended.out and ended.err == ""
    # The tuned targets, without and with in-batch negatives, with the seed that the sweep did not have.
    finished = RunStore(tmp_path / "runs").finished()
    assert len(finished) == 4 + 2 and [result.experiment.seed for result in finished].count(1) == 2
    (next(result for result in finished if result.experiment.seed == 0).folder / "trace.csv").write_text("step\n")
    (tmp_path / "runs" / ".unfinished" / "0123").mkdir(parents=True)
    assert main([*command, "--list"]) == 0
    assert ": 1 damaged, 3 finished; then" in capsys.readouterr().out.replace("3 finished, 1 damaged", "1 damaged, 3 finished")


def test_wrong_input_is_refused_before_anything_starts(profile: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(cluster, "LocalCluster", lambda **_: pytest.fail("started"))
    command = ["sweep", "--profile", str(profile), "--runs", str(tmp_path / "runs")]
    for wrong, sentence in (
        (["--chapter", "static"], "unknown chapter 'static'; did you mean 'static_sweep'?"),
        (["--workers", "0"], "at least one worker, not 0"),
        (["--workers", "2", "--scheduler", "tcp://127.0.0.1:1"], "--workers counts processes of this machine"),
        (["--scheduler", "nonsense://x"], "no Dask scheduler answers at 'nonsense://x'"),
        (["--profile", "papers"], "unknown profile 'papers'"),
    ):
        assert main([*command, *wrong]) == 2
        assert sentence in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_without_dask_it_is_one_sentence(profile: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "dask", None)
    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    monkeypatch.delitem(sys.modules, "armlib.experiments.cluster")
    monkeypatch.delitem(sys.modules, "armbook.sweep", raising=False)
    assert main(["sweep", "--profile", str(profile), "--runs", str(tmp_path / "runs")]) == 2
    assert capsys.readouterr().err == "armlib: a sweep needs Dask; install it with: pip install 'armlib[sweep]'\n"
