"""Progress: a bar on a terminal, lines in a log, nothing where it is told to be silent."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from armlib import progress
from armlib.cli import main
from armlib.experiments.experiment import Experiment
from armlib.experiments.store import RunStore
from armlib.progress import FRONT_ENDS, Lines, bar, form, silence


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests are silent; here the program decides."""
    monkeypatch.delenv("ARMLIB_PROGRESS")


def test_a_log_gets_lines_and_a_terminal_a_bar(undecided, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert form() == "lines" and isinstance(bar(10, "counting", "things"), Lines)
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert form() == "bar" and not isinstance(bar(10, "counting", "things"), Lines)


@pytest.mark.parametrize(("value", "expected"), [("0", "nothing"), ("1", "bar"), ("bar", "bar"), ("lines", "lines")])
def test_the_environment_decides(value: str, expected: str, monkeypatch) -> None:
    monkeypatch.setenv("ARMLIB_PROGRESS", value)
    for stream in (io.StringIO(), Terminal()):
        monkeypatch.setattr(sys, "stderr", stream)
        assert form() == expected


def test_a_kernel_gets_a_bar_where_somebody_watches_and_else_nothing(undecided, monkeypatch) -> None:
    """Whatever is printed there stays in the notebook's file."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(progress, "_in_kernel", lambda: True)
    for name in FRONT_ENDS:
        monkeypatch.delenv(name, raising=False)
    assert form() == "nothing"
    monkeypatch.setenv("JPY_SESSION_NAME", "chapter.ipynb")
    assert form() == "bar"


def test_papermill_leaves_nothing_in_the_file(undecided, tmp_path, monkeypatch) -> None:
    nbformat = pytest.importorskip("nbformat")
    for name in FRONT_ENDS:
        monkeypatch.delenv(name, raising=False)
    source = "from armlib import progress\nprogress.SECONDS_BETWEEN_LINES = 0\n"
    source += "print(list(progress.progress(range(3), 3, 'counting', 'things')))"
    kernel = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)], metadata=kernel), tmp_path / "in.ipynb")
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", tmp_path / "in.ipynb", tmp_path / "out.ipynb"]
    subprocess.run(command, check=True, capture_output=True)
    (cell,) = nbformat.read(tmp_path / "out.ipynb", 4).cells
    assert [(each.name, each.text) for each in cell.outputs] == [("stdout", "[0, 1, 2]\n")]


def test_of_several_processes_the_first_one_speaks(undecided, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setenv("RANK", "1")
    assert form() == "nothing"
    monkeypatch.setenv("RANK", "0")
    assert form() == "lines"


def test_silence_ends_with_its_block(undecided) -> None:
    with silence():
        assert form() == "nothing"
    assert "ARMLIB_PROGRESS" not in os.environ


def test_lines_are_now_and_then_with_the_time_that_is_left(monkeypatch, capsys) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    shown = Lines(100, "encoding", "texts", initial=20)
    for _ in range(8):  # 10 texts in 10 seconds: 20 were there, so the last ones come after 80 seconds
        now[0] += 10
        shown.update(10)
    assert capsys.readouterr().err.splitlines() == [
        "armlib: encoding: 50 of 100 texts, 00:50 left",
        "armlib: encoding: 80 of 100 texts, 00:20 left",
    ]
    shown.tell({"loss": "0.1"})
    unknown = Lines(None, "reading \x1b[31m", "lines", initial=0)
    unknown.update(5000)
    unknown.tell({})
    told, other = capsys.readouterr().err.splitlines()
    assert told == "armlib: encoding: 100 of 100 texts, loss 0.1, 00:00 left"
    assert other == r"armlib: reading \x1b[31m: 5,000 lines"


def test_training_says_one_line_at_each_validation(undecided, small_experiment: Experiment, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "stderr", stream := io.StringIO())
    result = RunStore(tmp_path).result(small_experiment)
    lines = stream.getvalue().splitlines()
    assert len(lines) == len(result.validations) == small_experiment.steps // small_experiment.validate_every
    before = 0
    for line, row in zip(lines, result.validations.to_dict("records"), strict=True):
        part = result.trace[(result.trace.step > before) & (result.trace.step <= row["step"])]
        pace = len(part) * small_experiment.batch_size / part.seconds.sum()
        expected = f"armlib: training: {row['step']} of {small_experiment.steps} steps, loss {part.loss.mean():.4g}, "
        expected += f"nDCG@10 {row['nDCG@10']:.4f}, triples/s {pace:,.0f}, "
        assert line.startswith(expected) and line.endswith(" left"), line
        before = row["step"]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("quiet", [False, True])
def test_a_command_can_be_quiet(quiet: bool, undecided, small_experiment: Experiment, beir_folder, tmp_path, capsys) -> None:
    command = ["train", "--collection", beir_folder, "--encoder", small_experiment.encoder, "--evaluation", "none", "--no-compared"]
    command += ["--steps", 4, "--batch-size", 4, "--validate-every", 2, "--runs", tmp_path, *(["--quiet"] if quiet else [])]
    assert main([str(each) for each in command]) == 0
    printed = capsys.readouterr()
    assert ("training: 4 of 4 steps" in printed.err) is not quiet and "encoder: " in printed.out
    assert quiet == (printed.err == "")
