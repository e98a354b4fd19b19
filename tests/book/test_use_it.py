"""The sample that chapter 14 writes and reads as a collection of one's own."""

from __future__ import annotations

from itertools import islice

import pytest

from armbook.use_it import write_sample
from armlib.errors import InputError
from armlib.names import load_collection


def test_a_sample_holds_what_its_queries_are_judged_by(beir_folder, tmp_path):
    source = load_collection(beir_folder)
    write_sample(source, tmp_path / "part", train=5, test=3)
    train, test = load_collection(tmp_path / "part"), load_collection(f"{tmp_path / 'part'}/test")
    judged = dict(islice(source.qrels().items(), 8))
    assert train.qrels() | test.qrels() == judged and (len(train.qrels()), len(test.qrels())) == (5, 3)
    assert train.queries().items() <= source.queries().items()
    assert {document.id for document in train.documents()} == {document for grades in judged.values() for document in grades}
    with pytest.raises(InputError, match="judged queries, fewer than the 1000000 asked for"):
        write_sample(source, tmp_path / "too-many", train=1_000_000)
