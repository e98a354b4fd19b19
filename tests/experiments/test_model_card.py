"""The card of a trained encoder: others read it, its numbers are the result's, and it tells nothing of the machine's folders."""

from __future__ import annotations

import platform
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from huggingface_hub import ModelCard, metadata_load
from scipy import stats
from sentence_transformers import SentenceTransformer

from armlib import storage
from armlib.encoder.bi_encoder import BiEncoder
from armlib.evaluation.evaluate import FULL_RANKING, RERANKING
from armlib.evaluation.measures import Evaluation
from armlib.experiments import model_card as module
from armlib.experiments.experiment import Experiment
from armlib.experiments.model_card import AFTER, CITATION, model_card
from armlib.experiments.result import Result
from armlib.experiments.store import RunStore

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def result(small_store: RunStore, small_experiment: Experiment) -> Result:
    return small_store.result(small_experiment)


@pytest.fixture(scope="module")
def card(result: Result) -> str:
    return (result.folder / "encoder" / "README.md").read_text()


def rows_of(card: str, heading: str) -> dict[str, list[str]]:
    """The first table below a heading: cells by the first one of each row."""
    found = {}
    for line in card.split(f"\n{heading}")[1].split("\n\n| ", 1)[1].split("\n\n")[0].splitlines():
        first, *others = [cell.strip() for cell in line.strip("| ").split(" | ")]
        found[first] = others
    return found


def test_a_trained_encoder_comes_with_its_card(result: Result, card: str) -> None:
    assert card == model_card(result)
    assert storage.damage(result.folder) is None and storage.damage(result.folder / "encoder") is None
    assert BiEncoder.load(result.folder / "encoder").dim == 32


def test_the_hub_reads_its_metadata(result: Result, card: str) -> None:
    data = ModelCard(card).data
    assert data.to_dict() == metadata_load(result.folder / "encoder" / "README.md")
    assert (data.library_name, data.pipeline_tag) == ("sentence-transformers", "sentence-similarity")
    assert data.license is None and data.base_model is None and data.datasets is None, "nothing is claimed that is not known"
    read = [(each.task_name, each.metric_name, each.metric_value) for each in data.eval_results]
    assert read == list(result.measures[["mode", "measure", "value"]].itertuples(index=False, name=None))
    assert {(each.task_name, each.task_type) for each in data.eval_results} == {
        (RERANKING, "reranking"),
        (FULL_RANKING, "information-retrieval"),
    }
    assert ModelCard(model_card(result, licence="apache-2.0")).data.license == "apache-2.0"


def test_sentence_transformers_keeps_it(result: Result, card: str, tmp_path: Path) -> None:
    SentenceTransformer(str(result.folder / "encoder"), device="cpu").save(str(tmp_path / "again"))
    assert (tmp_path / "again" / "README.md").read_text() == card


def test_its_code_loads_the_encoder(result: Result) -> None:
    card = model_card(result, place=str(result.folder / "encoder"))
    theirs, ours = re.findall(r"```python\n(.+?)```", card, re.DOTALL)
    names: dict = {}
    exec(theirs + ours, names)
    assert names["scores"].shape == (1, 2) and names["encoder"].fingerprint() == result.encoder().fingerprint()


def test_it_says_how_the_encoder_was_made(result: Result, card: str) -> None:
    training, about = rows_of(card, "## Training"), result.about
    assert training["pooling"] == ["cls"] and training["dimensions"] == ["32"]
    assert training["query length, passage length"] == ["24, 48 tokens"] and training["prompts"] == ["none"]
    assert training["triples"] == [f"{20 * 16} seen of {about['available_triples']:,}"]
    assert training["licence of the data"] == ["not known to armlib"]
    assert training["loss"][0].startswith("`distributed`: The mean error of relevance margins against their targets")
    assert "similarities of the triple's positive to every negative of the batch" in training["loss"][0]
    assert training["steps"][0].startswith(f"20; kept are the weights of step {about['kept_step']}, the best by nDCG@10 on")
    assert rows_of(card, "## Cost")["total"] == [f"{about['seconds']['total']:,.1f}"]
    assert about["machine"]["processor"] in card and about["versions"]["torch"] in card


