"""What came with the repository, beside what was trained on this machine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from armbook import chapters, miniature
from armbook.evidence import of_profile
from armlib.errors import InputError
from armlib.experiments.profile import load_profile
from fabricated import fabricated


def test_an_encoder_is_left_out_of_a_chapter_where_one_training_run_is_missing() -> None:
    profile = load_profile("small")
    asked = chapters.distributed(profile)
    missing = next(each for each in asked if each.encoder == profile.encoders[1])

    class Held:
        def there(self, experiments):
            return {each: fabricated(each) for each in experiments if each != missing}

    found = miniature.results("distributed", evidence=Held())
    assert [each.experiment for each in found] == [each for each in asked if each.encoder != missing.encoder]


def test_a_page_of_the_same_collection_shows_its_own_results_alone() -> None:
    here = [object()]
    demo, small = load_profile("demo"), load_profile("small")
    assert miniature.sources(here, small, "baselines") == {miniature.HERE: here}
    beside = miniature.sources(here, demo, "baselines")
    assert list(beside) == [miniature.NAME, miniature.HERE] and beside[miniature.HERE] == here
    assert {each.experiment.collection for each in beside[miniature.NAME]} == {"msmarco-mini"}
    assert len(beside[miniature.NAME]) == len(chapters.baselines(replace(small, encoders=small.encoders[:1])))


def test_a_chapter_that_there_is_not_is_refused() -> None:
    with pytest.raises(InputError, match="distributed"):
        miniature.results("distribute", evidence=of_profile(load_profile("small")))
