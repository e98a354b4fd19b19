"""Hard negatives: passages that BM25 ranks high for a query and nobody judged relevant."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Mapping

from armlib.data.bm25 import BM25
from armlib.data.types import Qrels, Triple


def mine_negatives(
    index: BM25,
    queries: Mapping[str, str],
    qrels: Qrels,
    *,
    relevant_from: int = 1,
    exclude: Callable[[str], Collection[str]] = lambda query: (),
    depth: int = 100,
    count: int = 10,
    seed: int = 0,
) -> Iterator[Triple]:
    """Training triples from judgments: every relevant document of a query against up to ``count`` negatives.

    Negatives are drawn without replacement from the query's best ``depth`` documents by BM25, less everything that is
    judged with a grade of 1 or more and less ``exclude(query)``. The draw depends on the seed and the two ids alone.

    Yields:
        (query id, positive id, negative id) in the order of ``qrels``; queries without text are passed over.

    Examples:
        >>> from armlib.data.bm25 import BM25
        >>> from armlib.data.negatives import mine_negatives
        >>> index = BM25.build([("a", "sort a list"), ("b", "sort an array"), ("c", "read a file")])
        >>> list(mine_negatives(index, {"q": "how to sort a list"}, {"q": {"a": 1}}))
        [('q', 'a', 'b')]
    """
    judged = {query: queries[query] for query in qrels if query in queries}
    for query, found in index.search(judged, depth).items():
        left_out = {document for document, grade in qrels[query].items() if grade >= 1}.union(exclude(query))
        candidates = [document for document in found if document not in left_out]
        for positive, grade in qrels[query].items():
            if grade >= relevant_from:
                draw = random.Random(f"{seed} {query} {positive}")
                for negative in draw.sample(candidates, min(count, len(candidates))):
                    yield query, positive, negative
