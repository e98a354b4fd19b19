"""What is trained on what, side by side: the paper's data and encoders, MS MARCO in miniature, and this copy's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from html import escape
from typing import Any

import pandas as pd
from IPython.display import HTML

from armbook import data_and_encoders, published
from armbook.collection_record import CollectionRecord
from armbook.counts import short_count
from armbook.miniature import each
from armlib.retrieval.indexes import PAPER_PASSAGES

PUBLISHED = "published"
QUERIES = (43, 54)  # judged in TREC-DL 2019 and 2020 (section 4)
GRADES = ("3", "2", "1", "0")  # of TREC-DL; other collections have some of them
PASSAGES = "passages' fingerprint"
Records = Mapping[str, CollectionRecord]
Row = Mapping[str, Any]


def setup_table(setups: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    """What was run on what.

    Args:
        setups: by source, as `armbook.data_and_encoders.setup` gives them.

    Returns:
        A row for each choice; columns ``what``, ``published``, and one for each source.
    """
    columns = {PUBLISHED: data_and_encoders.published_setup(), **setups}
    what = list(columns[PUBLISHED])
    return pd.DataFrame({"what": what, **{name: [one[each] for each in what] for name, one in columns.items()}})


def encoder_table(records: Records) -> pd.DataFrame:
    """Table 1 of the paper and, below it, the encoders of each source before training.

    Returns:
        Text; columns ``source``, ``encoder``, ``starts from``, ``parameters``, ``outside embeddings``, ``embedding``,
        ``dimensions``, ``layers``; None where the paper does not say.
    """
    columns: dict[str, Callable[[Row], Any]] = {
        "encoder": lambda row: row["encoder"],
        "starts from": lambda row: row["starts from"],
        "parameters": lambda row: short_count(row["parameters"]),
        "outside embeddings": lambda row: row["without embeddings"] and short_count(row["without embeddings"]),
        "embedding": lambda row: row["embedding"],
        "dimensions": lambda row: row["dimensions"],
        "layers": lambda row: row["layers"],
    }
    printed = data_and_encoders.published_encoders()
    return _stacked({PUBLISHED: printed, **{name: record.encoders for name, record in records.items()}}, columns)


def collection_table(records: Records) -> pd.DataFrame:
    """The collections of the paper and of each source.

    Returns:
        Text; columns ``source``, ``collection``, ``used for``, ``passages``, ``queries``, ``triples``, ``relevant per query``,
        ``first stage`` (passages a query) and ``found`` (percent of the relevant ones that are among these); None where there is
        nothing to count, or the paper does not say.
    """
    columns: dict[str, Callable[[Row], Any]] = {
        "collection": lambda row: row["collection"],
        "used for": lambda row: row["used for"],
        "passages": lambda row: _whole(row.get("passages")),
        "queries": lambda row: _whole(row.get("queries")),
        "triples": lambda row: _whole(row.get("triples")),
        "relevant per query": lambda row: _decimal(row.get("relevant")),
        "first stage": lambda row: _decimal(row.get("first stage")),
        "found": lambda row: _percent(row.get("found")),
    }
    return _stacked(_collections(records), columns)


def grade_table(records: Records) -> pd.DataFrame:
    """How many passages have which grade.

    Returns:
        Text; columns ``source``, ``collection``, ``grade 3`` to ``grade 0``, and ``relevant`` with the lowest relevant grade; None
        where the paper does not say.
    """

    def of(grade: str) -> Callable[[Row], Any]:
        return lambda row: _whole(row["grades"].get(grade, 0)) if "grades" in row else None

    columns: dict[str, Callable[[Row], Any]] = {
        "collection": lambda row: row["collection"],
        **{f"grade {grade}": of(grade) for grade in GRADES},
        "relevant": lambda row: f"{row['relevant from']} and above",
    }
    graded = {name: [row for row in rows if "relevant from" in row] for name, rows in _collections(records).items()}
    return _stacked(graded, columns)


def length_table(records: Records) -> pd.DataFrame:
    """Token lengths of each source and what is cut off, as text; see `armbook.data_and_encoders.lengths`."""
    columns: dict[str, Callable[[Row], Any]] = {
        "encoders": lambda row: row["encoder"],
        "texts": lambda row: f"{row['number']:,} {row['texts']}",
        "mean": lambda row: f"{row['mean']:.1f}",
        "95 %": lambda row: row["95 %"],
        "longest": lambda row: row["longest"],
        "cut at": lambda row: row["maximum"],
        "texts cut": lambda row: f"{row['texts cut']:.1f} %",
        "tokens cut": lambda row: f"{row['tokens cut']:.1f} %",
    }
    return _stacked({name: record.lengths for name, record in records.items()}, columns)


def padding_rows(records: Records) -> pd.DataFrame:
    """Tokens that an encoder is given for a triple, as text; see `armbook.data_and_encoders.padding_table`."""
    columns: dict[str, Callable[[Row], Any]] = {
        "maximum lengths": lambda row: row["maximum lengths"],
        "padded to": lambda row: row["padded to"],
        "tokens per triple": lambda row: f"{row['tokens per triple']:.0f}",
        "of them padding": lambda row: f"{row['padding']:.0f}",
        "times the real tokens": lambda row: f"{row['times the real tokens']:.2f}",
    }
    return _stacked({name: record.padding for name, record in records.items()}, columns)


def answer(records: Records) -> str:
    """What there is to train on, what is cut off, and what padding would cost, in Markdown: a paragraph for each source."""
    return each(records, _told)


def _told(record: CollectionRecord) -> str:
    trained = record.collections[0]
    share = PAPER_PASSAGES / trained["passages"]
    than = f", {share:,.0f} times fewer than MS MARCO's {PAPER_PASSAGES:,}" if share >= 2 else ""
    size = f"Training draws on {trained['triples']:,} triples over {trained['passages']:,} passages{than}."
    cut = [f"{row['texts cut']:.1f} % of {row['texts']} (at {row['maximum']} tokens)" for row in record.lengths[:2]]
    own = _of_lengths(record, 0)
    chunks, ceiling = own[1], own[-1]
    padded = (
        f"Padding every text to the maximum length would make the encoder compute {ceiling:.2f} times the real tokens; "
        f"sorted chunks need {chunks:.2f} times"
    )
    papers = _of_lengths(record, 1)
    further = f" ({papers[-1]:.2f} and {papers[1]:.2f} at the paper's lengths)" if papers else ""
    return f"{size} The maximum lengths cut {' and '.join(cut)}. {padded}{further}."


def _of_lengths(record: CollectionRecord, place: int) -> list[float]:
    """Times the real tokens by each way of padding, at the own maximum lengths (place 0) or the paper's (1), if these differ."""
    names = list(dict.fromkeys(row["maximum lengths"] for row in record.padding))
    wanted = names[place : place + 1]
    return [row["times the real tokens"] for row in record.padding if row["maximum lengths"] in wanted]


