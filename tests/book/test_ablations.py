"""Ablations of distributed targets: figures and tables of fabricated results, what the identities say of a real batch.

All numbers of fabricated results are made up; none was measured.
"""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from armbook import chapters, reranking, tables
from armbook.ablations import ablations_figure, ablations_table, by_ablation, loss_parts, reach, similarities_figure, training_batch
from armbook.style import marker, save
from armlib.errors import InputError
from armlib.evaluation.evaluate import FULL_RANKING, RERANKING
from armlib.experiments.result import Result
from armlib.losses import MarginLoss
from drawings import named_lines, smoothed
from fabricated import LOSSES_PROFILE, LOSSES_RECALL, Fabricated, changed_losses


@pytest.fixture(scope="module")
def ablations() -> list[Fabricated]:
    return changed_losses(chapters.ablations(LOSSES_PROFILE))


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_ablations_are_named_by_what_they_change(ablations: list[Fabricated]) -> None:
    assert list(by_ablation(ablations, LOSSES_PROFILE)) == [
        "distributed",
        "mean",
        "static(0.5, variance=1.0)",
        "variance",
        "distributed, stopped gradient",
        "distributed, absolute error",
        "distributed, soft error",
        "distributed, learning rate × 0.5",
        "distributed, learning rate × 2",
    ]


def test_ablations_are_differences_at_equal_seeds(ablations) -> None:
    figure = ablations_figure(ablations, LOSSES_PROFILE)
    found = by_ablation(ablations, LOSSES_PROFILE)
    names = [name for name in found if name != "distributed"]
    panels = {axes.get_title(): axes for axes in figure.axes}
    assert set(panels) == {f"{name}, {mode}" for name in LOSSES_RECALL for mode in (RERANKING, FULL_RANKING)}
    for collection in LOSSES_RECALL:
        for mode in (RERANKING, FULL_RANKING):
            axes = panels[f"{collection}, {mode}"]
            values = {name: np.array([r.value(collection, mode, "nDCG@10") for r in some]) for name, some in found.items()}
            points = named_lines(axes)
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
    means, widths = similarities_figure(ablations, LOSSES_PROFILE).axes
    names = {"distributed", "mean", "static(0.5, variance=1.0)", "distributed, stopped gradient"}
    assert set(named_lines(means)) == set(named_lines(widths)) == names
    for name, some in by_ablation(ablations, LOSSES_PROFILE).items():
        if name in names:
            expected = np.mean([smoothed(result.trace.similarity_mean) for result in some], axis=0)
            np.testing.assert_allclose(named_lines(means)[name][:, 1], expected)
            gaps = [smoothed(result.trace.similarity_maximum - result.trace.similarity_minimum) for result in some]
            np.testing.assert_allclose(named_lines(widths)[name][:, 1], np.mean(gaps, axis=0))
    styles = [(line.get_color(), line.get_linestyle()) for line in means.lines if line.get_gid()]
    assert len(set(styles)) == len(names), "two lines look alike"


def test_one_seed_is_drawn_too(ablations) -> None:
    first = [result for result in ablations if result.experiment.seed == 0]
    figure = ablations_figure(first, LOSSES_PROFILE)
    points = named_lines(figure.axes[0])
    np.testing.assert_allclose(points["mean:seed"], points["mean:mean"])


def test_unequal_seeds_are_refused(ablations) -> None:
    with pytest.raises(InputError, match="has the seeds"):
        similarities_figure(ablations[1:], LOSSES_PROFILE)
    with pytest.raises(InputError, match="expected the same"):
        by_ablation(ablations[:-1], LOSSES_PROFILE)
    with pytest.raises(InputError, match="compared with distributed targets"):
        by_ablation(ablations[3:6], LOSSES_PROFILE)


def test_exports_are_the_same_each_time(ablations, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ARMLIB_FIGURES", str(tmp_path))
    made = [[path.read_bytes() for path in save(ablations_figure(ablations, LOSSES_PROFILE), "ablations")] for _ in range(2)]
    assert made[0] == made[1]


def test_the_table_of_ablations_has_the_results_numbers(ablations: list[Fabricated], tmp_path, monkeypatch) -> None:
    table = ablations_table(ablations, LOSSES_PROFILE)
    row = table.loc["two/test", "distributed, stopped gradient"]
    some = [result for result in ablations if result.experiment.stop_gradient]
    values = [result.value("two/test", FULL_RANKING, "R(rel=2)@1000") for result in some]
    assert row[FULL_RANKING, "Recall@1000"] == f"{np.mean(values):.3f} ± {np.ptp(values) / 2:.3f}"
    assert row[RERANKING, "nDCG@10, difference"] == "-0.070" and table.loc["two/test", "distributed"].iloc[-1] == ""
    ends = [result.trace.similarity_mean[-32:].mean() for result in some]
    assert row["at the end", "mean D+ x D-"] == f"{np.mean(ends):.3f}"
    monkeypatch.setenv("ARMLIB_FIGURES", str(tmp_path))
    csv, tex = tables.save(table, "ablations")
    assert "-0.070" in csv.read_text() and "learning rate" in tex.read_text()


@pytest.fixture(scope="module")
def result(small_store, small_experiment) -> Result:
    return small_store.result(small_experiment)


def test_the_loss_is_the_sum_of_its_parts(result: Result) -> None:
    experiment = result.experiment
    table = loss_parts({"before": reranking.starting_encoder(experiment), "after": result.encoder()}, experiment)
    np.testing.assert_allclose(table["mean"] + table.variance, table.distributed, rtol=1e-5)
    batch = training_batch(result.encoder(), experiment)
    assert table.loc["after", "distributed"] == pytest.approx(float(MarginLoss("distributed")(*batch)))
    assert 0 <= table["mean target"].min() <= table["mean target"].max() <= 1


def test_an_explicit_mean_reaches_every_negative_unless_it_is_constant() -> None:
    batch = list(torch.randn(3, 8, 16, generator=torch.Generator().manual_seed(0)))
    table = reach(
        batch,
        {
            "distributed": MarginLoss("distributed"),
            "mean": MarginLoss("mean"),
            "static": MarginLoss("static(0.5)"),
            "constant": MarginLoss("distributed", stop_gradient=True),
            "constant mean": MarginLoss("mean", stop_gradient=True),
        },
    )
    assert table["negatives pulled"].to_dict() == {"distributed": 8, "mean": 8, "static": 1, "constant": 1, "constant mean": 1}
    assert table.cosine["distributed"] == pytest.approx(1) and table.cosine["mean"] < 0.9999
    assert table.cosine["constant"] == pytest.approx(table.cosine["constant mean"], abs=1e-12)
    assert not any(embeddings.requires_grad for embeddings in batch)
