"""What the benchmarks measured: the JSON files of ``benchmarks/results`` as tables, each row with its machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from armbook import projection
from armbook.projection import Rates
from armbook.published import MODELS
from armbook.tables import as_html
from armlib import storage
from armlib.errors import InputError
from armlib.experiments.provenance import machine_line

FOLDER = Path("benchmarks/results")
TRAINING, ENCODING, GATHERING, BUILDING = "training-speed", "encoding-speed", "gather-speed", "store-speed"
BATCHES, SEARCHING, GPU = "batch-memory", "search-speed", "gpu"
OURS = "armlib"
LAYERS = {6: ("distilBERT",), 12: ("RoBERTa", "MPNet")}  # encoders of Table 1 by their depth; those of one depth cost the same


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


def machines(found: Sequence[dict]) -> pd.DataFrame:
    """Which benchmarks ran where.

    Columns: ``file``, ``benchmark``, ``machine``, ``GPU`` (its name, or ``none``), ``time``.
    """
    rows = [
        {
            "file": each["file"],
            "benchmark": each["benchmark"],
            "machine": machine_line(each["made"]),
            "GPU": each["made"]["machine"]["gpu"] or "none",
            "time": each["made"]["time"],
        }
        for each in found
    ]
    return pd.DataFrame(rows, columns=["file", "benchmark", "machine", "GPU", "time"])


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

    Columns: ``way``; ``layers`` of the encoder; ``triples per second`` and ``padded tokens per triple``, medians over rounds;
    ``armlib's rate over it`` (the median of the rounds' ratios; missing where the file has none); ``real tokens per triple``;
    ``machine``; ``device``.
    """
    rows = []
    for each in _of(found, TRAINING):
        for way, figures in each["ways"].items():
            rows.append(
                {
                    "way": way,
                    "layers": each["settings"]["layers"],
                    "triples per second": figures["triples_per_second"],
                    "padded tokens per triple": figures["padded_tokens_per_triple"],
                    "armlib's rate over it": 1.0 if way == OURS else _ratio(each, way),
                    "real tokens per triple": each["floor"]["real_tokens_per_triple"],
                    "machine": machine_line(each["made"]),
                    "device": each["device"],
                }
            )
    return pd.DataFrame(rows)


def encoding_speed(found: Sequence[dict]) -> pd.DataFrame:
    """How fast passages are encoded, a row for each way of each file.

    Columns: ``way``; ``layers`` of the encoder; ``passages per second``, the median over rounds; ``armlib's rate over it`` (the
    median of the rounds' ratios); ``real tokens per passage``; ``machine``; ``device``.
    """
    return pd.DataFrame(
        [
            {
                "way": way,
                "layers": each["settings"]["layers"],
                "passages per second": figures["passages_per_second"],
                "armlib's rate over it": 1.0 if way == OURS else each["ratios"][f"{OURS} over {way}"],
                "real tokens per passage": each["floor"]["real_tokens_per_passage"],
                "machine": machine_line(each["made"]),
                "device": each["device"],
            }
            for each in _of(found, ENCODING)
            for way, figures in each["ways"].items()
        ]
    )


def gather_speed(found: Sequence[dict]) -> pd.DataFrame:
    """How fast batches are gathered without training, a row for each number of triples of each file.

    Columns: ``triples``, ``gathered per second``, ``aim per second``, ``aim met``, ``private memory (MiB)``, ``padded over real``,
    ``machine``.
    """
    rows = [
        {
            "triples": size["triples"],
            "gathered per second": size["triples_per_second"],
            "aim per second": each["target"]["triples_per_second"],
            "aim met": size["triples_per_second"] >= each["target"]["triples_per_second"],
            "private memory (MiB)": size["memory"]["last_batches"]["private_mib"],
            "padded over real": size["padded_tokens_per_triple"] / size["real_tokens_per_triple"],
            "machine": machine_line(each["made"]),
        }
        for each in _of(found, GATHERING)
        for size in each["sizes"]
    ]
    return pd.DataFrame(rows)


