"""Figure 6 and its tables hold the numbers of the traces, at both ends of the training run, source by source."""

from __future__ import annotations

from dataclasses import replace

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from armbook.curve_figures import encoder_colours
from armbook.style import save
from armbook.target_distributions import (
    AFTER,
    BEFORE,
    STATISTICS,
    answer,
    before_and_after,
    between_encoders,
    distributions_table,
    observations,
    span_in_words,
    target_distributions,
)
from armlib.errors import InputError
from armlib.experiments.experiment import Experiment
from fabricated import Fabricated, fabricated

ENCODERS = ("lsa/distilbert", "lsa/roberta")


def falling(encoder: str, seed: int, steps: int = 100, start: float = 0.9, end: float = 0.0) -> Fabricated:
    """Similarities that fall from ``start`` to ``end`` within 40 batches, the maximum 0.6 above the mean, the minimum 0.2 below."""
    batches = np.arange(1, steps + 1)
    noise = 0.01 * np.random.default_rng(seed).standard_normal(steps)
    mean = end + (start - end) * np.clip(1 - (batches - 1) / 40, 0, 1) + noise
    columns = {"similarity_mean": mean, "similarity_minimum": mean - 0.2, "similarity_maximum": mean + 0.6}
    experiment = Experiment(encoder=encoder, target="distributed", seed=seed)
    return fabricated(experiment, f"{encoder} {seed}", trace=pd.DataFrame({"step": batches, **columns}))


@pytest.fixture
def results() -> list[Fabricated]:
    return [falling(encoder, seed, start=0.9 - 0.3 * place) for place, encoder in enumerate(ENCODERS) for seed in (0, 1)]


@pytest.fixture
def figure(results):
    made = target_distributions({"here": results})
    yield made
    plt.close(made)


def lines(axes) -> dict[str, np.ndarray]:
    return {line.get_label(): np.asarray(line.get_xydata()) for line in axes.lines if line.get_label().startswith("_")}


def test_lines_are_the_rolling_means_of_the_traces_averaged_over_seeds(figure, results) -> None:
    first, last = (lines(axes) for axes in figure.axes)
    for encoder in ENCODERS:
        for name, column in STATISTICS.items():
            seeds = [each.trace[column].to_numpy() for each in results if each.experiment.encoder == encoder]
            smooth = np.mean([[values[max(0, n - 31) : n + 1].mean() for n in range(len(values))] for values in seeds], axis=0)
            np.testing.assert_allclose(first[f"_{name} {encoder}"], np.column_stack([np.arange(1, 51), smooth[:50]]))
            np.testing.assert_allclose(last[f"_{name} {encoder}"], np.column_stack([np.arange(-49, 1), smooth[50:]]))
    assert all(len(axes.collections) == 6 for axes in figure.axes), "a range of seeds for each line"


def test_encoders_are_told_apart_by_colour_and_width(figure) -> None:
    shades = encoder_colours(ENCODERS)
    for axes in figure.axes:
        found = {line.get_label(): line for line in axes.lines}
        below, above = (found[f"_mean {encoder}"] for encoder in ENCODERS)
        assert [line.get_color() for line in (below, above)] == list(shades.values())
        assert below.get_linewidth() > above.get_linewidth() > 1
        assert all(line.get_alpha() is None for line in found.values()), "no line is faint"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(ENCODERS)


def test_the_axis_on_the_right_shows_targets(figure) -> None:
    last = figure.axes[1]
    (scale,) = last.child_axes
    figure.canvas.draw()
    np.testing.assert_allclose(scale.get_ylim(), [(1 + value) / 2 for value in last.get_ylim()])


def test_sources_have_panels_with_the_same_limits(results) -> None:
    high = [falling(ENCODERS[0], 0, start=0.95, end=0.3)]
    made = target_distributions({"elsewhere": high, "here": results})
    assert [part.get_suptitle() for part in made.subfigs] == ["elsewhere", "here"] and len(made.axes) == 4
    assert len({axes.get_ylim() for axes in made.axes}) == 1
    assert not made.axes[0].collections, "one seed has no range"
    plt.close(made)


def test_long_training_runs_show_500_batches_at_either_end() -> None:
    long = [falling("lsa/mpnet", 0, steps=1300), falling("lsa/mpnet", 1, steps=1200)]
    made = target_distributions({"here": long})
    first, last = (lines(axes)["_mean lsa/mpnet"][:, 0] for axes in made.axes[:2])
    assert (first[0], first[-1], last[0], last[-1]) == (1, 500, -499, 0)
    text = span_in_words({"here": long, "elsewhere": [falling("lsa/mpnet", 0)]})
    assert text == (
        "The paper shows the first and the last 500 of 310,787 batches. Here either panel has 500 of 1,200 to 1,300 batches (here) "
        "and 50 of 100 batches (elsewhere)."
    )
    plt.close(made)


