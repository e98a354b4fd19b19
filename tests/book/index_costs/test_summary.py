"""What an index costs in words and in tables, of made-up measurements."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from armbook.index_costs.growth import projection
from armbook.index_costs.measurements import FLAT, PAPER, IndexMeasurements, settings
from armbook.index_costs.summary import answer, default_row, kinds_table, projection_table, scores_table, settings_table
from armlib.retrieval.factories import DEFAULTS


def costs(own_ms: float = 3.0, released_score: float = 0.1) -> IndexMeasurements:
    """A sweep over 20,000 passages; exact search takes 1 ms and the paper's index with the book's parameters as told."""
    rows = []
    for point in settings(20_000):
        parameters = {name: point.parameters.get(name) for name in ("nprobe", "efSearch", "k_factor")}
        default = point.kind == PAPER and parameters["nprobe"] == 512 and parameters["k_factor"] == DEFAULTS["k_factor"]
        recalls = dict.fromkeys(("recall@10", "recall@100", "recall@1000"), 0.05 if point.released else 0.98 if default else 1.0)
        ms = own_ms if default else 1.0 if point.kind == FLAT else 0.25
        sizes = {
            "found": 61.4 if point.released else 1000.0,
            "compared": 1234.5,
            "bytes a vector": 600.0 if point.kind == PAPER else 500.0,
        }
        rows.append(
            {"kind": point.kind, **parameters, **recalls, "ms": ms, "build seconds": 1.25, "released": point.released, **sizes}
        )
    table = pd.DataFrame(rows).astype(dict.fromkeys(("nprobe", "efSearch", "k_factor"), "Int64"))
    judged = [
        {
            "kind": kind,
            "nprobe": nprobe,
            "released": released,
            "collection": "mine/test",
            "measure": measure,
            "value": value,
            "exact": 0.2,
        }
        for kind, nprobe, released, value in ((FLAT, None, False, 0.2), (PAPER, 512, False, 0.19), (PAPER, 1, True, released_score))
        for measure in ("nDCG@10", "R(rel=2)@1000")
    ]
    scores = pd.DataFrame(judged).astype({"nprobe": "Int64"})
    return IndexMeasurements(table, scores, np.array([5_000, 15_000]), {})


def test_the_answer_says_what_is_lost_and_what_it_takes() -> None:
    assert answer(costs()) == (
        "Searched as released, the paper's index finds 61 of the 1,000 passages asked for; compared with exact search, nDCG@10 on "
        "mine/test falls from 0.200 to 0.100. With this book's parameters (nprobe=512, k_factor=4), its recall@1000 against exact "
        "search is 0.980. On this machine and at this size, that takes 3.0 times as long as exact search, and 1.20 times its "
        "memory."
    )


@pytest.mark.parametrize(
    ("ms", "score", "said"),
    [
        (0.95, 0.1, "takes about as long as exact search,"),
        (0.5, 0.1, "takes 0.50 of the time of exact search,"),
        (1.0, 0.3, "rises from 0.200 to 0.300."),
        (1.0, 0.2, "stays at 0.200. "),
    ],
)
def test_other_machines_and_other_passages_are_told_as_they_are(ms: float, score: float, said: str) -> None:
    assert said in answer(costs(ms, score))


def test_the_books_parameters_are_found_without_the_released_ones() -> None:
    found = default_row(costs())
    assert (found.nprobe, found.k_factor, found.released) == (512, 4, False)


def test_tables_hold_the_measurements() -> None:
    table = settings_table(costs())
    assert len(table) == len(settings(20_000)) and list(table)[4:] == ["R@10", "R@100", "R@1000", "compared", "ms"]
    (released,) = table[table["index"].str.endswith("as released")].to_dict("records")
    assert released["nprobe"] == "1" and released["R@1000"] == "0.050" and released["compared"] == "1,234"
    assert table.loc[0].to_dict() | {"index": "exact", "nprobe": "–", "k_factor": "–", "ms": "1"} == table.loc[0].to_dict()
    kinds = kinds_table(costs()).set_index("index")
    assert kinds["bytes a vector"].to_dict() == {"exact": "500", "IVF": "500", "HNSW": "500", "paper's factory": "600"}
    scores = scores_table(replace(costs()))
    assert scores.to_dict("records")[-1] == {
        "index": "paper's factory, as released",
        "nprobe": "1",
        "nDCG@10, mine/test": "0.100",
        "R@1000, mine/test": "0.100",
    }
    computed = projection_table(projection()).set_index("index")
    assert computed.loc["flat, float16"].tolist() == ["13.6", "8,841,823", "13,581"]
    assert computed.loc["paper's factory, as released", "passages compared"] == "34"
