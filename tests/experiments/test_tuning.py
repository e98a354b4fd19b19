"""Losses compared on validation queries: which training runs there are, what is made of them, and what is recommended."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sentence_transformers import SentenceTransformer

from armlib.cli import _parser, main
from armlib.cli.options import asked_experiment
from armlib.cli.tune import train_command
from armlib.data.held_out import hold_out
from armlib.errors import InputError
from armlib.evaluation.measures import Evaluation
from armlib.experiments import run, tuning
from armlib.experiments.experiment import Experiment
from armlib.experiments.result import Result
from armlib.experiments.store import RunStore
from armlib.experiments.tuning import tune
from armlib.experiments.tuning_grid import LOSSES, Candidate, Grid
from armlib.experiments.tuning_result import BEST, EQUIVALENT, OPEN, WORSE, Tuning, compared_table
from armlib.losses.registry import numbers_of
from armlib.names import load_collection
from armlib.retrieval.run_files import ranked
from armlib.training.trace import NotFinite

FEW = ("static(0.3)", "distributed")
Trained = list[Experiment]


@pytest.fixture(scope="module")
def short(small_experiment: Experiment) -> Experiment:
    return replace(small_experiment, steps=4, validate_every=2, batch_size=8, full_ranking=False)


@pytest.fixture(scope="module")
def grid(short: Experiment) -> Grid:
    return Grid(short, losses=FEW, learning_rates=(1e-3, 2e-3), seeds=(0, 1))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    return RunStore(tmp_path_factory.mktemp("tuned"))


@pytest.fixture(scope="module")
def found(store: RunStore, grid: Grid) -> Tuning:
    return tune(store, grid)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Trained:
    """Every experiment that is trained, in order."""
    made: Trained = []
    real = run._train

    def recorded(data: Any, *others: Any) -> Any:
        made.append(data.experiment)
        return real(data, *others)

    monkeypatch.setattr(run, "_train", recorded)
    return made


def candidates(trained: Trained) -> list[tuple[str, float, int]]:
    return [(str(each.make_loss()), each.learning_rate, each.seed) for each in trained]


def test_every_loss_at_every_rate_and_then_its_best_with_all_seeds(trained, short, tmp_path) -> None:
    store = RunStore(tmp_path)
    found = tune(store, Grid(short, losses=FEW, seeds=(3, 1)))
    first = [(loss, rate, 3) for rate in (1e-3, 5e-4, 2e-3) for loss in FEW]
    assert candidates(trained[:6]) == first, "the default rate comes first"
    values = {one: float(store.result(each).validations["nDCG@10"].iloc[-1]) for one, each in zip(first, trained, strict=False)}
    kept = {one: store.result(each).kept_validation for one, each in zip(first, trained, strict=False)}
    assert all(kept[one] >= values[one] for one in first), "selection='best'"
    best = {loss: max((one for one in first if one[0] == loss), key=kept.__getitem__)[1] for loss in FEW}
    second = list(dict.fromkeys([*best.items(), ("distributed", 1e-3)]))
    assert candidates(trained[6:]) == [(loss, rate, 1) for loss, rate in second]
    assert {(row["loss"], row["learning_rate"]) for row in found.about()["candidates"]} == set(second)
    assert all(each.evaluation == ("none",) for each in trained) and all(store.result(each).measures.empty for each in trained)
    assert len({each.key() for each in trained}) == len(trained) and found.seeds == (3, 1)


def test_what_was_trained_is_not_trained_again(found, store, grid, trained) -> None:
    again = tune(store, grid)
    assert not trained and again.table.equals(found.table)
    more = tune(store, replace(grid, losses=(*FEW, "infonce(20)")))
    assert {each.loss for each in trained} == {"infonce"} and "infonce" in set(more.table["loss"])


def test_an_interrupted_tuning_goes_on(found, grid, trained, tmp_path, monkeypatch) -> None:
    recorded, store = run._train, RunStore(tmp_path)

    def interrupted(*given: Any) -> Any:
        if len(trained) == 4:
            raise KeyboardInterrupt
        return recorded(*given)

    monkeypatch.setattr(run, "_train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tune(store, grid)
    before = list(trained)
    monkeypatch.setattr(run, "_train", recorded)
    again = tune(store, grid)
    assert len(before) == 4 and len(set(trained)) == len(trained) == len(found.runs)
    assert again.table.equals(found.table), "the same numbers as without the interruption"


def test_values_per_query_are_those_of_another_program(found, store, grid, short) -> None:
    """Embeddings by sentence-transformers, nDCG by its formula, bounds by scipy."""
    held = hold_out(load_collection(short.collection), 20)
    texts = {document.id: document.text for document in held.documents()}
    queries, judged = held.queries(), held.qrels()
    candidates = {query: list(ranked(scores, short.validation_depth)) for query, scores in held.first_stage().items()}

    def ndcg(result: Result) -> pd.Series:
        model = SentenceTransformer(str(result.folder / "encoder"), device="cpu")
        documents = sorted({document for found in candidates.values() for document in found})
        encoded = model.encode_document([texts[each] for each in documents], normalize_embeddings=True)
        passages, values = dict(zip(documents, encoded, strict=True)), {}
        for query, among in candidates.items():
            vector = model.encode_query(queries[query], normalize_embeddings=True)
            # Passages that are equal as far as they are read come in trec_eval's order, by descending ids.
            order = sorted(among, key=lambda each: (round(float(vector @ passages[each]), 5), each), reverse=True)
            gains = [judged[query].get(each, 0) / math.log2(2 + rank) for rank, each in enumerate(order[:10])]
            values[query] = sum(gains) / sum(1 / math.log2(2 + rank) for rank in range(len(judged[query])))
        return pd.Series(values)

    expected = {
        each: pd.concat([ndcg(store.result(grid.training_run(each, seed))) for seed in (0, 1)], axis=1) for each in found.verdicts
    }
    best = max(expected, key=lambda each: expected[each].to_numpy().mean())
    assert found.queries == 20 and 0.2 < expected[best].to_numpy().mean() < 1
    tests = len(expected) - 1
    for row in found.table.to_dict("records"):
        each = Candidate(row["loss"], row["learning_rate"])
        assert row["mean"] == pytest.approx(expected[each].to_numpy().mean())
        assert (row["lowest"], row["highest"]) == pytest.approx((expected[each].mean().min(), expected[each].mean().max()))
        differences = expected[each].mean(axis=1) - expected[best].mean(axis=1)
        assert row["difference"] == pytest.approx(differences.mean(), abs=1e-9)
        if each != best and differences.std() > 1e-9:
            interval = stats.t.interval(1 - 0.1 / tests, 19, differences.mean(), stats.sem(differences))
            assert (row["low"], row["high"]) == pytest.approx(interval)
            one_sided = [
                stats.ttest_1samp(differences, bound, alternative=side).pvalue
                for bound, side in ((-0.05, "greater"), (0.05, "less"))
            ]
            assert row["p"] == pytest.approx(max(one_sided))
            assert (row["verdict"] == EQUIVALENT) == (max(one_sided) * tests < 0.05)


def evaluations(values: Sequence[float], seeds: int = 2, shift: float = 0.01) -> list[Evaluation]:
    """Of some seeds, whose mean is what is given."""
    return [
        Evaluation.from_per_query(pd.DataFrame({"nDCG@10": np.array(values) + shift * (seed - (seeds - 1) / 2)}))
        for seed in range(seeds)
    ]


@pytest.fixture
def tuned(short: Experiment) -> Callable[..., Tuning]:
    """What is said of fabricated differences to a best candidate."""

    def make(noise: float, differences: dict[tuple[str, float], float], **values: Any) -> Tuning:
        chance = np.random.default_rng(0)
        base = chance.uniform(0.3, 0.7, 200)
        table = compared_table(
            {
                Candidate(*each): evaluations(base + difference + chance.normal(0, noise, 200) * (difference != 0))
                for each, difference in differences.items()
            },
            margin=0.05,
            alpha=0.05,
        )
        losses = tuple(dict.fromkeys(loss for loss, _ in differences))
        grid = Grid(replace(short, **values), losses=losses, seeds=(0, 1))
        rows = [(loss, rate, seed, "finished", 0.5, 1.0, "0") for loss, rate in differences for seed in (0, 1)]
        runs = pd.DataFrame(rows, columns=["loss", "learning_rate", "seed", "state", "value", "seconds", "key"])
        return Tuning(grid, table, runs, (0, 1), "some", 200, 0.2, 0.05, 0.05)

    return make


def test_verdicts(tuned) -> None:
    differences = {("infonce", 1e-3): 0.0, ("static(0.3)", 1e-3): -0.02, ("distributed", 1e-3): -0.3, ("adaptive", 1e-3): -0.05}
    found = tuned(0.01, differences)
    assert [found.verdicts[Candidate(*each)] for each in differences] == [BEST, EQUIVALENT, WORSE, WORSE]
    assert found.recommended == ("infonce", 1e-3), "static targets have a number to choose, too"
    assert "worse than the best at the default learning rate 0.001" in found.about_untuned()
    found = tuned(2.0, differences | {("distributed", 1e-3): -0.01})
    assert set(found.verdicts.values()) == {BEST, OPEN}, "noise of which nothing can be said"
    assert "cannot be told apart" in found.about_recommended()


def test_of_one_loss_alone_nothing_is_said_but_that(tuned) -> None:
    said = tuned(0.01, {("static(0.3)", 1e-3): 0.0}).about_recommended()
    assert said.endswith("nothing else was compared, so nothing speaks for it.")


def test_a_difference_is_equivalent_just_where_its_bounds_lie_within_the_margin(tuned) -> None:
    seen = set()
    for noise in (0.05, 0.2, 0.5):
        for difference in (-0.001, -0.02, -0.04, -0.06, -0.1):
            table = tuned(noise, {("infonce", 1e-3): 0.0, ("adaptive", 1e-3): difference, ("distributed", 1e-3): difference}).table
            for row in table.to_dict("records"):
                seen.add(row["verdict"])
                if row["verdict"] != BEST:
                    assert (row["verdict"] == EQUIVALENT) == (-0.05 < row["low"] and row["high"] < 0.05)
                    assert row["verdict"] != WORSE or row["high"] < 0
    assert seen == {BEST, EQUIVALENT, WORSE, OPEN}


def test_of_equivalent_losses_the_one_with_the_fewest_numbers_is_recommended(tuned) -> None:
    same = {("static(0.1)", 2e-3): 0.0, ("infonce", 1e-3): -0.001, ("distributed", 2e-3): -0.001, ("distributed", 1e-3): -0.002}
    found = tuned(0.001, same)
    assert found.best == ("static(0.1)", 2e-3) and found.recommended == ("distributed", 1e-3)
    assert found.experiment() == replace(found.grid.experiment, loss="distributed", learning_rate=1e-3, seed=0)
    assert "equivalent to the best, static(0.1) at 0.002, with fewer numbers to choose" in found.about_recommended()
    assert found.about_untuned().count("equivalent to the best") == 2
    worse_untuned = tuned(0.001, same | {("distributed", 1e-3): -0.2})
    assert worse_untuned.recommended == ("distributed", 2e-3), "before static targets and a softmax with numbers of their own"
    said = worse_untuned.about_untuned()
    assert "worse than the best at the default learning rate 0.001, and equivalent to the best at the one" in said


def test_numbers_that_a_loss_needs() -> None:
    numbers = {"distributed": 0, "adaptive(in_batch=True)": 0, "static(0.0)": 1, "static(0.5, variance=1.0)": 2, "infonce": 1}
    assert {loss: numbers_of(loss) for loss in numbers} == numbers
    assert numbers_of("infonce(20, soft=0.1)") == 2 and numbers_of("margin-mse(20)") == 1


def test_equal_losses_lead_to_distributed_targets(short, tmp_path) -> None:
    """Nothing is learned at a learning rate of 0, so all losses give the same encoder."""
    found = tune(RunStore(tmp_path), Grid(replace(short, learning_rate=0.0), losses=("static(0.1)", *FEW), seeds=(0,)))
    assert set(found.table["difference"]) == {0.0} and list(found.verdicts.values()) == [BEST, EQUIVALENT, EQUIVALENT]
    assert found.best.loss == "static(0.1)" and found.recommended == ("distributed", 0.0)
    assert "equivalent to the best at the default" in found.about_untuned()


def test_training_that_makes_an_encoder_worse_is_said(tuned) -> None:
    found = tuned(0.001, {("static(0.1)", 1e-3): 0.0, ("distributed", 1e-3): -0.02})
    best, recommended = found.table["mean"]
    assert found.recommended.loss == "distributed" and recommended < best
    expected = {
        best + 0.01: f"had {best + 0.01:.4f}, more than after any of these training runs: they made it worse.",
        best - 0.01: f"had {best - 0.01:.4f}, more than after distributed at 0.001: that training made it worse",
        recommended - 0.01: f"had {recommended - 0.01:.4f}. ",
    }
    for before, sentence in expected.items():
        assert sentence in " ".join(replace(found, before=before).about_certainty())


def test_a_rate_at_the_edge_is_said(tuned) -> None:
    found = tuned(0.01, {("static(0.3)", 1e-3): 0.0, ("static(0.3)", 2e-3): -0.01, ("distributed", 1e-3): -0.01})
    assert not found._at_edge() or all(each.loss == "static(0.3)" for each in found._at_edge())
    rows = [(loss, rate, 0, "finished", 0.5, 1.0, "0") for loss in FEW for rate in (5e-4, 1e-3, 2e-3)]
    runs = pd.DataFrame(rows, columns=found.runs.columns)
    chosen = found.table[found.table["learning_rate"] == 1e-3]
    middle = replace(found, runs=runs, table=chosen)
    assert not middle._at_edge() and "edge" not in " ".join(middle.about_certainty())
    highest = replace(found, runs=runs, table=chosen.assign(learning_rate=2e-3))
    assert "a better one may lie beyond: static(0.3) at 0.002, distributed at 0.002" in " ".join(highest.about_certainty())
    untuned = pd.concat([chosen.assign(learning_rate=2e-3), chosen[chosen["loss"] == "distributed"]])
    lowest_default = replace(found, runs=runs[runs["learning_rate"] > 5e-4], table=untuned)
    assert lowest_default._at_edge() == [("static(0.3)", 2e-3), ("distributed", 2e-3)], "the default one was not chosen"


class Clock:
    """A clock on which every training run takes a minute."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 0.0
        monkeypatch.setattr(tuning.time, "monotonic", lambda: self.seconds)
        monkeypatch.setattr(tuning, "_seconds", lambda _: 60.0)
        real = RunStore.results

        def timed(store: RunStore, experiments: Sequence[Experiment], *others: Any) -> list[Result]:
            self.seconds += 60.0
            return real(store, experiments, *others)

        monkeypatch.setattr(RunStore, "results", timed)