def test_the_table_holds_both_ends(results) -> None:
    table = before_and_after(results)
    assert list(table.index) == [(encoder, seed) for encoder in ENCODERS for seed in (0, 1)]
    for result in results:
        row, trace = table.loc[(result.experiment.encoder, result.experiment.seed)], result.trace
        for name, column in STATISTICS.items():
            assert row[BEFORE, name] == pytest.approx(trace[column].iloc[0])
            assert row[AFTER, name] == pytest.approx(trace[column].iloc[-32:].mean())
        assert row[AFTER, "above"] == pytest.approx(0.6) and row[AFTER, "below"] == pytest.approx(0.2)
        smooth = [abs(trace.similarity_mean[max(0, n - 31) : n + 1].mean()) for n in range(100)]
        settled = int(row["settled", "batch"])
        assert max(smooth[settled - 1 :]) <= 0.1 < smooth[settled - 2] and row["settled", "of"] == 100


def test_the_page_s_table_has_means_over_seeds_and_a_dash_for_what_does_not_settle(results) -> None:
    shown = distributions_table({"here": results, "elsewhere": [falling("lsa/mpnet", 0, end=0.4)]})
    assert shown.source.tolist() == ["here", "here", "elsewhere"] and shown.encoder.tolist() == [*ENCODERS, "lsa/mpnet"]
    table = before_and_after(results).loc[ENCODERS[0]]
    for name in STATISTICS:
        for end, when in (("first", BEFORE), ("last", AFTER)):
            assert shown[f"{name}, {end}"][0] == f"{table[when, name].mean():.2f}"
    settled = table["settled", "batch"]
    assert settled.nunique() == 1 and shown["settled from"].tolist()[::2] == [str(settled.iloc[0]), "–"]


def test_the_answer_says_whether_targets_settle_and_encoders_become_alike(results) -> None:
    settled = before_and_after(results)["settled", "batch"]
    text = answer(results)
    assert f"at batch {settled.min()} to {settled.max()}, in 4 of 4 training runs." in text
    assert "starts at 0.60 to 0.9" in text and "in 4 of 4 training runs" in text
    assert text.endswith(
        "Training brings the encoders closer together: they differ by up to 0.30 in the first batch and 0.00 at the end."
    )
    apart = [falling(ENCODERS[0], 0, start=0.9, end=0.0), falling(ENCODERS[1], 0, start=0.9, end=0.4)]
    assert ", in 1 of 2 training runs" in answer(apart) and "leaves the encoders no closer together" in answer(apart)
    never = answer([falling("lsa/mpnet", 0, end=0.4)])
    assert "ends at 0.40; in none of 1 training runs does it come to stay within 0.1 of 0" in never and "encoders" not in never


def test_readings_of_figure_6_stand_beside_the_paper_s(results) -> None:
    found = observations({"here": results, "elsewhere": [falling("lsa/mpnet", 0, end=0.4)]})
    settled = before_and_after(results)["settled", "batch"]
    assert found.here.tolist() == [
        f"4 of 4 runs (from batch {settled.min()} to {settled.max()} on)",
        "4 of 4 runs",
        "up to 0.30",
        "up to 0.00",
    ]
    assert found.elsewhere.tolist() == ["0 of 1 runs", "1 of 1 runs", "–", "–"]


def test_encoders_are_compared_by_their_means_over_seeds(results) -> None:
    ranges = between_encoders(before_and_after(results))
    assert list(ranges.columns) == [BEFORE, AFTER] and ranges.loc["mean", BEFORE] == pytest.approx(0.3)
    assert ranges[AFTER].max() < 1e-9
    assert between_encoders(before_and_after(results[:2])).isna().all(axis=None)


def test_what_cannot_be_drawn_is_refused() -> None:
    full = falling("lsa/mpnet", 3)
    empty = replace(full, trace=full.trace.iloc[:0])
    for make in (lambda some: target_distributions({"here": some}), before_and_after):
        with pytest.raises(InputError, match="lsa/mpnet 3 has a trace without batches"):
            make([empty])
        with pytest.raises(InputError, match="at least one training run"):
            make([])


def test_a_real_training_run_is_drawn(small_store, small_experiment, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ARMLIB_FIGURES", str(tmp_path))
    result = small_store.result(small_experiment)
    made = target_distributions({"here": [result]})
    drawn = lines(made.axes[0])[f"_maximum {result.experiment.encoder}"][:, 1]
    np.testing.assert_allclose(drawn, result.trace.similarity_maximum[:10].expanding().mean())
    assert [path.suffix for path in save(made, "distributions")] == [".svg", ".pdf"]
    plt.close(made)
