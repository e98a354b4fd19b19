"""The command line, called as a user calls it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from armlib.cli import main
from armlib.retrieval.run_files import read_run


def run(*arguments: str) -> int:
    return main([str(argument) for argument in arguments])


def test_train_evaluate_search(small_store, small_experiment, beir_folder, tmp_path, capsys) -> None:
    key = small_experiment.key()
    settings = ["--batch-size", 16, "--steps", 20, "--learning-rate", 1e-3, "--query-length", 24, "--passage-length", 48]
    settings += ["--validation-queries", 20, "--validate-every", 10, "--selection", "best", "--chunk-size", 16]
    places = ["--collection", beir_folder, "--encoder", small_experiment.encoder, "--evaluation", f"{beir_folder}/test"]
    assert run("train", *places, *settings, "--runs", small_store.path) == 0
    printed = capsys.readouterr().out
    assert str(small_store.path / key / "encoder") in printed, "the same values are the same experiment"
    assert "nDCG@10" in printed and "full ranking" in printed

    output = tmp_path / "measured"
    assert run("evaluate", key, "--runs", small_store.path, "--output", output, "--measure", "nDCG@10", "RR@10") == 0
    measures = pd.read_csv(output / "measures.csv")
    assert set(measures.measure) == {"nDCG@10", "RR@10"} and set(measures["mode"]) == {"re-ranking", "full ranking"}
    stored = small_store.result(small_experiment)
    for file in (output / "runs").iterdir():
        assert read_run(file) == read_run(stored.folder / "runs" / file.name)

    capsys.readouterr()
    assert run("search", "shuffle a list in place", "--collection", beir_folder, "--runs", small_store.path, "-k", 3) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("1. ") and "\n3. " in printed


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train", "--collection", "docstring"], "unknown collection 'docstring'; did you mean"),
        (["train", "--target", "adaptiv"], "unknown target 'adaptiv'"),
        (["train", "--profile", "large"], "unknown profile 'large'"),
        (["evaluate", "no/such/model", "--collection", "docstrings/test"], "there is no folder no/such/model"),
        (["evaluate", "{encoder}", "--collection", "{collection}", "--measure", "nDCG@ten"], "nDCG@ten"),
        (["evaluate", "{encoder}"], "evaluate needs --collection"),
        (["search", " ", "--collection", "{collection}", "--model", "{encoder}"], "the question is empty"),
        (["search", "x", "--collection", "{collection}", "--runs", "{nowhere}"], "nothing was trained on"),
    ],
)
def test_bad_input_is_one_sentence(arguments, sentence, tiny_folder: Path, beir_folder: Path, tmp_path: Path, capsys) -> None:
    places = {"encoder": tiny_folder, "collection": f"{beir_folder}/test", "nowhere": tmp_path}
    assert run(*(argument.format(**places) for argument in arguments)) == 2
    error = capsys.readouterr().err
    assert sentence in error and len(error.strip().splitlines()) == 1


@pytest.mark.parametrize("command", ["train", "evaluate", "search", "figure", "table", "book"])
def test_help_teaches(command: str, capsys) -> None:
    with pytest.raises(SystemExit) as exit:
        run(command, "--help")
    assert exit.value.code == 0
    printed = capsys.readouterr().out
    assert "examples:" in printed or command == "book"
    if command == "train":
        assert "--learning-rate FLOAT" in printed and "training queries kept from training" in " ".join(printed.split())
