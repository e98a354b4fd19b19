"""The benchmarks' own files as tables, and one made up as a GPU's, since none was measured on one yet."""

from __future__ import annotations

import copy

import pytest

from armbook import benchmarks_page
from armbook.benchmarks import (
    FOLDER,
    batch_memory,
    encoding_speed,
    find,
    gather_speed,
    load,
    on_gpu,
    search_speed,
    store_speed,
    training_speed,
    where,
)
from armbook.gpu_benchmarks import gpu_call, gpu_parity, gpu_stages, gpu_training
from armbook.measured_rates import measured_rates
from armbook.projection import TOKENS_PER_PASSAGE, comparison, flop_per_triple, non_embedding
from armlib import storage
from armlib.errors import InputError
from books import REPOSITORY

H100 = "NVIDIA H100 80GB HBM3"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ARMLIB_FIGURES", str(tmp_path))


@pytest.fixture(scope="module")
def processor() -> list[dict]:
    return [each for each in load(find(REPOSITORY)) if not each["made"]["machine"]["gpu"]]


def on_a_gpu(found: list[dict], layers: int, rate: float) -> dict:
    """A file of training speed as a GPU would write it, with a made-up rate."""
    [file] = [copy.deepcopy(each) for each in found if each["benchmark"] == "training-speed"][:1]
    file["made"]["machine"]["gpu"], file["settings"]["layers"], file["device"] = H100, layers, "cuda"
    model = {6: "distilBERT", 12: "RoBERTa"}[layers]
    file["ways"]["armlib"] |= {"triples_per_second": rate, "flop_per_second_on_real_tokens": rate * flop_per_triple(model)}
    return file


def test_the_folder_is_found_from_any_folder_below_it() -> None:
    assert find(REPOSITORY / "notebooks") == REPOSITORY.resolve() / FOLDER


def test_without_a_folder_there_is_nothing_and_it_is_said(tmp_path) -> None:
    assert find(tmp_path) is None and load(None) == []
    assert where([]).startswith("There is no benchmarks/results")
    assert training_speed([]).empty and gather_speed([]).empty and store_speed([]).empty
    assert measured_rates([]) == []


def test_what_is_no_benchmark_is_refused(tmp_path) -> None:
    storage.write_json(tmp_path / "other.json", {"benchmark": "training-speed"})
    with pytest.raises(InputError, match="other.json is not a benchmark's file"):
        load(tmp_path)


def test_training_speed_holds_the_files_medians(processor) -> None:
    table = training_speed(processor)
    file = next(each for each in processor if each["benchmark"] == "training-speed")
    row = table[(table.way == "sentence-transformers")].iloc[0]
    assert row["triples per second"] == file["ways"]["sentence-transformers"]["triples_per_second"]
    assert row["armlib over it"] == file["ratios"]["armlib over sentence-transformers"]["median"]
    assert row.layers == 6 and "GiB" in row.machine and row.device == "cpu"


def test_store_speed_holds_each_store(processor) -> None:
    made = {key: processor[0][key] for key in ("made", "file")}
    texts = {"texts_per_second": 3000.0, "bytes": 2_000_000_000, "went_on_from": 40}
    file = {
        "benchmark": "store-speed",
        **made,
        "settings": {"passages": 90, "queries": 8, "triples": 700},
        "passages": texts,
        "queries": texts | {"went_on_from": 0},
        "triples": {"triples_per_second": 9e5, "bytes": 8400},
        "peak_gib": 1.5,
    }
    table = store_speed([*processor, file]).tail(3).set_index("store")
    assert table["count"].to_dict() == {"passages": 90, "queries": 8, "triples": 700}
    assert table["built per second"].tolist() == [3000, 3000, 9e5] and table["went on from"].tolist() == [40, 0, 0]
    assert table["bytes (GB)"].iloc[0] == 2 and set(table["peak memory (GiB)"]) == {1.5}


def test_gather_speed_holds_each_size_and_no_aim(processor) -> None:
    table = gather_speed(processor)
    file = next(each for each in processor if each["benchmark"] == "gather-speed")
    assert list(table.triples)[: len(file["sizes"])] == [size["triples"] for size in file["sizes"]]
    assert list(table["gathered per second"])[: len(file["sizes"])] == [size["triples_per_second"] for size in file["sizes"]]
    assert not any("aim" in column for column in table)


