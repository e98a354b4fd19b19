"""Fine-tuning from what is in memory: the weights are those of an experiment on a file of the same triples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import armlib
from armlib import Experiment, RunStore, load_collection
from armlib.data.in_memory import InMemory, text_triples
from armlib.data.text_files import write_columns
from armlib.encoder.bi_encoder import BiEncoder
from armlib.errors import InputError

Triples = list[tuple[str, str, str]]
VALUES: dict[str, Any] = {
    "batch_size": 8,
    "learning_rate": 1e-3,
    "query_length": 12,
    "passage_length": 24,
    "chunk_size": 5,
    "seed": 3,
}


@pytest.fixture(scope="module")
def file(triples: Triples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same triples in a file."""
    path = tmp_path_factory.mktemp("triples") / "triples.tsv"
    write_columns(path, triples)
    return path


def trained_from_file(file: Path, folder: Path, encoder: Path, **values: Any) -> BiEncoder:
    """The encoder of an experiment on the file, which the run store trains."""
    asked = Experiment(collection=str(file), encoder=str(encoder), evaluation=("none",), **values)
    return BiEncoder.load(RunStore(folder).result(asked).folder / "encoder")


def same_weights(one: BiEncoder, other: BiEncoder) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(name == again and torch.equal(values, others) for (name, values), (again, others) in pairs)


def test_a_collection_in_memory_is_that_of_the_file(triples: Triples, file: Path) -> None:
    ours, theirs = InMemory.of_triples(triples), load_collection(file)
    assert list(ours.documents()) == list(theirs.documents()) and list(ours.queries().items()) == list(theirs.queries().items())
    assert ours.qrels() == theirs.qrels() and list(ours.triples() or ()) == list(theirs.triples() or ())
    assert InMemory.of_triples(triples[:-1]).fingerprint() != ours.fingerprint() == InMemory.of_triples(triples).fingerprint()


@pytest.mark.parametrize("loss", ["distributed", "infonce(5.0, mask=True)"])
def test_the_weights_are_those_of_a_file_of_the_triples(loss: str, triples, file, tiny_folder, tmp_path) -> None:
    held = {"held_out": 10, "validate_every": 4, "validation_depth": 20}
    encoder, run = armlib.fine_tune(triples, tiny_folder, loss, steps=12, **held, **VALUES)
    assert len(run.trace) == 12 and list(run.validations.step) == [4, 8, 12]
    del held["held_out"]
    expected = trained_from_file(
        file, tmp_path, tiny_folder, loss=loss, steps=12, validation="held-out", validation_queries=10, **held, **VALUES
    )
    assert same_weights(encoder, expected) and not same_weights(encoder, BiEncoder.load(tiny_folder))


def test_without_validation_all_triples_are_passed_once(triples, tiny_folder) -> None:
    encoder, run = armlib.fine_tune(iter(triples), tiny_folder, "adaptive", **VALUES)
    assert len(run.trace) == len(triples) // 8 and run.kept_step == len(run.trace) and not len(run.validations)
    assert encoder.lengths == {"query_length": 12, "passage_length": 24} and not encoder.training


def test_an_own_evaluator_decides_which_weights_are_kept(triples, tiny_folder) -> None:
    seen: list[BiEncoder] = []

    def falling(encoder: BiEncoder) -> dict[str, float]:
        seen.append(encoder)
        return {"nDCG@10": np.float32(1 / len(seen))}

    encoder, run = armlib.fine_tune(triples, tiny_folder, steps=6, validate=falling, validate_every=2, **VALUES)
    assert len(seen) == 3 and seen[0] is encoder and run.kept_step == 2


def columns(triples: Triples, *names: str) -> dict[str, list[str]]:
    return dict(zip(names, map(list, zip(*triples, strict=True)), strict=True))


def generated(triples: Triples) -> Iterator[dict[str, str]]:
    for query, positive, negative in triples:
        yield {"id": "1", "negative": negative, "anchor": query, "positive": positive}


