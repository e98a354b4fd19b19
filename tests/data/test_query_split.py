"""A collection split by query, and what is trained on told apart from what is measured on."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from armlib.data.held_out import hold_out
from armlib.data.training_queries import trained_on
from armlib.errors import InputError
from armlib.experiments.experiment import Experiment
from armlib.experiments.store import RunStore
from armlib.experiments.training_data import TrainingData
from armlib.names import load_collection


@pytest.fixture
def only_tests(beir_folder: Path, tmp_path: Path) -> str:
    """A folder that has no other judgments than those of its test split."""
    folder = tmp_path / "only-tests"
    shutil.copytree(beir_folder, folder)
    (folder / "qrels" / "train.tsv").unlink()
    return str(folder)


def test_the_parts_of_a_split_share_no_query_and_all_else(only_tests: str) -> None:
    whole = load_collection(only_tests)
    train, test = (load_collection(f"{only_tests}#{part}") for part in ("train", "test"))
    assert (len(train.queries()), len(test.queries())) == (32, 8)
    assert train.queries() | test.queries() == whole.queries() and not train.queries().keys() & test.queries().keys()
    assert train.qrels() | test.qrels() == whole.qrels() and train.first_stage() | test.first_stage() == whole.first_stage()
    assert train.corpus is test.corpus is whole.corpus
    assert train.evaluation == (test.name,) == (f"{only_tests}/test#test",) and load_collection(test.name).qrels() == test.qrels()
    assert {triple[0] for triple in train.triples()} <= train.queries().keys() and test.triples() is None
    assert len({train.fingerprint(), test.fingerprint(), whole.fingerprint()}) == 3
    assert {line for line in train.triples()} <= {line for line in whole.triples()}, "negatives are mined as without the split"


def test_another_seed_is_another_split_and_the_same_one_is_the_same(only_tests: str) -> None:
    parts = [load_collection(f"{only_tests}#test{seed}").queries().keys() for seed in ("", "(0)", "(1)", "(2)")]
    assert parts[0] == parts[1] and len({frozenset(part) for part in parts}) == 3
    assert load_collection(f"{only_tests}#train(2)").evaluation == (f"{only_tests}/test#test(2)",)
    with pytest.raises(InputError, match="unknown collection|no collection"):
        load_collection(f"{only_tests}#dev")


def test_a_single_query_cannot_be_split(only_tests: str) -> None:
    file = Path(only_tests) / "qrels" / "test.tsv"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:2]))
    with pytest.raises(InputError, match="has 1 judged queries, which cannot be split; expected two at least"):
        load_collection(f"{only_tests}#train").queries()


def test_queries_that_are_trained_on_are_found(beir_folder: Path, only_tests: str) -> None:
    train, test = load_collection(beir_folder), load_collection(f"{beir_folder}/test")
    assert trained_on(train, test) == [] and trained_on(train, train) == list(train.qrels())
    assert trained_on(load_collection(only_tests), test) == list(test.qrels()), "a copy of the folder is the same collection"
    queries = Path(only_tests) / "queries.jsonl"
    [first, *others] = test.qrels()
    queries.write_text(queries.read_text().replace(f'"_id": "{first}", "text": "', f'"_id": "{first}", "text": "another '))
    assert trained_on(load_collection(only_tests), test) == others, "an id alone makes no query"


def test_training_judgments_are_no_test_unless_asked_for(small_experiment: Experiment, only_tests: str, tmp_path: Path) -> None:
    asked = replace(small_experiment, collection=only_tests, evaluation=(only_tests,), validation_queries=8)
    with pytest.raises(InputError, match=r"40 of the queries of .*/test are trained on, .* no test; expected .*test#train trains"):
        RunStore(tmp_path / "runs").result(asked)
    result = RunStore(tmp_path / "runs").result(replace(asked, on_training_queries=True))
    assert result.about["measured_again"] == {f"{only_tests}/test": 40}
    assert result.provenance_line().endswith(f"40 queries of {only_tests}/test were trained on")
    with pytest.warns(UserWarning, match="has no test queries beside it, so nothing is measured; .*#train trains on four fifths"):
        assert TrainingData(replace(asked, evaluation=())).measured_again == {}
    split = RunStore(tmp_path / "runs").result(replace(asked, collection=f"{only_tests}#train", evaluation=()))
    assert set(split.measures.collection) == {f"{only_tests}/test#test"} and "measured_again" not in split.about


def test_a_small_collection_holds_out_what_it_can_and_says_how_many(only_tests: str) -> None:
    collection = load_collection(only_tests)
    assert len(hold_out(collection, 20).chosen) == 20
    with pytest.warns(UserWarning, match="8 of the 40 queries of .* are held out to validate on, not 21"):
        assert hold_out(collection, 21).chosen == hold_out(collection, 20).chosen[:8]
    with pytest.raises(InputError, match="cannot hold out 0 queries"):
        hold_out(collection, 0)


def test_the_folder_or_the_experiment_says_which_grades_are_relevant(small_experiment: Experiment, only_tests: str) -> None:
    file = Path(only_tests) / "qrels" / "test.tsv"
    head, *rows = file.read_text().splitlines()
    file.write_text("\n".join([head, *(row[:-1] + str(1 + number % 3) for number, row in enumerate(rows))]) + "\n")
    plain = load_collection(only_tests)
    assert plain.relevant_from == 1 and len({query for query, _, _ in plain.triples()}) == 40
    graded = plain.graded(3)
    assert len({query for query, _, _ in graded.triples()}) == 13 and plain.relevant_from == 1 and plain.graded(1) is plain
    assert graded.fingerprint() != plain.fingerprint()
    asked = replace(small_experiment, collection=f"{only_tests}#train", evaluation=(), relevant_from=3)
    data = TrainingData(asked)
    assert data.collection.relevant_from == data.evaluations[0].relevant_from == 3
    assert TrainingData(replace(asked, relevant_from=2)).key != data.key
    (Path(only_tests) / "collection.toml").write_text('relevant_from = 3\nlicense = "CC-BY-4.0"\n')
    said = load_collection(only_tests)
    assert (said.relevant_from, said.license, said.fingerprint()) == (3, "CC-BY-4.0", graded.fingerprint())
    assert load_collection(f"{only_tests}#test").relevant_from == 3


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("relevant_from = 0", "expected relevant_from as a grade of at least 1, not 0"),
        ("relevant_from = true", "expected relevant_from as a grade of at least 1, not True"),
        ("license = 4", "expected license as text, not 4"),
        ("relevant_form = 2", "unknown setting in .*collection.toml 'relevant_form'; did you mean 'relevant_from'"),
        ("relevant_from = ", "expected TOML, but"),
    ],
)
def test_settings_of_a_folder_are_read_or_refused(only_tests: str, content: str, complaint: str) -> None:
    (Path(only_tests) / "collection.toml").write_text(content)
    with pytest.raises(InputError, match=complaint):
        load_collection(only_tests)
