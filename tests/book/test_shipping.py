"""`armlib ship`: what is finished of a profile is written, what is there is kept, and what is missing is counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from armbook import chapters
from armlib.cli import main
from armlib.experiments.experiment import Experiment
from armlib.experiments.profile import load_profile
from armlib.experiments.shipped import Shipped
from armlib.experiments.store import RunStore

PROFILE = """
about = "A profile for a test."
encoders = ["lsa/distilbert"]
static = [0.3, 1.0]
batch_sizes = [8]
seeds = [0, 1]
sweep_seeds = [0]
jobs = 1

[experiment]
collection = "texts"
encoder = "lsa/distilbert"
batch_size = 8
steps = 2
query_length = 24
passage_length = 48
validate_every = 2
validation_queries = 10
evaluation = ["none"]
"""


@pytest.mark.slow
def test_what_is_finished_is_written_once_and_the_rest_is_counted(
    portable_experiment: Experiment, tmp_path: Path, monkeypatch, capsys
) -> None:
    file, folder = tmp_path / "tiny.toml", tmp_path / "results" / "texts"
    file.write_text(PROFILE)
    profile, store = load_profile(str(file)), RunStore(tmp_path / "runs")
    first = chapters.first_round(profile)

    def ship(*more: str, runs: Path = store.path) -> list[str]:
        assert main(["ship", str(folder), "--profile", str(file), "--runs", str(runs), *more]) == 0
        return capsys.readouterr().out.splitlines()

    *listed, counted, missing = ship("--list")
    assert counted.startswith(f"0 results in {folder}: 0 written, 0 kept") and len(listed) == len(first)
    assert missing.startswith(f"{len(first)} training runs are missing: distributed 2, adaptive 4, static_sweep 4, ")
    assert listed[0] == f"missing {first[0].key()} | {first[0]}"

    with chapters.from_store(store, 1) as get:
        trained = chapters.every_round(profile, get, ["distributed", "static_sweep"])
    experiments = {each for some in trained.values() for each in some}
    assert len(experiments) == 2 + 4 + 2  # the sweep, and the targets that it tunes with the other seed
    counted, missing = ship()
    assert counted.startswith(f"8 results in {folder}: 8 written, 0 kept") and "distributed" not in missing
    assert "static_sweep" not in missing and "adaptive 4" in missing
    assert {each.experiment for each in Shipped(folder).results()} == experiments

    store.result(chapters.adaptive(profile)[0])
    assert ship()[0].startswith(f"9 results in {folder}: 1 written, 8 kept")
    # To another machine, with no training runs of its own, they count as finished.
    counted, missing = ship(runs=tmp_path / "elsewhere")
    assert counted.startswith(f"9 results in {folder}: 0 written, 9 kept") and "adaptive 3" in missing
    assert not (tmp_path / "elsewhere").exists()

    file.write_text(PROFILE.replace('["lsa/distilbert"]', '["lsa/distilbert", "lsa/roberta"]'))
    folder = tmp_path / "two"
    assert ship()[0].startswith(f"9 results in {folder}: 9 written, 0 kept"), (
        "what one encoder's sweep tunes, with another's to come"
    )


def test_results_of_other_data_are_missing(
    portable_experiment: Experiment, portable_store: RunStore, tmp_path: Path, capsys
) -> None:
    file, shipped = tmp_path / "tiny.toml", Shipped(tmp_path / "texts")
    file.write_text(PROFILE)
    asked = chapters.distributed(load_profile(str(file)))[0]
    result = portable_store.result(portable_experiment)
    stale = type(result)("0" * 12, result.folder)
    vars(stale)["experiment"] = asked
    assert shipped.add(stale) and shipped.find(asked) is not None
    assert main(["ship", str(shipped.path), "--profile", str(file), "--runs", str(tmp_path / "runs")]) == 0
    printed = capsys.readouterr().out
    assert "0 results in" in printed and "distributed 2" in printed
