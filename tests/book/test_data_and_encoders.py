"""What was run on what: counts are what the files, the tokenizer and the encoder say when asked directly."""

from __future__ import annotations

import json
from dataclasses import replace

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from armbook import data_and_encoders, published
from armbook.data_examples import SHOWN_CHARACTERS, example_judgments, example_triples, most_graded
from armlib.errors import InputError
from armlib.experiments.profile import load_profile
from armlib.experiments.training_data import TrainingData
from armlib.names import load_collection


@pytest.fixture(scope="module")
def profile(small_experiment, tiny_folder):
    demo = load_profile("demo")
    return replace(demo, experiment=small_experiment, encoders=(str(tiny_folder),), static=(0.0, 0.25), batch_sizes=(8, 16))


@pytest.fixture(scope="module")
def data(profile):
    return data_and_encoders.data_of(profile)


@pytest.fixture(scope="module")
def corpus(beir_folder):
    return {row["_id"]: row["text"] for row in map(json.loads, (beir_folder / "corpus.jsonl").read_text().splitlines())}


def judged(folder, split: str) -> list[list[str]]:
    return [line.split("\t") for line in (folder / "qrels" / f"{split}.tsv").read_text().splitlines()[1:]]


def test_a_setup_is_what_the_files_hold(data, profile, corpus, beir_folder) -> None:
    here, printed = data_and_encoders.setup(profile), data_and_encoders.published_setup()
    assert list(here) == list(printed) and all(here.values()) and all(printed.values())
    assert here["trained on"] == f"{beir_folder}/train"
    assert here["passages"] == f"{len(corpus):,}" and printed["passages"] == "8,841,823"
    assert here["training triples"] == f"{len(data.triples):,}" and printed["training triples"] == "39,780,811"
    assert here["training judgments"] == str(len(judged(beir_folder, "train")))
    assert here["triples seen"].startswith("320 at most") and printed["triples seen"] == "1.98M to 7.30M (Table 3)"
    assert here["static targets searched"] == "0, 0.25" and here["seeds"] == "0, 1; 0 in sweeps"
    assert here["evaluated on"] == f"{beir_folder}/test (40 queries)" and "(43 queries)" in printed["evaluated on"]
    assert here["encoders"] == profile.encoders[0] and printed["maximum lengths"] == "queries 30 tokens, passages 200"
    held = {data.queries.ids[row].decode() for row in data.triples[:, 0]} & set(data.validation.queries())
    assert len(data.validation.queries()) == 20 and not held, "queries that validate give no triples"


def test_encoders_are_counted_as_loaded(profile, data) -> None:
    printed, (mine,) = data_and_encoders.published_encoders(), data_and_encoders.encoders(profile)
    assert [row["parameters"] / 1e6 for row in printed] == published.table1().params_millions.tolist()
    assert list(mine) == list(printed[0]) and all(row["layers"] is None for row in printed)
    backbone = data.encoder.backbone
    total = sum(parameter.numel() for parameter in backbone.parameters())
    tables = (
        sum(p.numel() for p in backbone.embeddings.word_embeddings.parameters())
        + backbone.embeddings.position_embeddings.weight.numel()
    )
    assert mine["parameters"] == total and mine["without embeddings"] == total - tables
    assert (mine["embedding"], mine["dimensions"], mine["layers"]) == ("CLS", 32, 1)


def test_a_stock_architecture_is_said_to_start_from_latent_semantic_analysis(profile, data, monkeypatch) -> None:
    monkeypatch.setattr(data_and_encoders, "load_encoder", lambda *given: data.encoder)
    (row,) = data_and_encoders.encoders(replace(profile, encoders=("lsa/distilbert",)))
    assert row["starts from"] == f"LSA of {data.collection.corpus.name}"


