"""Profiles: values that a scale's experiments share, from the package or from a file of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from armlib.errors import InputError
from armlib.experiments.experiment import MOST
from armlib.experiments.profile import load_profile, profile_names
from fuzzing import mutated, tried_on

MINE = """\
about = "Mine."
encoders = ["lsa/mpnet"]
seeds = [0]
sweep_seeds = [0]
static = [1.0, 0]
batch_sizes = [64]
jobs = 1
[experiment]
encoder = "lsa/mpnet"
learning_rate = 1e-3
[sweep]
steps = 10
"""


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


@pytest.mark.parametrize(
    ("there", "instead", "complaint"),
    [
        ("seeds = [0]", 'seeds = "1"', "expected seeds as a list, each of it a whole number, not '1'"),
        ("seeds = [0]", "seeds = []", r"expected seeds as a list, each of it a whole number, not \[\]"),
        ("seeds = [0]", "seeds = [true]", r"each of it a whole number, not \[True\]"),
        ("seeds = [0]", "seeds = [-1]", "seed of an experiment must be from 0 to 2,147,483,647, not -1"),
        ("seeds = [0]", "seeds = 0", "expected seeds as a list"),
        ('["lsa/mpnet"]', "[1]", r"expected encoders as a list, each of it text, not \[1\]"),
        ("[1.0, 0]", "[nan]", "static target"),
        ("[1.0, 0]", "[-3.0]", "static target"),
        ("[1.0, 0]", '["0.3"]', "expected static as a list, each of it a number"),
        ("[64]", "[0]", "batch_size of an experiment must be at least 1, not 0"),
        ("jobs = 1", "jobs = 0", "jobs must be at least 1, not 0"),
        ("jobs = 1", "jobs = 1.0", "expected jobs as a whole number, not 1.0"),
        ("jobs = 1", "jobs = true", "expected jobs as a whole number, not True"),
        ('"Mine."', "3", "expected about as text, not 3"),
        ("1e-3", "nan", "learning_rate of an experiment must be from 0 to"),
        ("1e-3", "-inf", "learning_rate of an experiment must be from 0 to"),
        ("1e-3", "true", "learning_rate of an experiment must be float, not True"),
        ("1e-3", '1e-3\noptimizer = "sgd"', "unknown optimizer 'sgd'"),
        ("1e-3", "1e-3\ndecay = 1.5", "decay as a finite number from 0 to 1, not 1.5"),
        ("1e-3", "1e-3\nevaluation = [1]", "evaluation of an experiment must be a list of names"),
        ("steps = 10", "steps = -1", "steps of an experiment must be from 0"),
        ("steps = 10", f"steps = {10**30}", "steps of an experiment must be from 0"),
        ("jobs = 1", "jobs = 1\nlearning_rates = [-1.0]", "learning_rate of an experiment must be from 0 to"),
        ("jobs = 1", "jobs = 1\nlearning_rates = []", "expected learning_rates as a list, each of it a number"),
        ("jobs = 1", "jobs = 1\nscales = [0]", "the scale of infonce"),
        ("jobs = 1", 'jobs = 1\nteacher = "interactions"', "unknown teacher 'interactions'; did you mean 'interaction'"),
        ("jobs = 1", 'jobs = 1\npairwise_teacher = "interaction"', "unknown pairwise teacher 'interaction'"),
        ("jobs = 1", 'jobs = 1\nin_batch_teacher = "interaction"', "in_batch_teacher must be a bi-encoder, such as bi-encoder"),
        ("jobs = 1", "jobs = 1\nquery_clusters = 0", "query_clusters must be at least 1, not 0"),
        ("[sweep]\nsteps = 10", "", ""),
        ("[experiment]", "experiment = 3\n[other]", "expected experiment as a table"),
        ("[sweep]", "[[sweep]]", "expected sweep as a table"),
        ("jobs = 1", "jobs = ", r"mine.toml:7: expected TOML, but: Invalid value"),
        ("jobs = 1", "jobs = 1\njobs = 2", r"mine.toml:8: expected TOML, but: Cannot overwrite a value"),
        ("jobs = 1", "jobs = " + "9" * 5000, "expected TOML, but: Exceeds the limit"),
        ("jobs = 1", "jobs = " + "[" * 5000, "mine.toml: expected TOML, but: "),
    ],
)
def test_every_value_of_a_profile_is_looked_at(tmp_path: Path, there: str, instead: str, complaint: str) -> None:
    file = tmp_path / "mine.toml"
    assert there in MINE
    file.write_text(MINE.replace(there, instead, 1))
    if not complaint:
        assert load_profile(str(file)).sweep == {}
        return
    with pytest.raises(InputError, match=complaint):
        load_profile(str(file))


def test_files_that_are_no_profiles(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes(b"\xef\xbb\xbf" + MINE.encode())
    assert load_profile(str(file)).jobs == 1, "a byte order mark is read away"
    file.write_bytes(MINE.replace("Mine", "Für").encode("latin-1"))
    with pytest.raises(InputError, match=r"mine.toml:1: expected UTF-8 text, found the byte 0xfc"):
        load_profile(str(file))
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(InputError, match="cannot read .*folder.toml: Is a directory"):
        load_profile(str(tmp_path / "folder.toml"))
    with pytest.raises(InputError, match="named by text, not by 3"):
        load_profile("demo", collection=3)


@tried_on("profiles", mutated(MINE.encode()))
def test_a_profile_is_read_or_refused(folder: Path, written: bytes) -> None:
    (folder / "mine.toml").write_bytes(written)
    profile = load_profile(str(folder / "mine.toml"))
    assert profile.jobs >= 1 and isinstance(profile.about, str) and all(isinstance(name, str) for name in profile.encoders)
    assert all(type(seed) is int and 0 <= seed <= MOST for seed in (*profile.seeds, *profile.sweep_seeds))
    assert profile.batch_sizes and all(-2 <= target <= 2 for target in profile.static)
    assert profile.vary(**profile.sweep).learning_rate >= 0


def encoder_files(folder: Path, **files: dict) -> str:
    folder.mkdir()
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return str(folder)


@pytest.mark.parametrize(
    ("files", "passage_length"),
    [
        ({"config": {"model_type": "bert", "max_position_embeddings": 512}}, 200),
        ({"config": {"max_position_embeddings": 512}, "sentence_bert_config": {"max_seq_length": 128}}, 128),
        ({"config": {"max_position_embeddings": 512}, "sentence_bert_config": {"max_seq_length": 48}, "armlib": {}}, 200),
        ({"config": {"model_type": "roberta", "max_position_embeddings": 130, "pad_token_id": 1}}, 128),
        ({"config": {"model_type": "t5"}}, 200),
    ],
)
def test_a_pretrained_encoder_has_defaults_of_its_own(tmp_path: Path, files: dict, passage_length: int) -> None:
    profile = load_profile("demo", encoder=encoder_files(tmp_path / "encoder", **files))
    asked = profile.experiment
    assert (asked.learning_rate, asked.query_length, asked.passage_length) == (2e-5, 30, passage_length)
    assert profile.learning_rates == (1e-5, 2e-5, 5e-5)
    assert asked.steps == load_profile("demo").experiment.steps


def test_another_collection_is_read_at_the_papers_lengths_and_another_kind_of_encoder_is_trained_at_its_rate() -> None:
    demo, paper = load_profile("demo").experiment, load_profile("paper").experiment
    foreign = load_profile("demo", collection="msmarco-mini").experiment
    assert (foreign.query_length, foreign.passage_length, foreign.learning_rate) == (30, 200, demo.learning_rate)
    assert load_profile("demo", collection="docstrings", encoder="lsa/roberta").experiment.passage_length == demo.passage_length
    assert load_profile("paper", encoder="lsa/roberta").experiment.learning_rate == 5e-4
    assert load_profile("paper", encoder="some/encoder").experiment.learning_rate == paper.learning_rate


def test_what_is_asked_for_wins(tmp_path: Path) -> None:
    folder = encoder_files(tmp_path / "encoder", config={"max_position_embeddings": 512})
    profile = load_profile("paper", encoder=folder, learning_rate=1e-4, steps=7, batch_size=3, query_length=9, passage_length=11)
    asked = profile.experiment
    assert (asked.learning_rate, asked.steps, asked.batch_size, asked.query_length, asked.passage_length) == (1e-4, 7, 3, 9, 11)
    assert profile.learning_rates == (1e-4,) and profile.vary(**profile.sweep).steps == 7
    with pytest.raises(InputError, match="learning_rate"):
        load_profile("demo", learning_rate=-1.0)
