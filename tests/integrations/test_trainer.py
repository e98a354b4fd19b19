"""Training by sentence-transformers' own trainer: lengths, prompts, evaluation and batches, seen from inside."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments

import armlib
from armlib import Experiment, load_collection
from armlib.data.in_memory import InMemory
from armlib.encoder.bi_encoder import BiEncoder
from armlib.errors import InputError
from armlib.evaluation.measures import evaluate
from armlib.experiments.training_data import TrainingData
from armlib.integrations.sentence_transformers import (
    AdaptiveMarginLoss,
    CachedAdaptiveMarginLoss,
    RetrievalEvaluator,
    batch_sampler,
    column_arguments,
)
from armlib.losses import parse_loss
from armlib.retrieval.run_files import read_run

Triples = list[tuple[str, str, str]]
COLUMNS = ("anchor", "positive", "negative")
datasets = pytest.importorskip("datasets", reason="the trainer of sentence-transformers needs datasets, which is not installed")


def data_set(triples: Triples, **others: Any) -> Any:
    return datasets.Dataset.from_dict(dict(zip(COLUMNS, map(list, zip(*triples, strict=True)), strict=True)) | others)


def arguments(folder: Path, **settings: Any) -> SentenceTransformerTrainingArguments:
    """Arguments of a short training run on a CPU that writes nothing."""
    short = {"max_steps": 3, "per_device_train_batch_size": 8, "learning_rate": 1e-3, "use_cpu": True, "disable_tqdm": True}
    quiet = {"report_to": "none", "save_strategy": "no", "logging_strategy": "no"}
    return SentenceTransformerTrainingArguments(str(folder), **short | quiet | settings)


class Seen(AdaptiveMarginLoss):
    """A loss that notes the tokens that it is given."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.batches: list[list[torch.Tensor]] = []
        self.tasks: list[Any] = []

    def forward(self, sentence_features: Any, labels: Any = None) -> torch.Tensor:
        columns = list(sentence_features)
        self.batches.append([column["input_ids"] for column in columns])
        self.tasks = [column.get("task") for column in columns]
        return super().forward(columns, labels)


def widths(loss: Seen) -> list[int]:
    """The most tokens of any text in each column."""
    return [max(columns[number].shape[1] for columns in loss.batches) for number in range(3)]


@pytest.fixture
def long(triples: Triples) -> Triples:
    """Triples all of whose texts are longer than a passage may be."""
    return [(query + " " + positive * 4, positive * 9, negative * 9) for query, positive, negative in triples]


def test_anchors_are_cut_where_queries_are(model, long, tmp_path) -> None:
    loss = Seen(model, "distributed")
    how = arguments(tmp_path, **column_arguments(model))
    SentenceTransformerTrainer(model, how, train_dataset=data_set(long), loss=loss).train()
    assert len(loss.batches) == 3 and widths(loss) == [24, 48, 48] and loss.tasks == ["query", "document", "document"]


def test_without_the_arguments_they_are_not_and_the_loss_says_so(model, long, tmp_path) -> None:
    loss = Seen(model, "distributed")
    with pytest.warns(UserWarning, match="anchors have up to 48 tokens, but the model cuts queries at 24"):
        SentenceTransformerTrainer(model, arguments(tmp_path), train_dataset=data_set(long), loss=loss).train()
    assert widths(loss) == [48, 48, 48]


def test_training_reads_prompts_as_encoding_does(model, triples, tmp_path) -> None:
    model.prompts = {"query": "return the ", "document": "a list of "}
    loss = Seen(model, "adaptive")
    how = arguments(tmp_path, max_steps=1, **column_arguments(model))
    SentenceTransformerTrainer(model, how, train_dataset=data_set(triples), loss=loss).train()
    for ids, prompt in zip(loss.batches[0], ("return the", "a list of", "a list of"), strict=True):
        start = model.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        assert all(row[1 : 1 + len(start)].tolist() == start for row in ids)


