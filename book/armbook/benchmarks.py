"""What the benchmarks measured: the JSON files of ``benchmarks/results`` as tables whose rows know their machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from armlib import storage
from armlib.errors import InputError
from armlib.experiments.provenance import machine_line

FOLDER = Path("benchmarks/results")
TRAINING, ENCODING, GATHERING, BUILDING = "training-speed", "encoding-speed", "gather-speed", "store-speed"
BATCHES, SEARCHING, GPU = "batch-memory", "search-speed", "gpu"
OURS = "armlib"


def find(start: Path | None = None) -> Path | None:
    """The folder of the benchmarks' files, in ``start`` (default: the working folder) or the nearest folder above; None without."""
    start = (start or Path.cwd()).resolve()
    return next((above / FOLDER for above in (start, *start.parents) if (above / FOLDER).is_dir()), None)


def load(folder: Path | None) -> list[dict]:
    """The benchmarks' files in the order of their names; none where there is no folder.

    Raises:
        InputError: a file is not what a benchmark wrote.
    """
    found = []
    for file in sorted(folder.glob("*.json")) if folder else []:
        content = storage.read_json(file)
        if not isinstance(content, dict) or not {"benchmark", "made", "settings"} <= set(content):
            raise InputError(f"{file} is not a benchmark's file: expected benchmark, made and settings in it")
        found.append({**content, "file": file.name})
    return found


def on_gpu(found: Sequence[dict]) -> list[dict]:
    """Those that were measured with a GPU."""
    return [each for each in found if each["made"]["machine"]["gpu"]]


def where(found: Sequence[dict]) -> str:
    """What was measured on a GPU and what was not, in a sentence or two."""
    if not found:
        return f"There is no {FOLDER} in the working folder or above it, so there are no benchmarks to show."
    with_gpu = on_gpu(found)
    counted = "1 file is" if len(found) == 1 else f"{len(found)} files are"
    if not with_gpu:
        return f"{counted} there, and none of a GPU: nothing below is a measurement of a GPU."
    listed = ", ".join(f"{each['benchmark']} ({each['made']['machine']['gpu']})" for each in with_gpu)
    return f"{counted} there, {len(with_gpu)} of a GPU: {listed}."


def training_speed(found: Sequence[dict]) -> pd.DataFrame:
    """How fast training is, a row for each way of each file.

    Columns: ``way``; ``layers`` of the encoder; ``batch``, its triples; ``triples per second`` and ``padded tokens per triple``,
    medians over rounds; ``armlib over it``, the ratio of the rates, and the same ``by processor time`` (medians of the rounds'
    ratios; missing where the file has none); ``real tokens per triple``; ``machine``; ``device``.
    """
    rows = []
    for each in of(found, TRAINING):
        for way, figures in each["ways"].items():
            rows.append(
                {
                    "way": way,
                    "layers": each["settings"]["layers"],
                    "batch": each["settings"]["batch_size"],
                    "triples per second": figures["triples_per_second"],
                    "padded tokens per triple": figures["padded_tokens_per_triple"],
                    "armlib over it": 1.0 if way == OURS else _ratio(each, way, "median"),
                    "by processor time": 1.0 if way == OURS else _ratio(each, way, "median_cpu"),
                    "real tokens per triple": each["floor"]["real_tokens_per_triple"],
                    "machine": machine_line(each["made"]),
                    "device": each["device"],
                }
            )
    return pd.DataFrame(rows)


def encoding_speed(found: Sequence[dict]) -> pd.DataFrame:
    """How fast passages are encoded, a row for each way of each file.

    Columns: ``way``; ``layers`` of the encoder; ``passages`` in a round, where the file says it; ``passages per second``, the
    median over rounds; ``armlib over it`` and the same ``by processor time``, medians of the rounds' ratios of rates, the latter
    only of processors; ``real tokens per passage``; ``machine``; ``device``.
    """
    return pd.DataFrame(
        [
            {
                "way": way,
                "layers": each["settings"]["layers"],
                "passages": each["settings"].get("passages"),
                "passages per second": figures["passages_per_second"],
                "armlib over it": 1.0 if way == OURS else each["ratios"][f"{OURS} over {way}"],
                "by processor time": 1.0 if way == OURS else each.get("ratios_cpu", {}).get(f"{OURS} over {way}"),
                "real tokens per passage": each["floor"]["real_tokens_per_passage"],
                "machine": machine_line(each["made"]),
                "device": each["device"],
            }
            for each in of(found, ENCODING)
            for way, figures in each["ways"].items()
        ]
    )


