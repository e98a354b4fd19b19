"""What one GPU does in one call of eight minutes: whether it computes what it should, and how fast it trains, encodes and searches.

Stages follow each other, each with a deadline; the JSON file is written anew after each of them, so that a call that is cut off
leaves what it measured. Weights, tokens and vectors are random. ``--tiny`` runs the same code on anything, in seconds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import reporting
import torch
import transformers
from gpu_parity import parity
from gpu_ways import LEARNING_RATE, LOSS, WAYS, Way
from random_material import MODELS, PASSAGE_LENGTH, TINY, Material, Size
from stages import DONE, Stages
from timing import device_seconds

from armlib import storage
from armlib.data.batches import Batch, TripleBatches
from armlib.encoder.cudnn import without_cudnn
from armlib.errors import InputError
from armlib.losses import MarginLoss
from armlib.retrieval.embeddings import encode_collection
from armlib.retrieval.encoding import encode_rows
from armlib.retrieval.exact import ExactSearch
from armlib.training.clock import moment, seconds_between, wait_for
from armlib.training.interrupts import Stopped, stop_training_runs
from armlib.training.loop import train
from armlib.training.processes import default_accelerator
from armlib.training.settings import Settings

WARM = 3  # steps before any is timed
QUERIES, RESULTS = 97, 1000  # searched for together, and found for each; TREC-DL 2019 and 2020 judge 43 and 54 queries
NOISE = 0.5  # of a query's length


def environment(material: Material, figures: dict) -> None:
    """What is there beside what every file of a benchmark says."""
    figures |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(), "capability": None, "memory_gib": None}
    if material.device == "cuda":
        found = torch.cuda.get_device_properties(0)
        figures |= {"capability": f"{found.major}.{found.minor}", "memory_gib": round(found.total_memory / 2**30, 1)}


def ceilings(material: Material, figures: dict) -> None:
    """The most that this machine multiplies and copies, in the shapes of an encoder's layers: medians of 20 rounds."""
    rows, width, device = material.size.product, material.size.dim, material.device
    kind = torch.bfloat16 if device == "cuda" else torch.float32
    products = {"feed-forward": (rows, width, 4 * width), "projection": (rows, width, width), "gradient": (4 * width, rows, width)}
    for name, (n, inner, m) in products.items():
        left, right = (torch.randn(shape, device=device, dtype=kind) for shape in ((n, inner), (inner, m)))
        seconds = device_seconds(device, partial(torch.matmul, left, right), 20)
        figures[name] = {"shape": [n, inner, m], "flop_per_second": 2 * n * inner * m / statistics.median(seconds)}
    source = torch.randn(rows * width * (16 if device == "cuda" else 1), device=device)
    seconds = device_seconds(device, partial(torch.empty_like(source).copy_, source), 20)
    figures["copy"] = {"bytes_per_second": 2 * source.nbytes / statistics.median(seconds)}  # read and written
    figures["flop_per_second"] = max(figures[name]["flop_per_second"] for name in products)


def training(model: str, material: Material, figures: dict) -> None:
    """Every way of `WAYS` in turn, round after round, on the same triples."""
    size, device = material.size, material.device
    ways = _made(material, model, figures.setdefault("not_made", {}))
    figures["non_embedding_parameters"] = parameters = material.encoder(model).parameter_counts.non_embedding
    figures["ways"] = measured = {}
    for name, way in ways.items():
        way.prepare(range(WARM))
        began = time.perf_counter()
        way.step(0)
        wait_for(moment(torch.device(device)))
        measured[name] = {"optimizer": way.optimizer_name, "first_step_seconds": time.perf_counter() - began, "rounds": []}
        for step in range(1, WARM):
            way.step(step)
    for number in range(size.rounds):
        for name, way in ways.items():
            measured[name]["rounds"].append(_round(way, range(number * size.steps, (number + 1) * size.steps), device))
        for name in ways:
            measured[name] |= _rates(measured[name]["rounds"], size, parameters)
    if device == "cuda":
        for look in (_waits, _launches):  # last, since nobody knows what they do to the time of what follows
            for name, way in ways.items():
                way.prepare(range(1))
                measured[name] |= look(way)


