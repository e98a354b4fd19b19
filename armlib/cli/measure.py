"""``armlib measure``."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from armlib.cli.options import add_command, add_json_option, print_json
from armlib.errors import InputError

if TYPE_CHECKING:
    from armlib.evaluation.measures import Evaluation

EXAMPLES = """\
examples:
  armlib measure bm25.run ance.run.gz --qrels qrels.dl19-passage.txt --measure nDCG@10 mrr@10 ndcg_cut_100 'R(rel=2)@1000'
  armlib measure ance.run.gz --qrels msmarco-passage/trec-dl-2019/judged --per-query
  armlib measure *.run --qrels beir/scifact/test --json > measured.json

Values are those of trec_eval -c: the mean is over all judged queries, and one without results counts as 0.
"""


def add_measure(commands: Any) -> None:
    """Add ``armlib measure``: measures of run files."""
    parser = add_command(commands, "measure", _measure, "Measure TREC run files, whoever made them.", EXAMPLES)
    add_run_options(parser)
    parser.add_argument("--per-query", action="store_true", help="the measures of each query, too")


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add run files, judgments, measures and the form of the output, which `measured_runs` looks at."""
    parser.add_argument("run_files", nargs="+", metavar="RUN", help="a TREC run file, plain or compressed by gzip")
    parser.add_argument(
        "--qrels", required=True, metavar="FILE_OR_COLLECTION", help="judgments: TREC, BEIR, or a collection's name"
    )
    parser.add_argument(
        "--measure",
        nargs="+",
        default=(),
        metavar="NAME",
        help="such as nDCG@10 or ndcg_cut_10 (default: nDCG@10, R@1000, Success@100)",
    )
    add_json_option(parser)


def measured_runs(options: argparse.Namespace) -> dict[str, Evaluation]:
    """The measures of each run, by the name of its file."""
    from armlib.evaluation.measure_names import parse_measures
    from armlib.evaluation.measures import default_measures, measure_runs
    from armlib.names import load_collection, read_qrels

    measures = parse_measures(options.measure)
    if repeated := [name for name, count in Counter(options.run_files).items() if count > 1]:
        raise InputError(f"run {repeated[0]!r} is given twice")
    qrels = read_qrels(options.qrels)
    relevant_from = 1 if Path(options.qrels).expanduser().is_file() else load_collection(options.qrels).relevant_from
    return measure_runs({name: name for name in options.run_files}, qrels, measures or default_measures(relevant_from))


def _measure(options: argparse.Namespace) -> None:
    import pandas as pd

    from armlib.evaluation.tables import as_text

    evaluations = measured_runs(options)
    if options.json:
        runs = [
            {"run": name, "mean": each.mean} | ({"per_query": each.per_query.to_dict("index")} if options.per_query else {})
            for name, each in evaluations.items()
        ]
        first = next(iter(evaluations.values()))
        about = {"qrels": options.qrels, "queries": len(first.per_query), "measures": list(first.per_query), "runs": runs}
        print_json(about)
        return
    if options.per_query:
        print(as_text(pd.concat({name: each.per_query for name, each in evaluations.items()}, names=["run"])), end="\n\n")
    print(as_text(pd.DataFrame({name: each.mean for name, each in evaluations.items()}).T.rename_axis("run")))
