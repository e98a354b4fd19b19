"""The shapes in signatures hold: everything from a batch to a ranking runs with each of them checked at every call."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

# A process of its own, since modules are checked as they are imported.
HOOKED = """
import sys
from jaxtyping import TypeCheckError, install_import_hook

install_import_hook(["armlib.losses", "armlib.encoder", "armlib.retrieval", "armlib.training"], "checking.checked")

import numpy as np
import torch

from armlib.data.batches import Shape, TripleBatches
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.token_stores import passage_tokens, query_tokens
from armlib.data.triple_rows import triple_rows
from armlib.demo.lsa import lsa_encoder
from armlib.losses import (
    EmbeddedBatch, MarginLoss, adaptive_targets, distributed_targets, in_batch_margins, mean_targets, parse_loss,
    relevance_margins, similarities, target_variance,
)
from armlib.names import load_collection
from armlib.retrieval.embeddings import encode_collection
from armlib.retrieval.encoding import encode_rows, encode_texts
from armlib.retrieval.exact import ExactSearch
from armlib.retrieval.indexes import build_index
from armlib.retrieval.rankings import full_ranking, rerank, rerank_first_stage
from armlib.retrieval.search import Searcher
from armlib.retrieval.vectors import best_first, unit_vectors
from armlib.training.gradients import batch_gradients
from armlib.training.loop import train
from armlib.training.processes import default_accelerator
from armlib.training.settings import Settings

COLLECTION, FOLDER = sys.argv[1:]
LOSSES = [
    "static(0.3)", "static(0.3, in_batch=True)", "static(0.5, variance=1.5)", "adaptive", "adaptive(in_batch=True)",
    "adaptive(in_batch=True, reading='released-code', error='absolute')", "distributed", "distributed(reading='released-code')",
    "distributed(stop_gradient=True, error='soft')", "mean", "variance",
]
"""

WHOLE = """
collection = load_collection(COLLECTION)
test = load_collection(COLLECTION + "/test")
texts = [document.text for document in collection.documents()]
settings = dict(dim=32, heads=2, feed_forward=64, vocabulary=1000)
accelerator = default_accelerator("cpu")

for architecture, pooling in (("distilbert", "cls"), ("roberta", "cls+linear"), ("mpnet", "mean")):
    encoder = lsa_encoder(lambda: texts, "shapes", architecture, pooling=pooling, **settings)
    queries, passages = query_tokens(collection, encoder), passage_tokens(collection, encoder)
    rows = triple_rows(collection, queries, passages)
    for cached in (False, True):
        shape = Shape(24, 48, chunk_size=5, chunk_tokens=200 if cached else None)
        batches = TripleBatches(rows, queries, passages, batch_size=8, shape=shape, seed=0)
        how = Settings(steps=2, learning_rate=1e-3, cached=cached)
        encoder.train()
        for text in LOSSES if architecture == "distilbert" else LOSSES[-4:]:
            measured = batch_gradients(encoder, parse_loss(text), batches[0], accelerator, how, 0)
            assert all(value.shape == () for value in measured.values())
        trace = train(encoder, MarginLoss("distributed"), batches, how, validate=lambda one: {"nDCG@10": 0.5}).trace
        assert len(trace) == 2

    vectors = encode_collection(encoder, passages, f"{FOLDER}/{architecture}", 48, block=100)
    assert vectors.shape == (len(texts), 32)
    question = encode_texts(encoder, ["walk a folder", "shuffle a list"], 24)
    for index in ("exact", "IVF8,Flat:nprobe=4", "HNSW8", "paper"):
        scores, found = build_index(vectors, index).search(question, 10)
        assert scores.shape == found.shape == (2, 10)
    ExactSearch(vectors, device="cpu", block=64).search(question, 500)
    lengths = {"query_length": 24, "passage_length": 48}
    judged = query_tokens(test, encoder)
    run = rerank_first_stage(encoder, judged, passages, test.first_stage(), **lengths)
    again = rerank_first_stage(encoder, judged, passages, test.first_stage(), **lengths, passage_vectors=vectors)
    assert run.keys() == again.keys() == test.qrels().keys()
    for index in ("exact", "IVF8,Flat:nprobe=4"):
        ranking, about = full_ranking(encoder, judged, list(test.qrels()), passages, 20, index, passage_vectors=vectors, **lengths)
        assert len(ranking) == 40 and about["k"] == 20
    full_ranking(encoder, judged, list(test.qrels())[:3], passages, 5, **lengths)
    assert len(Searcher(encoder, collection, **lengths).search("shuffle a list", 3)) == 3