def store_speed(found: Sequence[dict]) -> pd.DataFrame:
    """How fast stores are built of a synthetic collection, a row for passages, queries and triples of each file.

    Columns: ``store``, ``count``, ``built per second``, ``bytes (GB)``, ``peak memory (GiB)`` (of the whole build), ``went on
    from`` (passages that were done when the build was killed), ``machine``.
    """
    rows = []
    for each in _of(found, BUILDING):
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
    for each in _of(found, BATCHES):
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
            for each in _of(found, SEARCHING)
        ]
    )


def gpu_call(found: Sequence[dict]) -> dict[str, pd.DataFrame]:
    """The tables ``parity``, ``training`` and ``stages`` of the calls on a GPU; none that is empty."""
    made = {"parity": gpu_parity(found), "training": gpu_training(found), "stages": gpu_stages(found)}
    return {name: table for name, table in made.items() if len(table)}


def gpu_training(found: Sequence[dict]) -> pd.DataFrame:
    """How fast training is in one call on a GPU, a row for each encoder and way of each file.

    Columns: ``encoder``, ``way``, ``triples per second`` (the median of rounds), ``of the matrix product`` (arithmetic on real
    tokens over the rate of the fastest matrix product; missing where that was not measured), ``padded over real``,
    ``milliseconds a step``, ``host's`` (those that the program takes to give the device a step's work), ``kernels`` launched
    and ``waits`` for the device in a step (missing where nobody counted), ``machine``.
    """
    rows = []
    for each in _calls(found):
        most = _figures(each, "ceilings").get("flop_per_second")
        for model, way, figures in _ways(each):
            rows.append(
                {
                    "encoder": model,
                    "way": way,
                    "triples per second": figures["triples_per_second"],
                    "of the matrix product": most and figures["flop_per_second_on_real_tokens"] / most,
                    "padded over real": figures["padded_over_real"],
                    "milliseconds a step": figures["milliseconds_per_step"],
                    "host's": figures["host_milliseconds_per_step"],
                    "kernels": figures.get("launches"),
                    "waits": figures.get("waits"),
                    "machine": machine_line(each["made"]),
                }
            )
    return pd.DataFrame(rows)


def gpu_stages(found: Sequence[dict]) -> pd.DataFrame:
    """What became of the stages of one call on a GPU, a row for each stage of each file.

    Columns: ``stage``, ``outcome``, ``seconds``, ``machine``.
    """
    return pd.DataFrame(
        [
            {"stage": stage, "outcome": noted["outcome"], "seconds": noted["seconds"], "machine": machine_line(each["made"])}
            for each in _calls(found)
            for stage, noted in each["stages"].items()
        ]
    )


def gpu_parity(found: Sequence[dict]) -> pd.DataFrame:
    """Whether a GPU computes what transformers' padded forward pass computes in float64, a row for each architecture of each file.

    Columns: ``encoder`` (and how batches lie); ``gradient apart in float32`` and ``as trained``, distances over the length of the
    float64 gradient, with ``transformers' as trained``, that of its own padded pass in the same precision; ``attention dropout``,
    how far it moves embeddings over how far it does in transformers' eager attention; ``holds``; ``machine``.
    """
    return pd.DataFrame(
        [
            {
                "encoder": name,
                "gradient apart in float32": figures["float32"]["gradient"],
                "as trained": figures["as_trained"]["gradient"],
                "transformers' as trained": figures["as_trained"]["stock"],
                "attention dropout": figures["attention_dropout"]["ratio"],
                "holds": "yes" if figures["holds"] else "no",
                "machine": machine_line(each["made"]),
            }
            for each in _calls(found)
            for name, figures in _figures(each, "parity").items()
            if "holds" in figures  # an interrupted stage leaves one behind that is not whole
        ]
    )


def benchmark_as_html(table: pd.DataFrame) -> str:
    """One of these tables for a page: two decimals, below 0.01 the power of ten; a sentence where it is empty."""
    if table.empty:
        return "<p>No file measures it.</p>"
    return as_html(table, number=_written)


def _written(value: float) -> str:
    return f"{value:,.2f}" if abs(value) >= 0.01 or not value else f"{value:.0e}"