@pytest.mark.parametrize(
    ("kind", "name"), [(AdaptiveMarginLoss, "distributed"), (CachedAdaptiveMarginLoss, "infonce(20, mask=True)")]
)
def test_a_trained_model_is_an_encoder_that_armlib_loads(kind, name, tiny_folder, beir_folder, triples, tmp_path) -> None:
    model = SentenceTransformer(str(tiny_folder), device="cpu")
    evaluator = RetrievalEvaluator(f"{beir_folder}/test")
    before = evaluator(model)["nDCG@10"]
    how = arguments(tmp_path / "out", max_steps=60, eval_strategy="steps", eval_steps=30, **column_arguments(model))
    trainer = SentenceTransformerTrainer(
        model,
        how,
        train_dataset=data_set(triples),
        loss=kind(model, name, **{"mini_batch_size": 3} if "Cached" in str(kind) else {}),
        evaluator=evaluator,
    )
    trainer.train()
    model.save(str(tmp_path / "trained"))
    after = evaluator(model)["nDCG@10"]
    assert after > before + 0.02
    logged = [row["eval_nDCG@10"] for row in trainer.state.log_history if "eval_nDCG@10" in row]
    assert len(logged) == 2 and logged[-1] == after
    encoder = BiEncoder.load(tmp_path / "trained")
    assert encoder.lengths == {"query_length": 24, "passage_length": 48}
    assert sorted(path.name for path in (tmp_path / "out" / "eval").iterdir()) == [
        f"retrieval-step-{step}.{ending}" for step in (30, 60) for ending in ("csv", "run.gz")
    ]
    run = read_run(tmp_path / "out" / "eval" / "retrieval-step-60.run.gz")
    assert evaluate(run, load_collection(f"{beir_folder}/test").qrels(), ["nDCG@10"]).mean["nDCG@10"] == after
    card = (tmp_path / "trained" / "README.md").read_text()
    assert "2407.21515" in card and f'"loss": "{parse_loss(name)}"' in card and "nDCG@10" in card


@pytest.mark.parametrize("kind", [AdaptiveMarginLoss, CachedAdaptiveMarginLoss])
@pytest.mark.parametrize("name", ["distributed", "infonce(20)"])
def test_its_trainer_and_armlibs_train_the_same_weights(name: str, kind: type, tiny_encoder, triples, tmp_path) -> None:
    """From the same batches without dropout, with Adam and nothing else that the two do in ways of their own."""
    tiny_encoder.backbone.config.dropout = tiny_encoder.backbone.config.attention_dropout = 0.0
    folder = tiny_encoder.save(tmp_path / "before", query_length=24, passage_length=48)
    same = {"learning_rate": 1e-3, "weight_decay": 0.0, "seed": 3}
    ours, run = armlib.fine_tune(
        triples, folder, name, steps=20, batch_size=8, decay=1.0, query_length=24, passage_length=48, **same
    )
    model = SentenceTransformer(str(folder), device="cpu")
    plain = {"lr_scheduler_type": "constant", "max_grad_norm": 0.0, "optim": "adamw_torch"}
    noted = {"logging_strategy": "steps", "logging_steps": 1}
    sampler = {"batch_sampler": batch_sampler("random", model)}
    how = arguments(tmp_path, max_steps=20, **same, **plain, **noted, **sampler, **column_arguments(model))
    trainer = SentenceTransformerTrainer(model, how, train_dataset=data_set(triples), loss=kind(model, name))
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    assert len(losses) == 20 and losses == pytest.approx(run.trace.loss.tolist(), abs=1e-5)
    before = BiEncoder.load(folder).backbone.state_dict()
    trained = model[0].auto_model.state_dict()
    # As a whole: where a gradient is nothing but rounding, Adam makes whole steps of it.
    after = ours.backbone.state_dict()
    moved = sum(float((values - before[key]).square().sum()) for key, values in trained.items()) ** 0.5
    apart = sum(float((values - after[key]).square().sum()) for key, values in trained.items()) ** 0.5
    assert moved > 0.5 and apart < 0.01 * moved


