"""Kill -9, SIGTERM and several processes: what was interrupted goes on to the bits of what was not.

``ARMLIB_KILLS=10 pytest tests/training/test_interrupts.py`` is the long form of the kill test.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tqdm import tqdm

from armlib.cli import main
from armlib.errors import InputError
from armlib.experiments.experiment import Experiment
from armlib.experiments.result import Result
from armlib.experiments.store import RunStore
from armlib.training import checkpoints
from armlib.training.checkpoints import load_checkpoint, save_checkpoint
from armlib.training.interrupts import Stopped, stop_request, stop_training_runs
from armlib.training.processes import default_accelerator

KILLS = int(os.environ.get("ARMLIB_KILLS", "3"))
TIMED = ["seconds", "waiting_seconds"]


@pytest.fixture(scope="module")
def processes():
    """Starts fresh processes that have imported the package already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["armlib.experiments.store"])
    return context


@pytest.fixture
def experiment(small_experiment: Experiment) -> Experiment:
    """Some seconds of training, with validations between."""
    return replace(small_experiment, steps=40 * KILLS, validate_every=30)


def make(path: Path, experiment: Experiment, checkpoint_seconds: float, environment: dict[str, str] | None = None) -> None:
    """In a process of its own: make a result."""
    os.environ.update(environment or {})
    torch.set_num_threads(1)
    tqdm.set_lock(threading.RLock())  # not one between processes, which kill -9 would leave behind
    warnings.simplefilter("error")
    RunStore(path, device="cpu", checkpoint_seconds=checkpoint_seconds).result(experiment)


def newest(path: Path) -> str:
    """The name of the newest checkpoint in a run store."""
    return max((folder.name for folder in path.glob(".unfinished/*/checkpoints/step-*")), default="")


def assert_same_result(left: Result, right: Result) -> None:
    assert left.trace.drop(columns=TIMED).equals(right.trace.drop(columns=TIMED))
    assert left.validations.drop(columns="seconds").equals(right.validations.drop(columns="seconds"))
    assert left.measures.equals(right.measures) and left.about["kept_step"] == right.about["kept_step"]
    one, other = left.encoder().state_dict(), right.encoder().state_dict()
    assert one.keys() == other.keys() and [name for name in one if not torch.equal(one[name], other[name])] == []
    (collection,) = left.experiment.evaluation_names()
    for mode in ("re-ranking", "full ranking"):
        assert left.run(collection, mode) == right.run(collection, mode)


@pytest.mark.slow
def test_killed_at_random_moments_it_continues_to_the_same_bits(experiment, processes, tmp_path: Path) -> None:
    started = time.monotonic()
    whole = processes.Process(target=make, args=(tmp_path / "whole", experiment, 0.0))
    whole.start()
    while not newest(tmp_path / "whole"):
        assert whole.is_alive()
        time.sleep(0.005)
    begun = time.monotonic()
    whole.join()
    training = time.monotonic() - begun
    assert whole.exitcode == 0
    draws, killed = random.Random(0), []
    while len(killed) < KILLS:
        before = newest(tmp_path / "killed")
        process = processes.Process(target=make, args=(tmp_path / "killed", experiment, 0.0))
        process.start()
        while newest(tmp_path / "killed") == before:  # until it trains, or has ended
            assert process.is_alive(), f"the training ended after {len(killed)} kills"
            time.sleep(0.001)
        time.sleep(draws.uniform(0, 0.8 * training / KILLS))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, f"the training ended after {len(killed)} kills"
        killed.append(int(newest(tmp_path / "killed").partition("-")[2]))
    process = processes.Process(target=make, args=(tmp_path / "killed", experiment, 0.0))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert killed == sorted(killed) and killed[-1] > killed[0]
    assert_same_result(*(RunStore(tmp_path / name).result(experiment) for name in ("whole", "killed")))
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == [".locks", ".unfinished", experiment.key()]
    assert not list((tmp_path / "killed" / ".unfinished").iterdir()), "nothing is left of what was being written"
    took = f"{training:.1f} s of training undisturbed, {time.monotonic() - started:.1f} s in all"
    print(f"{KILLS} kills, checkpoints left at steps {killed}; {took}")


def test_what_a_killed_process_was_writing_is_no_result_and_goes_away(experiment, tmp_path: Path) -> None:
    short = replace(experiment, steps=2, validate_every=2)
    draft = tmp_path / f".{short.key()}.abc.part"
    draft.mkdir()
    (draft / "result.json").write_text("{}")
    store = RunStore(tmp_path)
    assert store.finished() == [] and store.state(short) == "missing"
    store.result(short)
    assert not draft.exists() and len(store.finished()) == 1 and store.state(short) == "finished"


