"""What an index costs and what it loses, measured: time, memory, recall against exact search, and scores by judgments."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import faiss
import numpy as np
import pandas as pd
from faiss.contrib.evaluation import knn_intersection_measure
from threadpoolctl import threadpool_limits

from armbook.reranking import gpu_if_any
from armlib.encoder.token_stores import passage_tokens, query_tokens
from armlib.errors import InputError, unknown
from armlib.evaluation.evaluate import DEPTH
from armlib.evaluation.measures import default_measures, evaluate
from armlib.experiments.provenance import provenance
from armlib.experiments.result import Result
from armlib.names import load_collection
from armlib.retrieval.embeddings import cached_embeddings
from armlib.retrieval.encoding import encode_rows
from armlib.retrieval.factories import DEFAULTS, GRAPH_SEARCH
from armlib.retrieval.indexes import PAPER_LISTS, PAPER_PASSAGES, ApproximateIndex, build_index, check_index
from armlib.retrieval.rankings import RECALL_DEPTHS, RECALL_QUERIES, to_run, without_own

FLAT, IVF, HNSW, PAPER = KINDS = ("flat", "IVF", "HNSW", "paper")
NPROBES, EF_SEARCHES, K_FACTORS = (1, 2, 8, 32, 128, 512, 2048), (16, 64, 256, 1024, GRAPH_SEARCH), (4, 1)
RELEASED_PARAMETERS = {"nprobe": 1, "efSearch": 16, "k_factor": 1}
"""What the released code's index is searched with: FAISS's own values, since it sets none."""


TRAINING = 4  # vectors a list that train the clusterings at the least


@dataclass(frozen=True)
class Searched:
    """What the indexes of a page are built of and asked for.

    Attributes:
        vectors: (N, D) of all passages.
        ids: of the passages.
        queries: (Q, D), those of the collections one after the other.
        collections: the ids of each collection's judged queries, by its name.
    """

    vectors: np.ndarray
    ids: Sequence[bytes] | Sequence[str]
    queries: np.ndarray
    collections: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Setting:
    """One point of a sweep: a kind of index with the search parameters that are set on it."""

    kind: str
    parameters: Mapping[str, int]
    released: bool = False
    scored: bool = False


@dataclass(frozen=True)
class IndexMeasurements:
    """What a sweep measured.

    Attributes:
        table: a row for each setting, see `measure_indexes`.
        scores: a row for each scored setting, collection and measure, see `measure_indexes`.
        list_sizes: passages in each list of the paper's index; empty if it was not built.
        made: the machine, threads, versions and time, as `armlib.experiments.provenance.provenance` gives them.
    """

    table: pd.DataFrame
    scores: pd.DataFrame
    list_sizes: np.ndarray
    made: dict

    @property
    def depth(self) -> int:
        """The depth of the searches: 1000, or all passages where there are fewer."""
        return max(int(column.rpartition("@")[2]) for column in self.table if column.startswith("recall@"))

    @property
    def released(self) -> pd.Series:
        """The row of the released code's parameters.

        Raises:
            InputError: the paper's index was not measured.
        """
        if not self.table.released.any():
            raise InputError("the released code's parameters were not measured: the kinds of index lack 'paper'")
        return self.table[self.table.released].iloc[0]


def encoded(result: Result) -> Searched:
    """Encode the passages and judged queries that a result was measured on; passages are kept in the cache.

    Evaluation collections over other documents than the first one's are left out.

    Raises:
        InputError: the experiment has no evaluation collection.
    """
    made, encoder = result.experiment, result.encoder()
    every = [load_collection(name) for name in made.evaluation_names()]
    if not every:
        raise InputError(f"nothing to search: {made.collection} names no collection to measure on; choose another")
    chosen = [each for each in every if each.corpus.fingerprint() == every[0].corpus.fingerprint()]
    device = gpu_if_any()
    passages = passage_tokens(chosen[0], encoder)
    vectors = cached_embeddings(encoder, passages, made.passage_length, device)
    queries, names = [], {}
    for each in chosen:
        store, names[each.name] = query_tokens(each, encoder), list(each.qrels())
        rows = np.asarray(store.rows(names[each.name]), np.int64)
        queries.append(encode_rows(encoder, store, rows, made.query_length, device=device, description="queries"))
    return Searched(vectors, passages.ids, np.concatenate(queries), names)


def specification(kind: str, count: int) -> str:
    """What a kind of index is called in `armlib.retrieval.indexes`; IVF has as many lists as the paper's for ``count`` vectors.

    Raises:
        InputError: there is no such kind.
    """
    known = {FLAT: "Flat", IVF: f"IVF{lists(count)},Flat", HNSW: "HNSW32", PAPER: PAPER}
    if kind not in known:
        raise unknown("kind of index", kind, known)
    return known[kind]


def lists(count: int) -> int:
    """Into how many lists ``count`` vectors are cut, so that they share one in the numbers of the paper's index."""
    return max(1, round(count * PAPER_LISTS / PAPER_PASSAGES))


