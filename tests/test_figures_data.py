"""Bars of token lengths and of padding hold what the stores and the table hold."""

from __future__ import annotations

from dataclasses import replace

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from armbook import data_and_encoders
from armbook.data_and_encoders import data_of, padding_table

from armlib.experiments.profile import load_profile


@pytest.fixture(scope="module")
def data(small_experiment, tiny_folder):
    return data_of(replace(load_profile("demo"), experiment=small_experiment, encoders=(str(tiny_folder),)))


def test_bars_of_lengths_hold_all_texts_and_hatched_ones_those_that_are_cut(data) -> None:
    figure = data_and_encoders.token_lengths(data)
    for axes, store, limit in zip(figure.axes, (data.queries, data.passages), (24, 48), strict=True):
        bars, tokens = axes.patches, store.lengths
        assert sum(bar.get_height() for bar in bars) == pytest.approx(100)
        for bar in bars[:-1]:
            inside = (tokens >= bar.get_x()) & (tokens < bar.get_x() + bar.get_width())
            assert bar.get_height() == pytest.approx(100 * inside.mean())
        assert bars[-1].get_height() == pytest.approx(100 * (tokens >= bars[-1].get_x()).mean()), "the last bar holds longer ones"
        hatched = [bar for bar in bars if bar.get_hatch()]
        assert sum(bar.get_height() for bar in hatched) == pytest.approx(100 * (tokens > limit).mean())
        (line,) = axes.lines
        assert set(line.get_xdata()) == {limit + 1} == {hatched[0].get_x()}
        assert f"{100 * (tokens > limit).mean():.1f} % are cut at {limit}" in axes.get_title()
    plt.close(figure)


def test_lengths_without_a_cut_have_no_hatched_text(data) -> None:
    whole = replace(data, profile=replace(data.profile, experiment=replace(data.profile.experiment, passage_length=2000)))
    figure = data_and_encoders.token_lengths(whole)
    bars = figure.axes[1].patches
    assert sum(bar.get_height() for bar in bars if not bar.get_hatch()) == pytest.approx(100)
    plt.close(figure)


def test_bars_of_padding_are_the_tables(data) -> None:
    table = padding_table(data, 2)
    figure = data_and_encoders.padding_figure(table)
    assert len(figure.axes) == 2
    for axes, (name, rows) in zip(figure.axes, table.groupby(level=0, sort=False), strict=True):
        real, padded = axes.containers
        np.testing.assert_allclose([bar.get_width() for bar in real], rows.real)
        np.testing.assert_allclose([bar.get_width() for bar in padded], rows.padding)
        np.testing.assert_allclose([bar.get_x() for bar in padded], rows.real)
        assert [label.get_text() for label in axes.get_yticklabels()] == rows.index.get_level_values(1).tolist()
        assert name in axes.get_title(loc="left")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["real tokens", "padding"]
    plt.close(figure)
