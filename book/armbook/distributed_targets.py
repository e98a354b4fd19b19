"""Figure 5: how training with distributed targets goes, by batch size and beside adaptive targets (section 5.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from armbook import published
from armbook.curve_figures import by_encoder, by_variant
from armbook.learning_curves import (
    Peak,
    Shown,
    by_setting,
    encoders_in_words,
    outcomes_in_words,
    peak,
    peaks_side_by_side,
    told_apart,
    with_common_seeds,
)
from armbook.results import ADAPTIVE, DISTRIBUTED, STATIC, variant_name
from armbook.sentences import range_in_words
from armlib.experiments.result import Result

IN_BATCH = variant_name(ADAPTIVE, True)
USING_THE_BATCH = ((STATIC, True), (ADAPTIVE, True))  # the variants that claim 2 of section 5.3 sets distributed targets beside


def comparable(shown: Shown) -> dict[str, list[Result]]:
    """Of each source the distributed results whose seed all batch sizes have: figure, table and text have the same numbers.

    A source without any is left out.
    """
    distributed = {source: [each for each in results if each.experiment.target == DISTRIBUTED] for source, results in shown.items()}
    return {source: with_common_seeds(results) for source, results in distributed.items() if results}


def beside_adaptive(shown: Shown) -> dict[str, list[Result]]:
    """Of each source the encoders that were trained with adaptive and with distributed targets in one batch size.

    A source that has none of them is left out. The wide lines of a figure come first: adaptive before distributed targets.
    """
    found = {}
    for source, results in shown.items():
        settings = by_setting(results)
        both = [
            result
            for (encoder, variant, size), some in sorted(settings.items(), key=lambda item: item[0][1] == DISTRIBUTED)
            if variant in (ADAPTIVE, IN_BATCH, DISTRIBUTED)
            and all((encoder, other, size) in settings for other in (ADAPTIVE, DISTRIBUTED))
            for result in some
        ]
        if both:
            found[source] = both
    return found


def batch_size_learning_curves(shown: Shown) -> Figure:
    """Figure 5: validation nDCG@10 and hits over the share of an epoch, a column a batch size, a line an encoder.

    Args:
        shown: by their source, results as `armbook.chapters.batch_sizes` lists them.
    """
    in_order = {source: sorted(results, key=lambda result: result.experiment.batch_size) for source, results in shown.items()}
    return by_encoder(in_order, lambda setting: f"batches of {setting[2]}")


def adaptive_and_distributed(shown: Shown) -> Figure:
    """Validation nDCG@10 of adaptive and distributed targets over the share of an epoch, a row an encoder, a column a source.

    Args:
        shown: as `beside_adaptive` gives it.
    """
    return by_variant(shown)


def batch_size_table(shown: Shown) -> pd.DataFrame:
    """The peaks of Figure 5, see `armbook.learning_curves.peaks_side_by_side`."""
    return peaks_side_by_side(shown, lambda setting: {"batch": setting[2]})


def answer(results: Sequence[Result]) -> str:
    """What came out, in some sentences: what batch sizes change, and how distributed targets compare with adaptive ones.

    Args:
        results: of one source, as `armbook.chapters.batch_sizes` and `armbook.chapters.adaptive` list them; some may be absent.
    """
    sizes, variants = (found.get("", []) for found in (comparable({"": results}), beside_adaptive({"": results})))
    return " ".join(filter(None, (_of_variants(variants), _of_sizes(sizes, _between_seeds(variants)))))


def observations(shown: Shown) -> pd.DataFrame:
    """The readings of section 5.3 beside those of each source: a row a reading, a column a source.

    Args:
        shown: by their source, results as `answer` takes them.
    """
    rows = {
        "length of training, epochs": "1",
        "smaller batches peak sooner": "yes",
        "best nDCG@10 differs between batch sizes by": "little",
        "largest batch has the best nDCG@10": "2 of 3 encoders",
        "peaks sooner than adaptive": "yes",
        "best nDCG@10, against adaptive": "not said",
        "best nDCG@10, against adaptive in-batch": "higher",
    }
    table = pd.DataFrame({"reading": list(rows), "published": list(rows.values())})
    sizes, variants = comparable(shown), beside_adaptive(shown)
    for source in shown:
        table[source] = [*_size_readings(sizes.get(source, [])), *_variant_readings(variants.get(source, []))]
    return table


def final_models() -> str:
    """What the final models of the paper say on the first two observations (Table 3), in Markdown."""
    seen, lead = {}, {}
    for model in published.MODELS:
        distributed = published.variant3(model, DISTRIBUTED, False)
        seen[model] = distributed["triples_millions"], published.variant3(model, ADAPTIVE, False)["triples_millions"]
        others = [published.variant3(model, *variant) for variant in USING_THE_BATCH]
        lead[model] = min(
            distributed[f"{year}_ndcg10"] - max(other[f"{year}_ndcg10"] for other in others) for year in published.SETS
        )
    fewer = sum(ours < theirs for ours, theirs in seen.values())
    listed = ", ".join(f"{ours:.2f}M and {theirs:.2f}M with {model}" for model, (ours, theirs) in seen.items())
    return (
        f"Table 3 agrees with the second reading and hardly with the first. Distributed targets lead both in-batch variants in "
        f"nDCG@10, in both years, for {encoders_in_words(sum(gap > 0 for gap in lead.values()), len(lead))} (by at least "
        f"{min(lead.values()):.3f}). But early stopping ended their training after fewer triples than that of adaptive targets "
        f"for {encoders_in_words(fewer, len(seen))} only: {listed}."
    )


def _by_size(results: Sequence[Result]) -> dict[str, dict[int, Peak]]:
    """Peaks by encoder and batch size, from the smallest."""
    found: dict[str, dict[int, Peak]] = {}
    for (encoder, _, size), some in sorted(by_setting(results).items(), key=lambda item: item[0][2]):
        found.setdefault(encoder, {})[size] = peak(some)
    return found


def _by_variant(results: Sequence[Result]) -> dict[str, dict[str, Peak]]:
    found: dict[str, dict[str, Peak]] = {}
    for (encoder, variant, _), some in by_setting(results).items():
        found.setdefault(encoder, {})[variant] = peak(some)
    return found


def _means(peaks: Mapping[int, Peak]) -> list[float]:
    return [each.best for each in peaks.values()]


def _ends(peaks: Mapping[int, Peak]) -> tuple[Peak, Peak]:
    """Those of the smallest and of the largest batches."""
    return peaks[min(peaks)], peaks[max(peaks)]


def _between_seeds(variants: Sequence[Result]) -> float | None:
    """By how much the best nDCG@10 of distributed targets differs between seeds, at most; None of one seed."""
    peaks = [each[DISTRIBUTED].there for each in _by_variant(variants).values()]
    return max((float(np.ptp(each)) for each in peaks if len(each) > 1), default=None)


def _of_sizes(results: Sequence[Result], noise: float | None) -> str:
    found = _by_size(results)
    if not found:
        return ""
    found = {encoder: peaks for encoder, peaks in found.items() if len(peaks) > 1} or found
    small, large = (int(pick(size for each in found.values() for size in each)) for pick in (min, max))
    every = [each for peaks in found.values() for each in peaks.values()]
    rising = sum(each.at_end for each in every)
    if small == large:
        when, best = range_in_words([each.epoch for each in every], ".0%"), range_in_words([each.best for each in every], ".3f")
        still = f", for {encoders_in_words(rising, len(every))} as training ends" if rising else ""
        return f"In batches of {small}, the only size here, nDCG@10 peaks at {best} after {when} of an epoch{still}."
    spread = max(float(np.ptp(_means(each))) for each in found.values())
    ends = [_ends(each) for each in found.values()]
    outcomes = [told_apart(last.there, first.there) for first, last in ends]
    text = f"Between batches of {small} and {large} the best nDCG@10 of an encoder differs by at most {spread:.3f}"
    alone = len(ends[0][0].there) == 1
    text += " on one seed each" if alone else f"; with {large} it is {outcomes_in_words(outcomes)}"
    text += f", while seeds of one batch size differ by up to {noise:.3f}" if noise is not None else ""
    sooner = sum(first.triples < last.triples for first, last in ends)
    text += f". Smaller batches peak sooner for {encoders_in_words(sooner, len(ends))}"
    return text + (f", but {rising} of {len(every)} curves still rise as training ends." if rising else ".")


def _of_variants(results: Sequence[Result]) -> str:
    found = _by_variant(results)
    if not found:
        return ""
    pairs = [(each[DISTRIBUTED], each[ADAPTIVE]) for each in found.values()]
    gaps = [ours.best - theirs.best for ours, theirs in pairs]
    outcomes = [told_apart(ours.there, theirs.there) for ours, theirs in pairs]
    sooner = sum(ours.triples < theirs.triples for ours, theirs in pairs)
    return (
        f"Compared with adaptive targets, the best nDCG@10 of distributed ones is {outcomes_in_words(outcomes)} "
        f"({range_in_words(gaps, '+.3f')}); it comes sooner for {encoders_in_words(sooner, len(pairs))}."
    )


def _size_readings(results: Sequence[Result]) -> list[str]:
    found = _by_size(results)
    if not found:
        return ["–"] * 4
    seen = range_in_words((each.about["triples"] / each.about["available_triples"] for each in results), ".2g")
    several = [each for each in found.values() if len(each) > 1]
    if not several:
        return [seen, "–", "–", "–"]
    ends = [_ends(each) for each in several]
    spread = range_in_words((float(np.ptp(_means(each))) for each in several), ".3f")
    sooner = sum(first.triples < last.triples for first, last in ends)
    higher = sum(last.best > first.best for first, last in ends)
    return [seen, encoders_in_words(sooner, len(ends)), spread, encoders_in_words(higher, len(ends))]


def _variant_readings(results: Sequence[Result]) -> list[str]:
    found = _by_variant(results)
    if not found:
        return ["–", "–", "–"]
    sooner = sum(each[DISTRIBUTED].triples < each[ADAPTIVE].triples for each in found.values())
    said = [encoders_in_words(sooner, len(found))]
    for other in (ADAPTIVE, IN_BATCH):
        outcomes = [told_apart(each[DISTRIBUTED].there, each[other].there) for each in found.values() if other in each]
        said.append(outcomes_in_words(outcomes) if outcomes else "–")
    return said