@pytest.mark.parametrize(
    ("minutes", "made", "said"),
    [
        (1.9, 1, "of learning rates 0.001, 0.002 and of seeds 1; not compared at all: distributed."),
        (3.9, 2, "Left out for want of time: 4 of 6 training runs, of learning rates 0.002 and of seeds 1."),
    ],
)
def test_no_training_run_is_begun_that_would_end_later(minutes, made, said, grid, trained, tmp_path, monkeypatch) -> None:
    clock = Clock(monkeypatch)
    found = tune(RunStore(tmp_path), grid, minutes=minutes)
    assert len(trained) == made and clock.seconds <= 60 * minutes
    assert said in " ".join(found.about_certainty()) and set(found.runs["state"]) == {"finished", "left out"}
    assert found.seeds == (0,) and list(found.runs["state"]).count("finished") == made


def test_more_minutes_go_on(grid, trained, tmp_path, monkeypatch) -> None:
    clock = Clock(monkeypatch)
    found = tune(RunStore(tmp_path), grid, minutes=4.0)
    assert len(trained) == 4 and set(found.runs["seed"][found.runs["state"] == "left out"]) == {1}
    clock.seconds = 0.0
    more = tune(RunStore(tmp_path), grid, minutes=10)
    assert len(set(trained)) == len(trained) == len(more.runs) and more.seeds == (0, 1)
    assert "want of time" not in " ".join(more.about_certainty())


