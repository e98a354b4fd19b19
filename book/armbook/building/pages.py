"""Building the book: notebooks run by papermill, pages made by Jupyter Book with warnings as errors, the HTML checked."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import filelock

import armbook
import armlib
from armlib.errors import InputError, one_line, unknown
from armlib.experiments.profile import profile_names
from armlib.storage import digest, disk_errors, file_digest, read_record, write_json

try:
    import nbformat
    import yaml

    from armbook.building.checks import check_html, check_sources, pages
    from armbook.building.notebooks import Task, announce, changed_parameters, cleaned, execute, known_parameters, read_parameters
    from armbook.building.presentation import check_presentation
    from armbook.building.reading import put_under_title
    from armbook.building.repository import stage_settings
    from armbook.extensions.outputs import DOWNLOADS, STATIC
except ImportError as error:
    raise InputError(f"the book is built with packages that are absent ({error.name}): pip install 'armlib[book]'") from error


PARAMETERS = Path("book/parameters.yml")
BUILD = Path("book/_build")
MATHJAX = "tex-svg-full.js"
MEASURED = ("results", "benchmarks/results")  # folders of what was measured beforehand and chapters show
# What the paper numbers, by the notebook that makes it.
NUMBERED = {
    "figure 1": "01_why_margins",
    "figure 2": "02_loss_explorer",
    "figure 3": "04_static_targets",
    "figure 4": "05_adaptive_targets",
    "figure 5": "06_distributed_targets",
    "figure 6": "07_target_distributions",
    "table 1": "03_data_and_encoders",
    "table 2": "07_target_distributions",
    "table 3": "08_comparison",
    "table 4": "09_baselines",
}


def build(
    root: Path, *, profile: str = "demo", jobs: int = 2, timeout: int = 3600, train: Callable[[], object] | None = None
) -> Path:
    """Run the notebooks of the book and make its pages; what has not changed since the last build is not made again.

    The parameters of a notebook come from ``book/parameters.yml`` (a mapping of notebook names to parameters), and its
    ``profile``, where it has one, from here. Below ``book/_build``, ``executed/<profile>`` keeps the executed notebooks,
    ``html`` the pages; these are replaced only by pages in which nothing was found wrong.

    Args:
        root: a checkout of the repository: the folder that holds ``_toc.yml``.
        profile: how much is trained and on what: ``demo``, ``small``, ``paper`` or a TOML file.
        jobs: how many notebooks run at a time; each gets an equal share of the cores.
        timeout: seconds that a cell may take.
        train: called before notebooks run, where any has to: trains what all of them ask for, as many at a time as the machine
            bears, so that notebooks at the same time do not each start training runs.

    Returns:
        The folder of the built pages, which starts at ``index.html``.

    Raises:
        InputError: an unknown profile, another build is running, faulty sources or parameters, a failing notebook (named
            with its cell), a warning of Jupyter Book, or faulty pages.
    """
    root = _checked(root)
    if profile not in profile_names() and not profile.endswith(".toml"):
        raise unknown("profile", profile, profile_names())
    if jobs < 1:
        raise InputError(f"at least 1 notebook has to run at a time, not {jobs}")
    with disk_errors(root / BUILD):
        (root / BUILD).mkdir(parents=True, exist_ok=True)
        try:
            with filelock.FileLock(root / BUILD / ".lock", timeout=0):
                return _build(profile, jobs, root, timeout, train)
        except filelock.Timeout:
            raise InputError(f"another build of the book is running in {root}; wait for it, or end it") from None


def run_one(root: Path, name: str, parameters: Mapping[str, str], *, timeout: int = 3600) -> list[Path]:
    """Run one notebook of the book, whatever was run before.

    Args:
        root: as for `build`.
        name: the notebook's name, such as ``01_why_margins``, or what the paper numbers, such as ``figure 3`` or ``table 3``.
        parameters: values by name, as text; what a parameter's type is, the notebook says.

    Returns:
        The figures and tables that it exported below ``figures/``, and the executed notebook.

    Raises:
        InputError: an unknown notebook, wrong parameters, or a failing cell, which is named.
    """
    root = _checked(root)
    notebooks = _notebooks(root)
    name = NUMBERED.get(name, name)
    if name not in notebooks:
        raise unknown("notebook", name, [*notebooks, *NUMBERED])
    values = changed_parameters(notebooks[name], read_parameters(notebooks[name], parameters))
    task = Task(notebooks[name], root / BUILD / "executed" / "alone", values)
    before = _exports(root)
    with disk_errors(task.executed):
        task.note.unlink(missing_ok=True)
        execute([task], jobs=1, timeout=timeout, root=root)
    return [*(file for file, written in _exports(root).items() if before.get(file) != written), task.executed]


def _exports(root: Path) -> dict[Path, int]:
    """Everything below ``figures/``, with the time at which it was written."""
    return {file: file.stat().st_mtime_ns for file in sorted((root / "figures").rglob("*")) if file.is_file()}


def _build(profile: str, jobs: int, root: Path, timeout: int, train: Callable[[], object] | None) -> Path:
    refuse("the book's sources have faults", check_sources(root))
    tasks = _tasks(profile, root)
    if train and not all(task.is_done() for task in tasks):
        train()
    execute(tasks, jobs=jobs, timeout=timeout, root=root)
    generated = root / os.environ.get("ARMLIB_FIGURES", "figures/generated")
    for task in tasks:
        shutil.copytree(task.exports, generated, dirs_exist_ok=True)
    stage, html, record = (root / BUILD / name for name in ("stage", "html", "built.json"))
    _stage(tasks, root, stage)
    staged = digest(*(f"{file.relative_to(stage)} {file_digest(file)}" for file in sorted(stage.rglob("*")) if file.is_file()))
    state = {"profile": profile, "staged": digest(staged, _fingerprint(root))}
    if html.is_dir() and read_record(record) == state:
        announce("nothing has changed since the last build")
        return html
    made = _sphinx(stage, root / BUILD)
    refuse("the built pages have faults", check_html(made))
    refuse("the built pages are hard to read", check_presentation(made))
    record.unlink(missing_ok=True)
    shutil.rmtree(html, ignore_errors=True)
    made.replace(html)
    write_json(record, state)
    return html


def _checked(root: Path) -> Path:
    root = Path(root).resolve()
    if not (root / "_toc.yml").is_file():
        raise InputError(
            f"the book is built in a checkout of its repository, but there is no _toc.yml in {root} (name it: --folder)"
        )
    return root


def _notebooks(root: Path) -> dict[str, Path]:
    return {Path(page).name: root / f"{page}.ipynb" for page in pages(root) if (root / f"{page}.ipynb").is_file()}


def _tasks(profile: str, root: Path) -> list[Task]:
    notebooks = _notebooks(root)
    file = root / PARAMETERS
    given = (yaml.safe_load(file.read_text(encoding="utf8")) if file.is_file() else None) or {}
    for name in given:
        if name not in notebooks:
            raise unknown(f"notebook in {PARAMETERS}", name, notebooks)
    fingerprint = _fingerprint(root)
    tasks = []
    for name, notebook in notebooks.items():
        settings = dict(given.get(name) or {})
        if "profile" in known_parameters(notebook):
            settings.setdefault("profile", profile)
        folder = root / BUILD / "executed" / Path(profile).stem
        tasks.append(Task(notebook, folder, changed_parameters(notebook, settings), fingerprint, keeps_exports=True))
    return tasks


def _fingerprint(root: Path) -> str:
    """Stands for the code of both packages, their data, what came measured with the repository, and versions of libraries."""
    packages = Path(armlib.__file__).parent, Path(armbook.__file__).parent
    found = (path for package in packages for path in sorted(package.rglob("*")) if path.is_file())
    files = [path for path in found if path.parent.name != "__pycache__"]  # where files come and go
    files += [file for name in MEASURED for file in sorted((root / name).rglob("*")) if file.is_file()]
    pins = [root / "pyproject.toml"] if (root / "pyproject.toml").is_file() else []
    return digest(sys.version, *(f"{path.name} {file_digest(path)}" for path in [*files, *pins]))


def _stage(tasks: list[Task], root: Path, stage: Path) -> None:
    """Copy the book with executed notebooks at the places of their sources, so that every relative link stays as it was."""
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir()
    shutil.copy2(root / "_toc.yml", stage / "_toc.yml")
    stage_settings(root, stage)
    for name in ("book", "figures"):
        if (root / name).is_dir():
            shutil.copytree(root / name, stage / name, ignore=shutil.ignore_patterns("_build", "armbook", "generated", ".*"))
    for task in tasks:
        target = stage / task.notebook.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        notebook = cleaned(task.executed)
        put_under_title(notebook)
        nbformat.write(notebook, target)
        shutil.copytree(task.exports, stage / STATIC / DOWNLOADS, dirs_exist_ok=True)
    (stage / STATIC).mkdir(exist_ok=True)
    shutil.copyfile(_mathjax(), stage / STATIC / MATHJAX)


def _mathjax() -> Path:
    """MathJax 3.2.2 in one file with its fonts, so that formulas are set without a network."""
    try:
        package = importlib.metadata.distribution("sphinx-mathjax-offline")
    except importlib.metadata.PackageNotFoundError:
        raise InputError("formulas need the package sphinx-mathjax-offline: pip install 'armlib[book]'") from None
    return Path(str(package.locate_file(f"sphinx-mathjax-offline/static/mathjax/{MATHJAX}")))


def _sphinx(stage: Path, build: Path) -> Path:
    """Run Jupyter Book on a clean folder (values shown on other pages would go stale otherwise); gives the folder of pages."""
    output, log = build / "sphinx", build / "sphinx.log"
    shutil.rmtree(output, ignore_errors=True)
    announce("making the pages")
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(stage)]
    command += ["--path-output", str(output), "-W", "-n", "--keep-going"]
    plain = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=stage, env=plain)
    log.write_text(done.stdout, encoding="utf8")
    if done.returncode:
        marks = ("WARNING:", "ERROR:", "CRITICAL:")
        lines = (
            re.sub(r"\x1b\[[\d;]*m", "", done.stdout).replace(f"{stage}/", "").splitlines()
        )  # Sphinx colours warnings, whatever is asked
        found = [line for line in lines if any(mark in line for mark in marks)]
        refuse(f"Jupyter Book ended with code {done.returncode} (log: {log})", found or lines[-3:])
    html = output / "_build" / "html"
    # Jupyter Book's first page leads on and names no icon, so that browsers would ask the server for one that is not there.
    with open(html / "index.html", "a", encoding="utf8") as first:
        first.write('<link rel="icon" href="_static/favicon.svg" />\n')
    return html


def refuse(what: str, problems: list[str]) -> None:
    """Print the problems, one a line, and raise an `InputError` that names the first; nothing where there are none."""
    if problems:
        print(*map(one_line, problems), sep="\n", file=sys.stderr)
        more = f" (and {len(problems) - 1} more, listed above)" if len(problems) > 1 else ""
        raise InputError(f"{what}: {problems[0]}{more}")
