"""A bi-encoder's scores are products of vectors, and depend on no padding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from armlib.data.beir import BeirFolder
from armlib.data.triple_rows import triple_rows
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.token_stores import passage_tokens, query_tokens
from armlib.errors import InputError
from armlib.losses import EmbeddedBatch, MarginMSE
from armlib.retrieval.encoding import encode_texts
from armlib.teachers.bi_encoder import BiEncoderTeacher
from armlib.teachers.registry import parse_teacher
from armlib.teachers.texts import passage_texts, query_texts


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_all_scores_of_a_batch_are_those_of_texts_alone(
    beir_folder: Path, tiny_folder: Path, tiny_encoder: BiEncoder, similarity: str
) -> None:
    """Padded in the store's batches and alone, on the diagonal and off it."""
    collection, scale = BeirFolder(beir_folder, None), 3.0
    queries, passages = query_tokens(collection, tiny_encoder), passage_tokens(collection, tiny_encoder)
    triples = triple_rows(collection, queries, passages)[::29][:7]
    lists = np.column_stack([triples, triples[::-1, 2]])  # (7, 2 + 2)
    teacher = BiEncoderTeacher(str(tiny_folder), scale, similarity)
    scored = teacher.scored(collection, queries, passages, lists)
    found = scored(lists)
    assert found.pairwise is None and found.in_batch is not None and found.in_batch.shape == (7, 7, 3)

    def vector(text: str, length: int) -> np.ndarray:
        return encode_texts(tiny_encoder, [text], length, unit=similarity == "cosine")[0].astype(np.float64)

    asked = np.stack([vector(text, 24) for text in query_texts(collection, queries).texts(lists[:, 0])])
    read = np.stack([vector(text, 48) for text in passage_texts(collection, passages).texts(lists[:, 1:].ravel())])
    expected = scale * np.einsum("id,jkd->ijk", asked, read.reshape(7, 3, -1))
    np.testing.assert_allclose(found.in_batch, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.pointwise, found.in_batch[range(7), range(7)])
    np.testing.assert_allclose(scored.of_pairs(lists[:, :1].repeat(3, 1), lists[:, 1:]), found.pointwise, atol=1e-5)
    texts = query_texts(collection, queries).texts(lists[:, 0]), passage_texts(collection, passages).texts(lists[:, 1])
    np.testing.assert_allclose(teacher.scores(collection, *texts), found.pointwise[:, 0], rtol=1e-5, atol=1e-5)
    assert scored.cost["texts"] == len(queries) + len(passages) and scored.cost["operations"] > 0
    assert scored.cost["seconds"] > 0 and scored.cost["device"] == "cpu"


def test_a_student_with_the_teachers_vectors_has_no_loss(beir_folder: Path, tiny_folder: Path, tiny_encoder: BiEncoder) -> None:
    collection = BeirFolder(beir_folder, None)
    queries, passages = query_tokens(collection, tiny_encoder), passage_tokens(collection, tiny_encoder)
    lists = triple_rows(collection, queries, passages)[:32]
    scored = BiEncoderTeacher(str(tiny_folder)).scored(collection, queries, passages, lists)
    asked = encode_texts(tiny_encoder, query_texts(collection, queries).texts(lists[:, 0]), 24)
    read = [encode_texts(tiny_encoder, passage_texts(collection, passages).texts(lists[:, side]), 48) for side in (1, 2)]
    vectors = [torch.from_numpy(each) for each in (asked, *read)]
    batch = EmbeddedBatch(vectors[0], vectors[1], vectors[2][:, None], teacher=scored(lists))
    assert MarginMSE(20, in_batch=0.75).of_batch(batch).value < 1e-8


def test_the_name_is_what_it_is_read_from() -> None:
    for text in ("bi-encoder('a')", "bi-encoder('a', scale=2.0)", "bi-encoder('a', similarity='dot')"):
        assert str(parse_teacher(text)) == text
    for wrong in ("bi-encoder(1)", "bi-encoder('a', scale=0)", "bi-encoder('a', similarity='euclidean')", "bi-encoder('a', 1, 2)"):
        with pytest.raises(InputError, match="bi-encoder"):
            parse_teacher(wrong)
