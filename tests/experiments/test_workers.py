"""Processes that train: they live as long as the block that opened them, and no longer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest

from armlib.experiments.experiment import Experiment
from armlib.experiments.result import Result
from armlib.experiments.store import RunStore
from armlib.experiments.workers import TrainingProcesses
from armlib.storage import damage

WHO = "__import__('time').sleep(0.2) or (__import__('os').getpid(), __import__('os').environ.get('OMP_NUM_THREADS'))"
"""Evaluated in a process: its number, and how many threads it was given. A function of this file would take seconds to import."""


def asked(processes: TrainingProcesses, count: int = 1) -> list[tuple[int, str | None]]:
    return [future.result() for future in processes.submit(eval, [WHO] * count)]


def running(process: int) -> bool:
    return psutil.pid_exists(process) and psutil.Process(process).status() != psutil.STATUS_ZOMBIE


def wait_until_ended(processes: list[int], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while any(map(running, processes)):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def test_processes_live_from_round_to_round_and_end_with_the_block() -> None:
    before = os.environ.get("OMP_NUM_THREADS")
    with TrainingProcesses(2) as processes:
        rounds = [asked(processes, 4) for _ in range(3)]
        seen = {process for one in rounds for process, _ in one}
        share = max(1, len(os.sched_getaffinity(0)) // 2)
        assert len(seen) <= 2 and {threads for one in rounds for _, threads in one} == {str(share)}
        assert {process for process, _ in rounds[0]} & {process for process, _ in rounds[2]} and all(map(running, seen))
    assert not any(map(running, seen)) and os.environ.get("OMP_NUM_THREADS") == before


def test_work_that_fails_leaves_the_processes_to_others() -> None:
    with TrainingProcesses(1) as processes:
        before = asked(processes)
        with pytest.raises(ZeroDivisionError):
            processes.submit(eval, ["1 / 0"])[0].result()
        assert asked(processes) == before


def test_a_process_that_is_killed_while_it_is_idle_is_replaced() -> None:
    with TrainingProcesses(1) as processes:
        [(first, _)] = asked(processes)
        os.kill(first, signal.SIGKILL)
        wait_until_ended([first])
        time.sleep(0.5)  # until the pool has noticed
        [(second, _)] = asked(processes)
        assert second != first
    assert not running(second)


def test_nothing_is_started_where_there_is_nothing_to_train(small_store: RunStore, small_experiment: Experiment) -> None:
    with TrainingProcesses(2) as processes:
        assert [each.key for each in small_store.results([small_experiment], 2, processes)] == [small_experiment.key()]
        assert processes._pool is None


@pytest.mark.slow
def test_rounds_of_training_runs_are_made_by_the_same_processes(small_experiment: Experiment, tmp_path: Path) -> None:
    def trained(folder: str, processes: TrainingProcesses | None, *seeds: int) -> list[Result]:
        experiments = [replace(small_experiment, seed=seed, steps=4, validate_every=4) for seed in seeds]
        return RunStore(tmp_path / folder).results(experiments, 2, processes)

    with TrainingProcesses(2) as processes:
        trained("kept", processes, 1, 2)
        pool = processes._pool
        warm = trained("kept", processes, 3, 4)
        assert processes._pool is pool
    for each, other in zip(warm, trained("new", None, 3, 4), strict=True):
        assert each.key == other.key
        assert each.measures.equals(other.measures) and each.encoder().fingerprint() == other.encoder().fingerprint()
        for run in sorted((each.folder / "runs").iterdir()):
            assert run.read_bytes() == (other.folder / "runs" / run.name).read_bytes()


SCRIPT = """
import json, sys
from pathlib import Path
from armlib.experiments.experiment import Experiment
from armlib.experiments.store import RunStore
from armlib.experiments.workers import TrainingProcesses

if __name__ == "__main__":
    values = json.loads(sys.argv[2])
    experiments = [Experiment(**{**values, "evaluation": tuple(values["evaluation"]), "seed": seed}) for seed in (1, 2)]
    with TrainingProcesses(2) as processes:
        RunStore(Path(sys.argv[1]), checkpoint_seconds=5.0).results(experiments, 2, processes)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("stop", "send"), [(signal.SIGINT, os.killpg), (signal.SIGKILL, os.kill)])
def test_training_runs_stop_at_a_checkpoint_with_whoever_started_them(
    small_experiment: Experiment, tmp_path: Path, stop: signal.Signals, send: Callable[[int, int], None]
) -> None:
    """Control-C goes to all processes of a terminal; a process that is killed can tell nobody."""
    store, script = tmp_path / "runs", tmp_path / "script.py"
    script.write_text(SCRIPT)
    values = json.dumps(asdict(replace(small_experiment, steps=100_000, validate_every=100_000)))

    def heed() -> None:  # a test run that was started in the background ignores interrupts, and its children would inherit that
        os.setsid()
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    parent = subprocess.Popen([sys.executable, script, store, values], preexec_fn=heed, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while len(before := newest_steps(store)) < 2:
        assert time.monotonic() < end and parent.poll() is None, "training did not begin"
        time.sleep(0.1)
    children = [child.pid for child in psutil.Process(parent.pid).children(recursive=True)]
    send(parent.pid, stop)
    assert parent.wait(60) != 0
    wait_until_ended(children)
    after = newest_steps(store)
    assert len(children) >= 2 and all(after[key] > before[key] for key in before)


def newest_steps(store: Path) -> dict[str, int]:
    """By key, the step of the newest checkpoint that is whole."""
    found = {}
    for folder in sorted(store.glob(".unfinished/*/checkpoints/step-*")):
        if damage(folder) is None:
            found[folder.parents[1].name] = int(folder.name.partition("-")[2])
    return found
