"""Running notebooks through papermill: parameters checked, results kept until something changes, failures named by their cell."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from papermill.translators import PythonTranslator

from armlib.errors import InputError, unknown
from armlib.storage import digest, read_record, write_json

WIDGET = "application/vnd.jupyter.widget-view+json"
TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (float, int),
    "str": (str,),
    "bool": (bool,),
    "list": (list,),
    "tuple": (list,),
    "dict": (dict,),
}


@dataclass(frozen=True)
class Task:
    """One notebook to run.

    Args:
        notebook: the source, whose name the executed copy keeps.
        folder: where the executed copy, its exports and a note of what it was made from are kept.
        parameters: values that differ from the notebook's defaults, as `changed_parameters` gives them.
        fingerprint: stands for everything else that the outputs depend on.
        keeps_exports: whether figures and tables are exported to `exports` and kept with the executed copy, not where
            ``$ARMLIB_FIGURES`` says; so that a page never links to files of another run.
    """

    notebook: Path
    folder: Path
    parameters: Mapping[str, object] = field(default_factory=dict)
    fingerprint: str = ""
    keeps_exports: bool = False

    @property
    def executed(self) -> Path:
        return self.folder / self.notebook.name

    @property
    def note(self) -> Path:
        return self.executed.with_suffix(".json")

    @property
    def exports(self) -> Path:
        return self.folder / f"{self.notebook.stem}.exports"

    def key(self) -> str:
        """Stands for the notebook, its parameters and the fingerprint."""
        return digest(self.notebook.read_bytes(), json.dumps(self.parameters, sort_keys=True), self.fingerprint)

    def is_done(self) -> bool:
        """Whether the executed copy was made from the notebook as it is now."""
        whole = self.executed.is_file() and (self.exports.is_dir() or not self.keeps_exports)
        return whole and read_record(self.note).get("key") == self.key()

    def last_seconds(self) -> float | None:
        """How long the last run took, whatever it was made from."""
        seconds = read_record(self.note).get("seconds")
        return seconds if isinstance(seconds, float | int) else None


def known_parameters(notebook: Path) -> dict[str, dict[str, str]]:
    """The parameters of a notebook by name, each with ``inferred_type_name``, ``default`` (as written) and ``help``.

    Raises:
        InputError: the notebook cannot be read, or has no cell tagged ``parameters``.
    """
    try:
        cells = nbformat.read(notebook, 4).cells
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{notebook.name} cannot be read as a notebook: {error}") from error
    for cell in cells:
        if "parameters" in cell.metadata.get("tags", []):
            return declared_parameters(cell)
    raise InputError(f"{notebook.name} has no cell tagged 'parameters', so nothing can be set in it")


def declared_parameters(cell: nbformat.NotebookNode) -> dict[str, dict[str, str]]:
    """The parameters that a cell declares, as `known_parameters` gives them."""
    return {parameter.name: parameter._asdict() for parameter in PythonTranslator.inspect(cell)}


def read_parameters(notebook: Path, texts: Mapping[str, str]) -> dict[str, object]:
    """Values from a command line: text for parameters that are text, for others what Python would read.

    Raises:
        InputError: as `known_parameters`.
    """
    known = known_parameters(notebook)
    return {name: text if name in known and _kind(known[name]) == "str" else _literal(text, text) for name, text in texts.items()}


def changed_parameters(notebook: Path, given: Mapping[str, object]) -> dict[str, object]:
    """Those of the given values that differ from the notebook's defaults; papermill itself would accept anything.

    Raises:
        InputError: a parameter that the notebook does not have, or a value of another type than its annotation or default.
    """
    known = known_parameters(notebook)
    check_values(known, given, notebook.name)
    return {name: value for name, value in given.items() if value != _literal(known[name]["default"])}


def check_values(known: Mapping[str, Mapping[str, str]], given: Mapping[str, object], notebook: str) -> None:
    """Raise an `InputError` for a value that is not of a known parameter (as `known_parameters` gives them) or not of its type."""
    for name, value in given.items():
        if name not in known:
            raise unknown(f"parameter of {notebook}", name, known)
        kind = _kind(known[name])
        expected = TYPES.get(kind, (object,))
        if not isinstance(value, expected) or (isinstance(value, bool) and kind in ("int", "float")):
            raise InputError(f"parameter {name} of {notebook} must be of type {kind}, not {value!r}")


def _kind(parameter: Mapping[str, str]) -> str:
    """The name of a parameter's type, by its annotation, else by its default; anything may be given where it is not in TYPES."""
    annotated = parameter["inferred_type_name"].split("[")[0].strip()
    return annotated if annotated in TYPES else type(_literal(parameter["default"])).__name__