def test_no_time_at_all_is_said(grid, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tuning.time, "monotonic", iter(range(0, 1000, 100)).__next__)
    with pytest.raises(InputError, match="no training run was finished in time; expected more minutes"):
        tune(RunStore(tmp_path), grid, minutes=0.5)


def test_a_training_run_that_runs_away_is_said_and_the_others_go_on(grid, tmp_path, monkeypatch) -> None:
    real = run._train

    def train(data: Any, *others: Any) -> Any:
        if data.experiment.learning_rate == 2e-3:
            raise NotFinite("the loss is not a finite number at step 3")
        return real(data, *others)

    monkeypatch.setattr(run, "_train", train)
    lines: list[str] = []
    found = tune(RunStore(tmp_path), grid, report=lines.append)
    assert "Training ran away, its loss not a finite number any more: static(0.3) at 0.002, distributed at 0.002." in (
        found.about_certainty()
    )
    assert max(found.table["learning_rate"]) == 1e-3 and found.seeds == (0, 1)
    assert sum("not a finite number" in line for line in lines) == 2
    json.dumps(found.about(), allow_nan=False)


@pytest.mark.slow
def test_processes_find_the_same(found, grid, tmp_path) -> None:
    assert tune(RunStore(tmp_path), grid, jobs=2).table.equals(found.table)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"steps": 0}, "nothing to tune in a training run of 0 steps"),
        ({"validation": "{folder}/test"}, "40 of the validation queries are also of .*/test, which the encoder is measured on"),
        ({"evaluation": ("{folder}/train",)}, "are trained on, so measures on them would be no test"),
        ({"evaluation": ("{folder}/train",), "on_training_queries": True}, "20 of the validation queries are also of .*/train"),
        ({"validation_queries": 1}, "one query to validate with"),
        ({"evaluation": ("no-such",)}, "unknown collection 'no-such'"),
    ],
)
def test_what_cannot_be_tuned_is_refused_before_training(values, sentence, short, trained, beir_folder, tmp_path) -> None:
    text = json.loads(json.dumps(values).replace("{folder}", str(beir_folder)))
    with pytest.raises(InputError, match=sentence):
        tune(RunStore(tmp_path), Grid(replace(short, **text), losses=FEW))
    assert not trained