def operations(record: CollectionRecord) -> str:
    """How much arithmetic a triple takes at least, in a sentence."""
    first, tokens = record.encoders[0], record.padding[0]["real"]
    least = short_count(6 * first["without embeddings"] * tokens)
    return (
        f"With the {tokens:.0f} real tokens of a triple, {first['encoder']} cannot be trained with fewer than about {least} "
        "floating-point operations a triple."
    )


def how_counted(records: Records, *lines: str) -> HTML:
    """The fingerprints of all collections, and further lines, in a block that a page shows closed."""
    rows = {row["collection"]: row for record in records.values() for row in record.collections}
    prints = [f"{name}: fingerprint {row['fingerprint']}, of its passages {row[PASSAGES]}" for name, row in rows.items()]
    items = "".join(f"<li>{escape(line)}</li>" for line in [*lines, *prints])
    return HTML(f'<details class="made"><summary>How the numbers of this page were made</summary><ul>{items}</ul></details>')


def _collections(records: Records) -> dict[str, list[Row]]:
    judged = [
        {"collection": name, "used for": "evaluation", "passages": PAPER_PASSAGES, "queries": queries, "relevant from": 2}
        for name, queries in zip(published.SETS.values(), QUERIES, strict=True)
    ]
    judged[0]["used for"] = "validation, evaluation"
    training = {"collection": "MS MARCO passages", "used for": "training", "passages": PAPER_PASSAGES, "triples": published.TRIPLES}
    return {PUBLISHED: [training, *judged], **{name: record.collections for name, record in records.items()}}


def _stacked(sources: Mapping[str, Iterable[Row]], columns: Mapping[str, Callable[[Row], Any]]) -> pd.DataFrame:
    """Rows of all sources below each other, with the source in the first column."""
    rows = [{"source": name, **{key: of(row) for key, of in columns.items()}} for name, some in sources.items() for row in some]
    return pd.DataFrame(rows, columns=["source", *columns], dtype=object)


def _whole(number: int | None) -> str | None:
    return None if number is None else f"{number:,}"


def _decimal(number: float | None) -> str | None:
    return None if number is None else f"{number:,.1f}"


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.1f} %"