def test_a_process_that_does_not_see_the_checkpoint_of_the_first_is_refused(tmp_path: Path, monkeypatch) -> None:
    of = {"name": "a training run"}
    save_checkpoint(tmp_path / "there", 3, {"step": 3}, of)
    second = SimpleNamespace(is_main_process=False, num_processes=2, process_index=1)

    def told(folder: Path) -> None:
        """Let the first process have found its checkpoint in a folder."""
        monkeypatch.setattr(checkpoints, "broadcast_object_list", lambda found: found.insert(0, folder / "step-00000003"))

    told(tmp_path / "there")
    assert load_checkpoint(tmp_path / "there", second, of) == {"step": 3, "of": of}
    told(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="process 1 does not see the checkpoint .*elsewhere.*one file system"):
        load_checkpoint(tmp_path / "elsewhere", second, of)


def test_processes_on_gpus_agree_every_fifty_steps() -> None:
    told = []
    accelerator = SimpleNamespace(
        device=torch.device("cuda"), num_processes=2, set_trigger=lambda: told.append(1), check_trigger=lambda: bool(told)
    )
    with stop_request(accelerator) as request:
        assert not request.agreed(50)
        request.event.set()
        assert [step for step in range(51, 151) if request.agreed(step)] == [100, 150] and len(told) == 2


def test_trainings_in_threads_are_asked_to_stop() -> None:
    accelerator = default_accelerator("cpu")
    with stop_request(accelerator) as first, stop_request(accelerator) as second:
        assert not first.agreed(1)
        stop_training_runs()
        assert first.agreed(1) and second.agreed(1)
    with stop_request(accelerator) as later:
        assert not later.agreed(1)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_stopped_command_says_so(monkeypatch, capsys) -> None:
    def stopped(*_) -> None:
        raise Stopped("stopped by SIGTERM after step 7; the same call goes on from there")

    monkeypatch.setattr(RunStore, "result", stopped)
    assert main(["train"]) == 143
    assert capsys.readouterr().err == "armlib: stopped by SIGTERM after step 7; the same call goes on from there\n"


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def two(processes, path: Path, experiment: Experiment, checkpoint_seconds: float) -> list:
    """Two processes that train together, with the environment that torchrun gives them."""
    both = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    both |= {"ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}
    started = []
    for rank in ("0", "1"):
        environment = {**both, "RANK": rank, "LOCAL_RANK": rank}
        started.append(processes.Process(target=make, args=(path, experiment, checkpoint_seconds, environment)))
        started[-1].start()
    return started


@pytest.mark.slow
def test_one_process_is_sent_sigterm_and_both_stop_at_one_step(small_experiment, processes, tmp_path: Path) -> None:
    path, experiment = tmp_path / "stopped", replace(small_experiment, steps=40)
    pair = two(processes, path, experiment, 0.0)
    while newest(path) < "step-00000010":
        assert all(process.is_alive() for process in pair)
        time.sleep(0.005)
    os.kill(pair[1].pid, signal.SIGTERM)
    for process in pair:
        process.join(60)
    assert [process.exitcode for process in pair] == [1, 1], "both ended, with a message, and neither hangs"
    assert "step-00000010" <= newest(path) < "step-00000040"
    for name in ("stopped", "whole"):
        pair = two(processes, tmp_path / name, experiment, 60.0)
        for process in pair:
            process.join()
        assert [process.exitcode for process in pair] == [0, 0]
    stopped, whole = (RunStore(tmp_path / name).result(experiment) for name in ("stopped", "whole"))
    assert_same_result(stopped, whole)
    assert whole.about["processes"] == 2


@pytest.mark.slow
def test_sigterm_to_torchrun_leaves_a_checkpoint(small_experiment, tmp_path: Path) -> None:
    """As a cluster does it: the launcher is told, and tells its processes."""
    script = tmp_path / "train.py"
    values = {**asdict(small_experiment), "steps": 100_000, "validate_every": 100_000}
    script.write_text(
        "from armlib.experiments.experiment import Experiment\nfrom armlib.experiments.store import RunStore\n"
        f"RunStore({str(tmp_path)!r}, device='cpu', checkpoint_seconds=0.0).result(Experiment(**{values!r}))\n"
    )
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"}
    process = subprocess.Popen([*launcher, str(script)], env=environment, stderr=subprocess.PIPE, text=True)
    while not newest(tmp_path):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=90)[1]
    steps = re.findall(r"stopped by SIGTERM after step (\d+);", said)  # two processes share a line at times
    assert len(steps) == 2 and steps[0] == steps[1], said
    assert newest(tmp_path) == f"step-{int(steps[0]):08d}"