def test_collections_are_counted(data, corpus, beir_folder) -> None:
    train, held, test = data_and_encoders.collections(data)
    assert (train["collection"], test["collection"]) == (f"{beir_folder}/train", f"{beir_folder}/test")
    assert held["collection"] == data.validation.name
    assert [row["used for"] for row in (train, held, test)] == ["training", "validation", "evaluation"]
    assert [row["passages"] for row in (train, held, test)] == [len(corpus)] * 3
    assert [row["grades"] for row in (train, held, test)] == [{"1": len(judged(beir_folder, "train"))}, {"1": 20}, {"1": 40}]
    assert test["queries"] == 40 and test["relevant"] == 1 and test["relevant from"] == 1
    assert train["triples"] == len(data.triples) and "triples" not in test and "found" not in train
    run = load_collection(test["collection"]).first_stage()
    assert test["found"] == np.mean([passage in run[query] for query, passage, _ in judged(beir_folder, "test")])
    assert test["first stage"] == np.mean([len(hits) for hits in run.values()])
    assert test["fingerprint"] == load_collection(test["collection"]).fingerprint()
    assert len({row["passages' fingerprint"] for row in (train, held, test)}) == 1


def test_one_collection_in_two_roles_is_counted_once(data) -> None:
    rows = data_and_encoders.collections(TrainingData(replace(data.experiment, validation=data.evaluation_names[0])))
    assert [row["used for"] for row in rows] == ["training", "validation, evaluation"]


def test_lengths_are_the_tokenizers(profile, data, corpus) -> None:
    queries, passages = data_and_encoders.lengths(profile)
    for row, texts, limit in ((queries, data.collection.queries().values(), 24), (passages, corpus.values(), 48)):
        tokens = np.array([min(len(ids), 514) for ids in data.encoder.tokenizer(list(texts))["input_ids"]])
        assert (row["number"], row["longest"], row["maximum"]) == (len(tokens), tokens.max(), limit)
        assert row["mean"] == round(tokens.mean(), 1) and row["median"] == int(np.median(tokens))
        assert row["texts cut"] == round(100 * np.mean(tokens > limit), 1) > 0
        assert row["tokens cut"] == round(100 * np.maximum(tokens - limit, 0).sum() / tokens.sum(), 1)


def test_encoders_that_share_a_tokenizer_share_rows(profile) -> None:
    (name,) = profile.encoders
    rows = data_and_encoders.lengths(replace(profile, encoders=(name, name)))
    assert [row["encoder"] for row in rows] == [f"{name}, {name}"] * 2


def test_padding_is_what_the_tokenizer_and_the_rows_give(data) -> None:
    data = TrainingData(replace(data.experiment, chunk_size=4))
    table = data_and_encoders.padding_table(data, batches=3)
    assert table.index.get_level_values(0).unique().tolist() == ["this profile's 24 and 48", "the paper's 30 and 200"]
    for limits, (_, rows) in zip(((24, 48), (30, 200)), table.groupby(level=0, sort=False), strict=True):
        given = np.zeros(4)
        for step in range(3):
            triples = data.batches().rows(step)
            for store, ids, limit in ((data.queries, triples[:, 0], limits[0]), (data.passages, triples[:, 1:].ravel(), limits[1])):
                lengths = np.sort(np.minimum(store.lengths[ids], limit))
                chunks = np.split(lengths, range(4, len(lengths), 4))
                given += [lengths.sum(), sum(c.max() * len(c) for c in chunks), lengths.max() * len(lengths), limit * len(lengths)]
        np.testing.assert_allclose(rows["tokens per triple"], given / (3 * 16))
        np.testing.assert_allclose(rows.real + rows.padding, given / (3 * 16))
        np.testing.assert_allclose(rows["times the real tokens"], given / given[0])
    at_paper = TrainingData(replace(data.experiment, query_length=30, passage_length=200))
    alone = data_and_encoders.padding_table(at_paper, batches=1)
    assert len(alone) == 4, "lengths that are the paper's are not counted twice"


def test_example_triples_are_the_first_of_the_first_batch(data, corpus, beir_folder) -> None:
    table = example_triples(data, 2)
    assert table.triple.tolist() == [1, 1, 1, 2, 2, 2]
    queries, positives = data.collection.queries(), {query: passage for query, passage, _ in judged(beir_folder, "train")}
    for number, (query, _, negative) in enumerate(data.batches().rows(0)[:2]):
        name = data.queries.ids[query].decode()
        shown = [" ".join(text.split()) for text in table.text[3 * number : 3 * number + 3]]
        whole = [queries[name], corpus[positives[name]], corpus[data.passages.ids[negative].decode()]]
        for text, source in zip(shown, whole, strict=True):
            assert len(text) <= SHOWN_CHARACTERS and " ".join(source.split()).startswith(text.removesuffix(" …"))