encoder = lsa_encoder(lambda: texts, "shapes", "roberta", pooling="cls+linear", **settings)
encoder.add_context(6, dropout=0.2)
passages = passage_tokens(collection, encoder)
shape = Shape(24, 48, chunk_size=5, context=6)
batches = TripleBatches(rows, query_tokens(collection, encoder), passages, batch_size=8, shape=shape, seed=0)
for stage in ("trained", "frozen", "cached"):
    how = Settings(steps=2, learning_rate=1e-3, context_stage=stage)
    assert len(train(encoder, MarginLoss("distributed"), batches, how).trace) == 2
encoder.bind(encoder.context_of(passages, 48))
found = BiEncoder.load(encoder.save(f"{FOLDER}/context", **lengths))
assert len(Searcher(found, collection, **lengths).search("shuffle a list", 3)) == 3
print("whole")
"""

REFUSED = """
def a(*shape):
    return torch.ones(shape)


def b(*shape):
    return np.ones(shape, np.float32)


encoder = lsa_encoder(lambda: (d.text for d in load_collection(COLLECTION).documents()), "shapes", "distilbert",
                      dim=32, heads=2, feed_forward=64, vocabulary=1000)
ids = torch.ones(3, 5, dtype=torch.int64)
wrong = {
    "margins of other dimensions": lambda: relevance_margins(a(3, 4), a(3, 5), a(3, 4)),
    "margins of fewer negatives": lambda: in_batch_margins(a(3, 4), a(3, 4), a(2, 4)),
    "similarities of other dimensions": lambda: similarities(a(3, 4), a(3, 5)),
    "targets of vectors": lambda: adaptive_targets(a(4), a(4)),
    "targets of more negatives": lambda: distributed_targets(a(3, 4), a(4, 4)),
    "targets of whole numbers": lambda: mean_targets(a(3, 4).long(), a(3, 4).long()),
    "variance of a stack": lambda: target_variance(a(1, 3, 4), a(1, 3, 4)),
    "a shorter mask": lambda: encoder(ids, ids[:, :4]),
    "ids that are no whole numbers": lambda: encoder(ids.float(), ids),
    "word embeddings of other texts": lambda: encoder(ids, ids, a(2, 5, 32)),
    "a context that is a stack": lambda: encoder(ids, ids, None, a(2, 5, 32)),
    "re-ranking with other dimensions": lambda: rerank({"q": ["d"]}, b(1, 4), {"q": 0}, b(1, 5), {"d": 0}),
    "a ranking of fewer rows": lambda: best_first(b(3, 4), np.ones((2, 4), np.int64), 2),
    "rows that are no whole numbers": lambda: best_first(b(3, 4), b(3, 4), 2),
    "vectors that are a list": lambda: unit_vectors([1.0, 2.0]),
    "exact search over a stack": lambda: ExactSearch(b(1, 3, 4)),
}
for what, call in wrong.items():
    try:
        call()
    except TypeCheckError:
        print("refused:", what)
    else:
        print("NOT REFUSED:", what)
"""


def run(script: str, *arguments: object) -> list[str]:
    """The lines that a script prints with the signatures of armlib checked."""
    command = [sys.executable, "-c", HOOKED + script, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_all_that_is_done_has_the_shapes_that_signatures_say(beir_folder: Path, tmp_path: Path) -> None:
    assert run(WHOLE, beir_folder, tmp_path) == ["whole"]


def test_wrong_shapes_are_refused_there(beir_folder: Path, tmp_path: Path) -> None:
    lines = run(REFUSED, beir_folder, tmp_path)
    assert len(lines) == 16 and not [line for line in lines if not line.startswith("refused: ")]