def test_files_of_processors_are_not_measurements_of_a_gpu(processor) -> None:
    assert processor and on_gpu(processor) == [] and measured_rates(processor) == []
    assert "none of a GPU" in where(processor)


def test_one_measured_encoder_gives_the_others_by_arithmetic(processor) -> None:
    found = [*processor, on_a_gpu(processor, 6, 8000.0)]
    assert f"1 of a GPU: training-speed ({H100})" in where(found)
    [rates] = measured_rates(found)
    assert rates.triples["distilBERT"] == 8000 and rates.machine == H100
    assert rates.triples["MPNet"] == pytest.approx(8000 * non_embedding("distilBERT") / non_embedding("MPNet"))
    assert rates.derived == ("training of RoBERTa", "training of MPNet", "encoding")


def test_measured_encoding_counts(processor) -> None:
    trained, encoded = on_a_gpu(processor, 6, 8000.0), on_a_gpu(processor, 6, 8000.0) | {"benchmark": "encoding-speed"}
    ours = {"passages_per_second": 50_000.0, "flop_per_second_on_real_tokens": 3e14}
    encoded |= {"ways": {"armlib": ours, "padded": ours | {"passages_per_second": 20_000.0}}, "ratios": {"armlib over padded": 2.5}}
    encoded |= {"floor": {"real_tokens_per_passage": 77.0}, "device": "cuda"}
    [rates] = measured_rates([trained, encoded])
    assert rates.passages["distilBERT"] == 50_000 and rates.passages["MPNet"] == rates.passages["RoBERTa"] < 50_000
    assert rates.derived == ("training of RoBERTa", "training of MPNet", "encoding with RoBERTa", "encoding with MPNet")
    table = encoding_speed([trained, encoded]).set_index("way")
    assert table["armlib over it"].to_dict() == {"armlib": 1.0, "padded": 2.5} and table.layers.tolist() == [6, 6]


def test_batch_memory_is_what_the_batch_adds(processor) -> None:
    made = {key: processor[0][key] for key in ("made", "file")}
    batches = [
        {"loss": "distributed", "batch_size": size, "cached": cached, "peak_mib": peak, "before_mib": 100.0, "seconds": 1.0}
        for size, cached, peak in ((64, True, 110.0), (64, False, 400.0), (4096, True, 130.0))
    ]
    gradients = [{"loss": "distributed", "batch_size": 64, "relative_difference": 1e-6}]
    table = batch_memory([{"benchmark": "batch-memory", **made, "settings": {}, "batches": batches, "gradients": gradients}])
    assert table["memory (MiB)"].tolist() == [10, 300, 30] and table["gradient caching"].tolist() == ["yes", "no", "yes"]
    assert table["gradients differ by"].notna().tolist() == [True, True, False]
    page = benchmarks_page.show(table, "batch-memory", "Memory.").data
    assert "<td><span>1e-06</span></td>" in page and "<td><span>–</span></td>" in page and "<td><span>10.00</span></td>" in page
    assert benchmarks_page.show(batch_memory([]), "batch-memory", "Memory.").data == "<p>No file measures it.</p>"


def test_search_speed_takes_the_memory_that_is_the_process_s_own(processor) -> None:
    made = {key: processor[0][key] for key in ("made", "file")}
    settings = {"vectors": 8_841_823, "dim": 768, "queries": 97, "k": 1000}
    file = {"benchmark": "search-speed", **made, "settings": settings, "seconds_per_query": 0.5, "found": 1.0, "peak_mib": 9000.0}
    table = search_speed([file | {"private_mib": 700.0}, file])
    assert table["memory (MiB)"].tolist() == [700, 9000] and table["seconds per query"].tolist() == [0.5, 0.5]


def test_each_depth_counts_for_its_encoders(processor) -> None:
    [rates] = measured_rates([on_a_gpu(processor, 6, 8000.0), on_a_gpu(processor, 12, 3600.0)])
    assert dict(rates.triples) == {"distilBERT": 8000, "RoBERTa": 3600, "MPNet": 3600} and rates.derived == ("encoding",)