def gather_speed(found: Sequence[dict]) -> pd.DataFrame:
    """How fast batches are gathered without training, a row for each number of triples of each file.

    Columns: ``triples``, ``gathered per second``, ``private memory (MiB)``, ``padded over real``, ``machine``.
    """
    rows = [
        {
            "triples": size["triples"],
            "gathered per second": size["triples_per_second"],
            "private memory (MiB)": size["memory"]["last_batches"]["private_mib"],
            "padded over real": size["padded_tokens_per_triple"] / size["real_tokens_per_triple"],
            "machine": machine_line(each["made"]),
        }
        for each in of(found, GATHERING)
        for size in each["sizes"]
    ]
    return pd.DataFrame(rows)


def store_speed(found: Sequence[dict]) -> pd.DataFrame:
    """How fast stores are built of a synthetic collection, a row for passages, queries and triples of each file.

    Columns: ``store``, ``count``, ``built per second``, ``bytes (GB)``, ``peak memory (GiB)`` (of the whole build), ``went on
    from`` (passages that were done when the build was killed), ``machine``.
    """
    rows = []
    for each in of(found, BUILDING):
        for store in ("passages", "queries", "triples"):
            figures = each[store]
            rate = figures["triples_per_second"] if store == "triples" else figures["texts_per_second"]
            rows.append(
                {
                    "store": store,
                    "count": each["settings"][store],
                    "built per second": rate,
                    "bytes (GB)": figures["bytes"] / 1e9,
                    "peak memory (GiB)": each["peak_gib"],
                    "went on from": figures.get("went_on_from", 0),
                    "machine": machine_line(each["made"]),
                }
            )
    return pd.DataFrame(rows)


def batch_memory(found: Sequence[dict]) -> pd.DataFrame:
    """What one gradient of a batch takes, with and without gradient caching, a row for each of each file.

    Columns: ``loss``; ``triples`` of the batch; ``gradient caching``; ``memory (MiB)``, the most less what was there before;
    ``seconds``; ``gradients differ by``, the distance of cached and plain gradient over the length of the plain one (missing where
    the batch was not made without caching); ``machine``.
    """
    rows = []
    for each in of(found, BATCHES):
        apart = {(one["loss"], one["batch_size"]): one["relative_difference"] for one in each["gradients"]}
        for row in each["batches"]:
            rows.append(
                {
                    "loss": row["loss"],
                    "triples": row["batch_size"],
                    "gradient caching": "yes" if row["cached"] else "no",
                    "memory (MiB)": row["peak_mib"] - row["before_mib"],
                    "seconds": row["seconds"],
                    "gradients differ by": apart.get((row["loss"], row["batch_size"])),
                    "machine": machine_line(each["made"]),
                }
            )
    return pd.DataFrame(rows)


def search_speed(found: Sequence[dict]) -> pd.DataFrame:
    """How fast exact search is, a row for each file.

    Columns: ``vectors``, ``dimensions``, ``results`` of each query, ``seconds per query`` (best round, ``queries`` at a time),
    ``found`` (share of queries whose own vector came first), ``memory (MiB)`` (of the process itself, or the GPU's), ``machine``.
    """
    return pd.DataFrame(
        [
            {
                "vectors": each["settings"]["vectors"],
                "dimensions": each["settings"]["dim"],
                "queries": each["settings"]["queries"],
                "results": each["settings"]["k"],
                "seconds per query": each["seconds_per_query"],
                "found": each["found"],
                "memory (MiB)": each.get("private_mib", each["peak_mib"]),
                "machine": machine_line(each["made"]),
            }
            for each in of(found, SEARCHING)
        ]
    )


def _ratio(each: dict, way: str, of_rounds: str) -> float | None:
    ratio = each["ratios"].get(f"{OURS} over {way}")
    return ratio and ratio.get(of_rounds)


def of(found: Sequence[dict], benchmark: str) -> list[dict]:
    """The files of one benchmark."""
    return [each for each in found if each["benchmark"] == benchmark]
