"""The package as pip installs it: everything that it reads is in the wheel, and commands say what a folder lacks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both packages, from a wheel built of a clean copy of the sources."""
    root = tmp_path_factory.mktemp("wheel")
    source, site = root / "source", root / "site"
    clean = shutil.ignore_patterns("__pycache__", "_build")
    shutil.copytree(REPOSITORY / "armlib", source / "armlib", ignore=clean)
    shutil.copytree(REPOSITORY / "book", source / "book", ignore=clean)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--no-deps", "--no-build-isolation", "--target", site, source], check=True)
    return site


def run(site: Path, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    environment = os.environ | {"PYTHONPATH": str(site)}
    return subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True)


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
    done = run(installed, tmp_path / "empty", "-c", program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(str(installed)) == 2


@pytest.mark.parametrize("command", ["train", "evaluate", "search", "sweep", "figure", "table", "book"])
def test_every_command_is_there(command: str, installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path / "empty", "-m", "armlib", command, "--help")
    assert done.returncode == 0 and f"usage: armlib {command}" in done.stdout, done.stderr


@pytest.mark.parametrize("command", [("book",), ("figure", "3"), ("table", "3")])
def test_the_book_needs_a_checkout_and_says_so(command: tuple[str, ...], installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path / "empty", "-m", "armlib", *command)
    assert done.returncode == 2
    assert done.stderr.startswith("armlib: the book is built in a checkout of its repository, but there is no _toc.yml in ")
    assert not list((tmp_path / "empty").iterdir())
