"""Run files are put to the rows of Table 3 by their names or by a map; whatever could go to a wrong row is refused."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from armbook import published
from armbook.authors_runs import Place, find_runs, judgments_file, place_of
from armbook.results import VARIANTS
from armlib.errors import InputError

FILES = {
    "static-without": ("static", False),
    "static-with": ("static", True),
    "adaptive-without": ("adaptive", False),
    "adaptive-with": ("adaptive", True),
    "distributed": ("distributed", False),
}  # as the configurations of the released code are named


def write(folder: Path, name: str, text: str = "") -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("distilbert-static-in-batch.dl19.run", Place("distilBERT", "static", True, "dl19")),
        ("run-distilbert-static-without-trec-dl-2020.txt", Place("distilBERT", "static", False, "dl20")),
        ("RoBERTa_adaptive_with.DL2019.run.gz", Place("RoBERTa", "adaptive", True, "dl19")),
        ("mpnet_adaptive_no_in-batch_dl_20", Place("MPNet", "adaptive", False, "dl20")),
        ("mpnet-adaptive-inbatch-2020.trec", Place("MPNet", "adaptive", True, "dl20")),
        ("roberta-adaptive.dl19", Place("RoBERTa", "adaptive", False, "dl19")),
        ("mpnet-distributed-with-dl20.run", Place("MPNet", "distributed", False, "dl20")),
        ("dl19/MPNet/in-batch/static.run", Place("MPNet", "static", True, "dl19")),
        ("adaptive-relevance-margins/2019/distilbert-static.run", Place("distilBERT", "static", False, "dl19")),
        ("bm25.dl19.run.gz", None),
        ("README.md", None),
    ],
)
def test_names_tell_the_row_and_the_year(name: str, place: Place | None) -> None:
    assert place_of(name) == place


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("distilbert-dl19.run", "does not tell its target"),
        ("distilbert-static-20190515.run", "does not tell its year"),
        ("distilbert-static-dl19-dl20.run", "more than one year: dl19, dl20"),
        ("distilbert-or-mpnet-static-dl19.run", "more than one encoder: distilBERT, MPNet"),
        ("distilbert-static-adaptive-dl19.run", "more than one target: static, adaptive"),
    ],
)
def test_names_that_tell_too_little_or_too_much_are_refused(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        place_of(name)


def test_a_folder_of_all_runs_is_in_the_order_of_the_table(tmp_path: Path) -> None:
    for model, name, year in product(published.MODELS, FILES, ("dl20", "dl19")):
        write(tmp_path, f"{year}/{model.lower()}-{name}.run")
    write(tmp_path, "README.md")
    write(tmp_path, ".cache/distilbert-dl19")
    found = find_runs(tmp_path)
    groups = product(published.SETS, published.MODELS, VARIANTS)
    assert list(found) == [Place(model, *variant, year) for year, model, variant in groups]
    assert len(found) == 30 and all(file.parent.name == place.year for place, file in found.items())
    assert all(FILES[file.stem.split("-", 1)[1]] == (place.target, place.in_batch) for place, file in found.items())


@pytest.mark.parametrize("kind", ["runs.csv", "runs.toml"])
def test_a_map_names_files_of_any_name(kind: str, tmp_path: Path) -> None:
    rows = {f"{number}.run": (*variant, "dl19") for number, variant in enumerate(VARIANTS)}
    for name in rows:
        write(tmp_path, name)
    write(tmp_path, "distilbert-static-dl20.run")  # is not in the map, and so is not taken
    if kind == "runs.csv":
        lines = [f"{name},distilbert,{target},{'yes' if in_batch else 'no'},2019" for name, (target, in_batch, _) in rows.items()]
        write(tmp_path, kind, "\n".join(["file,model,target,in_batch,year", *lines]))
    else:
        tables = [
            f"['{name}']\nmodel = 'distilBERT'\ntarget = '{target}'\nin_batch = {str(in_batch).lower()}\nyear = 2019"
            for name, (target, in_batch, _) in rows.items()
        ]
        write(tmp_path, kind, "\n".join(tables))
    assert find_runs(tmp_path) == {Place("distilBERT", *row): tmp_path / name for name, row in rows.items()}


def test_distributed_targets_are_in_one_row_whatever_a_map_says_of_the_batch(tmp_path: Path) -> None:
    rows = [(target, in_batch or target == "distributed") for target, in_batch in VARIANTS]  # as the paper prints them
    lines = [f"{number}.run,MPNet,{target},{in_batch},dl20" for number, (target, in_batch) in enumerate(rows)]
    for number in range(5):
        write(tmp_path, f"{number}.run")
    write(tmp_path, "runs.csv", "\n".join(["file,model,target,in_batch,year", *lines]))
    assert [(place.target, place.in_batch) for place in find_runs(tmp_path)] == list(VARIANTS)


HEADER = "file,model,target,in_batch,year\n"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "has no run file .* it has no files"),
        ({"bm25.run": ""}, "has no run file whose name tells its encoder, such as .* it has bm25.run"),
        ({"mpnet-static-dl19.run": ""}, "no run of static, in-batch with MPNet on TREC-DL 2019, but of other variants"),
        ({"mpnet-static-dl19.run": "", "mpnet-static-dl19.txt": ""}, "are both the run of static with MPNet on TREC-DL 2019"),
        ({"runs.csv": HEADER, "runs.toml": ""}, "has both runs.csv and runs.toml"),
        ({"runs.csv": "file,model\na.run,MPNet"}, "row 1: expected file, model, target, in_batch, year, found file, model"),
        ({"runs.csv": HEADER + "a.run,MPNet,static,no,2019"}, "row 1: there is no file 'a.run'"),
        ({"runs.csv": HEADER + "a.run,MPNet,static,no,2019,6", "a.run": ""}, "row 1: expected file"),
        ({"runs.csv": HEADER + "a.run,BERT,static,no,2019", "a.run": ""}, "row 1: unknown model 'BERT'"),
        ({"runs.csv": HEADER + "a.run,MPNet,mean,no,2019", "a.run": ""}, "row 1: unknown target 'mean'"),
        ({"runs.csv": HEADER + "a.run,MPNet,static,maybe,2019", "a.run": ""}, "row 1: unknown in_batch 'maybe'"),
        ({"runs.csv": HEADER + "a.run,MPNet,static,no,2021", "a.run": ""}, "row 1: unknown year '2021'"),
        ({"runs.toml": "a = ="}, "runs.toml is not TOML"),
        ({"runs.toml": "a = 1"}, "expected a table for each file"),
        ({"runs.toml": "['a.run']\nmodel = 'MPNet'", "a.run": ""}, r"runs.toml, \[a.run\]: expected file, model"),
    ],
)
def test_bad_folders_are_refused_in_one_sentence(files: dict[str, str], said: str, tmp_path: Path) -> None:
    for name, text in files.items():
        write(tmp_path, name, text)
    with pytest.raises(InputError, match=said):
        find_runs(tmp_path)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for wrong in (tmp_path / "nowhere", write(tmp_path, "file")):
        with pytest.raises(InputError, match="there is no folder"):
            find_runs(wrong)


def test_judgments_lie_beside_the_runs_or_not(tmp_path: Path) -> None:
    assert judgments_file(tmp_path, "dl19") is None
    mine = write(tmp_path, "2019qrels-pass.txt")
    write(tmp_path, "qrels.dl20-passage.txt")
    assert judgments_file(tmp_path, "dl19") == mine
    write(tmp_path, "more/qrels.dl19.txt")
    with pytest.raises(InputError, match="both judgments of TREC-DL 2019"):
        judgments_file(tmp_path, "dl19")