def a_call_on_a_gpu(found: list[dict], tiny: bool = False, device: str = "cuda") -> dict:
    """A file of one call on a GPU, with made-up rates; training of MPNet and the stages behind it were never begun."""

    def way(rate: float, launches: int | None) -> dict:
        figures = {"triples_per_second": rate, "flop_per_second_on_real_tokens": rate * 1e10, "padded_over_real": 1.25}
        figures |= {"milliseconds_per_step": 128e3 / rate, "host_milliseconds_per_step": 12.5}
        return figures | ({} if launches is None else {"launches": launches})

    def done(figures: dict) -> dict:
        return {"outcome": "done", "seconds": 7.5, "figures": figures}

    parity = {
        "float32": {"gradient": 2e-6, "stock": 3e-6, "loss": 1e-7},
        "as_trained": {"gradient": 0.02, "stock": 0.03, "loss": 1e-3},
    }
    parity |= {"attention_dropout": {"trained": 0.05, "eager": 0.05, "ratio": 1.0}, "holds": True}
    made = copy.deepcopy(found[0]["made"])
    made["machine"]["gpu"] = H100 if device == "cuda" else None
    stages = {
        "ceilings": done({"flop_per_second": 8e14}),
        "parity": done({"distilBERT, chunks": parity, "MPNet, chunks": {"float32": {"gradient": 1e-6, "loss": 1e-7}}}),
        "training distilBERT": done(
            {"ways": {"armlib, chunks of 64": way(8000.0, 650), "sentence-transformers, merged": way(9000.0, 1)}}
        ),
        "training RoBERTa": done({"ways": {"armlib, chunks of 64": way(3000.0, None), "armlib, chunks of 16": {"rounds": []}}}),
        "training MPNet": {"outcome": "not begun, with 1 s left", "seconds": 0.0, "figures": {}},
    }
    settings = {"tiny": tiny}
    return {"benchmark": "gpu", "file": "gpu-h100.json", "made": made, "settings": settings, "device": device, "stages": stages}


def test_one_call_on_a_gpu_is_shown_as_far_as_it_came(processor) -> None:
    file = a_call_on_a_gpu(processor)
    table = gpu_training([*processor, file])
    assert table[["encoder", "way"]].values.tolist() == [
        ["distilBERT", "armlib, chunks of 64"],
        ["distilBERT", "sentence-transformers, merged"],
        ["RoBERTa", "armlib, chunks of 64"],
    ]
    first = table.iloc[0]
    assert first["of the matrix product"] == pytest.approx(8000 * 1e10 / 8e14) and first["milliseconds a step"] == 16
    assert first.kernels == 650 and table.kernels.isna().tolist() == [False, False, True] and H100 in first.machine
    stages = gpu_stages([file]).set_index("stage")
    assert stages.outcome["training MPNet"] == "not begun, with 1 s left" and stages.seconds["parity"] == 7.5
    parity = gpu_parity([file])
    assert parity[["encoder", "as trained", "transformers' as trained", "holds"]].values.tolist() == [
        ["distilBERT, chunks", 0.02, 0.03, "yes"]
    ]
    assert list(gpu_call([file])) == ["parity", "training", "stages"] and gpu_call(processor) == {}
    assert "<td><span>yes</span></td>" in benchmarks_page.show(parity, "gpu-parity", "Parity.").data
    assert "<td>–</td>" in benchmarks_page.show(table, "gpu-training", "Training.").data
    del file["stages"]["ceilings"]
    assert gpu_training([file])["of the matrix product"].isna().all()


