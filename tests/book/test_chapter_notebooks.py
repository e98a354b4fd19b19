"""Every notebook of the book runs, from its parameters to the checks in its last cell, at a tiny scale."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import nbformat
import pytest
from IPython.display import display
from matplotlib import pyplot as plt

from armbook import chapters
from armbook.building.notebooks import changed_parameters, known_parameters
from armlib.experiments.profile import load_profile
from armlib.experiments.store import RunStore
from books import REPOSITORY

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
# What keeps pages small that would take their time whatever the profile.
SMALLER = {
    "03_data_and_encoders": {"batches": 3},
    "15_what_the_index_costs": {"sizes": [300, 600], "flat_sizes": [1200], "training": 300},
}
PROFILE = """
about = "Made for tests: its numbers mean nothing."
encoders = ["{encoder}"]
static = [0.3, 0.5, 1.0]
batch_sizes = [8, 16]
seeds = [0, 1]
sweep_seeds = [0]
jobs = 1
teacher = "interaction(steps=20)"
pairwise_teacher = "pairwise-interaction(steps=20)"
query_clusters = 4
context = 4
elsewhere = ["{collection}/test"]
[experiment]
collection = "{collection}"
encoder = "{encoder}"
batch_size = 16
steps = 16
learning_rate = 1e-3
query_length = 16
passage_length = 32
validation_queries = 10
validation_depth = 10
validate_every = 2
chunk_size = 16
selection = "last"
evaluation = ["{collection}/test"]
"""
SHORTER_SWEEP = """
[sweep]
steps = 8
full_ranking = false
"""
WITH_SWEEP = [path for path in NOTEBOOKS if re.search("static_sweep|every_round", path.read_text(encoding="utf8"))]


@pytest.fixture(scope="module")
def profile(beir_folder: Path, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of a profile that trains an encoder of one layer for some steps."""
    file = tmp_path_factory.mktemp("profile") / "tiny.toml"
    encoder = shutil.copytree(tiny_folder, file.with_name("distilbert"))  # pages tell architectures by the name
    file.write_text(PROFILE.format(collection=beir_folder, encoder=encoder))
    return str(file)


@pytest.fixture(scope="module")
def shorter(profile: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of one whose sweep is shorter than what it compares, as the paper's; it trains no contextual encoders."""
    file = tmp_path_factory.mktemp("profile") / "shorter.toml"
    file.write_text(Path(profile).read_text().replace("context = 4\n", "") + SHORTER_SWEEP)
    return str(file)


@pytest.fixture(scope="module")
def store(profile: str, shorter: str, tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    """A store with all that the book's notebooks ask for."""
    store = RunStore(tmp_path_factory.mktemp("runs"))
    for scale in (load_profile(profile), load_profile(shorter)):
        with chapters.from_store(store, 1) as get:
            chapters.every_round(scale, get)
    return store


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(notebook: Path, profile: str, store: RunStore, tmp_path: Path, monkeypatch) -> None:
    run(notebook, profile, store, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("notebook", WITH_SWEEP, ids=lambda path: path.stem)
def test_it_runs_with_a_shorter_sweep(notebook: Path, shorter: str, store: RunStore, tmp_path: Path, monkeypatch) -> None:
    run(notebook, shorter, store, tmp_path, monkeypatch)


def run(notebook: Path, profile: str, store: RunStore, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setenv("ARMLIB_RUNS", str(store.path))
    monkeypatch.setenv("ARMLIB_FIGURES", str(tmp_path))
    before = {result.key for result in store.finished()}
    given = ({"profile": profile} if "profile" in known_parameters(notebook) else {}) | SMALLER.get(notebook.stem, {})
    given = changed_parameters(notebook, given)
    names: dict[str, object] = {"__name__": "__main__", "display": display}
    for cell in nbformat.read(notebook, 4).cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, f"{notebook.stem}, cell {cell.id}", "exec"), names)
            names |= given if "parameters" in cell.metadata.get("tags", []) else {}
    plt.close("all")
    assert {result.key for result in store.finished()} == before, "it asks for training runs that no list of armbook.chapters has"
    exported = {file.suffix for file in tmp_path.iterdir()}
    drawn = any("style.save(" in cell.source for cell in nbformat.read(notebook, 4).cells)
    tabled = any(re.search(r"\b(tables|ledger)\.save(_marked)?\(", cell.source) for cell in nbformat.read(notebook, 4).cells)
    assert drawn <= ({".svg", ".pdf"} <= exported) and tabled <= ({".csv", ".tex"} <= exported)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_stripped_and_easy_to_read(notebook: Path) -> None:
    cells = nbformat.read(notebook, 4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code), "outputs are not kept in the repository"
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in code) == 1
    assert cells[0].source.startswith("# ") and sum(bool(re.match("# ", c.source)) for c in cells if c.cell_type == "markdown") == 1
    for cell in code:
        lines = [line for line in cell.source.splitlines() if line.strip() and not re.match("(import|from) ", line)]
        assert len(lines) <= 9 or "parameters" in cell.metadata.get("tags", []), f"cell {cell.id} is long"
    assert code[1].source.endswith("\nparameters.check()"), "what papermill sets is not checked"
    parameters = next(cell for cell in code if "parameters" in cell.metadata.get("tags", []))
    assert all(re.match(r"\w+: \w+ = .+  # .+", line) for line in parameters.source.splitlines()), "each has a type and a comment"
    rerun = f"papermill notebooks/{notebook.name} "
    assert any(rerun in cell.source for cell in cells if cell.cell_type == "markdown"), f"it does not show {rerun}"
