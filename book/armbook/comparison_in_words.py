"""What came out of the comparison of variants, in sentences and in a table of counts; every sentence is computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from armbook.comparison import TIED, published_scores, selection, tuned_in_words, variant_scores
from armbook.comparison_tables import Sources, by_triples, cost_ratios
from armbook.results import ADAPTIVE, DISTRIBUTED, HITS, RECALL, STATIC, headed, named
from armbook.sentences import capital, listed_in_words, range_in_words
from armbook.side_by_side import OPENINGS, PUBLISHED, paper_collections, titled
from armbook.style import short_name
from armbook.tables import BEST
from armlib.evaluation.equivalence import DAGGER
from armlib.experiments.result import Result
from armlib.training.settings import MEASURE

IN_WORDS = {
    (STATIC, False): "static targets",
    (STATIC, True): "static targets with in-batch negatives",
    (ADAPTIVE, False): "adaptive targets",
    (ADAPTIVE, True): "adaptive targets with in-batch negatives",
    (DISTRIBUTED, False): "distributed targets",
}
MARGIN = 0.05  # of the equivalence tests (section 5.4)
AS_GOOD = (BEST, TIED, DAGGER)  # the best, as high as it, or equivalent to it
STATIC_OVER_DISTRIBUTED = f"{STATIC} / {DISTRIBUTED}"


def answer(scores: Sources, costs: Sources) -> str:
    """The chapter's answer in Markdown, a paragraph for each source of ours.

    Args:
        scores, costs: as `armbook.comparison.scores_by_source` and `armbook.comparison.costs_by_source` give them.
    """
    ours = [source for source in scores if source != PUBLISHED]
    printed = f"In the paper, the highest nDCG@10 {_shared(_group(scores[PUBLISHED], MEASURE))}."
    return "\n\n".join([*(_of_source(source, scores[source], costs) for source in ours), printed])


def _of_source(source: str, scores: pd.DataFrame, costs: Sources) -> str:
    ndcg, recall = _group(scores, MEASURE), _group(scores, RECALL)
    return " ".join(
        [
            f"**{OPENINGS[source]}**, {_leaders(ndcg, recall)}",
            _equivalence(ndcg, recall, [(DISTRIBUTED, False)]),
            _adaptive(ndcg, recall),
            _cost(costs[source], costs[PUBLISHED]),
        ]
    )


def _leaders(ndcg: pd.DataFrame, recall: pd.DataFrame) -> str:
    both = pd.concat([ndcg, recall])
    cases, encoders = both.groupby(["encoder", "collection", "measure"]).ngroups, both.encoder.nunique()
    collections = listed_in_words([titled(name) for name in dict.fromkeys(both.collection)])
    for variant, words in IN_WORDS.items():
        if _won(both, variant) == cases:
            one = short_name(str(both.encoder.iloc[0]))
            whose = {1: one, 2: "both encoders"}.get(encoders, f"all {encoders} encoders")
            return f"{words} have the highest nDCG@10 and the highest R@1000 with {whose} on {collections}."
    return f"the highest nDCG@10 on {collections} {_shared(ndcg)}; the highest R@1000 {_shared(recall)}."


def _shared(scores: pd.DataFrame) -> str:
    won = Counter({words: _won(scores, variant) for variant, words in IN_WORDS.items()})
    whole = scores.groupby(["encoder", "collection"]).ngroups
    parts = [f"to {words} in {_times(count, whole)}" for words, count in won.most_common() if count]
    tied = whole - sum(won.values())
    said = f"belongs {listed_in_words(parts)}" if parts else "belongs to no variant alone"
    return said + (f" (a tie in {_times(tied, whole)})" if tied and parts else "")


def _equivalence(ndcg: pd.DataFrame, recall: pd.DataFrame, variants: list[tuple[str, bool]]) -> str:
    words = IN_WORDS[variants[0]] if len(variants) == 1 else f"{ADAPTIVE} targets, with or without in-batch negatives,"
    counted = []
    for scores in (ndcg, recall):
        good = sum(_as_good(scores, variant) for variant in variants)
        counted.append((good, len(variants) * scores.groupby(["encoder", "collection"]).ngroups))
    (by_ndcg, cases), (by_recall, _) = counted
    gap = float(np.mean([_gaps(ndcg, variant).mean() for variant in variants]))
    behind = f" (on average {gap:.3f} nDCG@10 below it)" if gap >= 0.0005 else ""
    if by_ndcg == by_recall == 0:
        return f"{capital(words)} are never shown equivalent to the best{behind}."
    return (
        f"{capital(words)} are the best or equivalent to it in {_times(by_ndcg, cases)} by nDCG@10 and in "
        f"{_times(by_recall, cases)} by R@1000{behind}."
    )


def _adaptive(ndcg: pd.DataFrame, recall: pd.DataFrame) -> str:
    both = [(ADAPTIVE, True), (ADAPTIVE, False)]
    never = not any(_as_good(scores, variant) for scores in (ndcg, recall) for variant in both)
    return " ".join(_equivalence(ndcg, recall, some) for some in ([both] if never else [[each] for each in both]))


def _cost(costs: pd.DataFrame, printed: pd.DataFrame) -> str:
    ours, theirs = (_range(each, STATIC_OVER_DISTRIBUTED) for each in (costs, printed))
    lead = "With the search for their value, static targets"
    if by_triples(costs):
        return f"{lead} see {ours} times as many triples as distributed ones (published: {theirs} times as long to train)."
    return f"{lead} take {ours} times as long to train as distributed ones (published: {theirs})."


def measured_by(costs: Sources) -> str:
    """What the cost of variants is counted in, by source; for a caption."""
    found: dict[str, list[str]] = {}
    for source, frame in costs.items():
        found.setdefault("triples" if by_triples(frame) else "training time", []).append(source)
    return ", ".join(f"{listed_in_words(sources)} in {what}" for what, sources in found.items())


def statements(scores: Sources, costs: Sources) -> pd.DataFrame:
    """What section 5.4 says of Table 3, counted in every source; a case is an encoder on a collection.

    Args:
        scores, costs: as for `answer`.

    Returns:
        A row for each statement: ``section 5.4``, and for each source text such as ``5 of 6``.
    """
    rows = {
        "static targets have the highest nDCG@10": lambda ndcg, recall: _won(ndcg, (STATIC, False)),
        "distributed targets are best in nDCG@10, or equivalent": lambda ndcg, recall: _as_good(ndcg, (DISTRIBUTED, False)),
        "distributed targets are best in R@1000, or equivalent": lambda ndcg, recall: _as_good(recall, (DISTRIBUTED, False)),
        "adaptive targets, in-batch, have the highest R@1000": lambda ndcg, recall: _won(recall, (ADAPTIVE, True)),
        "in-batch negatives raise the nDCG@10 of static targets": lambda ndcg, recall: _raised(ndcg, STATIC),
    }
    table: dict[str, dict[str, str]] = {}
    for source, frame in scores.items():
        ndcg, recall = _group(frame, MEASURE), _group(frame, RECALL)
        whole = ndcg.groupby(["encoder", "collection"]).ngroups
        for said, count in rows.items():
            table.setdefault(said, {})[source] = f"{count(ndcg, recall)} of {whole}"
        for compared in dict.fromkeys(cost_ratios(costs[source]).compared):
            table.setdefault(f"cost, {compared}", {})[source] = f"{_range(costs[source], compared)}×"
    return pd.DataFrame([{"section 5.4": said, **row} for said, row in table.items()])


def meaning(scores: Sources) -> str:
    """Whether targets that need no search are as good as the best, in Markdown, by source; and where a test could not tell.

    Args:
        scores: as for `answer`.
    """
    return " ".join(_meaning(source, frame) for source, frame in scores.items() if source != PUBLISHED)


def _meaning(source: str, scores: pd.DataFrame) -> str:
    own = scores[scores.target != STATIC]
    others = own[~own["mark"].isin(AS_GOOD)]
    near = int((_differences(scores)[others.index] <= MARGIN).sum())
    good, opening = len(own) - len(others), OPENINGS[source]
    if not len(others):
        return f"{opening}, all {len(own)} scores of targets without a search are the best of their encoder or equivalent to it."
    text = (
        f"{opening}, {good or 'none'} of {len(own)} scores of targets without a search {'is' if good == 1 else 'are'} the best of "
        "their encoder or equivalent to it. "
    )
    far = len(others) - near
    rest = "The others" if good else "All"
    if not near:
        return f"{text}{rest} lie more than {MARGIN} below."
    if not far:
        return f"{text}{rest} lie within {MARGIN} of the best, but the queries are too few to show equivalence."
    return (
        f"{text}Of {'the others' if good else 'these'}, {near} {_lie(near)} within {MARGIN} of the best, where the queries are too "
        f"few to show equivalence, and {far} {_lie(far)} further below."
    )


def text_against_table(scores: Sources, costs: Sources) -> str:
    """Where sentences of section 5.4 count other things than the table that they stand beside, in Markdown.

    Args:
        scores, costs: as for `answer`.
    """
    recall, printed = _group(scores[PUBLISHED], RECALL), costs[PUBLISHED]
    whole, won = recall.groupby(["encoder", "collection"]).ngroups, _won(recall, (ADAPTIVE, True))
    found = cost_ratios(printed)
    over = found.ratio[found.compared.isin([f"{STATIC} / {ADAPTIVE}", f"{STATIC}, in-batch / {ADAPTIVE}, in-batch"])]
    said = []
    if won != whole - 1:
        claim = "adaptive targets with in-batch negatives have the highest R@1000 in all cases but one"
        said.append(f"{claim} (its table: in {won} of {whole})")
    if f"{over.min():.0f}" != "7" or f"{over.max():.0f}" != "15":
        claim = "static targets take 7 to 15 times as long as adaptive ones"
        said.append(f"{claim} (its times: {over.min():.1f} to {over.max():.1f})")
    return f"The paper's text says that {', and that '.join(said)}." if said else ""


def marks_out_of_order() -> str:
    """Where the printed Table 3 has a dagger beside a lower score and none beside a higher one, in Markdown; empty without any.

    That can be right, since the test looks at the spread over queries, too; only the run files can tell.
    """
    lines = []
    for (encoder, collection, measure), part in published_scores().groupby(["encoder", "collection", "measure"], sort=False):
        lowest = part["mean"][part["mark"] == DAGGER].min()
        for row in part[(part["mark"] == "") & (part["mean"] > lowest)].to_dict("records"):
            what = f"{headed(str(measure))} of {named(str(encoder), row['target'], row['in_batch'])} on {collection}"
            lines.append(f"{what} is {row['mean']:.3f} without a dagger, where {lowest:.3f} has one")
    return (
        f"In the printed table, {'; '.join(lines)}. Only the run files can tell whether the queries explain that." if lines else ""
    )


def hits_in_words(scores: Sources) -> str:
    """What Hits@100 of re-ranking tells, in Markdown, by source.

    Args:
        scores: as `armbook.comparison.scores_by_source` gives them for re-ranking.
    """
    lines = []
    for source, frame in scores.items():
        groups = _group(frame, HITS).groupby("collection", sort=False)["mean"]
        found = {titled(str(name)): (means.min(), means.max()) for name, means in groups}
        same = {where: low for where, (low, high) in found.items() if np.isclose(low, high)}
        if same:
            told = listed_in_words([f"{value:.3f} on {where}" for where, value in same.items()])
            lines.append(f"{OPENINGS[source]}, Hits@100 is {told} for every encoder and variant: the first stage alone decides it.")
        others = [(where, *span) for where, span in found.items() if where not in same]
        lines += [f"{OPENINGS[source]}, Hits@100 on {where} goes from {low:.3f} to {high:.3f}." for where, low, high in others]
    return " ".join(lines)


def elsewhere(shown: Mapping[str, Sequence[Result]]) -> str:
    """What came out on collections that the tables leave out, beside TREC-DL's, in Markdown; empty without any.

    Args:
        shown: as `armbook.comparison.comparable` gives it.
    """
    lines = []
    for source, results in shown.items():
        scores = variant_scores(results)
        others = scores[~scores.collection.isin(paper_collections(scores.collection))]
        for _, part in others.groupby("collection", sort=False):
            ndcg, recall = _group(part, MEASURE), _group(part, RECALL)
            leaders = _leaders(ndcg, recall)
            lines.append(f"{OPENINGS[source]}, {leaders} {_equivalence(ndcg, recall, [(DISTRIBUTED, False)])}")
    return "\n\n".join(lines)


def tuning(shown: Mapping[str, Sequence[Result]]) -> str:
    """How static targets and steps were chosen, and which targets that gave, in Markdown.

    Args:
        shown: as `armbook.comparison.comparable` gives it.
    """
    return "\n\n".join(
        f"{OPENINGS[source]}, {selection(results)} The best targets are {tuned_in_words(results)}."
        for source, results in shown.items()
    )


def _group(scores: pd.DataFrame, measure: str) -> pd.DataFrame:
    return scores[scores.measure.str.fullmatch(measure)]


def _of(scores: pd.DataFrame, variant: tuple[str, bool]) -> pd.DataFrame:
    return scores[(scores.target == variant[0]) & (scores.in_batch == variant[1])]


def _won(scores: pd.DataFrame, variant: tuple[str, bool]) -> int:
    return int((_of(scores, variant)["mark"] == BEST).sum())


def _as_good(scores: pd.DataFrame, variant: tuple[str, bool]) -> int:
    return int(_of(scores, variant)["mark"].isin(AS_GOOD).sum())


def _differences(scores: pd.DataFrame) -> pd.Series:
    """How far each score is below the best of its encoder, collection and measure."""
    return scores.groupby(["encoder", "collection", "measure"])["mean"].transform("max") - scores["mean"]


def _gaps(scores: pd.DataFrame, variant: tuple[str, bool]) -> pd.Series:
    return _differences(scores)[_of(scores, variant).index]


def _raised(scores: pd.DataFrame, target: str) -> int:
    alone, in_batch = (_of(scores, (target, each)).set_index(["encoder", "collection"])["mean"] for each in (False, True))
    return int((in_batch > alone.reindex(in_batch.index)).sum())


def _range(costs: pd.DataFrame, compared: str) -> str:
    table = cost_ratios(costs)
    return range_in_words(table.ratio[table.compared == compared], ".3g" if by_triples(costs) else ".1f")


def _times(count: int, of: int) -> str:
    if of == 1:
        return "the one case" if count else "no case"
    whole = "both cases" if of == 2 else f"all {of} cases"
    return whole if count == of else f"{count} of {of} cases" if count else "no case"


def _lie(count: int) -> str:
    return "lies" if count == 1 else "lie"
