"""Dependencies are stated once, as ranges in pyproject.toml and versions in constraints.txt; everything else agrees with them."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from armlib.demo.docstring_sources import PACKAGES

REPOSITORY = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
CORE = [Requirement(line) for line in PROJECT["dependencies"]]
PINS = dict(
    line.split("==") for line in (REPOSITORY / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")
)
# Modules that more than one distribution provides, or that are not installed on every machine.
PROVIDERS = {"faiss": {"faiss-cpu", "faiss-gpu"}, "bitsandbytes": {"bitsandbytes"}}


def requirements(*extras: str) -> dict[str, Requirement]:
    """The core and the named extras, by canonical name."""
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in EXTRAS[extra])]
    return {canonicalize_name(Requirement(line).name): Requirement(line) for line in lines}


def environment() -> tuple[list[str], list[str]]:
    """The packages that environment.yml takes from conda, and the lines that it hands to pip."""
    listed = yaml.safe_load((REPOSITORY / "environment.yml").read_text())["dependencies"]
    return [x for x in listed if isinstance(x, str)], next(x["pip"] for x in listed if isinstance(x, dict))


def third_party_imports(folder: Path) -> dict[str, Path]:
    """Top-level modules imported anywhere below a folder, also inside functions, each with a file that does so."""
    found: dict[str, Path] = {}
    for file in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names.append(str(node.module))
            for name in names:
                found.setdefault(name.split(".")[0], file)
    ours = {"armlib", "armbook", "tests", *(path.stem for path in folder.rglob("*.py"))}
    return {name: file for name, file in found.items() if name not in sys.stdlib_module_names | ours}


def test_environment_installs_the_project_for_a_gpu_and_nothing_else():
    conda, pip = environment()
    # Everything else belongs in pyproject.toml.
    assert {re.split("[=<>]", line)[0] for line in conda} == {"python", "pip"}
    constraint, install = pip
    assert constraint == "--constraint constraints.txt"
    match = re.fullmatch(r"--editable \.\[([a-z,]+)\]", install)
    assert match, pip
    reached = requirements(*match[1].split(","))
    named = "jupyter-book torch transformers faiss-gpu bitsandbytes ir-datasets ir-measures matplotlib seaborn papermill"
    assert set(named.split()) <= set(reached)
    assert "faiss-cpu" not in reached, "faiss-cpu and faiss-gpu provide the same module"


def test_what_was_resolved_is_what_the_environment_installs():
    line = environment()[1][-1]
    checked = re.findall(r"--extra (\w+)", (REPOSITORY / "environment.yml").read_text())
    assert checked == line.partition("[")[2].rstrip("]").split(",")


def test_environment_has_a_python_that_the_project_takes():
    python = next(line for line in environment()[0] if line.startswith("python="))
    lowest = PROJECT["requires-python"].removeprefix(">=")
    assert [int(x) for x in python.removeprefix("python=").split(".")] >= [int(x) for x in lowest.split(".")]


def test_make_installs_the_project_for_a_cpu():
    makefile = (REPOSITORY / "Makefile").read_text()
    extras = re.search(r"pip install .*--constraint constraints.txt --editable '\.\[([a-z,]+)\]'", makefile)
    assert extras
    reached = requirements(*extras[1].split(","))
    assert "faiss-cpu" in reached and "faiss-gpu" not in reached
    assert "PYTHON ?= python3\n" in makefile and "(3, 11)" in makefile and PROJECT["requires-python"] == ">=3.11"


def test_both_faiss_packages_have_one_version():
    assert PINS["faiss-cpu"] == PINS["faiss-gpu"]


ALL = [*CORE, *(Requirement(line) for lines in EXTRAS.values() for line in lines)]


def test_every_dependency_has_a_lowest_version_and_a_pinned_one_above_it():
    assert {canonicalize_name(requirement.name) for requirement in ALL} == set(PINS)
    for requirement in ALL:
        operators = [clause.operator for clause in requirement.specifier]
        assert ">=" in operators and set(operators) <= {">=", "<"}, f"{requirement} is no range with a lowest version"
        pin = PINS[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(pin, prereleases=True), f"{requirement}, but {pin} is pinned"


# By `make test`.
NOT_INSTALLED = {"faiss-gpu", "bitsandbytes", "datasets", "pyterrier", "onnx", "onnxruntime", "onnxscript"}


@pytest.mark.parametrize("name", sorted(PINS.keys() - NOT_INSTALLED))
def test_what_is_pinned_is_installed(name):
    assert Requirement(f"x=={PINS[name]}").specifier.contains(importlib.metadata.version(name), prereleases=True)


def test_no_dependency_is_stated_twice_with_different_versions():
    ranges: dict[str, str] = {}
    for requirement in ALL:
        assert ranges.setdefault(canonicalize_name(requirement.name), str(requirement.specifier)) == str(requirement.specifier)


def test_the_collection_has_all_packages_that_it_is_mined_from():
    assert {canonicalize_name(name) for name in PACKAGES} <= set(requirements("demo"))
    used = {module for module in third_party_imports(REPOSITORY / "armlib")}
    assert not {"matplotlib", "networkx"} & used, "what armlib imports is no extra"


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("armlib", ("cpu", "gpu", "sweep", "integrations")),
        ("book/armbook", ("cpu", "book", "sweep", "pdf")),
        ("tests", ("cpu", "book", "demo", "sweep", "test", "integrations", "onnx")),
        ("benchmarks", ("cpu", "bench", "test")),
    ],
)
def test_every_import_is_a_declared_dependency(folder, extras):
    declared = set(requirements(*extras))
    providers = importlib.metadata.packages_distributions()
    imported = third_party_imports(REPOSITORY / folder)
    missing = []
    for module, file in imported.items():
        # A module that is not installed, as it belongs to another extra, is looked for under its own name.
        names = PROVIDERS.get(module) or {canonicalize_name(name) for name in providers.get(module, [module])}
        if not names & declared:
            missing.append(f"{file.name} imports {module}, which pyproject.toml does not declare")
    assert not missing
    assert imported or folder == "benchmarks"


def test_the_command_is_installed_from_this_checkout():
    scripts = [s for s in importlib.metadata.entry_points(group="console_scripts") if s.name == "armlib"]
    assert [s.value for s in scripts] == [PROJECT["scripts"]["armlib"]]
    command = Path(sys.executable).with_name("armlib")
    shown = subprocess.run([command, "--help"], capture_output=True, text=True)
    assert shown.returncode == 0 and "usage: armlib" in shown.stdout.lower(), shown.stderr


def test_make_refuses_an_old_python(tmp_path):
    old = tmp_path / "python3"
    # Runs the check of the Makefile on a version that it must refuse.
    pretend = "import sys; sys.version_info = (3, 9); exec(sys.argv[1])"
    old.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{pretend}" "$2"\n')
    old.chmod(0o755)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_text((REPOSITORY / name).read_text())
    done = subprocess.run(["make", f"PYTHON={old}", "test"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert "armlib needs Python 3.11 or newer, but" in done.stderr and "is Python 3.9;" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_citation_names_the_paper():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    paper = citation["preferred-citation"]
    assert citation["cff-version"] == "1.2.0" and citation["version"] == PROJECT["version"]
    assert paper["title"].endswith("Self-Distillation with Adaptive Relevance Margins")
    assert [author["family-names"] for author in paper["authors"]] == ["Gienapp", "Deckers", "Potthast", "Scells"]


def test_licence_and_check_are_there():
    assert (REPOSITORY / "LICENSE").read_text().startswith("MIT License\n") and PROJECT["license"] == "MIT"
    assert os.access(REPOSITORY / ".ci" / "run", os.X_OK) and "make test" in (REPOSITORY / ".ci" / "run").read_text()


def test_binder_installs_the_project_and_the_book_for_a_cpu_in_their_pinned_versions():
    lines = (REPOSITORY / ".binder" / "requirements.txt").read_text().splitlines()
    given = [line for line in lines if line and not line.startswith("#")]
    index, constraint, install = given
    assert index.startswith("--extra-index-url https://") and index.endswith("/cpu")
    option, file = constraint.split()
    assert option == "--constraint" and (REPOSITORY / ".binder" / file).resolve() == (REPOSITORY / "constraints.txt").resolve()
    match = re.fullmatch(r"--editable \.\[([a-z,]+)\]", install)
    assert match, install
    reached = requirements(*match[1].split(","))
    assert {"faiss-cpu", "papermill", "jupyter-book", "matplotlib"} <= set(reached) and "faiss-gpu" not in reached
    python = next(line for line in environment()[0] if line.startswith("python="))
    assert (REPOSITORY / ".binder" / "runtime.txt").read_text().strip() == python.replace("=", "-")


def test_binder_shows_notebooks_in_plain_markdown(tmp_path):
    script = REPOSITORY / ".binder" / "postBuild"
    assert os.access(script, os.X_OK)
    for name in ("notebooks", "book"):
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("_build", "armbook"))
    shutil.copy(REPOSITORY / "_toc.yml", tmp_path)
    subprocess.run([sys.executable, script], cwd=tmp_path, check=True)
    cells = [cell for path in (tmp_path / "notebooks").glob("*.ipynb") for cell in json.loads(path.read_text())["cells"]]
    text = "".join(line for cell in cells if cell["cell_type"] == "markdown" for line in cell["source"])
    assert "{cite" not in text and "Gienapp et al. (2024)" in text