def test_one_call_on_a_gpu_gives_rates_of_its_encoders(processor) -> None:
    file = a_call_on_a_gpu(processor)
    [rates] = measured_rates([*processor, file])
    assert rates.machine == H100 and rates.source == "measured"
    # sentence-transformers' rate is not armlib's; MPNet follows from the fastest arithmetic of the others.
    assert rates.triples["distilBERT"] == 8000 and rates.triples["RoBERTa"] == 3000
    assert rates.triples["MPNet"] == pytest.approx(8000 * 1e10 / flop_per_triple("MPNet"))
    assert rates.derived == ("training of MPNet", "encoding")
    models = {model: {"passages_per_second": 40_000.0, "flop_per_second_on_real_tokens": 2e14} for model in ("distilBERT", "MPNet")}
    file["stages"]["encoding"] = {"outcome": "interrupted after 60 s", "seconds": 60.0, "figures": {"models": models}}
    [rates] = measured_rates([file, on_a_gpu(processor, 6, 8500.0)])
    assert rates.triples["distilBERT"] == 8500, "the best of what was measured"
    assert rates.passages["distilBERT"] == rates.passages["MPNet"] == 40_000
    assert rates.passages["RoBERTa"] == pytest.approx(2e14 / (2 * non_embedding("RoBERTa") * TOKENS_PER_PASSAGE))
    assert rates.derived == ("training of MPNet", "encoding with RoBERTa")
    assert comparison([rates])["rates"].tolist()[0] == "measured (projection)"


@pytest.mark.parametrize("options", [{"tiny": True}, {"device": "cpu"}])
def test_a_tiny_call_or_one_on_a_cpu_measures_nothing(processor, options) -> None:
    file = a_call_on_a_gpu(processor, **options)
    assert measured_rates([file]) == [] and gpu_call([file]) == {}


# The page


def test_the_machine_is_said_once(processor) -> None:
    page = benchmarks_page.show(gather_speed(processor), "gather-speed", "Gathered.").data
    assert page.count("GiB") == 1 + page.count("(GiB)") and "<th>machine</th>" not in page and "<th>device</th>" not in page


def test_several_machines_have_letters(processor) -> None:
    file = on_a_gpu(processor, 6, 8000.0)
    found = [each for each in processor if each["benchmark"] == "training-speed"][:1]
    page = benchmarks_page.show(training_speed([*found, file]), "training-speed", "Trained.").data
    assert (
        f"; B, {H100}" in page and page.count(H100) == 1 and "<td><span>A</span></td>" in page and "<td><span>B</span></td>" in page
    )
    assert "<td><span>cuda</span></td>" in page, "rows of several devices name theirs"


def test_the_answer_has_a_sentence_for_what_was_measured(processor) -> None:
    assert benchmarks_page.answer([]).startswith("There is no benchmarks/results")
    said = benchmarks_page.answer(processor)
    table = training_speed(processor)
    rows = table[table.way == "sentence-transformers"]
    row = rows.loc[rows.batch.idxmax()]
    assert f"is {row['by processor time']:.1f} times as fast as the trainer of sentence-transformers" in said
    assert "takes no more memory than gathering from 1 million." in said and said.endswith("Nothing was measured on a GPU.")
    assert benchmarks_page.answer([on_a_gpu(processor, 6, 1.0)]).endswith(f"There are measurements on {H100}, too.")


@pytest.mark.parametrize(
    ("ratio", "words"),
    [(2.0, "is 2.0 times as fast as"), (1.02, "takes the same processor time as"), (0.5, "is slower than the trainer")],
)
def test_the_answer_follows_the_ratio(processor, ratio, words) -> None:
    file = copy.deepcopy(next(each for each in processor if each["benchmark"] == "training-speed"))
    file["ratios"]["armlib over sentence-transformers"]["median_cpu"] = ratio
    assert words in benchmarks_page.answer([file])


def test_the_answer_says_where_memory_grows(processor) -> None:
    file = copy.deepcopy(next(each for each in processor if each["benchmark"] == "gather-speed"))
    file["sizes"][-1]["memory"]["last_batches"]["private_mib"] *= 3
    assert "takes 3.0 times the memory of gathering from 1 million." in benchmarks_page.answer([file])


def test_the_figure_has_the_memory_of_every_batch(processor) -> None:
    table = batch_memory(processor)
    [axes] = benchmarks_page.memory_figure(processor).axes
    points = {tuple(point) for line in axes.lines for point in zip(*line.get_data(), strict=True)}
    assert points == set(zip(table.triples, table["memory (MiB)"], strict=True)) and len(points) == len(table)
    assert not benchmarks_page.memory_figure([]).axes[0].lines