FORMS: dict[str, Callable[[Triples], Any]] = {
    "tuples": lambda triples: triples,
    "lists": lambda triples: map(list, triples),
    "mappings": generated,
    "frame": lambda triples: pd.DataFrame(columns(triples, "query", "positive", "negative")).assign(id=1),
    "frame with other indices": lambda triples: pd.DataFrame(columns(triples, "anchor", "positive", "negative")).set_index(
        "anchor", drop=False
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_rows_are_read_in_every_form(form: str, triples: Triples) -> None:
    assert list(text_triples(FORMS[form](triples))) == triples


def test_a_data_set_is_read(triples: Triples) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is not installed (pip install 'armlib[integrations]')")
    names = columns(triples, "anchor", "positive", "negative") | {"label": [1.0] * len(triples)}
    data = datasets.Dataset.from_dict(names)
    assert list(text_triples(data)) == list(text_triples(data.to_iterable_dataset())) == triples
    with pytest.raises(InputError, match=r"got a DatasetDict of train; give one of them$"):
        list(text_triples(datasets.DatasetDict(train=data)))


REFUSED = {
    "nothing": ([], "there are no triples: expected rows of a query .or anchor., a positive and a negative text$"),
    "an empty frame": (pd.DataFrame(columns=["query", "positive", "negative"]), "there are no triples"),
    "wrong columns": (
        pd.DataFrame({"query": ["a"], "document": ["b"]}),
        "the data frame: .* no column positive among query, document",
    ),
    "a column twice": (
        pd.DataFrame([["a"] * 4], columns=["query", "positive", "negative", "query"]),
        "found no column query among",
    ),
    "wrong keys": (
        [{"anchor": "a", "positive": "b", "negatives": "c"}],
        "row 1 of the triples: .* no column negative among anchor",
    ),
    "NaN": (
        pd.DataFrame({"query": ["a", "b"], "positive": ["c", float("nan")], "negative": ["d", "e"]}),
        "row 2 of the triples: expected a text as positive, got nan$",
    ),
    "None": ([("a", "b", "c"), ("a", None, "c")], "row 2 of the triples: expected a text as positive, got None$"),
    "empty": ([("a", "b", "c"), ("a", "b", " \n")], r"row 2 of the triples: expected a text as negative, got ' \\n'$"),
    "pairs": ([("a", "b")], "row 1 of the triples: expected rows .*, got 2 columns$"),
    "texts": (["a b c"], "row 1 of the triples: expected rows .*, got 'a b c'$"),
    "half a surrogate": ([("a", "\ud83d", "c")], "row 1 of the triples: the positive holds .* half a surrogate pair"),
    "a file": ("triples.tsv", "got the text 'triples.tsv'; load_collection reads files and folders$"),
    "a number": (3, "expected rows .*, got a int$"),
    "columns": ({"query": [], "positive": []}, "got a dict of query, positive; give one of them$"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_are_no_triples_is_said_in_one_sentence(case: str) -> None:
    source, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        list(text_triples(source))


def test_more_queries_than_can_be_spared_are_not_held_out(triples, tiny_folder) -> None:
    with pytest.warns(UserWarning, match=r"of the \d+ queries of triples in memory .* are held out to validate on, not 1000"):
        _, run = armlib.fine_tune(triples, tiny_folder, held_out=1000, steps=1, **VALUES)
    assert list(run.validations.step) == [1]


def test_what_cannot_be_used_is_refused_before_training(triples, tiny_folder) -> None:
    with pytest.raises(InputError, match="both validate and held_out say how to validate"):
        armlib.fine_tune(triples, tiny_folder, held_out=3, validate=lambda encoder: {})
    with pytest.raises(InputError, match="unknown value of fine_tune 'learning_rates'; did you mean 'learning_rate'"):
        armlib.fine_tune(triples, tiny_folder, learning_rates=1.0)
    with pytest.raises(InputError, match="unknown value of fine_tune 'evaluation'"):
        armlib.fine_tune(triples, tiny_folder, evaluation=("docstrings",))
    with pytest.raises(InputError, match="the loss 'margin-mse' learns from a teacher's scores; expected a teacher"):
        armlib.fine_tune(triples, tiny_folder, "margin-mse")
    with pytest.raises(InputError, match="batch of 8 triples cannot be made: there are only 3"):
        armlib.fine_tune(triples[:3], tiny_folder, **VALUES)
    with pytest.raises(
        InputError, match=r"validate gave \{'AP': 1.0\}; expected a dictionary of measures with a number for nDCG@10"
    ):
        armlib.fine_tune(triples, tiny_folder, steps=1, validate=lambda encoder: {"AP": 1.0}, **VALUES)
