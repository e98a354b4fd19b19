"""Notebooks run with the right parameters, are kept, and fail with the name of their cell."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import nbformat.v4 as v4
import pytest

from armbook.building import parameters
from armbook.building.notebooks import Task, changed_parameters, cleaned, execute, read_parameters
from armlib.errors import InputError
from books import REPOSITORY, printed, write_notebook

PARAMETERS = """\
count: int = 3  # how many
share: float = 0.5
name: str = "a"
flags: list = [1]
free = None
on: bool = True"""


def test_only_parameters_that_differ_are_given(tmp_path):
    notebook = write_notebook(tmp_path / "a.ipynb", PARAMETERS)
    assert changed_parameters(notebook, {"count": 3, "share": 0.5, "flags": [1], "on": True}) == {}
    given = {"count": 4, "share": 1, "name": "b", "flags": [], "free": {"any": "thing"}, "on": False}
    assert changed_parameters(notebook, given) == given


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cuont": 1}, r"unknown parameter of a\.ipynb 'cuont'; did you mean 'count'\? \(available: count, flags, free, name"),
        ({"count": "4"}, "parameter count of a.ipynb must be of type int, not '4'"),
        ({"count": 0.5}, "must be of type int, not 0.5"),
        ({"count": True}, "must be of type int, not True"),
        ({"on": 1}, "must be of type bool, not 1"),
        ({"name": 1}, "must be of type str, not 1"),
        ({"flags": "x"}, "must be of type list, not 'x'"),
    ],
)
def test_unknown_and_ill_typed_parameters_are_refused(tmp_path, given, message):
    with pytest.raises(InputError, match=message):
        changed_parameters(write_notebook(tmp_path / "a.ipynb", PARAMETERS), given)


def test_parameters_from_a_command_line(tmp_path):
    notebook = write_notebook(tmp_path / "a.ipynb", PARAMETERS)
    texts = {"count": "4", "share": "5e-4", "name": "7", "flags": "[1, 'x']", "free": "words", "on": "False"}
    values = {"count": 4, "share": 5e-4, "name": "7", "flags": [1, "x"], "free": "words", "on": False}
    assert changed_parameters(notebook, read_parameters(notebook, texts)) == values
    with pytest.raises(InputError, match="must be of type int, not 'four'"):
        changed_parameters(notebook, read_parameters(notebook, {"count": "four"}))
    with pytest.raises(InputError, match="unknown parameter of a.ipynb 'cuont'"):
        changed_parameters(notebook, read_parameters(notebook, {"cuont": "4"}))


def test_a_notebook_without_parameters_is_refused(tmp_path):
    nbformat.write(v4.new_notebook(cells=[v4.new_markdown_cell("x", id="a")]), tmp_path / "a.ipynb")
    with pytest.raises(InputError, match="a.ipynb has no cell tagged 'parameters'"):
        changed_parameters(tmp_path / "a.ipynb", {})
    (tmp_path / "b.ipynb").write_text("{")
    with pytest.raises(InputError, match="b.ipynb cannot be read as a notebook"):
        changed_parameters(tmp_path / "b.ipynb", {})


@pytest.mark.slow
def test_runs_are_kept_until_something_changes(tmp_path):
    source = "import os, pathlib\nprint(n, os.environ['OMP_NUM_THREADS'], pathlib.Path.cwd())"
    notebook, other = (write_notebook(tmp_path / f"{name}.ipynb", "n: int = 1", source) for name in "ab")
    tasks = [Task(notebook, tmp_path / "out", {"n": 7}, "x"), Task(other, tmp_path / "out", {}, "x")]
    said: list[str] = []

    def run(*again: Task) -> None:
        said.clear()
        execute(again, jobs=2, timeout=60, root=tmp_path, say=said.append)

    run(*tasks)
    assert said[0] == "2 of 2 notebooks to run, 2 at a time" and "1 left, about" in said[1] and "none left" in said[2]
    threads = max(1, (os.cpu_count() or 1) // 2)
    assert printed(tasks[0].executed) == f"7 {threads} {tmp_path}\n" and printed(tasks[1].executed).startswith("1 ")
    run(*tasks)
    assert said == []
    run(tasks[0], Task(other, tmp_path / "out", {}, "changed"))
    assert said[0] == "1 of 2 notebooks to run, 1 at a time" and said[1].startswith("b: ")
    assert [cell.metadata.get("tags") for cell in cleaned(tasks[0].executed).cells] == [["parameters"], ["injected-parameters"], []]
    assert "papermill" not in str(cleaned(tasks[0].executed))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "timeout", "message"),
    [
        ("y = 2\n1 / 0", 60, r"cell 3 \('y = 2'\): ZeroDivisionError: division by zero \(as far as it ran: "),
        ("import sys; sys.exit(0)", 60, r"cell 3 \('import sys; sys.exit\(0\)'\): SystemExit: 0"),
        ("import time; time.sleep(60)", 3, r"cell 3 \(.*sleep.*\): .*timed out"),
        ("import os; os._exit(3)", 60, r"cell 3 \(.*_exit.*\): .*Kernel died"),
    ],
)
def test_a_failing_cell_is_named(tmp_path, source, timeout, message):
    notebook = write_notebook(tmp_path / "a.ipynb", "n: int = 1", "x = 1", source, "z = 3")
    task = Task(notebook, tmp_path / "out", {"n": 2})
    with pytest.raises(InputError, match=rf"a\.ipynb failed in {message}"):
        execute([task], jobs=1, timeout=timeout, root=tmp_path, say=lambda text: None)
    assert not task.executed.exists() and not task.is_done()


CONNECTION = "from ipykernel.connect import get_connection_info\ninfo = get_connection_info(unpack=True)"


def test_kernels_share_no_ports(tmp_path):
    """A kernel hangs whose port another process took before it listened there."""
    task = Task(write_notebook(tmp_path / "a.ipynb", "n: int = 1", CONNECTION, "print(info['transport'])"), tmp_path / "out")
    execute([task], jobs=1, timeout=60, root=tmp_path, say=lambda text: None)
    assert printed(task.executed) == "ipc\n"


@pytest.mark.slow
def test_an_interrupted_run_leaves_no_process_and_no_socket(tmp_path):
    source = "import os, pathlib, time\npathlib.Path('running').write_text(f\"{os.getpid()} {info['ip']}\")\ntime.sleep(600)"
    notebook = write_notebook(tmp_path / "a.ipynb", "n: int = 1", CONNECTION, source)
    script = (
        "from pathlib import Path; from armbook.building.notebooks import Task, execute;"
        f"root = Path({str(tmp_path)!r}); execute([Task(root / 'a.ipynb', root / 'out')], jobs=1, timeout=600, root=root)"
    )
    # A test run that was started in the background ignores interrupts, and its children would inherit that.
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen([sys.executable, "-c", script], cwd=REPOSITORY, stderr=subprocess.PIPE, preexec_fn=heed)
    running = wait_for(lambda: notebook.with_name("running").is_file() and notebook.with_name("running").read_text())
    kernel, sockets = running.split()
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    assert b"KeyboardInterrupt" in complaint
    wait_for(lambda: not Path("/proc", kernel).exists() or "State:\tZ" in Path("/proc", kernel, "status").read_text())
    assert not Path(sockets).parent.exists()


def wait_for(condition, seconds: float = 60):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
    return found


@pytest.mark.slow
def test_a_failure_starts_no_others_and_keeps_what_finished(tmp_path):
    sources = {"a": "1 / 0", "b": "1", "c": "1", "d": "1"}
    tasks = [Task(write_notebook(tmp_path / f"{name}.ipynb", "n: int = 1", sources[name]), tmp_path / "out") for name in sources]
    with pytest.raises(InputError, match="a.ipynb failed in cell 2"):
        execute(tasks, jobs=1, timeout=60, root=tmp_path, say=lambda text: None)
    assert [task.is_done() for task in tasks] in ([False] * 4, [False, True, False, False])


def test_widgets_are_shown_as_html_or_refused(tmp_path):
    widget, page = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}}, {"text/html": "<p>x</p>"}
    for data in (widget | page, widget):
        cell = v4.new_code_cell("show", outputs=[v4.new_output("display_data", data)], id="a")
        nbformat.write(v4.new_notebook(cells=[cell], metadata={"widgets": {"state": {}}}), tmp_path / "a.ipynb")
        if data == widget:
            with pytest.raises(InputError, match="cell 1 of a.ipynb shows a widget that has no text/html"):
                cleaned(tmp_path / "a.ipynb")
        else:
            shown = cleaned(tmp_path / "a.ipynb")
            assert dict(shown.cells[0].outputs[0].data) == page and "widgets" not in shown.metadata


CHECKED = "from armbook.building import parameters\n\nparameters.check()"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-p", "cuont", "1"), "unknown parameter of this notebook 'cuont'; did you mean 'count'? (available: count, flags, free"),
        (("-p", "count", "many"), "parameter count of this notebook must be of type int, not 'many'"),
        (("-y", "{flags: {a: 1}}"), "parameter flags of this notebook must be of type list, not {'a': 1}"),
        (("-p", "count", "4", "-y", "{free: {a: [-1.5, 'x']}, share: 1}"), ""),
    ],
)
def test_papermill_alone_is_refused_what_a_notebook_does_not_know(tmp_path: Path, options, said: str) -> None:
    notebook = write_notebook(tmp_path / "a.ipynb", PARAMETERS, CHECKED, "print('ran', count, free)")
    executed = tmp_path / "out.ipynb"
    command = [sys.executable, "-m", "papermill", str(notebook), str(executed), "--no-progress-bar", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode == 0) == (not said) and said in done.stderr + done.stdout
    assert printed(executed) == ("" if said else "ran 4 {'a': [-1.5, 'x']}\n")


def test_a_notebook_in_lab_is_not_papermill_s() -> None:
    parameters.check(["count: int = 3", "from armbook.building import parameters", "cuont = 4"])
    with pytest.raises(InputError, match="unknown parameter of this notebook 'cuont'"):
        parameters.check(["count: int = 3", "# Parameters\ncuont = 4\n"])


def test_sentences_of_a_page_hold_no_html(tmp_path: Path) -> None:
    """Names of collections and encoders stand in them; what is in backticks is shown as it is."""
    sentence = "From <img src=x onerror=alert(1)>: `a<b` and p < 0.05, ``x ` <b>``"
    output = nbformat.v4.new_output("display_data", {"text/markdown": sentence})
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[output])]), tmp_path / "a.ipynb")
    shown = cleaned(tmp_path / "a.ipynb").cells[0].outputs[0].data["text/markdown"]
    assert shown == "From &lt;img src=x onerror=alert(1)>: `a<b` and p &lt; 0.05, ``x ` <b>``"