def test_it_tells_nothing_of_the_folders_and_the_name_of_the_machine(result: Result, card: str) -> None:
    asked = result.experiment
    assert Path(asked.collection).is_absolute() and Path(asked.encoder).is_absolute()
    for path in (asked.collection, asked.encoder, str(result.folder)):
        assert str(Path(path).parent) not in card
    assert platform.node() not in card
    assert f"fine-tuned on {Path(asked.collection).name}\n" in card and f"{Path(asked.collection).name}/test, re-ranking" in card


def test_the_citation_is_that_of_the_repository() -> None:
    cited = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())["preferred-citation"]
    fields = dict(re.findall(r"(\w+) += \{(.+)\}", CITATION))
    authors = " and ".join(f"{each['family-names']}, {each['given-names']}" for each in cited["authors"])
    assert fields == {**{name: str(cited[name]) for name in ("title", "year", "journal", "doi", "url")}, "author": authors}


@pytest.fixture
def compared(result: Result) -> dict[str, dict[tuple[str, str], Evaluation]]:
    """BM25 a good deal worse than the encoder, and the encoder before training hardly."""
    (collection,) = result.experiment.evaluation
    own, noise = result.per_query(collection, FULL_RANKING).per_query, np.random.default_rng(0).normal(0, 0.01, 40)
    return {
        name: {(collection, FULL_RANKING): Evaluation.from_per_query((own + shift).add(noise, axis=0))}
        for name, shift in {"BM25": -0.1, "before training": -0.01}.items()
    }


def test_it_compares_with_what_was_measured_beside_it(result: Result, compared, card: str) -> None:
    assert "Nothing was measured beside it" in card
    (collection,) = result.experiment.evaluation
    name = f"### {Path(collection).parent.name}/test, full ranking, 40 queries"
    card = model_card(result, baselines=compared)
    own = result.per_query(collection, FULL_RANKING)
    means = rows_of(card, name)
    assert means[AFTER] == [f"{value:.4f}" for value in own.mean.values()]
    assert means["BM25"] == [f"{value:.4f}" for value in compared["BM25"][collection, FULL_RANKING].mean.values()]
    tests = rows_of(card.replace(name, "").replace("Paired TOST", f"{name}\nPaired TOST"), name)
    assert len(tests) == 6 + 2, "three measures, two systems, and two lines above them"
    for system, measured in compared.items():
        for measure in own.mean:
            apart = own.scores(measure) - measured[collection, FULL_RANKING].scores(measure)
            lower = stats.ttest_1samp(apart, -0.05, alternative="greater").pvalue
            upper = stats.ttest_1samp(apart, 0.05, alternative="less").pvalue
            low, high = stats.t.interval(0.9, len(apart) - 1, apart.mean(), stats.sem(apart))
            corrected = min(1.0, 6 * max(lower, upper))
            expected = [f"{apart.mean():+.4f}", f"{low:+.4f} to {high:+.4f}", f"{corrected:.4f}"]
            assert tests[f"{measure}, {system}"] == [*expected, "yes" if corrected < 0.05 else "no"]
    assert tests["nDCG@10, BM25"][-1] == "no" and tests["nDCG@10, before training"][-1] == "yes"
    assert "re-ranking, 40 queries" in card, "what has no partner stands alone"


def as_if(result: Result, **values) -> Result:
    """The result as if its experiment had other values."""
    changed = Result(result.key, result.folder)
    vars(changed)["experiment"] = replace(result.experiment, **values)
    return changed


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"encoder": "sentence-transformers/all-MiniLM-L6-v2"}, {"base_model": "sentence-transformers/all-MiniLM-L6-v2"}),
        ({"encoder": "lsa/distilbert"}, {"base_model": None}),
        ({"collection": "beir/scifact/train"}, {"datasets": ["BeIR/scifact"]}),
        ({"collection": "beir/own/train"}, {"datasets": None}),
        ({"collection": "msmarco-passage/train/triples-small"}, {"datasets": ["microsoft/ms_marco"]}),
        ({"collection": "msmarco-mini"}, {"datasets": None}),
        ({"collection": "docstrings-of-mine"}, {"datasets": None}),
    ],
)
def test_names_of_the_hub_are_named_as_such(result: Result, values: dict, expected: dict) -> None:
    data = ModelCard(model_card(as_if(result, **values))).data
    assert {name: getattr(data, name) for name in expected} == expected