def test_example_judgments_go_from_the_highest_grade_down(data, beir_folder, monkeypatch) -> None:
    collection = load_collection(f"{beir_folder}/test")
    texts = {"a": "first", "b": "second", "c": "third", "d": "fourth"}
    monkeypatch.setattr(collection, "judged_queries", lambda: {"many": "x", "plain": "y", "few": "the query"})
    grades = {"many": dict.fromkeys(texts, 1) | {"b": 3}, "plain": {"a": 3}, "few": {"a": 1, "b": 3, "gone": 3}}
    monkeypatch.setattr(collection, "qrels", lambda: grades)
    monkeypatch.setattr(collection.corpus, "texts", lambda ids: {name: texts[name] for name in ids if name in texts})
    table = example_judgments(collection)
    assert table.to_dict("records") == [
        {"grade": "query", "id": "few", "text": "the query"},
        {"grade": 3, "id": "b", "text": "second"},
        {"grade": 1, "id": "a", "text": "first"},
    ]
    training = TrainingData(data.experiment)
    training.validation = collection
    assert most_graded(training) is collection


def test_an_unknown_encoder_is_refused(profile) -> None:
    with pytest.raises(InputError, match="lsa/bert"):
        data_and_encoders.data_of(profile, "lsa/bert").encoder  # noqa: B018 - read when it is asked for


def test_bars_of_lengths_hold_all_texts_and_hatched_ones_those_that_are_cut(data) -> None:
    figure = data_and_encoders.token_lengths(data)
    for axes, store, limit in zip(figure.axes, (data.queries, data.passages), (24, 48), strict=True):
        bars, tokens = axes.patches, store.lengths
        assert sum(bar.get_height() for bar in bars) == pytest.approx(100)
        for bar in bars[:-1]:
            inside = (tokens >= bar.get_x()) & (tokens < bar.get_x() + bar.get_width())
            assert bar.get_height() == pytest.approx(100 * inside.mean())
        assert bars[-1].get_height() == pytest.approx(100 * (tokens >= bars[-1].get_x()).mean()), "the last bar holds longer ones"
        hatched = [bar for bar in bars if bar.get_hatch()]
        assert sum(bar.get_height() for bar in hatched) == pytest.approx(100 * (tokens > limit).mean())
        (line,) = axes.lines
        assert set(line.get_xdata()) == {limit + 1} == {hatched[0].get_x()}
        assert f"{100 * (tokens > limit).mean():.1f} % are cut at {limit}" in axes.get_title()
    plt.close(figure)


def test_lengths_without_a_cut_have_no_hatched_text(data) -> None:
    figure = data_and_encoders.token_lengths(TrainingData(replace(data.experiment, passage_length=2000)))
    bars = figure.axes[1].patches
    assert sum(bar.get_height() for bar in bars if not bar.get_hatch()) == pytest.approx(100)
    plt.close(figure)


def test_bars_of_padding_are_the_tables(data) -> None:
    table = data_and_encoders.padding_table(data, 2)
    figure = data_and_encoders.padding_figure(table)
    assert len(figure.axes) == 2
    for axes, (name, rows) in zip(figure.axes, table.groupby(level=0, sort=False), strict=True):
        real, padded = axes.containers
        np.testing.assert_allclose([bar.get_width() for bar in real], rows.real)
        np.testing.assert_allclose([bar.get_width() for bar in padded], rows.padding)
        np.testing.assert_allclose([bar.get_x() for bar in padded], rows.real)
        assert [label.get_text() for label in axes.get_yticklabels()] == rows.index.get_level_values(1).tolist()
        assert name in axes.get_title(loc="left")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["real tokens", "padding"]
    plt.close(figure)
