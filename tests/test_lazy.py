"""The package is imported in no time; what it offers by name is imported when it is first used."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module

import pytest

import armlib

HEAVY = ("torch", "transformers", "accelerate", "faiss", "pandas", "numpy", "sentence_transformers", "ir_datasets", "sklearn")


def in_a_fresh_process(code: str) -> dict:
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
