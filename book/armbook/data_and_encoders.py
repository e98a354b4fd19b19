"""What is trained on what: the paper's setup and a profile's, encoders, collections, token lengths, and what padding wastes.

Section 4 of arXiv 2407.21515 cuts queries at 30 tokens and passages at 200.
"""

from __future__ import annotations

from collections import Counter

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from armbook import published
from armbook.counts import short_count
from armbook.style import GREY, STYLE
from armbook.tables import listed
from armlib.data.collection import Collection
from armlib.encoder.token_stores import passage_tokens
from armlib.experiments.profile import Profile
from armlib.experiments.training_data import TrainingData
from armlib.names import load_collection, load_encoder
from armlib.retrieval.indexes import PAPER_PASSAGES

PAPER_LENGTHS = (30, 200)  # most tokens of a query and of a passage (section 4)
BATCHES = 50  # enough for tokens per triple to be known to about one percent
FLOOR, CEILING = "nothing", "the maximum length"
MILLION = 1e6
HATCH = "////"  # what is cut off or padded, in both figures
BINS = 50
SHOWN_PERCENT = 99.5  # percent of the texts; the last bar holds the longer ones too
EMBEDDINGS = {"cls": "CLS", "cls+linear": "CLS+Linear", "mean": "mean"}  # poolings as Table 1 writes them


def data_of(profile: Profile, encoder: str = "") -> TrainingData:
    """The data of a profile's training runs with one of its encoders, by default the first, and its first seed."""
    return TrainingData(profile.vary(encoder=encoder or profile.encoders[0], seed=profile.seeds[0]))


def setup(profile: Profile) -> dict[str, str]:
    """What a profile trains and measures, a text for each choice; the choices are those of `published_setup`."""
    data, asked = data_of(profile), profile.experiment
    judged = sum(map(len, data.collection.qrels().values()))
    seen = asked.steps * asked.batch_size
    stopping = f"stops after {asked.patience} without improvement; " if asked.patience else ""
    return {
        "trained on": data.collection.name,
        "passages": f"{len(data.passages):,}",
        "training queries": f"{len(np.unique(data.triples[:, 0])):,} with triples, {len(data.queries):,} in all",
        "training judgments": f"{judged:,}",
        "training triples": f"{len(data.triples):,}",
        "encoders": ", ".join(profile.encoders),
        "maximum lengths": f"queries {asked.query_length} tokens, passages {asked.passage_length}",
        "batch size": f"{asked.batch_size}; {listed(profile.batch_sizes)} compared",
        "steps": f"{asked.steps:,} at most",
        "triples seen": f"{short_count(seen)} at most, {seen / len(data.triples):.2g} epochs",
        "static targets searched": listed(profile.static),
        "learning rate": f"{asked.learning_rate:g}",
        "seeds": f"{listed(profile.seeds)}; {listed(profile.sweep_seeds)} in sweeps",
        "validated on": f"nDCG@10 of {data.validation.name} every {asked.validate_every} steps; "
        f"{stopping}keeps the {asked.selection} weights",
        "evaluated on": ", ".join(f"{each.name} ({len(each.judged_queries()):,} queries)" for each in data.evaluations)
        or "nothing",
    }


def published_setup() -> dict[str, str]:
    """What the paper states in sections 4 and 5, or prints in its tables; the number of passages is MS MARCO's own."""
    seen = published.table3().triples_millions
    return {
        "trained on": "MS MARCO passages",
        "passages": f"{PAPER_PASSAGES:,}",
        "training queries": "not stated",
        "training judgments": "not stated",
        "training triples": f"{published.TRIPLES:,}",
        "encoders": ", ".join(published.table1().model),
        "maximum lengths": "queries {} tokens, passages {}".format(*PAPER_LENGTHS),
        "batch size": "128, and smaller ones",
        "steps": "until early stopping",
        "triples seen": f"{seen.min():.2f}M to {seen.max():.2f}M (Table 3)",
        "static targets searched": "0, 0.1, ..., 1",
        "learning rate": "5e-6 / batch size",
        "seeds": "not stated",
        "validated on": "nDCG@10 of TREC-DL 2019 every 500 steps, stops after 16 without improvement",
        "evaluated on": "TREC-DL 2019 (43 queries), TREC-DL 2020 (54 queries)",
    }


def encoders(profile: Profile) -> list[dict[str, object]]:
    """A profile's encoders as they are loaded, before training.

    Returns:
        For each ``encoder``, what it ``starts from``, ``parameters`` and ``without embeddings`` (numbers of weights),
        ``embedding``, ``dimensions`` and ``layers``.
    """
    collection, rows = load_collection(profile.experiment.collection), []
    for name in profile.encoders:
        loaded = load_encoder(name, collection, profile.experiment.pooling or None)
        counts, config = loaded.parameter_counts, loaded.backbone.config
        rows.append(
            {
                "encoder": name,
                "starts from": f"LSA of {collection.corpus.name}" if name.startswith("lsa/") else name,
                "parameters": counts.total,
                "without embeddings": counts.non_embedding,
                "embedding": EMBEDDINGS[loaded.pooling],
                "dimensions": loaded.dim,
                "layers": config.num_hidden_layers,
            }
        )
    return rows


