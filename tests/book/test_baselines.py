"""Table 4 from fabricated results and run files, and from real ones where the machine has them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from armbook.baselines import (
    FROM_RUN,
    MEASURED,
    bm25,
    distilled_elsewhere,
    from_run_files,
    measure_run,
    retrievers,
    the_teacher,
    trained,
)
from armbook.baselines_gains import gains
from armbook.baselines_table import caption, published4, table4, widest_seeds
from armbook.table4_sources import Source
from armbook.tuned_losses import SELF, TEACHER, Tuning
from armlib.errors import InputError
from armlib.evaluation.measures import evaluate
from armlib.experiments.experiment import Experiment
from armlib.experiments.training_data import TrainingData
from armlib.names import load_collection
from armlib.retrieval.run_files import read_run, write_run
from fabricated import TUNED_PROFILE, VARIANTS_COLLECTIONS, tuned_systems


@pytest.fixture(scope="module")
def tuning() -> Tuning:
    """All systems, with one level of nDCG@10 for each kind."""
    levels = {"adaptive": 0.40, "distributed": 0.48, "static(0.3)": 0.55, "static(1.0)": 0.30}

    def level(one: Experiment) -> float:
        return 0.1 if not one.steps else 0.6 if one.loss.startswith("infonce") else levels.get(one.target, 0.45)

    return Tuning(TUNED_PROFILE, tuned_systems(ndcg=level))


@pytest.fixture(scope="module")
def source(tuning: Tuning) -> Source:
    return Source(tuning, trained(tuning), list(VARIANTS_COLLECTIONS))


@pytest.fixture
def collection(beir_folder) -> str:
    return f"{beir_folder}/test"


@pytest.fixture
def perfect(collection: str) -> dict[str, dict[str, float]]:
    """A run that ranks what is relevant first."""
    qrels = load_collection(collection).qrels()
    return {query: {document: float(grade) for document, grade in found.items()} for query, found in qrels.items()}


def test_rows_of_what_was_trained(tuning: Tuning, source: Source) -> None:
    rows = source.rows
    assert [row.loss for row in rows] == [*tuning.systems, "before fine-tuning"]
    assert {row.origin for row in rows} == {MEASURED} and all(row.retrieves for row in rows)
    table = table4(source).set_index([("system", "loss")])
    cells = table["docstrings/test", "nDCG@10"]
    assert cells["static, tuned"] == "0.555" and cells["InfoNCE"].startswith("0.605")
    assert cells["before fine-tuning"] == "0.100" and "best" in cells["distributed"]
    words = table["system"].loc[["MarginMSE, TAS-B", "PairDistill", "distributed", "adaptive"], ["batches", "in-batch"]]
    assert words.to_numpy().tolist() == [["TAS-B", "no"], ["the student's candidates", "yes"], ["random", "yes"], ["random", "no"]]
    assert table.columns.get_level_values(1).tolist() == ["group", "batches", "in-batch", *["nDCG@10", "R@1000"] * 2, "triples"]
    seen = table["training", "triples"]
    # PairDistill goes on from InfoNCE
    assert seen["InfoNCE"] == "1k" and seen["PairDistill"] == "1.30k, some as lists" and seen["before fine-tuning"] == "0"
    assert widest_seeds(source) == pytest.approx(0.005)
    assert caption("this copy", source).startswith(
        "Table 4 measured in this copy: full ranking, means over seeds (half the range at most 0.005"
    )


def test_the_best_student_is_what_rows_without_a_teacher_are_tested_against(source: Source) -> None:
    taught = [row.loss for row in source.rows if row.group == TEACHER]
    table = table4(source).set_index([("system", "loss")])["docstrings/test", "nDCG@10"]
    assert not any("†" in table[name] for name in taught)
    assert "†" in table["distributed"] and "†" not in table["InfoNCE"]  # 0.03 and 0.15 from 0.455


def test_another_loss_is_never_taken_for_one_of_the_papers(tuning: Tuning) -> None:
    by_loss = {row.loss: {result.experiment.loss or result.experiment.target for result in row.results} for row in trained(tuning)}
    assert by_loss["distributed"] == {"distributed"} and by_loss["static, tuned"] == {"static(0.3)"}
    balanced = {result.experiment.sampler for row in trained(tuning) if row.group == SELF for result in row.results}
    assert balanced == {"random"}


def test_what_is_missing_is_named(tuning: Tuning) -> None:
    lacking = {one: result for one, result in tuning.found.items() if one.steps}
    with pytest.raises(InputError, match="lack the results of before fine-tuning"):
        trained(Tuning(TUNED_PROFILE, lacking))
    lacking = {one: result for one, result in tuning.found.items() if one.target != "static(1.0)"}
    with pytest.raises(InputError, match="static\\(1.0\\).* is not among the results"):
        trained(Tuning(TUNED_PROFILE, lacking))


def test_the_ledger_gets_what_was_trained_with_two_seeds(tuning: Tuning) -> None:
    found = {each.name: each for each in retrievers(trained(tuning))}
    assert found.keys() == set(tuning.systems)
    assert found["MarginMSE"].distilled and found["MarginMSE"].seconds == 70 and not found["InfoNCE"].distilled
    assert found["MarginMSE, TAS-B"].distilled and not found["PairDistill"].distilled  # which Table 4 does not have
    assert not found["InfoNCE"].stopped and len(found["InfoNCE"].keys) == 2
    alone = replace(TUNED_PROFILE, seeds=(0,))
    assert retrievers(trained(Tuning(alone, tuned_systems(alone)))) == []


def test_the_teacher_re_ranks_the_first_stage(beir_folder, small_experiment: Experiment) -> None:
    """The interaction teacher, trained on a real collection, against a re-ranking by hand."""
    profile = replace(
        TUNED_PROFILE, experiment=replace(small_experiment, loss="", target="distributed"), teacher="interaction(steps=20)"
    )
    found = tuned_systems(profile)
    tuning, name = Tuning(profile, found), f"{beir_folder}/test"
    (row,) = the_teacher(tuning, [name])
    assert row.loss == "the teacher, interaction(steps=20)" and not row.retrieves and row.triples is None
    source, test = TrainingData(tuning.trained_as("MarginMSE")[0]).source, load_collection(name)
    trained_on, queries, first = load_collection(small_experiment.collection), test.judged_queries(), test.first_stage()
    run = {}
    for query, ranking in first.items():
        texts = test.corpus.texts(ranking)
        scores = source.scores(trained_on, [queries[query]] * len(ranking), [texts[each] for each in ranking])
        run[query] = dict(zip(ranking, scores.tolist(), strict=True))
    assert row.mean(name).mean["nDCG@10"] == pytest.approx(measure_run(run, test).mean["nDCG@10"], abs=1e-6)
    by_file = replace(profile, teacher="run('some.run')")
    assert the_teacher(Tuning(by_file, tuned_systems(by_file)), [name]) == []  # no model that could rank


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
        distilled = from_run_files([f"GOOD={tmp_path}/good.run.gz@{collection}", str(tmp_path / "half.txt")], 5000, [collection])
    assert [(each.name, each.triples, list(each.evaluations)) for each in distilled] == [
        ("GOOD", 5000, [collection]),
        ("half", 5000, [collection]),
    ]
    assert [each.evaluations[collection].mean["nDCG@10"] for each in distilled] == [1.0, 0.5]
    copy = replace(bm25([collection])[0], loss="a copy", evaluations={collection: [distilled[0].evaluations[collection]]})
    rows = [copy, *bm25([collection]), *distilled_elsewhere(distilled)]
    table = table4(Source(Tuning(TUNED_PROFILE, {}), rows, [collection]))
    cells = table[collection, "nDCG@10"].tolist()
    assert cells[0] == "1.000 † best" and "†" not in cells[1] and cells[2:] == ["1.000 best", "0.500"]
    assert table["system", "loss"].tolist() == ["a copy", "BM25", "GOOD (run file)", "half (run file)"]
    assert {row.origin for row in rows[2:]} == {FROM_RUN}
    assert table["training", "triples"].tolist() == ["–", "–", "5k", "5k"]


def test_run_files_that_cannot_be_used_are_refused(collection: str, perfect, tmp_path) -> None:
    path = tmp_path / "one.run"
    write_run(path, perfect)
    with pytest.raises(InputError, match="how many triples"):
        from_run_files([str(path)], 0, [collection])
    with pytest.raises(InputError, match="two runs of one are of"):
        from_run_files([str(path), f"one={path}"], 1, [collection])
    with pytest.raises(InputError, match="does not exist"):
        from_run_files([str(tmp_path / "none.run")], 1, [collection])
    with pytest.raises(InputError, match="unknown collection"):
        from_run_files([f"{path}@nowhere"], 1, [collection])
    write_run(path, {"another": {"d": 1.0}})
    with pytest.raises(InputError, match="no query of the run .* is judged in any of"):
        from_run_files([str(path)], 1, [collection])
    query = next(iter(perfect))
    write_run(path, {**perfect, query: {**perfect[query], "foreign": 0.5}})
    with pytest.raises(InputError, match="returns 1 of .* documents that .* does not have, such as 'foreign'"):
        from_run_files([str(path)], 1, [collection])


@pytest.mark.parametrize(("year", "ndcg"), [(19, 0.6537), (20, 0.6447)])
def test_a_real_run_of_all_of_ms_marco_has_its_known_score(year, ndcg, shared_data, ir_datasets_home) -> None:
    run = read_run(shared_data / "runs" / f"dl{year}.ance.run.gz")
    measured = measure_run(run, load_collection(f"msmarco-passage/trec-dl-20{year}/judged")).mean
    assert measured["nDCG@10"] == pytest.approx(ndcg, abs=5e-5) and "R(rel=2)@1000" in measured


def test_gains_are_differences_of_means(source: Source) -> None:
    table = gains({"this copy": source}).set_index([("gain", "of"), ("gain", "over")])
    assert table.loc[("static, tuned", "static(1.0)"), ("docstrings/test", "nDCG@10")] == "+0.250"
    assert table.loc[("distributed", "before fine-tuning"), ("docstrings/test", "nDCG@10")] == "+0.385"
    assert table.shape == (2 + len(source.tuning.systems) + 1, 4 + 2 * 2)
    printed = table["published: TREC-DL 2019", "nDCG@10"]
    assert printed["static, tuned", "static(1.0)"] == "+0.05" and printed["static, tuned, in-batch", "static(1.0)"] == "-0.04"
    assert printed["best self-distilled", "best of any kind"] == "-0.07" and printed["adaptive", "before fine-tuning"] == "–"
    assert table.loc[("best self-distilled", "best of any kind"), ("docstrings/test", "nDCG@10")] == "-0.120"  # 0.485, 0.605


def test_published_rows_say_who_measured_them() -> None:
    table = published4()
    origins = table["system", "source"].value_counts().to_dict()
    assert origins == {"the paper": 6, "Hofstätter 2021": 5, "Wang 2023": 4}
    assert table["system", "group"].unique().tolist() == ["self", "teacher", "none"]
    score = "TREC-DL 2019", "nDCG@10"
    assert table.loc[2, score] == "0.64 † best" and table.loc[6, score] == "0.71 best" and table.loc[11, score] == "0.50"
    assert table.loc[9, ("system", "loss")] == "MarginMSE (reference)"
    triples = table["training", "triples"].tolist()
    assert triples == ["4.93M", "1.98M", "7.30M", *["≈ 22.4M"] * 4, *["≈ 14.6M"] * 4, "–", "5.2M", "2.2M", "≈ 22.4M"]
