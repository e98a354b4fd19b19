"""Figure 6 and its tables hold the numbers of the traces: smoothed lines over faint ones, both ends of the training run."""

from __future__ import annotations

from dataclasses import replace

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from armbook import tables
from armbook.style import colour, marker, save
from armbook.target_distributions import (
    AFTER,
    BEFORE,
    STATISTICS,
    as_columns,
    before_and_after,
    between_encoders,
    summary,
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
    made = target_distributions(results)
    yield made
    plt.close(made)


def lines(axes) -> dict[str, np.ndarray]:
    return {line.get_label(): np.asarray(line.get_xydata()) for line in axes.lines if line.get_label().startswith("_")}


def test_lines_are_the_rolling_means_of_the_traces(figure, results) -> None:
    panels = [axes for axes in figure.axes if axes.lines]
    assert len(panels) == 4 and [axes.get_title(loc="left") for axes in panels[::2]] == list(ENCODERS)
    for row, encoder in enumerate(ENCODERS):
        first, last = (lines(axes) for axes in panels[2 * row : 2 * row + 2])
        for result in (each for each in results if each.experiment.encoder == encoder):
            for name, column in STATISTICS.items():
                values = result.trace[column].to_numpy()
                smooth = np.array([values[max(0, n - 31) : n + 1].mean() for n in range(len(values))])
                label = f"_{name} {result.experiment.seed}"
                np.testing.assert_allclose(first[label], np.column_stack([np.arange(1, 51), smooth[:50]]))
                np.testing.assert_allclose(last[label], np.column_stack([np.arange(-49, 1), smooth[50:]]))
                if result.experiment.seed == 0:
                    np.testing.assert_allclose(first[f"_each {name} 0"][:, 1], values[:50])
                    np.testing.assert_allclose(last[f"_each {name} 0"][:, 1], values[50:])
                else:
                    assert f"_each {name} 1" not in first


def test_the_figure_keeps_the_book_s_colours_and_markers(figure) -> None:
    for axes, encoder in zip(figure.axes[::2], ENCODERS, strict=False):
        drawn = [line for line in axes.lines if line.get_label() == "_mean 0"]
        assert [line.get_color() for line in drawn] == [colour("distributed")]
        assert [line.get_marker() for line in drawn] == [marker(encoder)]


def test_the_axis_on_the_right_shows_targets(figure) -> None:
    (last,) = [axes for axes in figure.axes if axes.lines][1::2][:1]
    (scale,) = last.child_axes
    figure.canvas.draw()
    np.testing.assert_allclose(scale.get_ylim(), [(1 + value) / 2 for value in last.get_ylim()])


def test_long_training_runs_show_500_batches_at_either_end() -> None:
    made = target_distributions([falling("lsa/mpnet", 0, steps=1300)])
    first, last = (lines(axes)["_mean 0"][:, 0] for axes in made.axes[:2])
    assert (first[0], first[-1], last[0], last[-1]) == (1, 500, -499, 0)
    assert len(made.legends[0].get_texts()) == 3  # there are no other seeds
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
    assert "in 4 of 4 training runs" in summary(table) and summary(table).endswith("than the minimum in 4 of 4.")


def test_a_mean_that_does_not_settle_has_no_batch(tmp_path, monkeypatch) -> None:
    table = before_and_after([falling("lsa/mpnet", 0, end=0.4), falling("lsa/mpnet", 1)])
    assert table["settled", "batch"].isna().tolist() == [True, False] and "0 in 1 of 2 training runs" in summary(table)
    text = as_columns(table)
    assert text.loc[("settled", "batch")].tolist() == ["—", str(table["settled", "batch"].iloc[1])]
    assert text.loc[(AFTER, "mean")].tolist() == [f"{value:.2f}" for value in table[AFTER, "mean"]]
    assert text.loc[("settled", "of")].tolist() == ["100", "100"]
    monkeypatch.setenv("ARMLIB_FIGURES", str(tmp_path))
    saved = pd.read_csv(tables.save(table, "ends")[0], header=[0, 1], index_col=[0, 1])
    np.testing.assert_allclose(saved[AFTER, "mean"], table[AFTER, "mean"])


def test_encoders_are_compared_by_their_means_over_seeds(results) -> None:
    ranges = between_encoders(before_and_after(results))
    assert list(ranges.columns) == [BEFORE, AFTER] and ranges.loc["mean", BEFORE] == pytest.approx(0.3)
    assert ranges[AFTER].max() < 1e-9
    assert between_encoders(before_and_after(results[:2])).isna().all(axis=None)


def test_what_cannot_be_drawn_is_refused() -> None:
    full = falling("lsa/mpnet", 3)
    empty = replace(full, trace=full.trace.iloc[:0])
    for make in (target_distributions, before_and_after):
        with pytest.raises(InputError, match="lsa/mpnet 3 has a trace without batches"):
            make([empty])
        with pytest.raises(InputError, match="at least one training run"):
            make([])


def test_a_real_training_run_is_drawn(small_store, small_experiment, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ARMLIB_FIGURES", str(tmp_path))
    result = small_store.result(small_experiment)
    made = target_distributions([result])
    drawn = lines(made.axes[0])["_each maximum 0"][:, 1]
    np.testing.assert_allclose(drawn, result.trace.similarity_maximum[:10])
    assert [path.suffix for path in save(made, "distributions")] == [".svg", ".pdf"]
    plt.close(made)