def test_what_is_known_of_the_data_is_said(result: Result) -> None:
    licences = {
        name: rows_of(model_card(as_if(result, collection=name)), "## Training")["licence of the data"]
        for name in ("msmarco-mini", "docstrings/train", "beir/scifact/train")
    }
    assert licences["msmarco-mini"] == ["MS MARCO is for non-commercial research"]
    assert "packages" in licences["docstrings/train"][0] and licences["beir/scifact/train"] == ["not known to armlib"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"target": "adaptive", "in_batch": True, "error": "soft"}, "The error is soft. The target: the scaled similarity of the"),
        ({"target": "", "loss": "infonce(20)"}, "The cross-entropy of each query's own positive against all B (1 + N) passages"),
        ({"schedule": "linear", "warmup_steps": 5}, "0.001, after 5 steps of warm-up, falls linearly to 0"),
        ({"query_prompt": ""}, "| prompts | none |"),
    ],
)
def test_settings_are_in_words(result: Result, values: dict, said: str) -> None:
    assert said in model_card(as_if(result, **values))


def test_an_encoder_with_prompts_and_an_untrained_one(small_store: RunStore, small_experiment: Experiment) -> None:
    prompted = replace(small_experiment, steps=2, validate_every=2, evaluation="none", query_prompt="Find:\n|`a`| ")
    card = model_card(small_store.result(prompted))
    assert rows_of(card, "## Training")["prompts"] == [r"""`"Find:\n/'a'/ "` in front of queries"""]
    assert "The encoder was not measured." in card and "model-index" not in ModelCard(card).data.to_dict()
    before = model_card(small_store.result(replace(small_experiment, steps=0)))
    assert "as it is, for" in before and "loss" not in rows_of(before, "## Training") and "fine-tuned" not in before


def test_an_encoder_with_a_context_says_what_it_needs(small_store: RunStore, small_experiment: Experiment) -> None:
    result = small_store.result(replace(small_experiment, steps=2, validate_every=2, evaluation="none", context=4))
    card = (result.folder / "encoder" / "README.md").read_text()
    assert 'SentenceTransformer("this folder", trust_remote_code=True)' in card and "it reads 4 passages" in card
    assert "without running that file" in card and storage.damage(result.folder / "encoder") is None
    SentenceTransformer(str(result.folder / "encoder"), device="cpu", trust_remote_code=True)


def test_names_that_are_markup_stay_names(result: Result, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    odd = "|` *a*`\n---\n# b"
    (tmp_path / odd).mkdir()
    changed = as_if(result, collection=str(tmp_path / odd))
    vars(changed)["about"] = result.about | {"measures": [row | {"collection": f"{odd}/test"} for row in result.about["measures"]]}
    monkeypatch.setattr(Result, "per_query", lambda *_: Evaluation.from_per_query(pd.DataFrame({"nDCG@10": [0.5]}, index=["q"])))
    card = model_card(changed)
    assert ModelCard(card).data.eval_results[0].dataset_name == f"{odd}/test"
    assert card.count("\n---\n") == 1 and card.count("\n# ") == 1, "below the metadata"
    assert all(line.count(" | ") == 1 for line in card.split("## Training")[1].split("## Measures")[0].split("\n| ")[3:] if line)


def test_one_query_is_not_tested(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Evaluation.from_per_query(pd.DataFrame({"nDCG@10": [0.5]}, index=["q"]))
    monkeypatch.setattr(Result, "per_query", lambda *_: one)
    (collection,) = result.experiment.evaluation
    assert "One query is too few for a test." in module.model_card(result, baselines={"BM25": {(collection, FULL_RANKING): one}})