def _made(material: Material, model: str, missing: dict[str, str]) -> dict[str, Way]:
    """The ways that can be made here; why others cannot be is noted."""
    made = {}
    for name, way in WAYS.items():
        try:
            made[name] = way(material, model)
        except (ImportError, ValueError) as error:
            missing[name] = str(error)
    return made


def _round(way: Way, steps: range, device: str) -> dict[str, float]:
    """Some steps of one way: seconds by the device's clock, those that the program took to give it the work, tokens, memory."""
    way.prepare(steps)
    where, cuda = torch.device(device), device == "cuda"
    wait_for(moment(where))
    before = torch.cuda.memory_allocated() if cuda else 0
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    began, given = moment(where), time.perf_counter()
    for step in steps:
        way.step(step)
    given, ended = time.perf_counter() - given, moment(where)
    wait_for(ended)
    real, padded = way.tokens()
    found = {"seconds": seconds_between(began, ended), "host_seconds": given, "real_tokens": real, "padded_tokens": padded}
    return found | ({"working_gib": (torch.cuda.max_memory_allocated() - before) / 2**30} if cuda else {})


def _rates(rounds: list[dict[str, float]], size: Size, parameters: int) -> dict[str, float]:
    """Medians of some rounds; operations are 6 for each parameter outside the embedding tables and each real token."""
    triples = size.batch * size.steps
    flop = statistics.median(6 * parameters * each["real_tokens"] / each["seconds"] for each in rounds)
    return {
        "triples_per_second": statistics.median(triples / each["seconds"] for each in rounds),
        "milliseconds_per_step": statistics.median(1000 * each["seconds"] / size.steps for each in rounds),
        "host_milliseconds_per_step": statistics.median(1000 * each["host_seconds"] / size.steps for each in rounds),
        "real_tokens_per_triple": sum(each["real_tokens"] for each in rounds) / (triples * len(rounds)),
        "padded_over_real": sum(each["padded_tokens"] for each in rounds) / sum(each["real_tokens"] for each in rounds),
        "flop_per_second_on_real_tokens": flop,
    }


def _launches(way: Way) -> dict[str, object]:
    """What the profiler counts in a step that was prepared: kernels, the milliseconds that they took, and the costliest of them."""
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        way.step(0)
        torch.cuda.synchronize()
    kernels = [event for event in profiler.events() if event.device_type == DeviceType.CUDA]
    spent: dict[str, list[float]] = {}
    for kernel in kernels:
        spent.setdefault(kernel.name[:80], []).append(kernel.time_range.elapsed_us() / 1000)
    costliest = sorted(spent.items(), key=lambda each: -sum(each[1]))[:12]
    return {
        "launches": len(kernels),
        "busy_milliseconds": sum(map(sum, spent.values())),
        "costliest": [{"kernel": name, "launches": len(each), "milliseconds": sum(each)} for name, each in costliest],
    }


