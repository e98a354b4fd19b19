"""The chapter on baselines in sentences, all computed: what teachers add, what tuning and training add, where BM25 leads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import pandas as pd

from armbook.baselines import BEFORE, ONE, Baseline
from armbook.baselines_gains import TUNED, Scores, measured_scores, published_scores, signed
from armbook.sentences import capital, listed_in_words, range_in_words
from armbook.table4_sources import Source, paired
from armbook.tuned_losses import SELF, TEACHER
from armlib.evaluation.equivalence import Equivalence
from armlib.training.settings import MEASURE

ADAPTIVE, INFONCE, BM25 = "adaptive", "InfoNCE", "BM25"
AHEAD, BEHIND, EQUIVALENT, EVEN = "ahead", "behind", "equivalent", "not told apart"
PUBLISHED = "published"
BALANCED = "static, tuned, balanced"
PAIRS = (
    ("InfoNCE, adaptive margins", "InfoNCE"),
    ("InfoNCE, soft labels", "InfoNCE"),
    ("distributed", BALANCED),
    ("PairDistill", "list-wise KL"),
    ("PairDistill, second round", "InfoNCE, trained again"),
)
Sources = Mapping[str, Source]


def answer(sources: Sources) -> str:
    """What came out, in Markdown: a paragraph for each source."""
    return each(sources, lambda source: f"{taught(source)} {against_no_training(source)} {against_bm25(source)}")


def each(sources: Sources, tell: Callable[[Source], str]) -> str:
    """A paragraph for each source, after its name in bold."""
    return "\n\n".join(f"**{_capital(name)}.** {tell(source)}" for name, source in sources.items())


def headline(sources: Sources) -> str:
    """One sentence for the front page, of the first source and its largest collection."""
    name, source = next(iter(sources.items()))
    student, own = (source.best(_of_group(source, group)) for group in (TEACHER, SELF))
    test = paired(student, own, source.largest)
    relation = RELATIONS[verdict(test)].format("the best self-distilled loss")
    lexical = f"{_many(*_beaten(source, source.largest)[:2])} trained encoders {_scores(source, source.largest)}"
    return (
        f"On {short(source.largest)} ({name}), the best student of a teacher {relation} ({signed(test.difference)} {MEASURE}), "
        f"and BM25 beats {lexical}."
    )


def taught(source: Source) -> str:
    """The best student of a teacher beside the best self-distilled loss."""
    student, own = (source.best(_of_group(source, group)) for group in (TEACHER, SELF))
    told = beside(source, student, own, "the best self-distilled loss")
    return f"In {MEASURE}, *{student.loss}*, the best student of a teacher, {told}."


RELATIONS = {AHEAD: "leads {}", BEHIND: "trails {}", EQUIVALENT: "is equivalent to {}", EVEN: "cannot be told apart from {}"}


def beside(source: Source, one: Baseline, other: Baseline, name: str) -> str:
    """How one row stands to another in nDCG@10 on every collection, such as ``leads *InfoNCE*, the best loss, on dev (+0.040)``.

    Args:
        source: of both.
        one, other: rows.
        name: what the other is, such as ``the best margin loss``.
    """
    found: dict[str, list[str]] = {}
    for collection in source.collections:
        test = paired(one, other, collection)
        found.setdefault(verdict(test), []).append(f"{_on(source, collection)} ({signed(test.difference)})")
    calls = [f"*{other.loss}*, {name}{',' if len(source.collections) > 1 else ''}", *["it"] * len(found)]
    told = [RELATIONS[each].format(call) + _and(where) for (each, where), call in zip(found.items(), calls, strict=False)]
    return _and(told)


def verdict(test: Equivalence) -> str:
    """Whether the confidence interval (90 %) leaves 0 out, or lies within the margin of equivalence, or tells nothing."""
    if test.low > 0:
        return AHEAD
    if test.high < 0:
        return BEHIND
    return EQUIVALENT if test.equivalent else EVEN


def against_no_training(source: Source) -> str:
    """Plain adaptive targets beside the encoder before training, by nDCG@10 and R@1000 on every collection."""
    lower: dict[str, list[str]] = {}
    higher: dict[str, list[str]] = {}
    for scores in measured_scores(source):
        (collection, measure), start, end = scores.column, scores.values[BEFORE], scores.values[ADAPTIVE]
        text = f"{_on(source, collection)} ({start:.3f} → {end:.3f})"
        (lower if end < start else higher).setdefault(measure, []).append(text)
    falls, rises = (_and([measure + _and(where) for measure, where in some.items()]) if some else "" for some in (lower, higher))
    if not rises:
        return f"Plain adaptive targets are worse than no training: they lower {falls}."
    if not falls:
        return f"Plain adaptive targets are better than no training: they raise {rises}."
    return f"Against no training, plain adaptive targets lower {falls}, and raise their other scores."


def against_bm25(source: Source) -> str:
    """How many of the trained encoders BM25 beats in nDCG@10, on every collection."""
    found: dict[tuple[int, int], list[str]] = {}
    for name in source.collections:
        found.setdefault(_beaten(source, name), []).append(f"{_on(source, name)} {_scores(source, name)}")
    nouns = [" trained encoders", *[""] * len(found)]
    told = [_many(*counts) + noun + _and(where) for (counts, where), noun in zip(found.items(), nouns, strict=False)]
    return f"BM25 beats {_and(told)}."


def _beaten(source: Source, collection: str) -> tuple[int, int]:
    """How many trained encoders BM25 beats, of how many."""
    lexical = source.row(BM25).mean(collection).mean[MEASURE]
    scores = [row.mean(collection).mean[MEASURE] for row in source.trained]
    return sum(score < lexical for score in scores), len(scores)


def _many(some: int, every: int) -> str:
    return {every: f"all {every}", 0: f"none of the {every}"}.get(some, f"{some} of the {every}")


def _scores(source: Source, collection: str) -> str:
    lexical, best = (row.mean(collection).mean[MEASURE] for row in (source.row(BM25), source.best(source.trained, collection)))
    return f"({lexical:.3f}; best encoder {best:.3f})"


def does_tuning_pay(sources: Sources) -> str:
    """Tuned static targets over target 1, published and measured: a list in Markdown."""
    return _listed({PUBLISHED: published_scores(), **_columns(sources)}, _tuning)


def does_training_pay(sources: Sources) -> str:
    """Trained rows over the encoder before training, measured: a list in Markdown. The paper has no such row."""
    return _listed(_columns(sources), _training)


def what_self_distillation_lacks(sources: Sources) -> str:
    """The best self-distilled row beside the best of any kind, published and measured: a list in Markdown."""
    return _listed({PUBLISHED: published_scores(), **_columns(sources)}, _lack)


def _columns(sources: Sources) -> dict[str, list[Scores]]:
    return {name: measured_scores(source) for name, source in sources.items()}


def _listed(columns: Mapping[str, Sequence[Scores]], tell: Callable[[Sequence[Scores]], str]) -> str:
    return "\n".join(f"- **{_capital(name)}.** {tell(scores)}" for name, scores in columns.items())


def _by_measure(columns: Sequence[Scores]) -> dict[str, list[Scores]]:
    found: dict[str, list[Scores]] = {}
    for scores in columns:
        found.setdefault(scores.column[1], []).append(scores)
    return found


def _tuning(columns: Sequence[Scores]) -> str:
    gains = {
        measure: [round(each.values[TUNED[0]] - each.values[ONE], each.digits) for each in some]
        for measure, some in _by_measure(columns).items()
    }
    smallest, largest = min(map(min, gains.values())), max(map(max, gains.values()))
    word = "Yes" if smallest > 0 else "Not everywhere" if largest > 0 else "No"
    told = _and([f"{range_in_words(values, f'.{columns[0].digits}f')} {measure}" for measure, values in gains.items()])
    ranked, found = gains.values()
    more = sum(recall > precision for precision, recall in zip(ranked, found, strict=True))
    where = f"on {more} of {len(found)} collections" if len(found) > 1 else "here" if more else "nowhere"
    return f"{word}. Over target 1, and without in-batch negatives, tuning adds {told}; it adds more recall than nDCG@10 {where}."


def _training(columns: Sequence[Scores]) -> str:
    parts = []
    for measure, some in _by_measure(columns).items():
        below: dict[str, list[str]] = {}
        trained = some[0].trained
        for scores in some:
            for name in trained:
                if scores.values[name] < scores.values[BEFORE]:
                    below.setdefault(name, []).append(short(scores.column[0]))
        every = f"all {len(trained)} trained rows are above the untrained encoder"
        verbs = [" is below the untrained encoder", *[""] * len(below)]
        lost = [f"{name}{verb} on {_and(where)}" for (name, where), verb in zip(below.items(), verbs, strict=False)]
        rest = f"; the other {len(trained) - len(below)} rows are above it"
        parts.append(f"in {measure}, {'; '.join(lost) + rest if below else every}")
    return f"{_capital('. '.join(map(_capital, parts)))}."


def _lack(columns: Sequence[Scores]) -> str:
    parts = []
    for measure, some in _by_measure(columns).items():
        missing = []
        for scores in some:
            own, best = scores.best(SELF), scores.best()
            gap = round(scores.values[best] - scores.values[own], scores.digits) if own and best else 0.0
            where = short(scores.column[0])
            missing.append(f"{gap:.{scores.digits}f} on {where} (to {best})" if gap > 0 else f"nothing on {where}")
        parts.append(f"in {measure}, {_and(missing)}")
    return f"{_capital('; '.join(parts))}."


def infonce(source: Source) -> str:
    """InfoNCE beside the best margin loss without a teacher."""
    margins = [row for row in source.trained if row.group == SELF or (row.loss.startswith("static") and row.loss != BALANCED)]
    best = source.best(margins)
    told = beside(source, source.row(INFONCE), best, f"the best of {len(margins)} margin losses")
    return f"In {MEASURE}, InfoNCE {told}."


def comparisons(sources: Sources) -> pd.DataFrame:
    """Questions that the paper does not ask, as text.

    Returns:
        A row for each of `PAIRS` and each collection of each source; columns ``source``, ``collection``, ``row``, ``against``,
        ``difference`` of nDCG@10, ``90 % interval`` and ``verdict``.
    """
    rows = []
    for source_name, source in sources.items():
        for one, other in PAIRS:
            for name in source.collections:
                test = paired(source.row(one), source.row(other), name)
                within = ", within 0.05" if test.equivalent and verdict(test) in (AHEAD, BEHIND) else ""
                rows.append(
                    {
                        "source": source_name,
                        "collection": short(name),
                        "row": one,
                        "against": other,
                        "difference": signed(test.difference),
                        "90 % interval": f"{signed(test.low)} to {signed(test.high)}",
                        "verdict": verdict(test) + within,
                    }
                )
    return pd.DataFrame(rows)


def short(collection: str) -> str:
    """A collection's name in a sentence."""
    plain = collection.removeprefix("published: ").removesuffix("/judged")
    for prefix in ("msmarco-mini/", "msmarco-passage/"):
        plain = plain.removeprefix(prefix)
    return plain.replace("trec-dl-", "TREC-DL ") if plain.startswith("trec-dl-") else plain


def _on(source: Source, collection: str) -> str:
    """Where, if a source has several collections."""
    return f" on {short(collection)}" if len(source.collections) > 1 else ""


def _of_group(source: Source, group: str) -> list[Baseline]:
    """The rows of a group that search by themselves and were measured on every collection."""
    rows = [row for row in source.rows if row.group == group and row.retrieves]
    return [row for row in rows if row.evaluations.keys() >= set(source.collections)]


def _capital(text: str) -> str:
    return text if text.startswith("nDCG") else capital(text)


def _and(parts: Iterable[str]) -> str:
    start, *others = parts  # each may begin with a space, as what stands before them does not end with one
    return listed_in_words([start, *(text.lstrip() for text in others)])
