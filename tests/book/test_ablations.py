"""Figures of changed losses hold the numbers of the results, read back from what is drawn. The results are fabricated."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from armbook import ablations, chapters, paper_and_code
from armbook.ablations import by_ablation
from armbook.paper_and_code import by_reading
from armbook.style import colour, marker, save
from test_tables_differences import COLLECTIONS, PROFILE, Fabricated, fabricate

from armlib.errors import InputError
from armlib.evaluation.evaluate import FULL_RANKING, RERANKING


@pytest.fixture(scope="module")
def readings() -> list[Fabricated]:
    return fabricate(chapters.readings(PROFILE))


@pytest.fixture(scope="module")
def ablations() -> list[Fabricated]:
    return fabricate(chapters.ablations(PROFILE))


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def drawn(axes) -> dict[str, np.ndarray]:
    """(n, 2) points of the lines of an axes that have a name."""
    return {line.get_gid(): np.column_stack(line.get_data()) for line in axes.lines if line.get_gid()}


def smoothed(values: pd.Series) -> np.ndarray:
    return values.rolling(32, min_periods=1).mean().to_numpy()


def test_readings_are_the_means_of_their_seeds(readings) -> None:
    figure = paper_and_code.readings_figure(readings)
    for number, (name, both) in enumerate(by_reading(readings).items()):
        above, below = figure.axes[number], figure.axes[number + 3]
        assert above.get_title() == name and set(drawn(above)) == set(drawn(below)) == {"paper", "released-code"}
        for reading, some in both.items():
            assert len(some) == 3
            expected = np.mean([result.validations["nDCG@10"] for result in some], axis=0)
            np.testing.assert_allclose(drawn(above)[reading], np.column_stack([some[0].validations.step * 64, expected]))
            expected = np.mean([smoothed(result.trace.similarity_mean) for result in some], axis=0)
            np.testing.assert_allclose(drawn(below)[reading], np.column_stack([some[0].trace.triples, expected]))
        assert {line.get_color() for line in above.lines} == {colour(name)}
        assert {line.get_linestyle() for line in above.lines} == {"-", "--"}, "the readings look alike in grey"


def test_ablations_are_differences_at_equal_seeds(ablations) -> None:
    figure = ablations.ablations_figure(ablations, PROFILE)
    found = by_ablation(ablations, PROFILE)
    names = [name for name in found if name != "distributed"]
    panels = {axes.get_title(): axes for axes in figure.axes}
    assert set(panels) == {f"{name}, {mode}" for name in COLLECTIONS for mode in (RERANKING, FULL_RANKING)}
    for collection in COLLECTIONS:
        for mode in (RERANKING, FULL_RANKING):
            axes = panels[f"{collection}, {mode}"]
            values = {name: np.array([r.value(collection, mode, "nDCG@10") for r in some]) for name, some in found.items()}
            points = drawn(axes)
            assert len(points) == 2 * len(names)
            for place, name in enumerate(names):
                expected = values[name] - values["distributed"]
                np.testing.assert_allclose(points[f"{name}:seed"], np.column_stack([expected, [place] * 3]))
                np.testing.assert_allclose(points[f"{name}:mean"], [[expected.mean(), place]])
            band = axes.patches[0].get_extents().transformed(axes.transData.inverted())
            own = values["distributed"] - values["distributed"].mean()
            np.testing.assert_allclose([band.x0, band.x1], [own.min(), own.max()], atol=1e-9)
    first = figure.axes[0]
    assert [label.get_text() for label in first.get_yticklabels()] == names
    assert first.yaxis_inverted(), "the first ablation is not on top"
    assert {line.get_marker() for line in first.lines if (line.get_gid() or "").endswith(":seed")} == {marker("lsa/roberta")}


def test_similarities_are_the_means_of_their_seeds(ablations) -> None:
    means, widths = ablations.similarities_figure(ablations, PROFILE).axes
    names = {"distributed", "mean", "static(0.5, variance=1.0)", "distributed, stopped gradient"}
    assert set(drawn(means)) == set(drawn(widths)) == names
    for name, some in by_ablation(ablations, PROFILE).items():
        if name in names:
            expected = np.mean([smoothed(result.trace.similarity_mean) for result in some], axis=0)
            np.testing.assert_allclose(drawn(means)[name][:, 1], expected)
            gaps = [smoothed(result.trace.similarity_maximum - result.trace.similarity_minimum) for result in some]
            np.testing.assert_allclose(drawn(widths)[name][:, 1], np.mean(gaps, axis=0))
    styles = [(line.get_color(), line.get_linestyle()) for line in means.lines if line.get_gid()]
    assert len(set(styles)) == len(names), "two lines look alike"


def test_one_seed_is_drawn_too(readings, ablations) -> None:
    first = [result for result in ablations if result.experiment.seed == 0]
    figure = ablations.ablations_figure(first, PROFILE)
    points = drawn(figure.axes[0])
    np.testing.assert_allclose(points["mean:seed"], points["mean:mean"])
    alone = paper_and_code.readings_figure([result for result in readings if result.experiment.seed == 0])
    assert not alone.axes[0].collections and len(drawn(alone.axes[0])) == 2


def test_unequal_seeds_are_refused(readings, ablations) -> None:
    with pytest.raises(InputError, match="has the seeds"):
        paper_and_code.readings_figure(readings[1:])
    with pytest.raises(InputError, match="has the seeds"):
        ablations.similarities_figure(ablations[1:], PROFILE)


def test_exports_are_the_same_each_time(ablations, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ARMLIB_FIGURES", str(tmp_path))
    made = [[path.read_bytes() for path in save(ablations.ablations_figure(ablations, PROFILE), "ablations")] for _ in range(2)]
    assert made[0] == made[1]
