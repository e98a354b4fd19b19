"""Energy from made-up counters and from a made-up nvidia-smi, since few machines that run tests show theirs."""

from __future__ import annotations

import stat

import pytest

from armlib import energy
from armlib.errors import InputError

NOTHING = ("no-such-command-anywhere",)


def counter(folder, name, used, largest=1_000_000_000):
    folder.mkdir(parents=True)
    for file, value in (("name", name), ("energy_uj", used), ("max_energy_range_uj", largest)):
        (folder / file).write_text(f"{value}\n")


@pytest.fixture
def rapl(tmp_path):
    counter(tmp_path / "rapl" / "intel-rapl:0", "package-0", 5_000_000)
    counter(tmp_path / "rapl" / "intel-rapl:0:0", "core", 4_000_000)
    return tmp_path / "rapl"


@pytest.fixture
def smi(tmp_path):
    def make(text, status=0):
        script = tmp_path / "nvidia-smi"
        script.write_text(f"#!/bin/sh\nprintf '{text}'\nexit {status}\n")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        return (str(script),)

    return make


def test_a_package_is_counted_once_without_its_parts(rapl):
    assert energy.counters(rapl) == {"package-0": (5_000_000, 1_000_000_000)}


def test_a_counter_that_started_again_is_not_negative():
    assert energy.joules((900_000_000, 1_000_000_000), (100_000_000, 1_000_000_000)) == 200
    assert energy.joules((100_000_000, 1_000_000_000), (900_000_000, 1_000_000_000)) == 800


def test_a_machine_that_tells_nothing_says_so(tmp_path):
    table = energy.sources(tmp_path / "none", NOTHING)
    assert list(table["can be read"]) == [
        "no: this machine shows no such counters", "no: there is no no-such-command-anywhere"
    ]  # fmt: skip
    assert energy.watts_under_load(0.01, tmp_path / "none", NOTHING) == {}


def test_counters_are_read_over_the_time_that_passes(rapl, monkeypatch):
    readings = iter([{"package-0": (0, 10**9)}, {"package-0": (50_000_000, 10**9)}])
    monkeypatch.setattr(energy, "counters", lambda folder: next(readings))
    found = energy.watts_under_load(0.5, rapl, NOTHING)
    assert 5 < found["package-0"] <= 100  # 50 J in half a second, or in more on a busy machine


def test_what_nvidia_smi_prints_is_watts_of_each_gpu(tmp_path, smi):
    command = smi("NVIDIA H100, 80GB, 412.50\\nNVIDIA H100, 80GB, 75\\n")
    assert energy.sources(tmp_path / "none", command)["can be read"][1] == "yes"
    assert energy.watts_under_load(0.01, tmp_path / "none", command) == {"NVIDIA H100, 80GB 0": 412.5, "NVIDIA H100, 80GB 1": 75.0}


@pytest.mark.parametrize(("text", "status"), [("NVIDIA A100, [N/A]\\n", 0), ("failed\\n", 9)])
def test_a_gpu_without_power_cannot_be_read(tmp_path, smi, text, status):
    command = smi(text, status)
    assert energy.sources(tmp_path / "none", command)["can be read"][1] == "no: it reports no power"
    assert energy.watts_under_load(0.01, tmp_path / "none", command) == {}


def test_an_estimate_is_power_times_hours_and_says_that_it_is_one():
    text = energy.estimate({"package-0": 100.0, "GPU 0": 400.0}, 3.0)
    assert "100 W" in text and "1.500 kWh" in text and "estimate" in text
    assert "no figure" in energy.estimate({}, 3.0)


def test_no_time_is_refused(tmp_path):
    with pytest.raises(InputError, match="more than 0 seconds"):
        energy.watts_under_load(0, tmp_path, NOTHING)