def settings(count: int, kinds: Iterable[str] = KINDS) -> list[Setting]:
    """The sweep over ``nprobe``, ``efSearch`` and ``k_factor`` for indexes of ``count`` vectors.

    In the paper's index the graph that finds the lists is walked with an ``efSearch`` of twice ``nprobe``, at least FAISS's own 16.
    """
    cut = lists(count)
    probes = sorted({min(nprobe, cut) for nprobe in NPROBES} | ({cut} if cut < 2 * NPROBES[-1] else set()))
    default = min(int(DEFAULTS["nprobe"]), cut)
    swept = [(nprobe, factor) for factor in K_FACTORS for nprobe in probes] + [(default, factor) for factor in (2, 8)]
    points = [Setting(FLAT, {}, scored=True)] + [Setting(IVF, {"nprobe": nprobe}) for nprobe in probes]
    points += [Setting(HNSW, {"efSearch": size}) for size in EF_SEARCHES]
    for nprobe, factor in swept:
        parameters = {"nprobe": nprobe, "efSearch": max(RELEASED_PARAMETERS["efSearch"], 2 * nprobe), "k_factor": factor}
        released = parameters == RELEASED_PARAMETERS
        points.append(Setting(PAPER, parameters, released, scored=released or factor == K_FACTORS[0]))
    return [point for point in points if point.kind in set(kinds)]


def measure_indexes(
    searched: Searched,
    kinds: Sequence[str] = KINDS,
    *,
    training: int | None = None,
    threads: int | None = 1,
    rounds: int = 5,
    batch: int = 32,
) -> IndexMeasurements:
    """Build each kind of index once and search it with every setting, on one thread.

    Every setting answers at most `armlib.retrieval.rankings.RECALL_QUERIES` queries, spread evenly, for recall, and the scored ones
    all queries. Then a batch is timed: in each round all settings have their turn, so that what else the machine does meets all of
    them alike.

    Args:
        searched: passages and queries.
        kinds: some of `KINDS`; exact search is always among them.
        training: at most so many vectors train the clusterings, but `TRAINING` for each list; None or 0 takes
            `armlib.retrieval.indexes.build_index`'s own number.
        threads: that build; None: as `armlib.retrieval.indexes.build_index` has it.
        rounds: how often each setting is timed.
        batch: at most so many queries are timed at once.

    Returns:
        ``table`` has the columns ``kind``; ``index`` (with all parameters); ``nprobe``, ``efSearch``, ``k_factor`` (missing where
        the kind has none); ``recall@10``, ``@100``, ``@1000`` (against exact search; no deeper than there are passages); ``found``
        (results a query); ``compared`` (passages that a query is compared with, a mean; not the centroids of lists); ``ms`` (a
        query, median of rounds), ``ms low``, ``ms high`` (of rounds); ``bytes a vector``; ``build seconds``; ``released``.
        ``scores`` has ``kind``, ``index``, ``nprobe``, ``released``, ``collection``, ``measure``, ``value``, ``exact`` (the
        value of exact search) and ``difference``.

    Raises:
        InputError: a kind is unknown or cannot be built of these vectors, or rounds or batch are below 1.
    """
    if min(rounds, batch) < 1:
        raise InputError(f"timing needs at least 1 round and a batch of at least 1 query, found {rounds} and {batch}")
    kinds = list(dict.fromkeys([FLAT, *kinds]))
    built, count = build(searched.vectors, kinds, training, threads), searched.vectors.shape[0]
    points, depth = settings(count, kinds), min(DEPTH, count)
    depths = sorted({min(one, depth) for one in RECALL_DEPTHS})
    some, rows, scores, exact_rows = _spread(searched.queries, RECALL_QUERIES), [], [], None
    with threadpool_limits(1):
        for point in points:
            index, seconds = built[point.kind]
            index.configure(**point.parameters)
            found, compared = _compared(lambda index=index: index.search(some, depth)[1], point.kind, count)
            exact_rows = found if exact_rows is None else exact_rows
            named = {"kind": point.kind, "index": index.specification}
            rows.append(
                {
                    **named,
                    **{name: point.parameters.get(name) for name in RELEASED_PARAMETERS},
                    **{f"recall@{one}": knn_intersection_measure(found[:, :one], exact_rows[:, :one]) for one in depths},
                    "found": (found >= 0).sum(axis=1).mean(),
                    "compared": compared / len(found),
                    "build seconds": seconds,
                    "released": point.released,
                }
            )
            if point.scored:
                shown = {**named, "nprobe": point.parameters.get("nprobe"), "released": point.released}
                scores += [{**shown, **score} for score in _scores(searched, *index.search(searched.queries, depth))]
        table = pd.DataFrame(rows).join(times([(built[p.kind][0], p.parameters) for p in points], searched.queries, rounds, batch))
    table = table.astype(dict.fromkeys(RELEASED_PARAMETERS, "Int64"))
    table["bytes a vector"] = table.kind.map({kind: _bytes(index) / count for kind, (index, _) in built.items()})
    judged = pd.DataFrame(scores).astype({"nprobe": "Int64"})
    exact = judged[judged.kind == FLAT].set_index(["collection", "measure"]).value
    judged["exact"] = exact.reindex(pd.MultiIndex.from_frame(judged[["collection", "measure"]])).to_numpy()
    judged["difference"] = judged.value - judged.exact
    sizes = _list_sizes(built[PAPER][0]) if PAPER in built else np.empty(0, np.int64)
    return IndexMeasurements(table, judged, sizes, made_by_one_thread())


