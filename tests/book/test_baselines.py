"""Table 4 from fabricated results and run files, and from real ones where the machine has them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from armbook.baselines import (
    FROM_RUN,
    MEASURED,
    PUBLISHED,
    bm25,
    fine_tuning_gains,
    from_runs,
    measure_run,
    published4,
    table4,
    teachers,
    together,
    trained,
)
from armlib.errors import InputError
from armlib.evaluation.measures import evaluate
from armlib.names import load_collection
from armlib.retrieval.run_files import read_run, write_run
from fabricated import VARIANTS_COLLECTIONS, Fabricated, five_variants, of_variant, with_about, with_experiment

ENCODER = "lsa/distilbert"


@pytest.fixture
def results() -> list[Fabricated]:
    """A sweep with target 1, the other variants and the encoder before fine-tuning."""
    made = five_variants((ENCODER,), others={(ENCODER, "static(1.0)", False): 0.30, (ENCODER, "static(1.0)", True): 0.20})
    before = of_variant(replace(made[0].experiment, target="distributed", steps=0), 0.1)
    return [*made, with_about(before, triples=0)]


@pytest.fixture
def collection(beir_folder) -> str:
    return f"{beir_folder}/test"


@pytest.fixture
def perfect(collection: str) -> dict[str, dict[str, float]]:
    """A run that ranks what is relevant first."""
    qrels = load_collection(collection).qrels()
    return {query: {document: float(grade) for document, grade in found.items()} for query, found in qrels.items()}


def test_rows_of_what_was_trained(results) -> None:
    rows = trained([*results, with_experiment(results[0], encoder="other")], ENCODER)
    assert [(row.group, row.loss, row.in_batch) for row in rows] == [
        ("self-distillation", "adaptive", "no"),
        ("self-distillation", "adaptive, in-batch", "yes"),
        ("self-distillation", "distributed", "yes"),
        ("no distillation", "static(0.3), tuned", "no"),
        ("no distillation", "static(0.1), tuned, in-batch", "yes"),
        ("no distillation", "static(1.0)", "no"),
        ("no distillation", "before fine-tuning", "–"),
    ]
    assert {row.origin for row in rows} == {MEASURED}
    table = table4(rows, VARIANTS_COLLECTIONS)
    assert table["docstrings/test", "nDCG@10"].tolist() == [
        "0.450 ± 0.010",
        "0.500 ± 0.010",
        "0.570 ± 0.010 best",
        "0.600 ± 0.010 best",
        "0.580 ± 0.010",
        "0.300 ± 0.010",
        "0.100",
    ]
    assert table["training", "triples seen"].tolist() == ["1,000"] * 6 + ["0"]


def test_what_is_missing_is_named(results) -> None:
    with pytest.raises(InputError, match="lack results of before fine-tuning"):
        trained([result for result in results if result.experiment.steps], ENCODER)
    with pytest.raises(InputError, match="static\\(1.0\\)"):
        trained([result for result in results if result.experiment.target != "static(1.0)"], ENCODER)


def test_bm25_is_one_row_where_it_is_the_first_stage(collection: str) -> None:
    (row,) = bm25([collection])
    one = load_collection(collection)
    expected = evaluate(one.corpus.bm25().search(one.judged_queries(), 1000), one.qrels(), ["nDCG@10"]).mean["nDCG@10"]
    assert row.mean(collection).mean["nDCG@10"] == expected > 0.3 and row.triples is None


def test_a_first_stage_of_its_own_has_a_row(collection: str, monkeypatch) -> None:
    one = load_collection(collection)
    monkeypatch.setattr(type(one), "first_stage_depth", 1)
    full, first = bm25([collection])
    assert first.loss == "first stage of the collection"
    measured = [row.mean(collection).mean["R@1000"] for row in (full, first)]
    assert measured[0] > measured[1] > 0


def test_run_files_of_others_become_rows_and_references(collection: str, perfect, tmp_path) -> None:
    write_run(tmp_path / "good.run.gz", perfect)
    half = {query: found for number, (query, found) in enumerate(perfect.items()) if number % 2}
    write_run(tmp_path / "half.txt", half)
    with pytest.warns(UserWarning, match="20 of 40 judged queries have no results"):
        distilled = teachers([f"GOOD={tmp_path}/good.run.gz@{collection}", str(tmp_path / "half.txt")], 5000, [collection])
    assert [(each.name, each.triples, list(each.evaluations)) for each in distilled] == [
        ("GOOD", 5000, [collection]),
        ("half", 5000, [collection]),
    ]
    assert [each.evaluations[collection].mean["nDCG@10"] for each in distilled] == [1.0, 0.5]
    copy = replace(bm25([collection])[0], loss="a copy", evaluations={collection: [distilled[0].evaluations[collection]]})
    table = table4([copy, *bm25([collection]), *from_runs(distilled)], [collection])
    cells = table[collection, "nDCG@10"].tolist()
    assert cells[0] == "1.000 † best" and "†" not in cells[1] and cells[2:] == ["1.000 best", "0.500"]
    assert table["system", "origin"].tolist() == [MEASURED, MEASURED, FROM_RUN, FROM_RUN]
    assert table["training", "triples seen"].tolist() == ["–", "–", "5,000", "5,000"]


def test_run_files_that_cannot_be_used_are_refused(collection: str, perfect, tmp_path) -> None:
    path = tmp_path / "one.run"
    write_run(path, perfect)
    with pytest.raises(InputError, match="how many triples"):
        teachers([str(path)], 0, [collection])
    with pytest.raises(InputError, match="two runs of one are of"):
        teachers([str(path), f"one={path}"], 1, [collection])
    with pytest.raises(InputError, match="does not exist"):
        teachers([str(tmp_path / "none.run")], 1, [collection])
    with pytest.raises(InputError, match="unknown collection"):
        teachers([f"{path}@nowhere"], 1, [collection])
    write_run(path, {"another": {"d": 1.0}})
    with pytest.raises(InputError, match="no query of the run .* is judged in any of"):
        teachers([str(path)], 1, [collection])
    query = next(iter(perfect))
    write_run(path, {**perfect, query: {**perfect[query], "foreign": 0.5}})
    with pytest.raises(InputError, match="returns 1 of .* documents that .* does not have, such as 'foreign'"):
        teachers([str(path)], 1, [collection])


@pytest.mark.parametrize(("year", "ndcg"), [(19, 0.6537), (20, 0.6447)])
def test_a_real_run_of_all_of_ms_marco_has_its_known_score(year, ndcg, shared_data, ir_datasets_home) -> None:
    run = read_run(shared_data / "runs" / f"dl{year}.ance.run.gz")
    measured = measure_run(run, load_collection(f"msmarco-passage/trec-dl-20{year}/judged")).mean
    assert measured["nDCG@10"] == pytest.approx(ndcg, abs=5e-5) and "R(rel=2)@1000" in measured


def test_gains_are_differences_of_means(results) -> None:
    table = fine_tuning_gains(trained(results, ENCODER), VARIANTS_COLLECTIONS).set_index([("gain", "of"), ("gain", "over")])
    assert table.loc[("static(0.3), tuned", "static(1.0)"), ("docstrings/test", "nDCG@10")] == "+0.300"
    assert table.loc[("distributed", "before fine-tuning"), ("msmarco-mini/dev", "R(rel=2)@1000")] == "-0.470"
    assert table.shape == (1 + 6, 2 * 2)


def test_published_rows_say_who_measured_them() -> None:
    table = published4()
    origins = table["system", "origin"].value_counts().to_dict()
    assert origins == {PUBLISHED: 6, "quoted from Hofstätter et al. (2021)": 5, "quoted from Wang and Zuccon (2023)": 4}
    score = "TREC-DL 2019, all of MS MARCO", "nDCG@10"
    assert table.loc[2, score] == "0.64 † best" and table.loc[6, score] == "0.71 best" and table.loc[11, score] == "0.50"
    assert table.loc[9, ("system", "loss")] == "MarginMSE (reference of the tests)"
    assert table.loc[11, ("training", "triples seen")] == "–" and table.loc[3, ("training", "triples seen")] == "≈ 22.4 million"


def test_both_tables_in_one_keep_their_columns_apart(results) -> None:
    measured, published = table4(trained(results, ENCODER), VARIANTS_COLLECTIONS), published4()
    joined = together(measured, published)
    assert len(joined) == len(measured) + len(published) and not joined.isna().any(axis=None)
    assert (joined["docstrings/test", "nDCG@10"].iloc[len(measured) :] == "–").all()
    assert joined.columns[-1] == ("training", "triples seen")
