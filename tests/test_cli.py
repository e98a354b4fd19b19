"""The command line, called as a user calls it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from armlib import cli
from armlib.cli import main
from armlib.cli.options import add_command
from armlib.evaluation.tables import EXACT
from armlib.retrieval.run_files import read_run

# The values of `small_experiment` that are not those of the profile demo.
SETTINGS = ["--batch-size", 16, "--steps", 20, "--learning-rate", 1e-3, "--query-length", 24, "--passage-length", 48]
SETTINGS += ["--validation-queries", 20, "--validate-every", 10, "--selection", "best", "--chunk-size", 16]


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_train_evaluate_search(small_store, small_experiment, beir_folder, tmp_path, capsys) -> None:
    key = small_experiment.key()
    places = ["--collection", beir_folder, "--encoder", small_experiment.encoder, "--evaluation", f"{beir_folder}/test"]
    assert run("train", *places, *SETTINGS, "--runs", small_store.path) == 0
    printed = capsys.readouterr().out
    assert str(small_store.path / key / "encoder") in printed, "the same values are the same experiment"
    assert "nDCG@10" in printed and "full ranking" in printed

    assert run("train", *places, *SETTINGS, "--runs", small_store.path, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    stored = small_store.result(small_experiment)
    assert printed["key"] == key and printed["encoder"] == str(small_store.path / key / "encoder")
    assert printed["experiment"]["steps"] == 20 and printed["measures"] == stored.measures.to_dict("records")
    assert printed["seconds"]["total"] > 0

    output = tmp_path / "measured"
    assert run("evaluate", key, "--runs", small_store.path, "--output", output, "--measure", "nDCG@10", "RR@10") == 0
    measures = pd.read_csv(output / "measures.csv", **EXACT)
    assert set(measures.measure) == {"nDCG@10", "RR@10"} and set(measures["mode"]) == {"re-ranking", "full ranking"}
    files = list((output / "runs").glob("*.run.gz"))
    assert len(files) == 2
    for file in files:
        assert read_run(file) == read_run(stored.folder / "runs" / file.name)

    said = capsys.readouterr().out
    assert re.search(r"/test: exact search of \d+ passages for \d+ queries, \d+ found for each; encode queries \S+ s, build", said)
    approximate = ["--index", "IVF2,Flat:nprobe=1", "--measure", "nDCG@10"]
    assert run("evaluate", key, "--runs", small_store.path, "--output", tmp_path / "approximate", *approximate) == 0
    said = capsys.readouterr().out
    assert re.search(r"search with index IVF2,Flat:nprobe=1 of .*; recall against exact search \S+ at 10, .* \(\d+ queries\)", said)
    assert run("evaluate", key, "--runs", small_store.path, "--output", output, "--measure", "nDCG@10", "RR@10", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["measures"] == measures.to_dict("records") and printed["model"] == key
    assert printed["runs"] == str(output / "runs") and printed["indexes"]

    assert run("search", "shuffle a list in place", "--collection", beir_folder, "--runs", small_store.path, "-k", 3) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("1. ") and "\n3. " in printed
    asked = ("shuffle a list in place", "--collection", beir_folder, "--runs", small_store.path, "-k", 3, "--json")
    assert run("search", *asked) == 0
    found = json.loads(capsys.readouterr().out)["passages"]
    assert [f"{rank}. {one['score']:.3f}  {one['id']}" for rank, one in enumerate(found, 1)] == printed.splitlines()[::2]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train", "--collection", "docstring"], "unknown collection 'docstring'; did you mean"),
        (["train", "--target", "adaptiv"], "unknown target 'adaptiv'"),
        (["train", "--profile", "large"], "unknown profile 'large'"),
        (["evaluate", "no/such/model", "--collection", "docstrings/test"], "there is no folder no/such/model"),
        (["evaluate", "{encoder}", "--collection", "{collection}", "--measure", "nDCG@ten"], "nDCG@ten"),
        (["evaluate", "{encoder}", "--collection", "{collection}", "--measure", "mmr@10"], "did you mean 'RR@10'"),
        (["evaluate", "{encoder}", "--collection", "{collection}", "--output", "{file}"], "cannot write"),
        (["evaluate", "{encoder}", "--collection", "{collection}", "--output", "{file}/below"], "Not a directory"),
        (
            ["evaluate", "{encoder}", "--collection", "{collection}", "--query-prompt", "caf\udce9"],
            "the query prompt: the text holds",
        ),
        (["evaluate", "{file}", "--collection", "{collection}"], "'armlib measure {file} --qrels ...' is meant"),
        (["evaluate", "{encoder}"], "evaluate needs --collection"),
        (
            ["train", "--collection", "{collection}", "--encoder", "{encoder}", "--passage-prompt", "\udce9"],
            "the passage prompt: the",
        ),
        (["search", "caf\udce9", "--collection", "any", "--model", "any"], r"search: the question holds '\udce9'"),
        (["search", "x", "--collection", "any", "--model", "any", "-k", "0"], "at least 1 passage"),
        (["search", " ", "--collection", "{collection}", "--model", "{encoder}"], "the question is empty"),
        (["search", "x", "--collection", "{collection}", "--runs", "{nowhere}"], "nothing was trained on"),
    ],
)
def test_bad_input_is_one_sentence(arguments, sentence, tiny_folder: Path, beir_folder: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "a.run").touch()
    places = {"encoder": tiny_folder, "collection": f"{beir_folder}/test", "nowhere": tmp_path, "file": tmp_path / "a.run"}
    sentence = sentence.replace("{file}", str(tmp_path / "a.run"))
    assert run(*(argument.format(**places) for argument in arguments)) == 2
    error = capsys.readouterr().err
    assert sentence in error and len(error.strip().splitlines()) == 1


def test_hits_cannot_act_on_a_terminal(tiny_folder: Path, tmp_path: Path, capsys) -> None:
    texts = ["\\u001b]0;owned\\u0007 sort an array \\r overwritten \\u009b1m", "sort \\u202e an array", "two\\nlines"]
    rows = [f'{{"_id": "d{number}", "title": "", "text": "{text}"}}\n' for number, text in enumerate(texts)]
    (tmp_path / "qrels").mkdir()
    (tmp_path / "corpus.jsonl").write_text("".join(rows))
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "sort"}\n')
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td0\t1\n")
    assert run("search", "sort", "--model", tiny_folder, "--collection", tmp_path, "-k", 3) == 0
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == 6 and all(each.isprintable() for each in printed.splitlines())
    assert r"\x1b]0;owned\x07" in printed and r"\u202e" in printed and "two lines" in printed


def test_mistyped_options_cannot_act_on_a_terminal(capsys) -> None:
    with pytest.raises(SystemExit):
        run("train", "--\x1b[31m")
    error = capsys.readouterr().err
    assert r"\x1b[31m" in error and "\x1b" not in error


def test_other_packages_add_commands(monkeypatch, capsys) -> None:
    def add(commands) -> None:
        parser = add_command(commands, "greet", lambda options: print(f"hello {options.name}"), "Say hello.")
        parser.add_argument("name")

    entry = SimpleNamespace(name="greetings", load=lambda: add)
    monkeypatch.setattr(cli, "entry_points", lambda group: [entry] if group == "armlib.commands" else [])
    assert run("greet", "Ada") == 0 and capsys.readouterr().out == "hello Ada\n"
    with pytest.raises(SystemExit):
        run("--help")
    printed = capsys.readouterr().out
    assert "Say hello." in printed and "train" in printed and "figure" not in printed, "the book's are its own"


def test_a_loss_may_be_named_whole(small_store, small_experiment, beir_folder, capsys) -> None:
    """The result is that of the margin loss which the name stands for, so nothing is trained."""
    places = ["--collection", beir_folder, "--encoder", small_experiment.encoder, "--evaluation", f"{beir_folder}/test"]
    settings = [*SETTINGS, "--runs", small_store.path]
    assert run("train", *places, *settings, "--loss", "distributed") == 0
    assert str(small_store.path / small_experiment.key() / "encoder") in capsys.readouterr().out
    assert run("train", *places, *settings, "--loss", "adaptive", "--in-batch") == 2
    assert "'adaptive' says all of itself, so in_batch cannot be given beside it" in capsys.readouterr().err
