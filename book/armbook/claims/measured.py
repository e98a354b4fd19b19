"""Every claim judged by training runs: finished experiments of one profile, compared only with their like.

A verdict holds for the profile and collection that its scope names, and for no other. A comparison rests on two seeds at least. A
claim whose experiments are missing, or whose premise they do not meet, is undecided, and its evidence says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from armbook.claims import external, learning, scores
from armbook.claims.evidence import Example, Missing, Retriever
from armbook.claims.groups import Group, groups
from armbook.claims.verdicts import (
    COMPARED,
    NO_PREMISE,
    NOT_MEASURED,
    NOT_TRAINED,
    TOO_CLOSE,
    UNDECIDED,
    Outcome,
    Verdict,
    claim,
    claims,
    decided,
)
from armbook.claims.wording import sentences
from armbook.sentences import listed_in_words
from armlib.experiments.profile import Profile
from armlib.experiments.result import Result

JUDGES = scores.JUDGES | learning.JUDGES | learning.BY_BATCH_SIZE | external.JUDGES
_LACKS = {NOT_TRAINED: "Not trained: ", NOT_MEASURED: "Not measured: ", NO_PREMISE: "The claim is about "}


def judge_measured(
    name: str, results: Sequence[Result], profile: Profile, examples: Sequence[Example] = (), retrievers: Sequence[Retriever] = ()
) -> Verdict:
    """The verdict of results on one claim: that of the profile's own settings, or of the first other settings that decide it.

    Args:
        name: the claim's id.
        results: finished experiments, such as `armlib.experiments.store.RunStore.finished` gives; those of other collections
            are left out.
        profile: whose collection, loss and encoders count.
        examples, retrievers: what is not in a run store, for the claims that need it.

    Raises:
        InputError: there is no claim of that id.
    """
    claim(name)  # refuses an unknown id
    found = groups(results, profile, examples, retrievers, any_batch_size=name in learning.BY_BATCH_SIZE)
    verdicts = [_verdict(name, group, profile) for group in found]
    # Of those that decide nothing, one that could compare something says most.
    return next((v for v in verdicts if v.verdict != UNDECIDED), None) or next((v for v in verdicts if v.keys), verdicts[0])


def measured_verdicts(
    results: Sequence[Result], profile: Profile, examples: Sequence[Example] = (), retrievers: Sequence[Retriever] = ()
) -> list[Verdict]:
    """The verdicts of results on all claims, in their order; arguments as `judge_measured` takes them."""
    return [judge_measured(each.id, results, profile, examples, retrievers) for each in claims()]


def _verdict(name: str, group: Group, profile: Profile) -> Verdict:
    try:
        outcome = JUDGES[name](group)
    except Missing as lacking:
        return _partial(name, group, profile, lacking)
    reason = TOO_CLOSE if outcome.holds is None else ""
    return Verdict(name, decided(outcome.holds), outcome.text, _scope(profile, group), tuple(group.used), outcome.cases, reason)


def _partial(name: str, group: Group, profile: Profile, lacking: Missing) -> Verdict:
    """The verdict where something is missing for some encoders: another's can contradict "every encoder", but not prove it."""
    group.used.clear()
    alone: dict[str, Outcome] = {}
    for encoder in group.encoders if len(group.encoders) > 1 else ():
        one = Group(group.results, replace(profile, encoders=(encoder,)), group.examples, group.retrievers)
        try:
            alone[encoder] = JUDGES[name](one)
        except Missing:
            continue
        group.used |= one.used
    told = [f"Only {encoder}: {outcome.text}" for encoder, outcome in alone.items()]
    cases = tuple(case for outcome in alone.values() for case in outcome.cases)
    contradicted = any(outcome.holds is False for outcome in alone.values())
    would = "" if told else f"This would compare {COMPARED[name]}"
    text = sentences(*told, would, f"{_LACKS[lacking.reason]}{lacking}")
    reason = "" if contradicted else lacking.reason
    verdict = decided(False if contradicted else None)
    return Verdict(name, verdict, text, _scope(profile, group), tuple(group.used), cases, reason)


def _scope(profile: Profile, group: Group) -> str:
    """Where a verdict holds: profile, collection, and the settings and seeds of the results that it rests on."""
    used = [result for result in group.results if result.key in group.used]
    parts = [f"profile {profile.name}", profile.experiment.collection]
    if used:
        experiments = [result.experiment for result in used]
        steps = sorted({each.steps for each in experiments})
        sizes = sorted({each.batch_size for each in experiments})
        kept = sorted({"best validation" if each.selection == "best" else "last step" for each in experiments})
        seeds = sorted({each.seed for each in experiments})
        parts += [
            f"{listed_in_words(steps)} steps of {listed_in_words(sizes)} triples",
            f"weights of the {' or '.join(kept)}",
            f"{'seeds' if len(seeds) > 1 else 'seed'} {listed_in_words(seeds)}",
        ]
    return ", ".join(parts)