def test_labels_reach_losses_that_learn_from_a_teacher(model, triples, tmp_path) -> None:
    scores = [[float(number % 5), 0.5] for number in range(len(triples))]
    loss = AdaptiveMarginLoss(model, "margin-mse(5)")
    how = arguments(tmp_path, logging_strategy="steps", logging_steps=1, **column_arguments(model))
    trainer = SentenceTransformerTrainer(model, how, train_dataset=data_set(triples, scores=scores), loss=loss)
    trainer.train()
    assert len([row["loss"] for row in trainer.state.log_history if "loss" in row]) == 3


def test_a_guide_stays_as_it_was(model, tiny_folder, triples, tmp_path) -> None:
    guide = SentenceTransformer(str(tiny_folder), device="cpu")
    before = {name: values.clone() for name, values in guide.state_dict().items()}
    loss = CachedAdaptiveMarginLoss(model, "adaptive(in_batch=True, filter=True)", guide=guide, mini_batch_size=3)
    SentenceTransformerTrainer(
        model, arguments(tmp_path, weight_decay=0.1, **column_arguments(model)), train_dataset=data_set(triples), loss=loss
    ).train()
    assert all(torch.equal(values, before[name]) for name, values in guide.state_dict().items())
    assert not torch.equal(model.state_dict()[name := next(iter(before))], before[name])


def test_the_best_checkpoint_is_that_of_the_primary_metric(model, beir_folder, triples, tmp_path) -> None:
    evaluator = RetrievalEvaluator(f"{beir_folder}/test", name="held-out", measures=["RR@10", "ndcg_cut_10"], write=False)
    assert evaluator.primary_metric == "held-out_nDCG@10"
    best = {
        "save_strategy": "steps",
        "save_steps": 2,
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_held-out_nDCG@10",
    }
    how = arguments(tmp_path, max_steps=4, eval_strategy="steps", eval_steps=2, **best, **column_arguments(model))
    trainer = SentenceTransformerTrainer(
        model, how, train_dataset=data_set(triples), loss=AdaptiveMarginLoss(model), evaluator=evaluator
    )
    trainer.train()
    logged = [row["eval_held-out_nDCG@10"] for row in trainer.state.log_history if "eval_held-out_nDCG@10" in row]
    assert trainer.state.best_metric == max(logged) and evaluator(model)["held-out_nDCG@10"] == max(logged)


def test_batches_are_the_samplers(model, triples, tmp_path, monkeypatch) -> None:
    """In every epoch each row at most once, and no query twice in a batch."""
    data, seen = data_set(triples), []
    sampler = batch_sampler("clustered(8)", model)

    def noted(*given: Any, **named: Any) -> Any:
        made = sampler(*given, **named)
        positions = made.batches.positions
        made.batches.positions = lambda epoch, step: seen.append((epoch, positions(epoch, step))) or seen[-1][1]
        return made

    loss = Seen(model, "distributed")
    how = arguments(tmp_path, max_steps=-1, num_train_epochs=2, batch_sampler=noted, **column_arguments(model))
    SentenceTransformerTrainer(model, how, train_dataset=data, loss=loss).train()
    steps = len(triples) // 8
    assert [epoch for epoch, _ in seen] == [0] * steps + [1] * steps and len(loss.batches) == 2 * steps
    for (_, rows), columns in zip(seen, loss.batches, strict=True):
        texts = [data[int(row)]["anchor"] for row in rows]
        assert len(set(texts)) == 8 and torch.equal(columns[0], model.preprocess(texts, task="query")["input_ids"])
    for epoch in range(2):
        assert max(Counter(int(row) for when, rows in seen if when == epoch for row in rows).values()) == 1
    assert [rows.tolist() for _, rows in seen[:steps]] != [rows.tolist() for _, rows in seen[steps:]]