def build(
    vectors: np.ndarray, kinds: Iterable[str], training: int | None = None, threads: int | None = 1
) -> dict[str, tuple[ApproximateIndex, float]]:
    """An index of each kind with the seconds that it took; see `measure_indexes` for the arguments.

    Raises:
        InputError: a kind is unknown or cannot be built of these vectors; known before the first is built.
    """
    count, dimension = vectors.shape
    wanted = {kind: specification(kind, count) for kind in kinds}
    for each in wanted.values():
        check_index(each, dimension, count)
    enough, built = training and max(training, TRAINING * lists(count)), {}
    with threadpool_limits(threads):
        for kind, each in wanted.items():
            start = time.perf_counter()
            built[kind] = (build_index(vectors, each, threads=threads, training=enough), time.perf_counter() - start)
    return built


def _spread(queries: np.ndarray, most: int) -> np.ndarray:
    return queries[np.unique(np.linspace(0, len(queries) - 1, most).astype(np.int64))]


def _compared(search: Callable[[], np.ndarray], kind: str, count: int) -> tuple[np.ndarray, float]:
    """The rows that a search found, and the passages that all its queries were compared with, by FAISS's own counts."""
    statistics = {IVF: faiss.cvar.indexIVF_stats, PAPER: faiss.cvar.indexIVF_stats, HNSW: faiss.cvar.hnsw_stats}.get(kind)
    if statistics is None:
        found = search()
        return found, len(found) * count
    statistics.reset()
    found = search()
    return found, statistics.ndis


def _scores(searched: Searched, values: np.ndarray, rows: np.ndarray) -> list[dict]:
    scores, start = [], 0
    for name, queries in searched.collections.items():
        part = slice(start, start + len(queries))
        start = part.stop
        collection = load_collection(name)
        measures = default_measures(collection.relevant_from)[:2]  # nDCG@10 and R@1000
        run = without_own(to_run(values[part], rows[part], queries, searched.ids), collection.queries_in_corpus())
        mean = evaluate(run, collection.qrels(), measures).mean
        scores += [{"collection": name, "measure": measure, "value": mean[measure]} for measure in measures]
    return scores


def times(
    configured: Sequence[tuple[ApproximateIndex, Mapping[str, int]]], queries: np.ndarray, rounds: int, batch: int
) -> pd.DataFrame:
    """Milliseconds a query of each index with its parameters: median, lowest and highest of the rounds."""
    some, seconds = _spread(queries, batch), np.empty((rounds, len(configured)))
    for taken in seconds:
        for number, (index, parameters) in enumerate(configured):
            index.configure(**parameters)
            start = time.perf_counter()
            index.search(some, min(DEPTH, len(index)))
            taken[number] = time.perf_counter() - start
    each = 1000 * seconds / len(some)
    return pd.DataFrame({"ms": np.median(each, axis=0), "ms low": each.min(axis=0), "ms high": each.max(axis=0)})


def _bytes(index: ApproximateIndex) -> int:
    """What the index takes, counted as it is written nowhere."""
    sizes: list[int] = []
    faiss.write_index(index.faiss_index, faiss.PyCallbackIOWriter(lambda part: sizes.append(len(part))))
    return sum(sizes)


def _list_sizes(index: ApproximateIndex) -> np.ndarray:
    inverted = faiss.extract_index_ivf(index.faiss_index)
    return np.array([inverted.get_list_size(number) for number in range(inverted.nlist)], np.int64)


def made_by_one_thread() -> dict:
    """Provenance of what was timed here: `armlib.experiments.provenance.provenance` with the one thread that searched."""
    made = provenance()
    return made | {"machine": made["machine"] | {"threads": 1}}