def _literal(source: str, otherwise: object = None) -> object:
    try:
        return ast.literal_eval(source)
    except (ValueError, SyntaxError):
        return otherwise


def announce(text: str) -> None:
    """Print a line at once, also where the output goes to a file."""
    print(text, flush=True)


def execute(tasks: Iterable[Task], *, jobs: int, timeout: int, root: Path, say: Callable[[str], None] = announce) -> None:
    """Run those notebooks that are not done, several at a time, the longest first; each that finishes is kept at once.

    Args:
        tasks: what to run.
        jobs: how many notebooks run at a time; each gets an equal share of the cores.
        timeout: seconds that a cell may take.
        root: the folder in which the notebooks run.
        say: is told what has finished and what is left.

    Raises:
        InputError: a notebook failed. Those that were running by then are finished and kept, no others are started.
    """
    tasks = list(tasks)
    left = sorted((task for task in tasks if not task.is_done()), key=lambda task: -(task.last_seconds() or 1e9))
    if left:
        say(f"{len(left)} of {len(tasks)} notebooks to run, {min(jobs, len(left))} at a time")
    estimates = {task.notebook: task.last_seconds() for task in left}
    took: list[float] = []
    failures = []
    with _workers(jobs) as (pool, running):
        futures = {pool.submit(_run, task, jobs, timeout, root, running): task for task in left}
        for future in as_completed(futures):
            task = futures[future]
            if future.cancelled():
                continue
            del estimates[task.notebook]
            if isinstance(future.exception(), InputError):
                failures.append(str(future.exception()))
                for other in futures:  # not by the pool's shutdown, after which as_completed would wait for ever
                    other.cancel()
                continue
            took.append(future.result())
            typical = sum(took) / len(took)
            remaining = sum(typical if known is None else known for known in estimates.values()) / min(jobs, len(left))
            ahead = f"{len(estimates)} left, about {_duration(remaining)}" if estimates else "none left"
            say(f"{task.notebook.stem}: {_duration(took[-1])}; {ahead}")
    if failures:
        raise InputError("; ".join(failures))


@contextmanager
def _workers(jobs: int) -> Iterator[tuple[ThreadPoolExecutor, set[subprocess.Popen]]]:
    """Threads that wait for processes; when the build is interrupted the processes end with it."""
    running: set[subprocess.Popen] = set()
    pool = ThreadPoolExecutor(jobs)
    try:
        yield pool, running
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in list(running):
            process.terminate()
        raise
    finally:
        pool.shutdown()