def test_a_grid_of_nothing_and_times_of_nothing_are_refused(short, grid, tmp_path) -> None:
    with pytest.raises(InputError, match="expected a loss or more"):
        Grid(short, losses=())
    with pytest.raises(InputError, match="unknown loss 'stati"):
        Grid(short, losses=("stati(0.1)",))
    for wrong in ({"minutes": 0}, {"minutes": math.nan}, {"jobs": 0}, {"margin": 0.0}):
        with pytest.raises(InputError, match="expected"):
            tune(RunStore(tmp_path), grid, **wrong)


def words(experiment: Experiment, short: Experiment) -> list[str]:
    """Options that name an experiment and its evaluation, with what differs from the profile demo."""
    values = ["--collection", experiment.collection, "--encoder", experiment.encoder, "--learning-rate", "0.001"]
    for name in ("batch_size", "steps", "query_length", "passage_length", "validation_queries", "validate_every"):
        values += [f"--{name.replace('_', '-')}", str(getattr(short, name))]
    return [*values, "--selection", "best", "--chunk-size", "16", "--no-full-ranking"]


def test_the_command(found, store, short, beir_folder, trained, capsys) -> None:
    given = ["tune", *words(short, short), "--evaluation", f"{beir_folder}/test", "--runs", str(store.path)]
    given += ["--losses", *FEW, "--learning-rates", "1e-3", "2e-3", "--seeds", "0", "1"]
    assert main(given) == 0
    printed = capsys.readouterr().out
    assert not trained, "all is there"
    assert found.about_untuned() in printed and found.about_recommended() in printed and "of seeds" in printed
    assert main([*given, "--json"]) == 0
    out = capsys.readouterr()
    about = json.loads(out.out)
    assert "was there" in out.err and about["candidates"] == json.loads(json.dumps(found.about()["candidates"]))
    assert printed.rstrip().endswith(about["command"])
    options = _parser().parse_args(given)
    command = train_command(found.experiment(), options)
    assert command[:2] == ["armlib", "train"]
    parsed = _parser().parse_args(command[1:])
    assert asked_experiment(parsed) == found.experiment() == Experiment(**about["recommended"]) and parsed.runs == str(store.path)