def measured_rates(found: Sequence[dict]) -> list[Rates]:
    """Rates for projections from every GPU on which training was measured; none where there was no GPU.

    What a machine's files do not measure follows by arithmetic from the operations a second that another encoder reached, in
    training or, where there is a file of it, in encoding.
    """
    by_machine: dict[str, list[dict]] = {}
    for each in on_gpu(found):
        by_machine.setdefault(each["made"]["machine"]["gpu"], []).append(each)
    return [_rates(machine, some) for machine, some in by_machine.items() if _trained(some)]


class _Measured(NamedTuple):
    """The rate of armlib with an encoder (its name in Table 3, empty for another), and the operations a second on real tokens."""

    model: str
    rate: float
    speed: float


def _rates(machine: str, found: Sequence[dict]) -> Rates:
    trained, encoded = _trained(found), _encoded(found)
    triples = projection.from_speed("measured", machine, _speed(trained)).triples
    passages = projection.from_speed("measured", machine, _speed(encoded or trained)).passages
    training, encoding = _best(trained), _best(encoded)
    lacking = [f"training of {model}" for model in triples if model not in training]
    lacking += [f"encoding with {model}" for model in passages if model not in encoding] if encoding else ["encoding"]
    return Rates("measured", machine, {**triples, **training}, {**passages, **encoding}, derived=tuple(lacking))


def _trained(found: Sequence[dict]) -> list[_Measured]:
    """Triples a second."""
    calls = [(model, way) for each in _calls(found) for model, name, way in _ways(each) if name.startswith(OURS)]
    return _of_depths(_of(found, TRAINING), "triples_per_second") + [
        _Measured(model, way["triples_per_second"], way["flop_per_second_on_real_tokens"]) for model, way in calls
    ]


def _encoded(found: Sequence[dict]) -> list[_Measured]:
    """Passages a second."""
    calls = [pair for each in _calls(found) for pair in _figures(each, "encoding").get("models", {}).items()]
    return _of_depths(_of(found, ENCODING), "passages_per_second") + [
        _Measured(model, figures["passages_per_second"], figures["flop_per_second_on_real_tokens"]) for model, figures in calls
    ]


def _of_depths(found: Sequence[dict], rate: str) -> list[_Measured]:
    """The rates of files that measured one encoder each, which stands for those of its depth."""
    return [
        _Measured(model, each["ways"][OURS][rate], each["ways"][OURS]["flop_per_second_on_real_tokens"])
        for each in found
        for model in LAYERS.get(each["settings"]["layers"], ("",))
    ]


def _speed(measured: Sequence[_Measured]) -> float:
    return max(each.speed for each in measured)


def _best(measured: Sequence[_Measured]) -> dict[str, float]:
    """The best measured rate of each encoder of Table 1 that was measured, or stood for by one of its depth."""
    best: dict[str, float] = {}
    for each in measured:
        if each.model:
            best[each.model] = max(best.get(each.model, 0.0), each.rate)
    return best


def _calls(found: Sequence[dict]) -> list[dict]:
    """The files of one call on a GPU; those of a few tiny steps, or of a CPU, measure nothing."""
    return [each for each in _of(found, GPU) if each["device"] == "cuda" and not each["settings"]["tiny"]]


def _figures(each: dict, stage: str) -> dict:
    """What a stage of a call measured, as far as it came; nothing where it was not begun."""
    return each["stages"].get(stage, {}).get("figures", {})


def _ways(each: dict) -> Iterator[tuple[str, str, dict]]:
    """Encoder, name and figures of the ways of training that a call has timed."""
    for model in MODELS:
        for name, figures in _figures(each, f"training {model}").get("ways", {}).items():
            if "triples_per_second" in figures:  # an interrupted stage has some that were only begun
                yield model, name, figures


def _ratio(each: dict, way: str) -> float | None:
    ratio = each["ratios"].get(f"{OURS} over {way}")
    return ratio and ratio["median"]


def _of(found: Sequence[dict], benchmark: str) -> list[dict]:
    return [each for each in found if each["benchmark"] == benchmark]
