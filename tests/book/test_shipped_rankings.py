"""Rankings that travel: the order and the measures of the top stay, and what made each stands beside it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import yaml

from armbook import shipped_rankings
from armlib import evaluate
from armlib.errors import InputError
from armlib.evaluation.evaluate import FULL_RANKING
from armlib.experiments.experiment import Experiment
from armlib.experiments.profile import load_profile
from armlib.experiments.run_metadata import ENDING
from armlib.experiments.shipped import Shipped
from armlib.experiments.store import RunStore
from armlib.names import load_collection
from armlib.retrieval.run_files import read_run


def test_a_cut_ranking_has_the_order_and_the_measures_of_the_whole(
    portable_store: RunStore, portable_experiment: Experiment, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(shipped_rankings, "DEPTH", 12)
    result = portable_store.result(portable_experiment)
    (file,) = shipped_rankings.write_rankings([result], "demo", tmp_path)
    assert file == tmp_path / "distilbert-distributed-test.run.gz"
    cut, whole = read_run(file), result.run("texts/test", FULL_RANKING)
    assert cut.keys() == whole.keys() and {len(found) for found in cut.values()} == {12}
    for query, found in cut.items():
        assert list(found) == list(whole[query])[:12]
        assert list(found.values()) == pytest.approx(list(whole[query].values())[:12], rel=1e-8)
    again = evaluate(cut, load_collection("texts/test").qrels(), ["nDCG@10"])
    assert again.per_query["nDCG@10"].tolist() == result.per_query("texts/test", FULL_RANKING).per_query["nDCG@10"].tolist()

    told = yaml.safe_load(file.with_name(file.name.replace(".run.gz", ENDING)).read_text())
    assert told["tag"] == result.key and told["data"]["test collection"]["name"] == "texts/test"
    command = shlex.split(told["implementation"]["executable"]["cmd"])
    assert command == [
        "armlib",
        "train",
        "--profile",
        "demo",
        "--encoder",
        "lsa/distilbert",
        "--target",
        "distributed",
        "--seed",
        "0",
    ]


def test_rankings_that_are_not_there_are_missed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="rankings need 8 training runs that are not finished, such as docstrings"):
        shipped_rankings.compared(load_profile("demo"), Shipped(tmp_path / "none"), RunStore(tmp_path / "runs"))
