"""Figures 4 and 5, their tables and sentences hold the validations of the results, read back from the drawing; all are made up."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from armbook import adaptive_targets, curve_figures, distributed_targets, miniature, published
from armbook.learning_curves import (
    HIGHER,
    LOWER,
    OPEN,
    by_setting,
    encoders_in_words,
    learning_curve,
    learning_curve_table,
    outcomes_in_words,
    peak,
    told_apart,
    training_in_words,
    validation_measures,
    with_common_seeds,
)
from armbook.style import COLOURS, MAXIMUM, colour, dashes, marker, maxima
from armlib.errors import InputError
from armlib.experiments.experiment import Experiment
from fabricated import Fabricated, fabricated

ENCODERS = ("lsa/distilbert", "lsa/mpnet")
POINTS = 8
AVAILABLE = 10_240  # triples of an epoch, of which a training run sees half


def drawn_from(ndcg: np.ndarray, *, hits: str = "Success(rel=2)@5", **values) -> Fabricated:
    """A training run with these validations of nDCG@10, at equal steps; its hits are the same upside down."""
    experiment = Experiment(steps=80 * 64 // values.get("batch_size", 64), validate_every=10, **values)
    steps = np.arange(1, len(ndcg) + 1) * experiment.steps // POINTS
    return fabricated(
        experiment,
        about={"triples": int(steps[-1]) * experiment.batch_size, "available_triples": AVAILABLE},
        validations=pd.DataFrame({"step": steps, hits: 1 - ndcg, "nDCG@10": ndcg, "seconds": 0.1}),
    )


def peaked(peak: int, best: float = 0.5, *, last: int = POINTS, slope: float = 0.01, **values) -> Fabricated:
    """A training run whose nDCG@10 is best at one of 8 validations; each seed is 0.002 above the one before."""
    ndcg = best - slope * np.abs(np.arange(1, last + 1) - peak) + 0.002 * values.get("seed", 0)
    return drawn_from(ndcg, **values)


@pytest.fixture
def adaptive() -> list[Fabricated]:
    return [
        peaked(7 if in_batch else 4, 0.6 if in_batch else 0.5, target="adaptive", encoder=encoder, in_batch=in_batch, seed=seed)
        for encoder in ENCODERS
        for in_batch in (False, True)
        for seed in (0, 1)
    ]


@pytest.fixture
def sizes() -> list[Fabricated]:
    return [
        peaked(3 if size == 16 else 8, target="distributed", encoder=encoder, batch_size=size, seed=seed)
        for encoder in ENCODERS
        for size in (16, 64)
        for seed in ((0,) if size == 16 else (0, 1))
    ]


def lines(axes) -> list[matplotlib.lines.Line2D]:
    return [line for line in axes.lines if line.get_label() != MAXIMUM]


# Peaks


def test_a_held_out_peak_is_read_off_the_seed_that_did_not_choose_it() -> None:
    first, second = np.array([0.30, 0.10, 0.20, 0.15]), np.array([0.10, 0.32, 0.20, 0.11])
    found = peak([drawn_from(values, target="adaptive", seed=seed) for seed, values in enumerate((first, second))])
    means = (first + second) / 2
    assert found.best == pytest.approx(means.max()) and found.triples == 640 * (means.argmax() + 1) and not found.at_end
    assert found.held_out.to_dict() == {0: first[second.argmax()], 1: second[first.argmax()]}
    assert found.there.to_dict() == {0: first[means.argmax()], 1: second[means.argmax()]}
    assert found.last.to_dict() == {0: 0.15, 1: 0.11} and found.epoch == found.triples / AVAILABLE
    three = [drawn_from(values, target="adaptive", seed=seed) for seed, values in enumerate((first, second, first[::-1]))]
    others = (first + second).argmax()
    assert peak(three).held_out[2] == first[::-1][others]


def test_the_bias_of_a_peak_is_gone_from_the_held_out_one() -> None:
    rng = np.random.default_rng(0)
    gaps = []
    for _ in range(120):  # level curves: whatever is higher is noise
        noisy = [drawn_from(0.5 + 0.02 * rng.standard_normal(POINTS), target="adaptive", seed=seed) for seed in range(3)]
        found = peak(noisy)
        gaps.append((found.best - 0.5, found.held_out.mean() - 0.5))
        assert found.held_out.mean() <= found.best + 1e-12
    biased, unbiased = np.mean(gaps, axis=0)
    assert biased > 0.01 and abs(unbiased) < 0.004


def test_a_single_seed_has_its_own_peak() -> None:
    found = peak([peaked(8, target="adaptive")])
    assert found.at_end and found.held_out.tolist() == [found.best] and found.last.tolist() == [found.best]


def test_differences_are_told_apart_where_all_of_several_seeds_agree() -> None:
    low, high = pd.Series({0: 0.1, 1: 0.2}), pd.Series({0: 0.2, 1: 0.3})
    assert (told_apart(high, low), told_apart(low, high), told_apart(low, low)) == (HIGHER, LOWER, OPEN)
    assert told_apart(pd.Series({0: 0.3, 1: 0.1}), low) == OPEN
    assert told_apart(high.head(1), low) == OPEN, "one seed tells nothing"
    assert told_apart(high, pd.Series({1: 0.1, 2: 0.1, 0: 0.1})) == HIGHER


def test_outcomes_and_encoders_are_counted_in_words() -> None:
    assert outcomes_in_words([HIGHER]) == HIGHER and outcomes_in_words([OPEN, OPEN]) == "not told apart for any encoder"
    assert outcomes_in_words([LOWER, LOWER]) == f"{LOWER} for both encoders"
    assert outcomes_in_words([OPEN, HIGHER, LOWER]) == f"{HIGHER} for 1 of 3 encoders, {LOWER} for 1 and not told apart for 1"
    counted = [encoders_in_words(*each) for each in ((1, 1), (3, 3), (0, 3), (2, 3), (0, 1))]
    assert counted == ["the one encoder", "all 3 encoders", "none of 3 encoders", "2 of 3 encoders", "no encoder"]


def test_the_table_says_when_a_learning_curve_is_best_and_how_it_ends(adaptive) -> None:
    table = learning_curve_table(adaptive)
    assert len(table) == 8 and set(table.measure) == {"nDCG@10", "Hits@5"}
    row = table[(table.encoder == ENCODERS[0]) & (table.variant == "adaptive") & (table.measure == "nDCG@10")].iloc[0]
    assert (row["triples at best"], row.epoch, row.seeds) == (2560, 0.25, 2)
    assert (row.best, row["held out"], row["last"]) == pytest.approx((0.501, 0.501, 0.461))


def test_a_learning_curve_ends_where_the_first_seed_stops() -> None:
    long, short = (peaked(4, target="adaptive", seed=seed, last=last) for seed, last in ((0, 8), (1, 5)))
    assert list(learning_curve([long, short], "nDCG@10").index) == [640 * number for number in range(1, 6)]


def test_settings_are_compared_on_the_seeds_that_all_have(sizes) -> None:
    assert {result.experiment.seed for result in with_common_seeds(sizes)} == {0}
    assert [len(some) for some in by_setting(sizes).values()] == [1, 2, 1, 2]
    with pytest.raises(InputError, match="seeds that all of them have"):
        with_common_seeds([peaked(4, seed=0), peaked(4, seed=1, in_batch=True, target="adaptive")])
    with pytest.raises(InputError, match="there are none"):
        with_common_seeds([])


def test_results_with_different_hits_are_not_drawn_together() -> None:
    with pytest.raises(InputError, match=r"share one measure of hits, not Success\(rel=2\)@5, Success@100"):
        validation_measures([peaked(4), peaked(4, hits="Success@100", seed=1)])


def test_training_is_told_in_words(sizes) -> None:
    assert training_in_words(sizes) == (
        "A training run sees 5,120 triples, 0.5 of an epoch, in batches of 16 and 64; the learning rate starts at 0.0005."
    )


# Figures


def test_figure_4_has_a_column_for_each_kind_of_negatives_and_a_line_for_each_encoder(adaptive) -> None:
    figure = adaptive_targets.adaptive_learning_curves({"here": adaptive})
    assert [axes.get_title() for axes in figure.axes[:2]] == ["without in-batch negatives", "with in-batch negatives"]
    assert [figure.axes[k].get_ylabel() for k in (0, 2)] == ["validation nDCG@10", "validation Hits@5"]
    shades = curve_figures.encoder_colours(ENCODERS)
    for place, axes in enumerate(figure.axes):
        measure = ("nDCG@10", "Success(rel=2)@5")[place // 2]
        for line, encoder in zip(lines(axes), ENCODERS, strict=True):
            both = [
                each.validations[measure]
                for each in adaptive
                if each.experiment.encoder == encoder and each.experiment.in_batch == bool(place % 2)
            ]
            np.testing.assert_allclose(line.get_ydata(), (both[0] + both[1]) / 2)
            np.testing.assert_allclose(line.get_xdata(), 64 * adaptive[0].validations.step / AVAILABLE)
            assert line.get_color() == shades[encoder] and line.get_linestyle() == ("-" if encoder == ENCODERS[0] else "--")
        assert len(axes.collections) == 2, "the ranges of two lines"
    (plain, _), (later, _) = maxima(figure)[:2]
    assert plain == pytest.approx((0.25, 0.501)) and later == pytest.approx((7 / 16, 0.601))
    assert not figure.subfigs[0].get_suptitle() and [text.get_text() for text in figure.legends[0].get_texts()] == list(ENCODERS)
    plt.close(figure)


def test_sources_stand_in_blocks_of_their_own(adaptive) -> None:
    few = [each for each in adaptive if each.experiment.encoder == ENCODERS[0]]
    figure = adaptive_targets.adaptive_learning_curves({"elsewhere": few, "here": adaptive})
    assert [part.get_suptitle() for part in figure.subfigs] == ["elsewhere", "here"]
    assert [[len(lines(axes)) for axes in part.axes] for part in figure.subfigs] == [[1] * 4, [2] * 4]
    assert len(maxima(figure)) == 8 and len(figure.legends[0].get_texts()) == 2
    plt.close(figure)


def test_figure_5_has_a_column_for_each_batch_size_and_a_line_for_each_encoder(sizes) -> None:
    figure = distributed_targets.batch_size_learning_curves({"here": sizes[::-1]})
    assert [axes.get_title() for axes in figure.axes[:2]] == ["batches of 16", "batches of 64"]
    for axes in figure.axes[:2]:
        for line in lines(axes):
            np.testing.assert_allclose(line.get_xdata(), np.arange(1, POINTS + 1) / 16)
    assert not figure.axes[0].collections and len(figure.axes[1].collections) == 2, "one seed has no range"
    dots = maxima(figure)
    assert {x for x, _ in dots[0]} == {3 / 16} and {x for x, _ in dots[1]} == {0.5}
    plt.close(figure)


def test_no_line_is_hidden_by_one_that_runs_along_it(adaptive) -> None:
    same = [peaked(4, target=target, seed=seed) for target in ("adaptive", "distributed") for seed in (0, 1)]
    figure = distributed_targets.adaptive_and_distributed(distributed_targets.beside_adaptive({"here": same[::-1]}))
    below, above = lines(figure.axes[0])
    np.testing.assert_allclose(below.get_ydata(), above.get_ydata())
    assert [line.get_color() for line in (below, above)] == [colour("adaptive"), colour("distributed")]
    assert below.get_linewidth() > above.get_linewidth() + 0.9 and below.get_zorder() == above.get_zorder()
    plt.close(figure)
    widths = [line.get_linewidth() for line in lines(adaptive_targets.adaptive_learning_curves({"": adaptive}).axes[0])]
    assert widths == curve_figures.line_widths(2) == sorted(widths, reverse=True)
    plt.close("all")


def test_variants_of_an_encoder_that_a_source_lacks_are_an_empty_panel() -> None:
    both = [peaked(4, target=target, encoder=encoder) for encoder in ENCODERS for target in ("adaptive", "distributed")]
    figure = distributed_targets.adaptive_and_distributed({"elsewhere": both[:2], "here": both})
    assert [axes.get_visible() for axes in figure.axes] == [True, True, False, True]
    assert [axes.get_title() for axes in figure.axes[:2]] == ["elsewhere", "here"]
    assert [axes.get_ylabel().split("\n")[0] for axes in figure.axes] == [ENCODERS[0], "", "", ENCODERS[1]]
    assert [axes.get_xlabel() for axes in figure.axes] == ["share of an epoch", "", "", "share of an epoch"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["adaptive", "distributed"]
    plt.close(figure)


def test_encoders_keep_their_colours_and_no_two_have_the_same() -> None:
    known = curve_figures.encoder_colours(["lsa/mpnet", "distilbert/distilbert-base-uncased", "FacebookAI/roberta-base"])
    assert known["lsa/mpnet"] == curve_figures.ENCODERS["mpnet"]
    mixed = curve_figures.encoder_colours(["mine", "yours", "lsa/roberta", "my-roberta", "a", "b"])
    assert len(set(mixed.values())) == 6 and mixed["lsa/roberta"] == curve_figures.ENCODERS["roberta"]
    assert len(curve_figures.encoder_colours(map(str, range(20)))) == 20


@pytest.mark.parametrize("shade", [*curve_figures.ENCODERS.values(), *curve_figures.OTHERS])
def test_colours_of_encoders_are_seen_on_white_and_on_dark_pages(shade) -> None:
    def luminance(colour) -> float:
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    for page in ("#ffffff", "#14181e"):
        low, high = sorted((luminance(shade), luminance(to_rgb(page))))
        assert (high + 0.05) / (low + 0.05) >= 3
    assert shade not in COLOURS.values()
    assert dashes(ENCODERS[0]) != dashes(ENCODERS[1]) and marker(ENCODERS[0]) != marker(ENCODERS[1])


def test_nothing_to_draw_is_refused() -> None:
    for draw in (adaptive_targets.adaptive_learning_curves, distributed_targets.adaptive_and_distributed):
        with pytest.raises(InputError, match="at least one training run"):
            draw({})


# Chapter 5


def test_the_answer_on_adaptive_targets_says_when_they_peak_and_what_in_batch_negatives_do(adaptive) -> None:
    assert adaptive_targets.answer(adaptive) == (
        "Adaptive targets reach their best nDCG@10 after 25.0% of an epoch; it then declines in every seed for both encoders "
        "(-0.040 from the held-out peak to the end). With in-batch negatives the best nDCG@10 is higher in every seed for both "
        "encoders (+0.100)."
    )
    alone = [each for each in adaptive if not each.experiment.in_batch]
    assert "in-batch" not in adaptive_targets.answer(alone)


def test_the_answer_on_adaptive_targets_knows_its_other_cases() -> None:
    def answer(*peaks: int, seeds: int = 2, last: int = POINTS) -> str:
        return adaptive_targets.answer(
            [
                peaked(peak, target="adaptive", encoder=encoder, seed=seed, last=last)
                for peak, encoder in zip(peaks, ENCODERS, strict=False)
                for seed in range(seeds)
            ]
        )

    assert answer(8, 8) == "With adaptive targets nDCG@10 still rises when training ends, after 0.5 of an epoch."
    assert (
        "after 12.5% to 50.0% of an epoch (for 1 of 2 encoders only as training ends); it then declines in every seed for 1 of"
        in (answer(2, 8))
    )
    assert "it ends 0.040 lower, which one seed cannot tell from noise" in answer(4, seeds=1)
    assert answer(2, last=5).endswith("Training ends at 31% of an epoch, short of the half where the paper sees the peak.")
    crossed = [np.array([0.5, 0.3, 0.4, 0.45]), np.array([0.3, 0.5, 0.4, 0.3])]
    noisy = [drawn_from(values, target="adaptive", seed=seed) for seed, values in enumerate(crossed)]
    assert "below its peak, but where other seeds pick the peak, not every seed declines (" in adaptive_targets.answer(noisy)


def test_readings_of_figure_4_stand_beside_the_paper_s(adaptive) -> None:
    table = adaptive_targets.observations({"here": adaptive}).set_index("reading")
    assert table.here.tolist() == [
        "0.5",
        "2",
        "0.250",
        "both encoders, in every seed",
        "higher in every seed for both encoders",
        "both encoders",
        "lower in every seed for both encoders (Hits@5)",
    ]
    alone = adaptive_targets.observations({"here": [each for each in adaptive if not each.experiment.in_batch]})
    assert alone.here.tolist()[-3:] == ["–"] * 3
    shown = adaptive_targets.adaptive_table({"here": adaptive})
    assert (
        len(shown) == 8
        and (shown["peak"][0], shown["end"][0]) == ("0.501 ± 0.001", "0.461 ± 0.001")
        and shown["in-batch"].sum() == 4
    )


def test_the_final_models_stopped_far_from_half_of_an_epoch() -> None:
    seen = [published.variant3(model, "adaptive", False)["triples_millions"] for model in published.MODELS]
    text = adaptive_targets.final_models()
    assert f"at {min(seen):.2f} to {max(seen):.2f} million triples" in text and "1.02 million triples without progress" in text
    assert f"first {max(seen) * 1e6 / published.TRIPLES:.0%} of an epoch" in text and max(seen) * 1e6 < published.TRIPLES / 2


# Chapter 6


def test_figure_table_and_answer_on_batch_sizes_use_the_same_seeds(sizes) -> None:
    shown = distributed_targets.comparable({"here": sizes, "elsewhere": []})
    assert list(shown) == ["here"] and {each.experiment.seed for each in shown["here"]} == {0}
    table = distributed_targets.batch_size_table(shown)
    ndcg = table[table.measure == "nDCG@10"]
    assert ndcg.peak.tolist() == ["0.500"] * 4 and ndcg.batch.tolist() == [16, 64] * 2 and set(table.seeds) == {1}
    figure = distributed_targets.batch_size_learning_curves(shown)
    assert [f"{y:.3f}" for panel in maxima(figure)[:2] for _, y in panel] == ndcg.peak.tolist()
    plt.close(figure)


def test_the_answer_on_distributed_targets_compares_them_with_adaptive_ones_and_batch_sizes(sizes) -> None:
    lower = [peaked(2, 0.4, target="adaptive", encoder=encoder, seed=seed) for encoder in ENCODERS for seed in (0, 1)]
    assert distributed_targets.answer([*sizes, *lower]) == (
        "Compared with adaptive targets, the best nDCG@10 of distributed ones is higher in every seed for both encoders (+0.100); "
        "it comes sooner for none of 2 encoders. Between batches of 16 and 64 the best nDCG@10 of an encoder differs by at most "
        "0.000 on one seed each, while seeds of one batch size differ by up to 0.002. Smaller batches peak sooner for both "
        "encoders, but 2 of 4 curves still rise as training ends."
    )
    higher = [peaked(9, 0.6, target="adaptive", encoder=encoder, seed=seed) for encoder in ENCODERS for seed in (0, 1)]
    assert "lower in every seed for both encoders (-0.090)" in distributed_targets.answer([*sizes, *higher])


def test_the_answer_on_distributed_targets_knows_its_other_cases(sizes) -> None:
    large = [each for each in sizes if each.experiment.batch_size == 64]
    assert distributed_targets.answer(large) == (
        "In batches of 64, the only size here, nDCG@10 peaks at 0.501 after 50% of an epoch, for both encoders as training ends."
    )
    assert distributed_targets.answer([peaked(4, target="adaptive")]) == ""
    two = [
        peaked(4, best, target="distributed", batch_size=size, seed=seed)
        for size, best in ((16, 0.4), (64, 0.5))
        for seed in (0, 1)
    ]
    assert distributed_targets.answer(two) == (
        "Between batches of 16 and 64 the best nDCG@10 of an encoder differs by at most 0.100; with 64 it is higher in every seed. "
        "Smaller batches peak sooner for no encoder."
    )


def test_an_encoder_of_one_batch_size_is_not_compared_with_itself() -> None:
    sizes = ((ENCODERS[0], 16, 0.4), (ENCODERS[0], 64, 0.5), (ENCODERS[1], 64, 0.5))
    both = [
        peaked(4, best, target="distributed", encoder=encoder, batch_size=size, seed=seed)
        for encoder, size, best in sizes
        for seed in (0, 1)
    ]
    alone = [each for each in both if each.experiment.encoder == ENCODERS[0]]
    assert distributed_targets.answer(both) == distributed_targets.answer(alone)
    found, expected = (distributed_targets.observations({"here": results}).here[1:4].tolist() for results in (both, alone))
    assert found == expected and expected[1] == "0.100"


def test_readings_of_figure_5_stand_beside_the_paper_s(sizes) -> None:
    others = [
        peaked(4, best, target="adaptive", in_batch=in_batch, encoder=ENCODERS[0], seed=seed)
        for in_batch, best in ((False, 0.4), (True, 0.6))
        for seed in (0, 1)
    ]
    table = distributed_targets.observations({"elsewhere": [], "here": [*sizes, *others]}).set_index("reading")
    assert table.here.tolist() == [
        "0.5",
        "both encoders",
        "0.000",
        "none of 2 encoders",
        "no encoder",
        "higher in every seed",
        "lower in every seed",
    ]
    assert table.elsewhere.tolist() == ["–"] * 7
    alone = distributed_targets.observations({"here": [each for each in sizes if each.experiment.batch_size == 64]})
    assert alone.here.tolist() == ["0.5", *["–"] * 6]


def test_distributed_targets_stand_beside_adaptive_ones_of_their_own_batch_size(sizes) -> None:
    others = [peaked(4, target="adaptive", encoder=ENCODERS[0]), peaked(4, target="static(0.5)", encoder=ENCODERS[0])]
    found = distributed_targets.beside_adaptive({"here": [*sizes, *others], "elsewhere": sizes})
    assert list(found) == ["here"]
    assert [(each.experiment.target, each.experiment.batch_size) for each in found["here"]] == [
        ("adaptive", 64),
        ("distributed", 64),
        ("distributed", 64),
    ]


def test_the_final_models_are_counted_from_table_3() -> None:
    text = distributed_targets.final_models()
    table = published.table3()
    seen = table[~table.in_batch].pivot(index="model", columns="target", values="triples_millions")
    assert (
        f"for {(seen.distributed < seen.adaptive).sum()} of 3 encoders only" in text and "7.30M and 4.93M with distilBERT" in text
    )
    lead = min(
        published.score_differences("ndcg10", ("distributed", False), other)[name]
        for other in (("static", True), ("adaptive", True))
        for name in published.score_differences("ndcg10", ("distributed", False), other)
    )
    assert f"for all 3 encoders (by at least {lead:.3f})" in text


def test_answers_of_all_sources_stand_below_each_other(adaptive) -> None:
    text = miniature.each({"elsewhere": adaptive, "here": adaptive}, adaptive_targets.answer)
    assert text.startswith("**Elsewhere.** Adaptive targets") and "\n\n**Here.** Adaptive targets" in text