def _run(task: Task, jobs: int, timeout: int, root: Path, running: set[subprocess.Popen]) -> float:
    start, key = time.monotonic(), task.key()
    task.folder.mkdir(parents=True, exist_ok=True)
    draft = task.folder / f"{task.notebook.stem}.unfinished.ipynb"
    command = [
        sys.executable,
        "-m",
        "papermill",
        str(task.notebook),
        str(draft),
        "--parameters_yaml",
        json.dumps(task.parameters),
        "--engine",
        "unix-sockets",
        "--kernel",
        "python3",
        "--language",
        "python",
        "--cwd",
        str(root),
        "--no-progress-bar",
        "--start-timeout",
        "120",
        "--execution-timeout",
        str(timeout),
    ]
    environment = _environment(jobs)
    exports = draft.with_suffix(".exports")
    if task.keeps_exports:
        shutil.rmtree(exports, ignore_errors=True)
        exports.mkdir()
        environment["ARMLIB_FIGURES"] = str(exports)
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    running.add(process)
    printed, _ = process.communicate()
    running.discard(process)
    lines = printed.strip().splitlines() or ["papermill printed nothing"]
    ended = next((line for line in reversed(lines) if re.match(r"[\w.]+(Error|Exception):", line)), lines[-1])
    reason = failure(draft, ended if process.returncode else None) if draft.is_file() else f"no cell: {ended}"
    if reason:
        raise InputError(f"{task.notebook.name} failed in {reason} (as far as it ran: {draft})")
    seconds = time.monotonic() - start
    task.note.unlink(missing_ok=True)
    os.replace(draft, task.executed)
    if task.keeps_exports:
        shutil.rmtree(task.exports, ignore_errors=True)
        exports.replace(task.exports)
    write_json(task.note, {"key": key, "seconds": round(seconds, 1)})
    return seconds


def _environment(jobs: int) -> dict[str, str]:
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    fixed = {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONHASHSEED": "0",
        "ARMLIB_PROGRESS": "0",
        "PYTHONWARNINGS": "ignore:the collection docstrings is mined here:UserWarning",  # each page says it of its results
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    return {**os.environ, **fixed}


def failure(executed: Path, ended: str | None = None) -> str | None:
    """Where and why an executed notebook failed, such as ``cell 3 ('1 / 0'): ZeroDivisionError: division by zero``.

    Cells are counted from 1 as in the source, where papermill's own have not been added. A notebook that ended early
    without an error, by ``sys.exit(0)``, counts as failed.

    Args:
        executed: what papermill wrote.
        ended: what papermill said, where it failed; it is put down to the last cell that was started.
    """
    own = {"papermill-error-cell-tag", "injected-parameters"}
    cells = [cell for cell in nbformat.read(executed, 4).cells if not own & set(cell.metadata.get("tags", []))]
    started = "no cell"
    for number, cell in enumerate(cells, 1):
        if cell.cell_type != "code" or not cell.metadata.get("papermill", {}).get("start_time"):
            continue
        first = next((line.strip() for line in cell.source.splitlines() if line.strip()), "")
        started = f"cell {number} ({first[:60]!r})"
        for output in cell.outputs:
            if output.output_type == "error":
                # A cell that takes too long is interrupted; what papermill said tells why.
                interrupted = ended and output.ename == "KeyboardInterrupt"
                return f"{started}: {ended if interrupted else f'{output.ename}: {output.evalue}'}"
    return f"{started}: {ended}" if ended else None


def cleaned(executed: Path) -> nbformat.NotebookNode:
    """An executed notebook as the book shows it, without papermill's notes and without the state of widgets.

    A widget's text/html is what a page without a kernel shows; the cell that papermill adds stays, as it says what was run.
    Empty headings of tables become empty cells, and sentences hold no HTML.

    Raises:
        InputError: an output is a widget and nothing else, which a page cannot show.
    """
    notebook = nbformat.read(executed, 4)
    for number, cell in enumerate(notebook.cells, 1):
        cell.metadata.pop("papermill", None)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if WIDGET in data and "text/html" not in data:
                raise InputError(f"cell {number} of {executed.name} shows a widget that has no text/html for the built page")
            data.pop(WIDGET, None)
            if "text/markdown" in data:
                data["text/markdown"] = _without_markup(data["text/markdown"])
            if "text/html" in data:  # pandas puts a heading where there is none, which a screen reader would read out
                data["text/html"] = re.sub(r"<th((?: [^<>]*)?)></th>", r"<td\1></td>", data["text/html"])
    for key in ("papermill", "widgets"):
        notebook.metadata.pop(key, None)
    return notebook


def _without_markup(text: str) -> str:
    """Markdown whose names, such as those of collections, cannot hold HTML; what stands in backticks is no HTML already."""
    return re.sub(r"(`+).+?\1(?!`)|<", lambda found: "&lt;" if found[0] == "<" else found[0], text, flags=re.DOTALL)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
