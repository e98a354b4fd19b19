"""Profiles: values that a scale's experiments share, from the package or from a file of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from armlib.errors import InputError
from armlib.experiments.profile import load_profile, profile_names


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
