"""``armlib compare``."""

from __future__ import annotations

import argparse
from itertools import combinations
from typing import Any

from armlib.cli.measure import add_run_options, measured_runs
from armlib.cli.options import add_command, print_json
from armlib.errors import InputError, one_line

EXAMPLES = """\
examples:
  armlib compare bm25.run mine.run.gz --qrels qrels.dl19-passage.txt
  armlib compare bm25.run mine.run theirs.run --qrels beir/scifact/test --measure nDCG@10 mrr@10 --margin 0.02
  armlib compare *.run --qrels beir/scifact/test --all-pairs --json > compared.json

Two runs are equivalent where a paired test (TOST) finds their means nearer than the margin, with Bonferroni correction over
all pairs and measures. Queries are the judged ones; one without results counts as 0.
"""


def add_compare(commands: Any) -> None:
    """Add ``armlib compare``: equivalence tests of run files."""
    about = "Test TREC run files for equivalence: each with the first, or all pairs."
    parser = add_command(commands, "compare", _compare, about, EXAMPLES)
    add_run_options(parser)
    parser.add_argument("--all-pairs", action="store_true", help="each run with each (default: each with the first, the baseline)")
    parser.add_argument(
        "--margin", type=float, default=0.05, metavar="X", help="the largest difference that counts as none (default: 0.05)"
    )
    parser.add_argument("--alpha", type=float, default=0.05, metavar="X", help="the level of all tests together (default: 0.05)")


def _compare(options: argparse.Namespace) -> None:
    import pandas as pd

    from armlib.evaluation.equivalence import check_levels, compare_pairs
    from armlib.evaluation.tables import as_text

    first, *others = options.run_files
    if not others:
        raise InputError("there is nothing to compare with: expected two runs or more")
    check_levels(options.margin, options.alpha)
    evaluations = measured_runs(options)
    pairs = [(run, baseline) for baseline, run in combinations(evaluations, 2) if options.all_pairs or baseline == first]
    table = compare_pairs(evaluations, pairs, options.margin, options.alpha)
    means = {name: each.mean for name, each in evaluations.items()}
    queries = len(evaluations[first].per_query)
    if options.json:
        about = {
            "qrels": options.qrels,
            "queries": queries,
            "measures": list(means[first]),
            "means": means,
            "margin": options.margin,
            "alpha": options.alpha,
            "confidence": 1 - 2 * options.alpha,
            "correction": "bonferroni",
            "tests": len(table),
            "comparisons": table.rename(columns={"system": "run", "corrected p": "corrected_p"}).to_dict("records"),
        }
        print_json(about)
        return
    print(as_text(pd.DataFrame(means).T.rename_axis("run")), end="\n\n")
    shown = table if options.all_pairs else table.drop(columns="baseline")
    print(as_text(shown.rename(columns={"system": "run"}), index=False), end="\n\n")
    baseline = "baseline" if options.all_pairs else first
    said = [
        f"{queries} queries; difference: run minus {baseline}; low, high: its bounds with confidence {1 - 2 * options.alpha:g}, "
        "not corrected; equivalent: corrected p is below the level",
        f"paired TOST, margin {options.margin:g}, level {options.alpha:g}, Bonferroni over {len(table)} tests",
    ]
    print(*map(one_line, said), sep="\n")