@pytest.mark.filterwarnings("ignore:.* of the passages' tokens are cut off")
def test_the_recommended_command_finds_what_was_trained(found, grid, store, short, trained, capsys) -> None:
    given = ["tune", *words(short, short), "--evaluation", "none", "--runs", str(store.path)]
    given += ["--losses", *FEW, "--learning-rates", "1e-3", "2e-3", "--seeds", "0", "1"]
    assert main([*given, "--json"]) == 0
    command = train_command(Experiment(**json.loads(capsys.readouterr().out)["recommended"]), _parser().parse_args(given))
    assert main([*command[1:], "--no-compared"]) == 0 and not trained
    assert grid.training_run(found.recommended, 0).key() in capsys.readouterr().out


@pytest.mark.parametrize("loss", ["distributed", "static(0.3)", "adaptive(in_batch=True)", "infonce(30)", "adaptive(error='soft')"])
@pytest.mark.parametrize(
    "of_profile",
    ["", 'target = "static(0.7)"\nin_batch = true\nerror = "absolute"', 'loss = "infonce(5)"', 'evaluation = ["docstrings/test"]'],
)
def test_a_command_parses_back_to_its_experiment(loss, of_profile, tmp_path) -> None:
    (tmp_path / "own.toml").write_text(
        'about = "own"\nencoders = ["lsa/mpnet"]\nstatic = [0.1]\nbatch_sizes = [8]\nseeds = [0]\nsweep_seeds = [0]\njobs = 1\n'
        f'[experiment]\ncollection = "docstrings"\nencoder = "lsa/mpnet"\nsteps = 7\n{of_profile}\n'
    )
    given = [
        "tune",
        "--profile",
        str(tmp_path / "own.toml"),
        "--query-prompt",
        "a 'b' $c: ",
        "--passage-prompt=--d",
        "--device",
        "cpu",
    ]
    given += ["--no-full-ranking", "--decay", "0.3", "--context", "2", "--batch-size", "16", "--seed", "5"]
    options = _parser().parse_args(given)
    asked = Grid(asked_experiment(options), losses=(loss,)).measured(Candidate(loss, 1e-5 / 3))
    command = train_command(asked, options)
    assert asked.seed == 5 and asked.passage_prompt == "--d"
    parsed = _parser().parse_args(command[1:])
    assert asked_experiment(parsed) == asked and parsed.device == "cpu"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--target", "static(0.3)"], "expected --losses in place of --target"),
        (["--no-in-batch"], "expected --losses in place of --in-batch"),
        (["--loss", "infonce"], "expected --losses in place of --loss"),
        (["--seed", "0", "--seeds", "1"], "expected --seeds or --seed"),
        (["--losses", "dist"], "unknown loss 'dist'"),
        (["--learning-rates", "-1"], "learning_rate of an experiment must be from 0"),
    ],
)
def test_bad_options_are_one_sentence(arguments, sentence, tmp_path, capsys) -> None:
    assert main(["tune", *arguments, "--runs", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert sentence in error and len(error.strip().splitlines()) == 1


@pytest.mark.filterwarnings("always:.* are held out to validate on")
def test_what_every_training_run_warns_of_is_said_once(short, tmp_path, trained, capsys) -> None:
    given = ["tune", *words(short, short), "--evaluation", f"{short.collection}/test", "--runs", str(tmp_path), "--steps", "1"]
    given += ["--validation-queries", "100000", "--losses", *FEW, "--learning-rates", "1e-3", "--seeds", "0"]
    assert main(given) == 0 and len(trained) == 2
    assert capsys.readouterr().err.count("are held out to validate on, not 100000") == 1


def test_help_says_what_is_compared_by_default(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["tune", "--help"])
    printed = capsys.readouterr().out
    assert ", ".join(LOSSES) in " ".join(printed.split())
    count = len(LOSSES) * 3 + 2 * (len(LOSSES) + 1)
    assert f"{count} short training runs at most" in printed


def test_kept_validation_is_that_of_the_kept_step(found: Tuning, store: RunStore, grid: Grid) -> None:
    result = store.result(grid.training_run(found.best, 0))
    rows = result.validations
    assert result.kept_validation == rows["nDCG@10"].max() == rows["nDCG@10"][rows["step"] == result.about["kept_step"]].item()


def test_folders_are_named_as_they_were_given(short, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(Path(short.collection).parent)
    given = ["tune", "--collection", Path(short.collection).name, "--encoder", short.encoder]
    options = _parser().parse_args(given)
    command = train_command(Grid(asked_experiment(options)).measured(Candidate("distributed", 1e-3)), options)
    assert command[3] == Path(short.collection).name
