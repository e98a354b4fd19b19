"""What claims are judged by: the results that came with the repository, and those of this copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from armbook import baselines, batch_example, chapters, miniature
from armbook.claims.evidence import Example, Retriever
from armbook.evidence import Evidence
from armbook.tuned_losses import Found, Tuning
from armlib.experiments.profile import Profile
from armlib.experiments.result import Result
from armlib.experiments.shipped import ShippedResult

TABLE_4 = ("baselines", "teachers")  # the chapters whose training runs are the rows of Table 4


@dataclass(frozen=True)
class Source:
    """Results of one scale.

    Attributes:
        profile: the scale.
        results: its training runs, perhaps none.
        examples: batches seen by trained encoders, for the claims of Table 2.
        retrievers: rows of Table 4, for the claims about teacher distillation.
    """

    profile: Profile
    results: Sequence[Result]
    examples: Sequence[Example] = ()
    retrievers: Sequence[Retriever] = ()


def of_copy(profile: Profile, found: Mapping[str, Found], runs: Sequence[str] = (), triples: int = 0) -> Source:
    """What this copy trained.

    Args:
        profile: its scale.
        found: by chapter, as `armbook.chapters.every_round` gives it.
        runs, triples: of retrievers that were distilled elsewhere, as `armbook.baselines.from_run_files` takes them.

    Raises:
        InputError: a training run of Table 4 is missing, or a run file cannot be read.
    """
    results = list({each.key: each for some in found.values() for each in some.values()}.values())
    with_weights = [each for each in found["distributed"].values() if not isinstance(each, ShippedResult)]
    rows = _rows_of_table4(profile, {one: each for name in TABLE_4 for one, each in found[name].items()})
    rows += baselines.from_run_files(runs, triples, profile.experiment.evaluation_names())
    return Source(profile, results, batch_example.examples(with_weights), rows)


def beside(profile: Profile, evidence: Evidence | None = None) -> Source | None:
    """MS MARCO in miniature, as far as it came with the repository, to stand beside a copy; it has no weights, and so no examples.

    Args:
        profile: the copy's scale.
        evidence: where the miniature is; default: as `armbook.miniature.results` has it.

    Returns:
        None where the copy trains on the collection of the miniature.

    Raises:
        InputError: a shipped file is damaged.
    """
    small = miniature.scale()
    if miniature.is_of(profile):
        return None
    found = {name: miniature.results(name, evidence=evidence) for name in chapters.CHAPTERS}
    results = list({each.key: each for some in found.values() for each in some}.values())
    complete = all(found[name] for name in TABLE_4)
    table_4 = {each.experiment: each for name in TABLE_4 for each in found[name]}
    return Source(small, results, retrievers=_rows_of_table4(small, table_4) if complete else [])


def _rows_of_table4(profile: Profile, found: Found) -> list[Retriever]:
    return baselines.retrievers(baselines.trained(Tuning(profile, found)))
