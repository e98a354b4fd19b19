"""Names of measures: which are known, what is near others, and that whatever is parsed can be computed."""

from __future__ import annotations

import math
from pathlib import Path

import ir_measures
import pytest
from hypothesis import strategies as st

from armlib.errors import InputError
from armlib.evaluation.measure_names import COMMON, parse_measures
from armlib.evaluation.measures import evaluate
from fuzzing import mutated, tried_on


@pytest.mark.parametrize(
    ("name", "measure"),
    [
        *((name, name) for name in COMMON),
        ("ndcg@10", "nDCG@10"),
        ("NDCG@10", "nDCG@10"),
        (" nDCG @ 10 ", "nDCG@10"),
        ("mrr@10", "RR@10"),
        ("MRR", "RR"),
        ("map", "AP"),
        ("map_cut_5", "AP@5"),
        ("recip_rank", "RR"),
        ("ndcg", "nDCG"),
        ("ndcg_cut_10", "nDCG@10"),
        ("ndcg_cut.10", "nDCG@10"),
        ("NDCG_CUT_10", "nDCG@10"),
        ("P_10", "P@10"),
        ("P.10", "P@10"),
        ("precision@10", "P@10"),
        ("recall_1000", "R@1000"),
        ("success_1", "Success@1"),
        ("hits@100", "Success@100"),
        ("bpref", "Bpref"),
        ("Rprec", "Rprec"),
        ("infAP", "infAP"),
        ("set_P", "SetP"),
        ("set_recall", "SetR"),
        ("set_map", "SetAP"),
        ("set_F", "SetF"),
        ("SetF(beta=2.0)", "SetF(beta=2.0)"),
        ("set_relative_P", "SetP(relative=True)"),
        ("iprec_at_recall_0.10", "IPrec@0.1"),
        ("r( rel = 2 , judged_only=True )@10", "R(rel=2,judged_only=True)@10"),
        ("P(cutoff=5)", "P@5"),
        ("nDCG(gains={1:3,2:7})@10", "nDCG(gains={1:3,2:7})@10"),
        ("Judged", "Judged"),
        ("Compat(p=0.8)", "Compat(p=0.8)"),
    ],
)
def test_measures_are_known_in_any_case_and_by_trec_evals_names(name: str, measure: str) -> None:
    (parsed,) = parse_measures(name)
    assert str(parsed) == measure and parse_measures([parsed]) == [parsed]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nDGC@10", "did you mean 'nDCG@10'?"),
        ("mmr@10", "did you mean 'RR@10'?"),
        ("precison@5", "did you mean 'P@5'?"),
        ("recal", "did you mean 'R@100'"),
        ("P", ": expected P@cutoff with settings rel, judged_only; did you mean 'P@10'"),
        ("ndcg_cut", ": it needs a cutoff, as in ndcg_cut_10"),
        ("num_q", ": NumQ counts, it has no mean over queries"),
        ("num_rel_ret", ": NumRet counts"),
        ("nDCG@0", ": cutoff is 0, expected a whole number from 1"),
        ("nDCG@999999999999999999999999999999", ": cutoff is 9+, expected"),
        ("nDCG@10.5", ": expected nDCG@cutoff with settings"),
        ("R(rel=9999999999999999999999999)@10", ": rel is 9+, expected a whole number from 1 to 10000"),
        ("R(rel=0)@10", ": rel is 0"),
        ("R(rel=-1)@10", ": rel is -1"),
        ("R(rel=True)@10", ": rel is True"),
        ("R(rel=2,rel=3)@10", ": expected each setting once"),
        ("P(cutoff=5)@10", ": cutoff stands there twice"),
        ("R(foo=3)@10", ": expected R@cutoff with settings rel, judged_only"),
        ("R(rel=two)@10", ": 'two' is neither a number nor a quoted word"),
        ("nDCG(gains={1:1000000})@10", ": gains is .* expected {grade: gain, ...}"),
        ("IPrec@0.123", ": recall is 0.123, expected 0.00 to 1.00 with two decimals"),
        ("SetF(beta=1e-9)", ": beta is 1e-09"),
        ("SetF(beta=1e999)", ": beta is inf"),
        ("Compat(p=2.0)", ": p is 2.0"),
        ("ERR@10", ": nothing that is installed computes it; did you mean 'RR@10'?"),
        ("alpha_nDCG@10", ": nothing that is installed computes it"),
        ("Accuracy", ": nothing that is installed computes it"),
        *(
            (name, "")
            for name in ("", " ", "import os", "nDCG@", "nDCG@-1", "nDCG@١", "ｎDCG@10", "P_10abc", "nDCG@10#", "11pt_avg")
        ),
        *((name, "") for name in ("official", "all_trec", "(" * 5000, "nDCG@" + "9" * 5000, "nDCG\x00@10", "R(**x)@10", "P@5,10")),
    ],
)
def test_other_names_are_refused_with_the_reason_what_is_near_and_common_ones(name: str, said: str) -> None:
    with pytest.raises(InputError, match=rf"unknown measure .*{said}.*R\(rel=2\)@1000") as caught:
        parse_measures(["nDCG@10", name])
    assert len(str(caught.value)) <= 1000 and str(caught.value).isprintable()


def test_measures_that_programs_define_are_no_names() -> None:
    with pytest.raises(InputError, match="unknown measure"):
        parse_measures([ir_measures.define(lambda qrels, run: [], "mine")])


NAMES = st.sampled_from([*COMMON, "ndcg_cut_10", "iprec_at_recall_0.10", "SetF(beta=2.0)", "nDCG(gains={1:2})@3", "Compat(p=0.9)"])
SETTINGS = ("rel=2", "rel=-1", "cutoff=3", "judged_only=True", "beta=0.5", "p=0.9", "recall=0.1", "gains={1:2}", "dcg='log2'")
BUILT = st.builds(
    lambda name, settings, at: f"{name}({','.join(settings)}){at}",
    st.sampled_from(sorted(ir_measures.measures.registry)),
    st.lists(st.sampled_from(SETTINGS), max_size=2),
    st.sampled_from(("", "@1", "@10", "@2147483647", "@2147483648", "@0", "@0.5", "_10")),
)
WRITTEN = st.one_of(
    NAMES.map(str.swapcase),
    BUILT,
    BUILT.map(str.lower),
    NAMES.flatmap(lambda name: mutated(name.encode())).map(lambda data: data.decode("utf8", "replace")),
    st.text(max_size=40),
)
QRELS = {"q-1": {"a": 2, "b": 0, "c": 1}, "é": {"a": 1}}
RUN = {query: {"a": 0.5, "b": 0.5, "x": 1.0, "c": -3} for query in QRELS}


@tried_on("measures", WRITTEN)
def test_what_is_parsed_writes_itself_and_is_computed(folder: Path, written: str) -> None:
    (measure,) = parse_measures(written)
    assert parse_measures(str(measure)) == [measure] and str(parse_measures(str(measure))[0]) == str(measure)
    evaluation = evaluate(RUN, QRELS, [measure, "nDCG@10"])
    assert {str(measure), "nDCG@10"} == set(evaluation.mean) and all(0 <= value <= 1 for value in evaluation.mean.values())
    assert evaluation.mean["nDCG@10"] > 0 and all(map(math.isfinite, evaluation.per_query[str(measure)]))
