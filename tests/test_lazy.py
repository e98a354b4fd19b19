"""The package is imported in no time; what it offers by name is imported when it is first used."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import armlib
from armlib import packages
from armlib.errors import InputError

HEAVY = ("torch", "transformers", "accelerate", "faiss", "pandas", "numpy", "sentence_transformers", "ir_datasets", "sklearn")
OPTIONAL = ("faiss", "bm25s", "ir_measures")
"""Imported by the functions that need them."""


def in_a_fresh_process(code: str) -> Any:
    """What the code prints, as JSON."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_importing_the_package_takes_no_time_and_nothing_heavy() -> None:
    found = in_a_fresh_process(
        "import json, sys, time\n"
        "started = time.process_time()\n"
        "import armlib\n"
        "took = time.process_time() - started\n"
        "print(json.dumps({'seconds': took, 'modules': sorted({name.partition('.')[0] for name in sys.modules})}))"
    )
    assert found["seconds"] < 0.5
    assert not set(HEAVY) & set(found["modules"])


def test_the_command_line_starts_without_them() -> None:
    code = "import json, sys, armlib.cli\nprint(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    assert not set(HEAVY) & set(in_a_fresh_process(code))


def test_collections_are_there_without_what_encoders_need() -> None:
    code = "import json, sys\nfrom armlib import load_collection\nload_collection('docstrings')\n"
    code += "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    assert not {"torch", "transformers", "faiss"} & set(in_a_fresh_process(code))


COMMANDS = ("train", "tune", "score", "evaluate", "measure", "compare", "search", "export")
COMMANDS += ("runs", "sweep", "figure", "table", "book")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_needs_nothing_heavy(command: str) -> None:
    """In processor time, as other processes may run: start and end of the interpreter come to less than 0.1 s more."""
    found = in_a_fresh_process(
        "import contextlib, io, json, sys, time\n"
        "started = time.process_time()\n"
        "from armlib.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):\n"
        f"    main([{command!r}, '--help'])\n"
        "took, names = time.process_time() - started, sorted({name.partition('.')[0] for name in sys.modules})\n"
        "print(json.dumps({'seconds': took, 'modules': names, 'said': said.getvalue()}))"
    )
    assert f"armlib {command}" in found["said"] and found["seconds"] < 0.9
    assert not {*HEAVY, *OPTIONAL, "scipy", "dask", "distributed", "matplotlib"} & set(found["modules"])


def test_losses_need_torch_and_next_to_nothing_else() -> None:
    code = "import json, sys, armlib.losses\nprint(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    assert not {*HEAVY, *OPTIONAL, "scipy"} - {"torch", "numpy"} & set(in_a_fresh_process(code))


@pytest.mark.slow
def test_losses_are_imported_as_fast_as_torch() -> None:
    """In turn, and the best of three: the first import reads from disk what later ones find in memory."""
    code = "import json, time\nstarted = time.process_time()\nimport {}\nprint(json.dumps(time.process_time() - started))"
    pairs = [[in_a_fresh_process(code.format(name)) for name in ("torch", "armlib.losses")] for _ in range(3)]
    assert min(losses / torch for torch, losses in pairs) < 1.1


WITHOUT = f"""
import json, sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {OPTIONAL!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""
"""Makes a process one in which the optional packages are not installed."""


def test_modules_are_imported_without_what_only_some_of_them_need() -> None:
    folders = ("data", "demo", "encoder", "evaluation", "losses", "retrieval", "training", "teachers", "experiments")
    root = Path(armlib.__file__).parent
    files = [file for folder in folders for file in sorted((root / folder).glob("*.py"))]
    names = [".".join(("armlib", *file.relative_to(root).with_suffix("").parts)) for file in files if file.stem != "__init__"]
    left_out = {"armlib.experiments.cluster", "armlib.experiments.scoring", "armlib.encoder.modeling_armlib_contextual"}
    names = [name for name in names if name not in left_out]  # Dask's, and a file of saved encoders
    code = f"{WITHOUT}from importlib import import_module\n"
    code += f"for name in {names!r}:\n    import_module(name)\nprint(json.dumps(sorted(sys.modules)))"
    found = in_a_fresh_process(code)
    assert len(names) > 60 and set(names) <= set(found) and not set(OPTIONAL) & {name.partition(".")[0] for name in found}


# Others look for these two without importing them.
HALTED = "sys.modules |= dict.fromkeys(('onnxscript', 'onnxruntime'))\n"


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("from armlib.retrieval.indexes import check_index\ncheck_index('exact', 8)", "searching and clustering need FAISS"),
        (
            "import numpy as np\nfrom armlib.retrieval.exact import ExactSearch\n"
            "ExactSearch(np.eye(4, dtype=np.float32)).search(np.eye(4, dtype=np.float32), 1)",
            "searching and clustering need FAISS",
        ),
        ("from armlib.data.bm25 import BM25\nBM25.build([('a', 'words')])", "BM25 needs the package bm25s"),
        ("from armlib.evaluation.measures import evaluate\nevaluate({}, {}, 'nDCG@10')", "measuring needs the package ir-measures"),
        (f"{HALTED}from armlib.packages import onnxscript\nonnxscript()", "exporting ONNX needs the package onnxscript"),
        (f"{HALTED}from armlib.packages import onnxruntime\nonnxruntime()", "exporting ONNX needs the package onnxruntime"),
    ],
)
def test_what_is_not_installed_is_told_in_one_sentence(code: str, sentence: str) -> None:
    lines = "\n".join(f"    {line}" for line in code.splitlines())
    code = f"{WITHOUT}from armlib.errors import InputError\ntry:\n{lines}\n"
    found = in_a_fresh_process(f"{code}except InputError as error:\n    print(json.dumps(str(error)))")
    assert found.startswith(f"{sentence}, which is not installed; install it with: pip install ") and "\n" not in found


def test_a_package_that_lacks_something_itself_is_not_said_to_be_absent(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "needy_package.py").write_text("import what_is_nowhere")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="'what_is_nowhere'"):
        packages._module("needy_package", "testing needs it", "pip install it")
    with pytest.raises(InputError, match="^testing needs it, which is not installed; install it with: pip install it$"):
        packages._module("what_is_nowhere", "testing needs it", "pip install it")


@pytest.mark.parametrize("name", armlib.__all__)
def test_every_name_is_the_one_of_its_module(name: str) -> None:
    assert getattr(armlib, name) is getattr(import_module(armlib._HOMES[name]), name)
    assert name in dir(armlib)


def test_a_name_is_looked_up_once_and_unknown_ones_are_refused() -> None:
    assert set(armlib.__all__) == set(armlib._HOMES)
    assert armlib.Settings is armlib.Settings and "Settings" in vars(armlib)
    with pytest.raises(AttributeError, match="^module 'armlib' has no attribute 'nothing'$"):
        armlib.nothing  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        from armlib import nothing  # noqa: F401