def _waits(way: Way) -> dict[str, object]:
    """How often a step that was prepared waits for the device, by torch's own account, and where."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            way.step(0)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    places = [f"{Path(each.filename).name}:{each.lineno}" for each in caught if "called a synchronizing" in str(each.message)]
    return {"waits": len(places), "waits_at": sorted(set(places))}


class StoppedAfter:
    """Batches that ask for an end of training after some of them, as SIGTERM does."""

    def __init__(self, batches: TripleBatches, count: int) -> None:
        self.batches, self.count = batches, count

    def starting_at(self, step: int, stop: int, **options: object) -> Iterator[Batch]:
        for number, batch in enumerate(self.batches.starting_at(step, stop, **options), step + 1):
            if number == self.count:
                stop_training_runs()
            yield batch


def loop(material: Material, figures: dict) -> None:
    """A training run of the real loop, with workers that gather; then the same stopped half way and resumed from its checkpoint."""
    size = material.size
    workers = 4 if material.device == "cuda" else 0
    settings, batches = Settings(size.trained, LEARNING_RATE, workers=workers), material.batches()
    accelerator, half = default_accelerator(material.device), size.trained // 2

    def trained(source: TripleBatches | StoppedAfter, **options: object):
        encoder = material.encoder("distilBERT")
        return train(encoder, MarginLoss(LOSS), source, settings, accelerator=accelerator, **options)

    whole = trained(batches)
    steady = whole.trace.iloc[min(20, size.trained // 3) :]
    figures |= {
        "optimizer": whole.optimizer,
        "workers": workers,
        "steps": len(whole.trace),
        "triples_per_second": size.batch * len(steady) / float(steady.seconds.sum()),
        "slowest_step_seconds": float(steady.seconds.max()),
        "waiting": float(steady.waiting_seconds.sum() / steady.seconds.sum()),
        "loss": [float(whole.trace.loss.iloc[0]), float(whole.trace.loss.iloc[-1])],
    }
    kept = material.folder / "checkpoints"
    try:
        trained(StoppedAfter(batches, half), checkpoints=kept)
    except Stopped:
        figures["stopped_after"] = half
    began = time.perf_counter()
    resumed = trained(batches, checkpoints=kept)
    figures["resumed_seconds"] = time.perf_counter() - began
    apart = (resumed.trace.loss / whole.trace.loss - 1).abs()
    figures |= {
        "resumed_steps": len(resumed.trace),
        # Kernels that add in any order make other last bits, which grow from step to step.
        "loss_apart_before_the_stop": float(apart[:half].max()),
        "loss_apart_after_it": float(apart[half:].max()),
    }


def encoding(material: Material, figures: dict) -> None:
    """Passages into memory with each encoder, into a file as a collection is, and by sentence-transformers in bfloat16."""
    store, count = material.stores[1], material.size.encoded
    rows = np.random.default_rng(2).permutation(len(store))[:count]
    tokens = float(np.minimum(store.lengths[rows], PASSAGE_LENGTH).mean())
    figures |= {"passages": count, "real_tokens_per_passage": tokens, "models": {}}
    for model in MODELS:
        encoder = material.encoder(model)
        encode_rows(encoder, store, rows[: count // 10], PASSAGE_LENGTH)
        began = time.perf_counter()
        vectors = encode_rows(encoder, store, rows, PASSAGE_LENGTH)
        rate = count / (time.perf_counter() - began)
        flop = 2 * encoder.parameter_counts.non_embedding * tokens * rate
        figures["models"][model] = {"passages_per_second": rate, "flop_per_second_on_real_tokens": flop}
    began = time.perf_counter()
    kept = encode_collection(
        material.encoder("distilBERT"),
        store,
        material.folder / "vectors",
        PASSAGE_LENGTH,
        key="random",
        block=count // 2,
        dtype="float16",
    )
    figures["into_a_file"] = {"passages": len(kept), "passages_per_second": len(kept) / (time.perf_counter() - began)}
    peer, some = material.sentence_transformer("MPNet"), rows[: count // 4]
    peer = peer.to(torch.bfloat16) if material.device == "cuda" else peer
    texts = material.texts(some)
    options = {"batch_size": 512, "show_progress_bar": False, "normalize_embeddings": True, "convert_to_numpy": True}
    peer.encode_document(texts[: len(texts) // 10], **options)
    began = time.perf_counter()
    theirs = peer.encode_document(texts, **options)
    seconds = time.perf_counter() - began
    cosines = (theirs.astype(np.float32) * vectors[: len(some)]).sum(1)
    figures["sentence-transformers"] = {"model": "MPNet", "passages": len(some), "passages_per_second": len(some) / seconds}
    figures["sentence-transformers"]["lowest_cosine_with_ours"] = float(cosines.min())


def searching(material: Material, figures: dict) -> None:
    """Exact search for noisy copies of some vectors among all, which lie on the device in float16."""
    count, dim, device = material.size.vectors, material.size.dim, material.device
    vectors, generator = np.empty((count, dim), np.float16), torch.Generator(device).manual_seed(0)
    for start in range(0, count, 131_072):
        block = torch.randn((min(131_072, count - start), dim), generator=generator, device=device)
        vectors[start : start + len(block)] = torch.nn.functional.normalize(block, dim=1).half().cpu().numpy()
    chosen = np.random.default_rng(0).choice(count, QUERIES, replace=False)
    noise = np.random.default_rng(1).standard_normal((QUERIES, dim), dtype=np.float32)
    queries = vectors[chosen].astype(np.float32) + NOISE * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    search, seconds = ExactSearch(vectors, device=device), []
    for _ in range(4):
        began = time.perf_counter()
        scores, rows = search.search(queries, RESULTS)
        seconds.append(time.perf_counter() - began)
    figures |= {
        "vectors": count,
        "dim": dim,
        "queries": QUERIES,
        "first_seconds": seconds[0],  # with the copy to the device
        "seconds_per_query": min(seconds[1:]) / QUERIES,
        "flop_per_second": 2 * count * dim * QUERIES / min(seconds[1:]),
        "found": float((rows[:, 0] == chosen).mean()),
        "in_descending_order": bool((np.diff(scores) <= 0).all()),
    }


STAGES: dict[str, tuple[float, Callable[[Material, dict], None]]] = {
    "environment": (10, environment),
    "ceilings": (20, ceilings),
    "parity": (60, parity),
    **{f"training {model}": (75, partial(training, model)) for model in MODELS},
    "loop": (75, loop),
    "encoding": (60, encoding),
    "searching": (45, searching),
}
"""By name, the seconds after which a stage is interrupted, and what it does; what is needed most comes first."""


def table(found: dict[str, dict]) -> str:
    """A few lines that say the most of it."""
    lines = [f"{name:24} {noted['outcome']} ({noted['seconds']:.1f} s)" for name, noted in found.items()]
    figures = {name: noted["figures"] for name, noted in found.items()}
    most = figures.get("ceilings", {}).get("flop_per_second")
    if most:
        lines.append(f"\n{'matrix product':24} {most / 1e12:8.1f} TFLOP/s")
    for model in MODELS:
        for name, way in figures.get(f"training {model}", {}).get("ways", {}).items():
            if "triples_per_second" in way:
                share = f"{way['flop_per_second_on_real_tokens'] / most:5.1%} of it" if most else ""
                lines.append(f"{model:11} {name:34} {way['triples_per_second']:8.0f} triples/s {share}")
        if (rates := figures.get("encoding", {}).get("models", {}).get(model)) is not None:
            lines.append(f"{model:11} {'encoding':34} {rates['passages_per_second']:8.0f} passages/s")
    for name, holds in ((name, each.get("holds")) for name, each in figures.get("parity", {}).items()):
        lines.append(f"parity {name:17} {'holds' if holds else 'DOES NOT HOLD'}")
    return "\n".join(lines)


def main() -> None:
    arguments = _arguments()
    unknown = set(arguments.only or ()) - set(STAGES)
    if unknown:
        raise InputError(f"there is no stage {sorted(unknown)[0]!r}; expected some of {', '.join(STAGES)}")
    torch.set_num_threads(arguments.threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    device = default_accelerator(arguments.device).device.type
    result = {"device": device, "weights": "random", "loss": LOSS}
    stages = Stages(arguments.seconds, lambda found: reporting.write("gpu", arguments, result | {"stages": found}, quiet=True))
    with tempfile.TemporaryDirectory(prefix="gpu-") as name, storage.disk_errors(Path(name)), without_cudnn():
        material = Material(TINY if arguments.tiny else Size(), Path(name), device)
        for stage, (seconds, work) in STAGES.items():
            if arguments.only is None or stage in arguments.only:
                stages.run(stage, seconds, partial(work, material))
    path = reporting.write("gpu", arguments, result | {"stages": stages.found})
    print(f"\n{table(stages.found)}\n")
    wrong = [name for name, noted in stages.found.items() if noted["outcome"] != DONE]
    if wrong:
        raise InputError(f"{len(wrong)} of {len(stages.found)} stages did not end, the first is {wrong[0]!r}; see {path.name}")


def _arguments() -> argparse.Namespace:
    parser = reporting.options(__doc__)
    parser.add_argument("--seconds", type=float, default=450.0, help="of all stages together")
    parser.add_argument("--tiny", action="store_true", help="so little of everything that a CPU does it in seconds; no measurement")
    parser.add_argument("--only", nargs="+", metavar="STAGE", help="some of the stages")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="float32 on a CPU, bf16 on CUDA")
    parser.add_argument("--threads", type=int, default=1, help="threads that compute on the CPU")
    return parser.parse_args()


if __name__ == "__main__":
    reporting.run(main)
