"""The examples in the docstrings of what a user meets first: each is run, and prints what it says."""

from __future__ import annotations

import doctest
import json
import shutil
from pathlib import Path

import pytest

from armlib import BiEncoder, Experiment, MarginLoss, RunStore, compare, evaluate, load_collection, load_profile
from armlib.data.negatives import mine_negatives
from armlib.evaluation.equivalence import equivalence
from armlib.losses import parse_loss

SHOWN = (
    BiEncoder.load,
    Experiment,
    MarginLoss,
    RunStore,
    compare,
    equivalence,
    evaluate,
    load_collection,
    load_profile,
    mine_negatives,
    parse_loss,
)
DOCUMENTS = {"d1": "sorted makes a list sorted", "d2": "open lets files be read", "d3": "lists are cut", "d4": "files are removed"}
QUERIES = {"q1": "how are lists sorted", "q2": "how are files read"}
JUDGED = {"q1": "d1", "q2": "d2"}


@pytest.fixture
def user(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with what examples call my/folder and my/encoder."""
    folder = tmp_path / "my" / "folder"
    (folder / "qrels").mkdir(parents=True)
    for name, texts in (("corpus", DOCUMENTS), ("queries", QUERIES)):
        rows = (json.dumps({"_id": identity, "title": "", "text": text}) + "\n" for identity, text in texts.items())
        (folder / f"{name}.jsonl").write_text("".join(rows))
    rows = (f"{query}\t{document}\t1\n" for query, document in JUDGED.items())
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(rows))
    shutil.copytree(tiny_folder, tmp_path / "my" / "encoder")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("shown", SHOWN, ids=lambda shown: shown.__qualname__)
def test_examples_print_what_they_say(shown: object, user: None, capsys) -> None:
    finder = doctest.DocTestFinder(recurse=False)
    (example,) = (each for each in finder.find(shown, shown.__qualname__, globs={}) if each.examples)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(example, clear_globs=False)
    assert runner.tries >= 2 and runner.failures == 0, capsys.readouterr().out
