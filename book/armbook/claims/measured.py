"""Every claim judged by what was measured here: finished experiments of one profile, compared only with their like.

A verdict holds for the profile and collection that its scope names, and for no other. A comparison rests on two seeds at least; a
claim whose experiments are missing cannot be decided here, and its evidence names them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from armbook.claims import external, learning, scores
from armbook.claims.evidence import Example, Missing, Retriever
from armbook.claims.groups import Group, groups
from armbook.claims.verdicts import UNDECIDED, Verdict, claim, claims, decided
from armlib.experiments.profile import Profile
from armlib.experiments.result import Result

JUDGES = scores.JUDGES | learning.JUDGES | learning.BY_BATCH_SIZE | external.JUDGES


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
        outcome, evidence = JUDGES[name](group)
        return Verdict(name, decided(outcome), evidence, _scope(profile, group), tuple(group.used))
    except Missing as lacking:
        return _partial(name, group, profile, f"Missing: {lacking}.")


def _partial(name: str, group: Group, profile: Profile, missing: str) -> Verdict:
    """The verdict where experiments are missing for some encoders: another's can contradict "every encoder", but not prove it."""
    outcomes, texts = [], []
    group.used.clear()
    for encoder in group.encoders if len(group.encoders) > 1 else ():
        alone = Group(group.results, replace(profile, encoders=(encoder,)), group.examples, group.retrievers)
        try:
            outcome, evidence = JUDGES[name](alone)
        except Missing:
            continue
        outcomes.append(outcome)
        texts.append(f"{encoder} alone: {evidence}")
        group.used |= alone.used
    contradicted = False in outcomes
    return Verdict(
        name, decided(False if contradicted else None), " ".join([*texts, missing]), _scope(profile, group), tuple(group.used)
    )


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
            f"{_numbers(steps)} steps of {_numbers(sizes)} triples",
            f"weights of the {' or '.join(kept)}",
            f"seed{'s' if len(seeds) > 1 else ''} {_numbers(seeds)}",
        ]
    return ", ".join(parts)


def _numbers(values: Sequence[int]) -> str:
    return " and ".join(map(str, values)) if len(values) < 3 else f"{', '.join(map(str, values[:-1]))} and {values[-1]}"
