"""Experiments are plain values with a key that follows values and data."""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from armlib.errors import InputError
from armlib.experiments.experiment import Experiment
from armlib.experiments.profile import load_profile, profile_names


def test_the_key_follows_values_and_data(small_experiment: Experiment, beir_folder: Path, tmp_path: Path) -> None:
    key = small_experiment.key()
    assert Experiment(**asdict(small_experiment)).key() == key
    assert replace(small_experiment, seed=1).key() != key != replace(small_experiment, full_ranking=False).key()
    assert replace(small_experiment, target="static( 0.30 )").key() == replace(small_experiment, target="static(0.3)").key()
    copy = tmp_path / "copy"
    shutil.copytree(beir_folder, copy)
    moved = replace(small_experiment, collection=str(copy), evaluation=(f"{copy}/test",))
    before = moved.key()
    with open(copy / "queries.jsonl", "a") as queries:
        queries.write('{"_id": "more", "text": "one more query"}\n')
    (copy / "qrels" / "test.tsv").write_text((copy / "qrels" / "test.tsv").read_text() + "more\tos.walk\t1\n")
    assert moved.key() != before, "judgments that changed make another experiment"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"target": "adaptiv"}, "unknown target 'adaptiv'; did you mean 'adaptive'"),
        ({"target": "distributed", "in_batch": True}, "in_batch"),
        ({"reading": "theirs"}, "reading"),
        ({"selection": "median"}, "unknown selection 'median'"),
        ({"batch_size": 0}, "batch_size of an experiment must be at least 1, not 0"),
        ({"steps": "many"}, "steps of an experiment must be int, not 'many'"),
        ({"seed": True}, "seed of an experiment must be int, not True"),
    ],
)
def test_values_that_cannot_be_are_refused_at_once(values: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence.replace("(", r"\(")):
        Experiment(**values)


def test_it_prints_as_one_line() -> None:
    line = str(Experiment(target="static(0.3)", in_batch=True, seed=2))
    assert line == "docstrings | lsa/distilbert | static(0.3), in-batch | B=64, 300 steps, learning rate 0.0005 | seed 2"


@pytest.mark.parametrize("name", ["demo", "small", "paper"])
def test_profiles(name: str) -> None:
    profile = load_profile(name)
    assert name in profile_names() and profile.experiment.encoder in profile.encoders and profile.about.endswith(".")
    assert profile.vary(target="adaptive").target == "adaptive"
    with pytest.raises(InputError, match="unknown value of an experiment 'sead'; did you mean 'seed'"):
        profile.vary(sead=1)


def test_a_profile_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    text = 'about = "Mine."\nencoders = ["lsa/mpnet"]\nseeds = [0]\nsweep_seeds = [0]\nstatic = [1.0]\nbatch_sizes = [64]\n'
    text += 'jobs = 1\n[experiment]\nencoder = "lsa/mpnet"\n'
    file.write_text(text)
    assert load_profile(str(file)).experiment.encoder == "lsa/mpnet"
    changed = load_profile(str(file), "docstrings/test", "lsa/roberta", [3])
    assert changed.encoders == (changed.experiment.encoder,) == ("lsa/roberta",) and changed.seeds == changed.sweep_seeds == (3,)
    file.write_text(text.replace("static", "statik"))
    with pytest.raises(InputError, match="did you mean 'static'"):
        load_profile(str(file))
    file.write_text(text.replace("jobs = 1", ""))
    with pytest.raises(InputError, match="lacks jobs"):
        load_profile(str(file))
    file.write_text(text)
    file.write_text(text + "learnin_rate = 1.0\n")
    with pytest.raises(InputError, match="did you mean 'learning_rate'"):
        load_profile(str(file))
    with pytest.raises(InputError, match="unknown profile 'large'.*demo, paper, small"):
        load_profile("large")
    file.write_text(text + "[sweep]\nstepps = 10\n")
    with pytest.raises(InputError, match="value of the sweep .*'stepps'; did you mean 'steps'"):
        load_profile(str(file))
    file.write_text(text + '[sweep]\nsteps = "few"\n')
    with pytest.raises(InputError, match="steps of an experiment must be int, not 'few'"):
        load_profile(str(file))
    for seeds in (3, "3", ["3"], [0.5]):
        with pytest.raises(InputError, match="seeds must be a list of whole numbers"):
            load_profile("demo", seeds=seeds)
    with pytest.raises(InputError, match="named by text, not by 3"):
        load_profile(3)
    with pytest.raises(InputError, match="no profile file"):
        load_profile(str(tmp_path / "none.toml"))


def test_another_collection_brings_its_own_validation_and_evaluation() -> None:
    own = load_profile("paper").experiment
    assert own.validation and load_profile("paper", own.collection).experiment == own
    other = load_profile("paper", "docstrings").experiment
    assert (other.validation, other.evaluation, other.steps) == ("", (), own.steps)
