"""The wheel in a fresh virtual environment outside the repository: what it reads is in it, and its commands work from there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel, built from a clean copy of the sources.

    It sees the packages that the tests run with, but not the repository: of the folder that a .pth file names, the .pth files
    inside, such as that of an editable installation, are not read.
    """
    root = tmp_path_factory.mktemp("wheel")
    source, wheels, environment = root / "source", root / "wheels", root / "environment"
    clean = shutil.ignore_patterns("__pycache__", "_build")
    shutil.copytree(REPOSITORY / "armlib", source / "armlib", ignore=clean)
    shutil.copytree(REPOSITORY / "book", source / "book", ignore=clean)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, source], check=True)
    (wheel,) = wheels.glob("armlib-*-py3-none-any.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin" / "python"
    subprocess.run([*pip, "--python", python, "install", "--no-deps", "--no-index", wheel], check=True)
    (site,) = environment.glob("lib/python*/site-packages")
    folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "others.pth").write_text("".join(f"{folder}\n" for folder in sorted(folders)))
    return environment


def run(environment: Path, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A command of the environment, in an own folder."""
    folder.mkdir(exist_ok=True)
    own = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "ARMLIB_PROGRESS", "ARMLIB_RUNS")}
    program, *arguments = command
    return subprocess.run([environment / "bin" / program, *arguments], cwd=folder, env=own, capture_output=True, text=True)


def test_a_user_trains_measures_and_searches(installed: Path, beir_folder: Path, tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "user"
    shown = run(installed, folder, "armlib", "--version")
    assert (shown.returncode, shown.stdout) == (0, f"armlib {version('armlib')}\n"), shown.stderr
    shutil.copytree(beir_folder, folder / "mine")
    settings = "--steps 8 --batch-size 8 --validate-every 4 --validation-queries 20 --query-length 24 --passage-length 48".split()
    command = ["armlib", "train", "--collection", "mine", "--encoder", str(tiny_folder), *settings]
    trained = run(installed, folder, *command, "--json")
    assert trained.returncode == 0, trained.stderr
    result = json.loads(trained.stdout)
    assert result["steps"] == 8 and {row["collection"] for row in result["measures"]} == {str(folder / "mine" / "test")}
    assert [line.split(",")[0] for line in trained.stderr.splitlines() if "training: " in line] == [
        "armlib: training: 4 of 8 steps",
        "armlib: training: 8 of 8 steps",
    ]
    assert Path(result["encoder"]).is_relative_to(folder / "runs")

    measured = run(installed, folder, "armlib", "evaluate", result["key"], "--json", "--quiet")
    assert measured.returncode == 0 and measured.stderr == "", measured.stderr
    assert json.loads(measured.stdout)["measures"] == result["measures"]

    found = run(installed, folder, "armlib", "search", "shuffle a list in place", "--collection", "mine", "-k", "2")
    assert found.returncode == 0 and found.stdout.startswith("1. ") and "\n2. " in found.stdout, found.stderr


def test_data_files_are_in_the_wheel(installed: Path, tmp_path: Path) -> None:
    program = (
        "import armlib, armbook\n"
        "from armbook import published\n"
        "from armbook.claims.ledger import claims\n"
        "from armbook.claims.published import entries\n"
        "from armbook.explorer import widget\n"
        "from armlib.experiments.profile import load_profile, profile_names\n"
        "print(armlib.__file__, armbook.__file__, len(published.table3()), len(entries()), *map(load_profile, profile_names()))\n"
    )
    done = run(installed, tmp_path / "empty", "python", "-c", program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(str(installed)) == 2


@pytest.mark.parametrize("command", ["train", "evaluate", "search", "sweep", "book"])
def test_every_command_is_there(command: str, installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path / "empty", "armlib", command, "--help")
    assert done.returncode == 0 and f"usage: armlib {command}" in done.stdout, done.stderr


@pytest.mark.parametrize("command", [("book",), ("figure", "3"), ("table", "3")])
def test_the_book_needs_a_checkout_and_says_so(command: tuple[str, ...], installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path / "empty", "armlib", *command)
    assert done.returncode == 2
    assert done.stderr.startswith("armlib: the book is built in a checkout of its repository, but there is no _toc.yml in ")
    assert not list((tmp_path / "empty").iterdir())
