"""Figure 4: how training with adaptive targets goes, without and with in-batch negatives (section 5.2)."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from armbook import published
from armbook.curve_figures import by_encoder
from armbook.learning_curves import (
    LOWER,
    Peak,
    Setting,
    Shown,
    by_setting,
    encoders_in_words,
    outcomes_in_words,
    peak,
    peaks_side_by_side,
    told_apart,
    validation_measures,
)
from armbook.results import ADAPTIVE, spoken
from armbook.sentences import range_in_words
from armlib.experiments.result import Result
from armlib.training.settings import MEASURE

WITHOUT, WITH = "without in-batch negatives", "with in-batch negatives"
PATIENCE = 16 * 500 * 128 / 1e6  # million triples that the paper's final models see without progress before they stop (section 5.4)
HALF = 0.5  # of an epoch, where the paper sees the best nDCG@10


def adaptive_learning_curves(shown: Shown) -> Figure:
    """Figure 4: validation nDCG@10 and hits over the share of an epoch, without and with in-batch negatives (columns).

    Args:
        shown: by their source, results as `armbook.chapters.adaptive` lists them.
    """
    return by_encoder(shown, _column)


def adaptive_table(shown: Shown) -> pd.DataFrame:
    """The peaks of Figure 4, see `armbook.learning_curves.peaks_side_by_side`."""
    return peaks_side_by_side(shown, lambda setting: {"in-batch": _column(setting) == WITH})


def answer(results: Sequence[Result]) -> str:
    """What came out, in some sentences: when nDCG@10 peaks, whether it declines, and what in-batch negatives change."""
    plain, in_batch = _peaks(results, MEASURE)
    at_end = sum(each.at_end for each in plain.values())
    seen = max(result.about["triples"] / result.about["available_triples"] for result in results)
    if at_end == len(plain):
        first = f"With adaptive targets nDCG@10 still rises when training ends, after {seen:.2g} of an epoch."
    else:
        when = range_in_words((each.epoch for each in plain.values()), ".1%")
        late = f" (for {encoders_in_words(at_end, len(plain))} only as training ends)" if at_end else ""
        first = f"Adaptive targets reach their best nDCG@10 after {when} of an epoch{late}; {decline(plain)}."
    reach = f" Training ends at {seen:.0%} of an epoch, short of the half where the paper sees the peak." if seen < HALF else ""
    return first + (f" {_effect(plain, in_batch, 'nDCG@10')}" if in_batch else "") + reach


def decline(peaks: dict[str, Peak]) -> str:
    """Whether nDCG@10 ends lower than the held-out peak in every seed, in words."""
    apparent = range_in_words((each.best - each.last.mean() for each in peaks.values()), ".3f")
    if min(len(each.last) for each in peaks.values()) == 1:
        return f"it ends {apparent} lower, which one seed cannot tell from noise"
    real = range_in_words((each.last.mean() - each.held_out.mean() for each in peaks.values()), "+.3f")
    lower = sum(told_apart(each.last, each.held_out) == LOWER for each in peaks.values())
    if not lower:
        return (
            f"it ends {apparent} below its peak, but where other seeds pick the peak, not every seed declines "
            f"({real} from there to the end)"
        )
    return f"it then declines in every seed for {encoders_in_words(lower, len(peaks))} ({real} from the held-out peak to the end)"


def observations(shown: Shown) -> pd.DataFrame:
    """The readings of section 5.2 beside the same readings of each source: a row a reading, a column a source."""
    rows = {
        "length of training, epochs": "1",
        "encoders": "3",
        "best nDCG@10 after (epochs)": "about 0.5",
        "nDCG@10 declines after the peak": "yes",
        "best nDCG@10 with in-batch negatives": "lower for all 3 encoders",
        "peak comes later with in-batch negatives": "all 3 encoders",
        "best hits with in-batch negatives": "higher except with RoBERTa",
    }
    table = pd.DataFrame({"reading": list(rows), "published": list(rows.values())})
    for source, results in shown.items():
        table[source] = _readings(results)
    return table


def final_models() -> str:
    """What early stopping of the paper's final models says about the peak (Table 3), in Markdown."""
    table = published.table3()
    rows = table[(table.target == ADAPTIVE) & ~table.in_batch]
    seen, epoch = rows.triples_millions, published.TRIPLES / 1e6
    return (
        f"Table 3 gives a second view. Early stopping, after {PATIENCE:.2f} million triples without progress, ended the "
        f"training of the final adaptive models without in-batch negatives at {range_in_words(seen, '.2f')} million triples, "
        f"{range_in_words(seen / epoch, '.0%')} of an epoch. So the models that the paper compares had their best validation in "
        f"the first {(seen / epoch).max():.0%} of an epoch and never saw half of one."
    )


def _column(setting: Setting) -> str:
    return WITH if "in-batch" in setting[1] else WITHOUT


def _peaks(results: Sequence[Result], measure: str) -> tuple[dict[str, Peak], dict[str, Peak]]:
    """Peaks by encoder, without and with in-batch negatives."""
    found = {setting: peak(some, measure) for setting, some in by_setting(results).items()}
    plain, in_batch = ({each[0]: one for each, one in found.items() if _column(each) == title} for title in (WITHOUT, WITH))
    return plain, in_batch


def _effect(plain: dict[str, Peak], in_batch: dict[str, Peak], measure: str) -> str:
    """How the best score changes with in-batch negatives, in a sentence."""
    both = [encoder for encoder in plain if encoder in in_batch]
    gaps = [in_batch[each].best - plain[each].best for each in both]
    outcomes = [told_apart(in_batch[each].there, plain[each].there) for each in both]
    return f"With in-batch negatives the best {measure} is {outcomes_in_words(outcomes)} ({range_in_words(gaps, '+.3f')})."


def _readings(results: Sequence[Result]) -> list[str]:
    ndcg, hits = (_peaks(results, measure) for measure in validation_measures(results))
    plain, in_batch = ndcg
    seen = [result.about["triples"] / result.about["available_triples"] for result in results]
    said = [range_in_words(seen, ".2g"), str(len(plain)), range_in_words((each.epoch for each in plain.values()), ".3f")]
    falls = sum(told_apart(each.last, each.held_out) == LOWER for each in plain.values())
    said.append(f"{encoders_in_words(falls, len(plain))}, in every seed")
    if not in_batch:
        return [*said, "–", "–", "–"]
    both = [each for each in plain if each in in_batch]
    later = sum(in_batch[each].triples > plain[each].triples for each in both)
    outcomes = [outcomes_in_words([told_apart(some[1][each].there, some[0][each].there) for each in both]) for some in (ndcg, hits)]
    return [*said, outcomes[0], encoders_in_words(later, len(both)), f"{outcomes[1]} ({spoken(validation_measures(results)[1])})"]