def published_encoders() -> list[dict[str, object]]:
    """Table 1 of the paper in the form of `encoders`; None where the paper does not say."""
    return [
        {
            "encoder": row.model,
            "starts from": row.checkpoint,
            "parameters": round(row.params_millions * MILLION),
            "without embeddings": None,
            "embedding": row.embedding,
            "dimensions": int(row.dimensions),
            "layers": None,
        }
        for row in published.table1().itertuples()
    ]


def collections(data: TrainingData) -> list[dict[str, object]]:
    """Statistics of the collections that a profile trains, validates and is measured on.

    Returns:
        For each ``collection`` what it is ``used for``, its ``passages``, judged ``queries`` and judged pairs by grade
        (``grades``), from which grade on a passage is relevant (``relevant from``), relevant passages per query, and the
        fingerprints; of the one that is trained on ``triples``, of the others passages a query of the ``first stage``, and
        ``found``, the share of all relevant passages that are among these (None where nothing is relevant).
    """
    used = {data.collection.name: (data.collection, "training")}
    for each, role in [(data.validation, "validation"), *((one, "evaluation") for one in data.evaluations)]:
        used[each.name] = (each, f"{used[each.name][1]}, {role}" if each.name in used else role)
    rows = []
    for name, (each, role) in used.items():
        by_grade = Counter(grade for judged in each.qrels().values() for grade in judged.values())
        judged_queries, relevant = each.judged_queries(), _relevant(each)
        rows.append(
            {
                "collection": name,
                "used for": role,
                "passages": len(passage_tokens(each, data.encoder)),
                "queries": len(judged_queries),
                "grades": {str(grade): by_grade[grade] for grade in sorted(by_grade, reverse=True)},
                "relevant from": each.relevant_from,
                "relevant": len(relevant) / len(judged_queries),
                **({"triples": len(data.triples)} if each is data.collection else _of_first_stage(each)),
                "fingerprint": each.fingerprint(),
                "passages' fingerprint": each.corpus.fingerprint(),
            }
        )
    return rows


def lengths(profile: Profile) -> list[dict[str, object]]:
    """Token lengths, special tokens included, and what the profile's maximum lengths cut off; a pair of rows for each tokenizer.

    Returns:
        Rows with ``encoder``, ``texts``, ``number``; ``mean``, ``median``, ``95 %`` and ``longest`` length; ``maximum``, the length
        at which texts are cut; ``texts cut`` and ``tokens cut`` in percent, of what the token store keeps.
    """
    found: dict[str, tuple[list[str], TrainingData]] = {}
    for name in profile.encoders:
        data = data_of(profile, name)
        found.setdefault(data.passages.key, ([], data))[0].append(name)
    asked, rows = profile.experiment, []
    for names, data in found.values():
        for texts, store, limit in (
            ("queries", data.queries, asked.query_length),
            ("passages", data.passages, asked.passage_length),
        ):
            tokens = store.lengths
            rows.append(
                {
                    "encoder": ", ".join(names),
                    "texts": texts,
                    "number": len(store),
                    "mean": round(float(tokens.mean()), 1),
                    "median": int(np.median(tokens)),
                    "95 %": int(np.percentile(tokens, 95)),
                    "longest": int(tokens.max()),
                    "maximum": limit,
                    "texts cut": round(100 * float((tokens > limit).mean()), 1),
                    "tokens cut": round(100 * float(np.maximum(tokens - limit, 0).sum() / tokens.sum()), 1),
                }
            )
    return rows


def padding_table(data: TrainingData, batches: int = BATCHES) -> pd.DataFrame:
    """Tokens that an encoder is given for a triple, by how the texts of a batch are padded, counted on real batches.

    Args:
        data: of a profile; its batch size and chunks are used, and its maximum lengths and the paper's.
        batches: how many batches are counted, from the first on.

    Returns:
        Index ``maximum lengths`` and ``padded to``; columns ``tokens per triple``, of which ``real`` (tokens of texts) and
        ``padding``, and ``times the real tokens``.
    """
    asked = data.experiment
    own = (asked.query_length, asked.passage_length)
    named = {"this profile's": own} if own == PAPER_LENGTHS else {"this profile's": own, "the paper's": PAPER_LENGTHS}
    tables = {f"{whose} {lengths[0]} and {lengths[1]}": _padding(data, *lengths, batches) for whose, lengths in named.items()}
    return pd.concat(tables, names=["maximum lengths", "padded to"])