@pytest.mark.parametrize(
    "name", ["clustered(8)", "clustered(8, order='tour')", "topic-aware(5)", "balanced(5, bins=3, by='student')"]
)
def test_batches_are_those_that_armlib_trains_with(name: str, model, tiny_folder, triples) -> None:
    """Clusters by the embeddings of the one library and of the other are the same; each query has one positive here."""
    texts = {query: positive for query, positive, _ in triples}
    triples = [triple for triple in triples if texts[triple[0]] == triple[1]]
    lengths = {"query_length": 24, "passage_length": 48}
    own = TrainingData(Experiment(encoder=str(tiny_folder), sampler=name, batch_size=8, seed=1, **lengths))
    own.collection = own.validation = InMemory.of_triples(triples)
    batches = own.batches()
    found = batch_sampler(name, model)(data_set(triples), batch_size=8, drop_last=False, seed=1)
    for epoch in range(2):
        found.set_epoch(epoch)
        assert len(found) == batches.steps_per_epoch
        expected = [batches.positions(epoch * len(found) + step).tolist() for step in range(len(found))]
        assert list(found) == expected


def test_checkpoints_hold_the_samplers_name_and_no_model(model, beir_folder, triples, tmp_path) -> None:
    """The trainer pickles its arguments; the model's card holds the evaluator, and that a collection."""
    saving = {"save_strategy": "steps", "save_steps": 3, "eval_strategy": "steps", "eval_steps": 3}
    how = arguments(tmp_path, batch_sampler=batch_sampler("clustered(8)", model), **saving, **column_arguments(model))
    evaluator = RetrievalEvaluator(InMemory({"a": "sort", "b": "walk"}, {"q": "sort a list"}, {"q": {"a": 1}}))
    SentenceTransformerTrainer(
        model, how, train_dataset=data_set(triples), loss=AdaptiveMarginLoss(model), evaluator=evaluator
    ).train()
    file = tmp_path / "checkpoint-3" / "training_args.bin"
    assert str(torch.load(file, weights_only=False).batch_sampler) == "batch_sampler('clustered(8)')"
    assert file.stat().st_size < 20_000


def test_a_column_of_scores_is_binned(model, triples) -> None:
    """The cosines of positives and negatives as scores give the batches that ``by='student'`` gives."""
    positives, negatives = (model.encode_document([triple[column] for triple in triples]) for column in (1, 2))
    cosines = (positives * negatives).sum(axis=1)
    data = data_set(triples, scores=cosines, both=np.stack([cosines, 0 * cosines], axis=1).tolist())
    by_model = list(batch_sampler("balanced(5, bins=3, by='student')", model)(data, batch_size=8, drop_last=False))
    for column in ("scores", "both"):
        by_scores = batch_sampler("balanced(5, bins=3)", model, scores=column)
        assert list(by_scores(data, batch_size=8, drop_last=False)) == by_model
    reverse = data_set(triples, scores=cosines[::-1].copy())
    assert list(batch_sampler("balanced(5, bins=3)", model, scores="scores")(reverse, batch_size=8, drop_last=False)) != by_model


def test_what_a_sampler_lacks_is_said(model, triples) -> None:
    data = data_set(triples[:20])
    with pytest.raises(InputError, match="unknown sampler 'clusters'"):
        batch_sampler("clusters", model)
    with pytest.raises(InputError, match="the data set has no column 'query'; it has anchor, positive, negative"):
        batch_sampler("clustered", model, ["query", "positive", "negative"])(data, batch_size=4, drop_last=True)
    with pytest.raises(InputError, match="balanced bins by a teacher's scores; expected the name of their column"):
        batch_sampler("balanced(2)", model)(data, batch_size=4, drop_last=True)
    with pytest.raises(InputError, match="a batch of 64 triples cannot be made: there are only 20"):
        batch_sampler("clustered", model)(data, batch_size=64, drop_last=True)
