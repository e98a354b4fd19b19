"""A sweep by Dask's workers: all results are there, whatever happens to the workers."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import dask
import psutil
import pytest
import requests
import torch
from dask.distributed import Client, Security

from armlib.errors import InputError
from armlib.experiments import cluster
from armlib.experiments.experiment import Experiment
from armlib.experiments.store import RunStore
from armlib.experiments.workers import THREADS


def same_result(left, right) -> None:
    """Assert that two results agree to the bit in all but time."""
    timed = ["seconds", "waiting_seconds"]
    assert left.trace.drop(columns=timed).equals(right.trace.drop(columns=timed))
    assert left.validations.drop(columns="seconds").equals(right.validations.drop(columns="seconds"))
    assert left.measures.equals(right.measures)
    one, other = left.encoder().state_dict(), right.encoder().state_dict()
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def trainings(folder: Path) -> dict[int, Path]:
    """The worker processes below this one that are training, with the folder of the checkpoints that each has written."""
    found = {}
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it has just ended
            for file in child.open_files():
                if file.path.startswith(str(folder / ".locks")):
                    found[child.pid] = folder / ".unfinished" / Path(file.path).stem / "checkpoints"
    return found


def certificates_of(client: Client) -> dict[str, str]:
    """Dask's configuration with the certificate of a cluster, as its user would write it for one of his own."""
    security = client.security
    return {
        "distributed.comm.tls.ca-file": security.tls_ca_file,
        "distributed.comm.tls.client.key": security.tls_client_key,
        "distributed.comm.tls.client.cert": security.tls_client_cert,
    }


@pytest.mark.slow
def test_nobody_else_can_use_the_workers_of_this_machine(monkeypatch) -> None:
    monkeypatch.setattr(cluster, "SECONDS_TO_CONNECT", 5)
    with cluster.workers_here(1) as client:
        addresses = [client.scheduler.address, *client.scheduler_info()["workers"]]
        assert all(address.startswith("tls://127.0.0.1:") for address in addresses)
        (scheduler, *_) = addresses
        for address in (scheduler, scheduler.replace("tls://", "tcp://")):
            with pytest.raises(InputError, match="Dask scheduler"), cluster.workers_of(address) as other:
                other.submit(os.getpid).result()
        with pytest.raises(OSError, match="TLS"):
            Client(scheduler, security=Security.temporary(), timeout=5)
        me = psutil.Process()
        listening = [
            port for each in (me, *me.children(recursive=True)) for port in each.net_connections("tcp") if port.status == "LISTEN"
        ]
        assert len(listening) >= 3 and {port.laddr.ip for port in listening} == {"127.0.0.1"}
        pages = [
            requests.get(f"http://127.0.0.1:{port.laddr.port}/info/main/workers.html", timeout=2)
            for port in listening
            if plain(port)
        ]
        assert {page.status_code for page in pages} <= {404}
        assert client.submit(os.getpid).result() != os.getpid(), "who started them can"


def plain(port) -> bool:
    """Whether something answers by HTTP."""
    try:
        return bool(requests.get(f"http://127.0.0.1:{port.laddr.port}/", timeout=2).status_code)
    except requests.RequestException:
        return False


def test_without_cryptography_it_is_one_sentence(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(InputError, match="need the package cryptography; install it with"), cluster.workers_here(1):
        pass


@pytest.mark.parametrize(
    "address", ["tls://127.0.0.1:1", "tcp://127.0.0.1:1", "host", "tcp://nowhere.invalid:8786", "ftp://a:1", ""]
)
def test_a_scheduler_that_is_not_there_is_one_sentence(address: str, monkeypatch) -> None:
    monkeypatch.setattr(cluster, "SECONDS_TO_CONNECT", 1)
    with pytest.raises(InputError, match="Dask scheduler"), cluster.workers_of(address):
        pass


@pytest.mark.slow
def test_trainings_of_lost_workers_are_continued(small_experiment: Experiment, tmp_path: Path) -> None:
    """One worker is killed half way, and later one is told to end, as a cluster tells it."""
    experiments = [replace(small_experiment, seed=seed, steps=80, validate_every=40) for seed in (11, 12, 13)]
    store, undisturbed = RunStore(tmp_path / "swept", checkpoint_seconds=0.0), RunStore(tmp_path / "undisturbed")
    lost: list[str] = []

    def disturb() -> None:
        for notice in (signal.SIGKILL, signal.SIGTERM):
            sent = len(lost) + 1
            while len(lost) < sent:
                time.sleep(0.1)
                for pid, checkpoints in trainings(store.path).items():
                    key = checkpoints.parent.name
                    if key not in lost and len(lost) < sent and list(checkpoints.glob("step-000000[1-9]*")):
                        os.kill(pid, notice)
                        lost.append(key)

    disturber = threading.Thread(target=disturb, daemon=True)
    said: list[str] = []
    threads = {name: os.environ.get(name) for name in (*THREADS, "PYTHONHASHSEED")}
    with cluster.workers_here(2) as client:
        disturber.start()
        outcomes = cluster.fill(client, store, experiments, said.append)
        disturber.join(timeout=1)
        again = [each for each in experiments if each.key() in lost]
        cluster.fill(client, undisturbed, again, said.append)
    assert len(lost) == len(again) == 2
    assert threads == {name: os.environ.get(name) for name in threads}, "this process's environment is as it was"
    assert {outcome.experiment for outcome in outcomes} == set(experiments) and not any(outcome.error for outcome in outcomes)
    assert [line.partition(":")[0] for line in said] == ["1 of 3", "2 of 3", "3 of 3", "1 of 2", "2 of 2"]
    assert not store.missing(experiments) and len(store.finished()) == 3
    assert not list(store.path.glob(".unfinished/*"))
    for each in again:
        same_result(store.result(each), undisturbed.result(each))


@pytest.mark.slow
def test_an_experiment_that_cannot_run_does_not_stop_the_others(small_experiment: Experiment, tmp_path: Path) -> None:
    good, bad = replace(small_experiment, steps=2, validate_every=2), replace(small_experiment, encoder=str(tmp_path / "nothing"))
    store, said = RunStore(tmp_path / "runs"), []
    with cluster.workers_here(1) as client:
        outcomes = {outcome.experiment: outcome for outcome in cluster.fill(client, store, [bad, good], said.append)}
        # A scheduler of one's own is connected to in the same way; here it has the same worker.
        with dask.config.set(certificates_of(client)), cluster.workers_of(client.scheduler.address) as other:
            assert cluster.fill(other, store, [good], said.append) == []
            with pytest.raises(InputError, match="does not see the run store /proc/nowhere"):
                cluster.check_workers(other, "/proc/nowhere/mark")
    assert not outcomes[good].error and "nothing" in outcomes[bad].error and not outcomes[bad].details
    assert any("failed: " in line and str(tmp_path / "nothing") in line for line in said)
    assert store.missing([good, bad]) == [bad]