def _padding(data: TrainingData, query_length: int, passage_length: int, batches: int) -> pd.DataFrame:
    asked = data.experiment
    cut = {"query_length": query_length, "passage_length": passage_length}
    whole = {"chunk_size": 2 * asked.batch_size, "chunk_tokens": None}  # all queries, all passages of a batch in one chunk each
    given, real = {}, 0
    for name, shape in ((_chunks(asked.chunk_size, asked.chunk_tokens), {}), ("the longest of the batch", whole)):
        source = data.batches(**cut, **shape)
        made = [source[step] for step in range(batches)]
        given[name], real = sum(batch.padded_tokens for batch in made), sum(batch.real_tokens for batch in made)
    triples = batches * asked.batch_size
    given = {FLOOR: real, **given, CEILING: triples * (query_length + 2 * passage_length)}
    table = pd.DataFrame({"tokens per triple": pd.Series(given) / triples})
    table["real"] = real / triples
    table["padding"] = table["tokens per triple"] - table.real
    table["times the real tokens"] = table["tokens per triple"] / table.real
    return table


def _chunks(size: int, tokens: int) -> str:
    return f"the longest of sorted chunks of at most {tokens:,} tokens" if tokens else f"the longest of sorted chunks of {size}"


def _relevant(collection: Collection) -> list[tuple[str, str]]:
    """The pairs of judged query and relevant passage."""
    queries, qrels = collection.judged_queries(), collection.qrels()
    return [(q, passage) for q in queries for passage, grade in qrels[q].items() if grade >= collection.relevant_from]


def _of_first_stage(collection: Collection) -> dict[str, object]:
    run, relevant = collection.first_stage(), _relevant(collection)
    found = sum(passage in run.get(query, ()) for query, passage in relevant)
    depths = [len(run.get(query, ())) for query in collection.judged_queries()]
    return {"first stage": float(np.mean(depths)), "found": found / len(relevant) if relevant else None}


def token_lengths(data: TrainingData) -> Figure:
    """How long queries and passages are, with the maximum lengths marked.

    Returns:
        Two axes, queries above passages. Bars are the percentage of texts by tokens, special tokens included; the last one holds
        all longer texts. Bars of texts that are cut are hatched, the line stands at the last length that is not cut.
    """
    asked = data.experiment
    with plt.rc_context(STYLE):
        figure, (upper, lower) = plt.subplots(2, 1, figsize=(5.6, 4.6), layout="constrained")
        for axes, name, store, limit in (
            (upper, "queries", data.queries, asked.query_length),
            (lower, "passages", data.passages, asked.passage_length),
        ):
            tokens = store.lengths
            edges = _edges(tokens, limit)
            counts, _ = np.histogram(np.minimum(tokens, edges[-1] - 1), edges)
            cut = edges[:-1] > limit
            axes.bar(
                edges[:-1],
                100 * counts / len(tokens),
                np.diff(edges),
                align="edge",
                edgecolor=GREY,
                linewidth=0.6,
                facecolor=[(*plt.matplotlib.colors.to_rgb(GREY), 0.0 if beyond else 0.6) for beyond in cut],
                hatch=[HATCH if beyond else "" for beyond in cut],
            )
            axes.axvline(limit + 1, color=GREY, linestyle="--")
            share = 100 * float((tokens > limit).mean())
            axes.set(ylabel="percent of texts", title=f"{len(tokens):,} {name}: {share:.1f} % are cut at {limit}")
        lower.set_xlabel("tokens")
    return figure


def padding_figure(table: pd.DataFrame) -> Figure:
    """Tokens per triple by how they are padded, real tokens and padding told apart.

    Args:
        table: as `padding_table` gives it.

    Returns:
        One axes for each pair of maximum lengths, with a horizontal bar a row: real tokens filled, padding hatched after them.
    """
    groups = list(table.groupby(level=0, sort=False))
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(
            len(groups), 1, figsize=(6.4, 0.9 + 1.5 * len(groups)), layout="constrained", squeeze=False, sharex=True
        )
        for axes, (lengths, rows) in zip(panels[:, 0], groups, strict=True):
            names = rows.index.get_level_values(1)
            axes.barh(names, rows.real, color=GREY, alpha=0.6, label="real tokens")
            axes.barh(names, rows.padding, left=rows.real, facecolor="none", edgecolor=GREY, hatch=HATCH, label="padding")
            axes.invert_yaxis()
            axes.set_title(f"maximum lengths: {lengths}", loc="left")
        panels[-1, 0].set_xlabel("tokens per triple")
        figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _edges(tokens: np.ndarray, limit: int) -> np.ndarray:
    """Edges of bars of equal width, one of them right behind the limit, so that no bar holds both cut and whole texts."""
    last = max(float(np.percentile(tokens, SHOWN_PERCENT)), limit + 2)
    width = max(1, round((last - tokens.min()) / BINS))
    first = limit + 1 - width * int(np.ceil((limit + 1 - tokens.min()) / width))
    return np.arange(first, last + width, width)
